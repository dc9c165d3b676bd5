"""The Docker engine: its connection, its answers as values, and what its failures mean."""
