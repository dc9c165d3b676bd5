"""The sidecar's loop: what containers ask for goes into Backrest's document, again and again.

In come containers (Docker, a saved list or Compose files), the document and the settings.
Out go the document as the planner proposes it, Backrest made to load it, containers
started that a dead backup left stopped, and reports for people and monitoring.
"""
