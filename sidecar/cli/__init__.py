"""The commands, grouped by what people use them for; each is flags → settings → one call."""
