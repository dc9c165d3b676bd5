"""New: says what it is."""
