"""The exceptions that end a pass, each with its exit code.

An exception means that the whole pass is void and nothing was written; anything
that concerns one workload only is a `labels.problem.Problem`, which is data. The first
line of each class stands in docs/reference/exit-codes.md.
"""


class SidecarError(Exception):
    """A pass that cannot go on: one sentence of what is wrong, one of what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(SidecarError):
    """A flag, variable or default that cannot be used as given."""


class InventoryError(SidecarError):
    """The world could not be observed: unknown is never the same as empty."""


class DocumentError(SidecarError):
    """The document is not one that Backrest could load, also after the merge."""


class StoreError(SidecarError):
    """The document's file cannot be read or replaced safely."""
