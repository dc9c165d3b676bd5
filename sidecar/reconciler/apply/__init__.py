"""How the runner is made to notice a new document: through its API, or by a restart."""
