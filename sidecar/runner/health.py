"""What the runner knows of itself and its backups, and who can see it."""
