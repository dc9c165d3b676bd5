"""Exit statuses: what scripts may rely on."""

FAILED, CHANGED, PROBLEMS = 1, 2, 3
