"""Backrest over HTTP: its calls, and what its log of operations says."""
