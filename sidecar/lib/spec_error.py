"""What parsing a label's value raises when the value cannot be used."""

from sidecar.lib.text import quoted

__all__ = ["SpecInvalid", "quoted"]


class SpecInvalid(ValueError):
    """A value outside the grammar: `message` says why, `hint` what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
