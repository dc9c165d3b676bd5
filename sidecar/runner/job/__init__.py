"""One attempt at a piece of work: its steps, and the end of those that died."""
