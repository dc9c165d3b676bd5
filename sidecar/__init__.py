"""backrest-sidecar: labels on Docker containers become backup plans."""

__version__ = "0.1.0"
