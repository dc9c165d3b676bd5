"""Outcomes as people and programs read them: table, JSON, diff."""
