"""Backrest's hooks: commands and notifications at events of a run.

In come the hooks of the document and an event with its facts; out come commands that have run,
queued notifications, and what failed.
"""
