"""The commands of the runner's command line."""
