"""Proof that a snapshot can be restored: a sample of it is."""
