"""The doctor: one question after the other about the house, each answered in one line."""
