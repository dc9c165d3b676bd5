"""Backing up once, with containers stopped around it: by the document's plans, or an image."""
