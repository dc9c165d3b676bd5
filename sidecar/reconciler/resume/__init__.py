"""Start again what a dead backup left stopped.

In come the markers that hook scripts write beside the document, and what Docker and
Backrest answer. Out go starts of containers, and markers that are removed.
"""
