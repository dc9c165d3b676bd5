"""Backing up everything once, with containers stopped around it.

In come the runner's settings, the ids of the containers to stop, and a strategy: the plans of
the document, or an image of restic-compose-backup. Out goes one result; what was stopped is
started again in any case, after a kill by the next start.
"""
