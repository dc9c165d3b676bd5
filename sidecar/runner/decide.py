"""What it means that a plan's paths are empty, and what is to be done about it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.runner.journal import Device


@dataclass(frozen=True, slots=True)
class Seen:
    """A path of a plan as it is now.

    `is_empty` None: it exists, but cannot be looked into. `device` is that of the path, or of
    the nearest folder above it that exists.
    """

    path: str
    exists: bool
    is_empty: bool | None
    device: int


@dataclass(frozen=True, slots=True)
class Situation:
    """All that counts.

    `recorded` is what was known of the paths when they last held something. `latest_files`:
    how many files the newest snapshot holds that holds any; 0: none does; None: nobody asked.
    `users` are the names of containers at work that use a path, `trouble` is why these cannot
    be known. `is_wanted`: an empty plan shall be restored; `may_stop`: what runs may be
    stopped for that; `is_on_purpose`: this plan may be empty.
    """

    seen: Sequence[Seen]
    recorded: Mapping[str, Device] = field(default_factory=dict)
    latest_files: int | None = None
    users: Sequence[str] = ()
    trouble: str = ""
    is_wanted: bool = False
    may_stop: bool = False
    is_on_purpose: bool = False


class Verdict(StrEnum):
    """What is to be done."""

    NORMAL = "normal"
    """Go on as always."""
    RESTORE = "restore"
    """Restore the newest snapshot that holds something, instead of a backup of nothing."""
    ALARM = "alarm"
    """Tell people; restore nothing, forget nothing."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, and why, in words; a normal state may need none."""

    verdict: Verdict
    reason: str = ""


_NORMAL = Decision(Verdict.NORMAL)


def is_bare(seen: Sequence[Seen]) -> bool:
    """Tell whether there are paths, and none of them holds anything as far as can be seen."""
    return bool(seen) and all(not one.exists or one.is_empty is True for one in seen)


def held_something(recorded: Mapping[str, Device], seen: Sequence[Seen]) -> bool:
    """Tell whether it is recorded of one of the paths that it held something."""
    return any(one.path in recorded and recorded[one.path].non_empty for one in seen)


def decide(now: Situation) -> Decision:
    """Decide what is to be done about a plan."""
    if now.is_on_purpose or not is_bare(now.seen):
        return _NORMAL
    if now.latest_files == 0:
        return Decision(Verdict.NORMAL, "no snapshot holds anything that could be restored")
    if not (now.latest_files or held_something(now.recorded, now.seen)):
        return _NORMAL
    return _judge_loss(now)


def _judge_loss(now: Situation) -> Decision:
    """Something was there and is gone: decide whether it can be brought back."""
    away = [said for one in now.seen if (said := _tell_absence(one, now.recorded))]
    if away:
        return Decision(Verdict.ALARM, f"{'; '.join(away)}: is a disk not mounted?")
    lost = f"{_render_paths(now.seen)} held data at an earlier backup"
    if not now.is_wanted:
        return Decision(Verdict.ALARM, lost)
    if now.trouble:
        return Decision(
            Verdict.ALARM, f"{lost}, and it cannot be seen who uses that: {now.trouble}"
        )
    if now.users and not now.may_stop:
        return Decision(Verdict.ALARM, f"{lost}, and {', '.join(now.users)} runs and uses that")
    if now.latest_files is None:
        return Decision(Verdict.ALARM, f"{lost}, and the snapshots cannot be listed")
    return Decision(Verdict.RESTORE, lost)


def _tell_absence(seen: Seen, recorded: Mapping[str, Device]) -> str:
    """Tell why a path may just not be there now; nothing if it is there, and is empty."""
    known = recorded.get(seen.path)
    if seen.exists:
        is_elsewhere = known is not None and known.non_empty and known.device != seen.device
        return f"{seen.path} is empty, and not on the disk of the last backup" * is_elsewhere
    if known is None or known.device != seen.device:
        return f"{seen.path} does not exist, nor the disk on which it was"
    return ""


def _render_paths(seen: Sequence[Seen]) -> str:
    shown = ", ".join(one.path for one in seen[:3])
    more = f" and {len(seen) - 3} more" if len(seen) > 3 else ""
    verb = "is" if len(seen) == 1 else "are"
    return f"{shown}{more} {verb} empty, but"


def remembered(
    seen: Sequence[Seen], recorded: Mapping[str, Device], *, is_on_purpose: bool = False
) -> dict[str, Device]:
    """Give what is to be recorded after a backup.

    Of a path that is empty now all stays as it was when it held something: a disk that is not
    mounted must not become the one that is expected. `is_on_purpose`: that is forgotten.
    """
    found: dict[str, Device] = {}
    for one in seen:
        known = None if is_on_purpose else recorded.get(one.path)
        if one.exists and one.is_empty is False:
            found[one.path] = Device(one.device, non_empty=True)
        elif known is not None:
            found[one.path] = known
        elif one.exists and one.is_empty:
            found[one.path] = Device(one.device, non_empty=False)
    return found
