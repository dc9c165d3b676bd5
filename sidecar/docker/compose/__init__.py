"""Compose files in place of Docker: what their containers would be."""
