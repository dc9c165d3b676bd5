"""A fault: one reason why Backrest would not start with the document."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One refusal: where (a JSON pointer), what is wrong, what to write instead.

    Texts name keys, ids and cron expressions, never a secret value.
    """

    pointer: str
    message: str
    hint: str = ""

    def under(self, *steps: str | int) -> "Fault":
        """Give the same fault seen from further up: `steps` lead down to it."""
        return Fault(pointer_of(steps) + self.pointer, self.message, self.hint)


def pointer_of(steps: Iterable[str | int]) -> str:
    """Spell a JSON pointer (RFC 6901); the whole document is the empty string."""
    # A lone surrogate in a key could not be printed, so it is shown as a question mark.
    texts = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return "".join(f"/{text}" for text in texts).encode("utf-8", "replace").decode()
