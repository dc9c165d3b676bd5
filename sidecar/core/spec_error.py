"""What parsing a label's value raises when the value cannot be used."""

_SHOWN = 60


class SpecInvalid(ValueError):
    """A value outside the grammar: `message` says why, `hint` what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def quoted(text: str) -> str:
    """Quote a value for a message: control characters escaped, long values cut.

    An address is not quoted: people paste it into the wrong label, secrets and all.
    """
    if "://" in text:
        return "this address"
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
