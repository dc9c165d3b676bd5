"""What a check found: a verdict, a sentence, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")
_MOST_DETAILS = 20


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """Backups run, but not as well as they could, or nobody can tell."""
    FAILURE = "failure"
    """Something that is asked for does not work."""
    NOT_CHECKED = "not-checked"
    """There was nothing to check, or an earlier failure hides it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `hint` says what to do, `details` name what is concerned, one each.

    `fixed` tells what was done about it, empty if nothing was. `check` is the id.
    """

    verdict: Verdict
    message: str
    hint: str = ""
    details: tuple[str, ...] = ()
    fixed: str = ""
    check: str = ""


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All findings, in the order of the checks."""

    config: str
    findings: tuple[Finding, ...]

    @property
    def has_failed(self) -> bool:
        """Whether anything does not work; warnings and what was not checked do not count."""
        return any(finding.verdict is Verdict.FAILURE for finding in self.findings)


class NotChecked(Exception):
    """There is nothing that the check could look at; the text says why."""


def needed(value: T | None, why: str) -> T:
    """Give what an earlier check found; raises NotChecked if it found nothing."""
    if value is None:
        raise NotChecked(why)
    return value


def passed(message: str, *, details: Iterable[str] = (), fixed: str = "") -> Finding:
    """All is well."""
    return Finding(Verdict.OK, message, "", _some(details), fixed)


def warned(message: str, hint: str, details: Iterable[str] = ()) -> Finding:
    """It works, but somebody should know."""
    return Finding(Verdict.WARNING, message, hint, _some(details))


def failed(message: str, hint: str, details: Iterable[str] = ()) -> Finding:
    """It does not work."""
    return Finding(Verdict.FAILURE, message, hint, _some(details))


def counted(number: int, one: str, many: str = "") -> str:
    """Write a number of things, as in `1 plan` and `2 plans`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _some(details: Iterable[str]) -> tuple[str, ...]:
    listed = tuple(details)
    more = len(listed) - _MOST_DETAILS
    return listed if more <= 0 else (*listed[:_MOST_DETAILS], f"and {more} more")
