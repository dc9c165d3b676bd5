"""Compose files in place of an engine: what their containers would be."""
