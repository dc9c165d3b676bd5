"""Docker: one client for its API, its answers as records, its events, and what may be done.

In come an address and, for a Compose file in its place (`compose`), files. Out go the
records of `models` (containers, mounts, volumes), hints that something changed, and
containers that were stopped or started. `client` is the one way to Docker: lists, events,
actions and Swarm build upon it. Failures become DockerError, with a sentence that people can
act on.
"""
