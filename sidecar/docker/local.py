"""The containers of an engine: found, stopped for a while, started again whatever happens."""
