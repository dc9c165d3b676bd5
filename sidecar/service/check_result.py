"""The results of the checks that `doctor` of either program makes."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_MOST_DETAILS = 20


class CheckStatus(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """Backups run, but not as well as they could, or nobody can tell."""
    FAILURE = "failure"
    """Something that settings or labels ask for does not work."""
    NOT_CHECKED = "not-checked"
    """There was nothing to check, or an earlier failure prevents the check."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line: `hint` says what to do, `details` name what is concerned, one each.

    `fixed` tells what was done about it, empty if nothing was. `check` is the id, as in
    `document.found`; the doctor fills it in.
    """

    verdict: CheckStatus
    message: str
    hint: str = ""
    details: tuple[str, ...] = ()
    fixed: str = ""
    check: str = ""


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All findings, in the order of the checks."""

    config: str
    findings: tuple[CheckResult, ...]

    @property
    def has_failed(self) -> bool:
        """Whether anything does not work; warnings and what was not checked do not count."""
        return any(finding.verdict is CheckStatus.FAILURE for finding in self.findings)


def passed(message: str, *, details: Iterable[str] = (), fixed: str = "") -> CheckResult:
    """Return the result of a check that found nothing wrong."""
    return CheckResult(CheckStatus.OK, message, "", _some(details), fixed)


def warned(message: str, hint: str, details: Iterable[str] = ()) -> CheckResult:
    """Return the result of a check that found something people should know."""
    return CheckResult(CheckStatus.WARNING, message, hint, _some(details))


def failed(message: str, hint: str, details: Iterable[str] = ()) -> CheckResult:
    """Return the result of a check that found something that does not work."""
    return CheckResult(CheckStatus.FAILURE, message, hint, _some(details))


def not_checked(why: str) -> CheckResult:
    """Return the result of a check that could not be made, or had nothing to look at."""
    return CheckResult(CheckStatus.NOT_CHECKED, why)


def _some(details: Iterable[str]) -> tuple[str, ...]:
    listed = tuple(details)
    more = len(listed) - _MOST_DETAILS
    return listed if more <= 0 else (*listed[:_MOST_DETAILS], f"and {more} more")
