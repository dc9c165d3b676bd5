"""Compose files in the place of Docker: what their containers would be.

In come files, or resolved text on standard input; out goes an inventory, with the line of
each label. `load` is the entry.
"""
