"""Exit statuses: what scripts may rely on."""

from collections.abc import Mapping

FAILED, CHANGED, PROBLEMS = 1, 2, 3
STATUSES: Mapping[int, str] = {
    0: "done, and nothing needs attention",
    FAILED: "it could not be done, or what was looked at is broken; also a wrong flag",
    CHANGED: "done, and something was or would be changed, where `--detailed-exitcode` asks for it",
    PROBLEMS: "done, but something needs attention: labels with problems, a backup with warnings",
}
"""What each status means; a command that has less of them says so in its help."""
