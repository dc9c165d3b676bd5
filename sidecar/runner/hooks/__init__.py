"""Hooks: run in the order of Backrest, checked when the document is read."""
