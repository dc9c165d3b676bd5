"""Docker: one client for its API, its answers as records, its events, and what may be done.

In come an address and, for a Compose file in its place (`compose`), files. Out go the
records of `models` (containers, mounts, volumes), hints that something changed, and
containers that were stopped or started. Failures become InventoryError, or in `lifecycle`
ContainersError, with a sentence that people can act on.
"""
