"""Plan, Schedule, Retention and Hook as Backrest's `config.json` spells them.

Each `to_json` gives plain dicts and lists in Backrest's JSON names and in the
normal form that Backrest itself writes: zero values are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class Clock(StrEnum):
    """What a schedule is measured against."""

    LOCAL = "CLOCK_LOCAL"
    LAST_RUN = "CLOCK_LAST_RUN_TIME"


class Condition(StrEnum):
    """The events on which our hooks run."""

    ANY_ERROR = "CONDITION_ANY_ERROR"
    SNAPSHOT_START = "CONDITION_SNAPSHOT_START"
    SNAPSHOT_END = "CONDITION_SNAPSHOT_END"
    SNAPSHOT_ERROR = "CONDITION_SNAPSHOT_ERROR"
    SNAPSHOT_WARNING = "CONDITION_SNAPSHOT_WARNING"
    SNAPSHOT_SUCCESS = "CONDITION_SNAPSHOT_SUCCESS"
    SNAPSHOT_SKIPPED = "CONDITION_SNAPSHOT_SKIPPED"


class OnError(StrEnum):
    """What a failing START hook does to the backup; IGNORE is the zero value."""

    IGNORE = "ON_ERROR_IGNORE"
    CANCEL = "ON_ERROR_CANCEL"
    FATAL = "ON_ERROR_FATAL"
    RETRY_1_MINUTE = "ON_ERROR_RETRY_1MINUTE"
    RETRY_10_MINUTES = "ON_ERROR_RETRY_10MINUTES"
    RETRY_BACKOFF = "ON_ERROR_RETRY_EXPONENTIAL_BACKOFF"


_BUCKETS = ("hourly", "daily", "weekly", "monthly", "yearly")
_LOCAL, _LAST_RUN = Clock.LOCAL.value, Clock.LAST_RUN.value


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a plan runs: exactly one of the first three is set; all empty means disabled.

    `from_last_run`: a cron counts from the last run, so that a missed fire is made up for.
    """

    cron: str = ""
    every_hours: int = 0
    every_days: int = 0
    from_last_run: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return `{"cron", "clock"}`, a maximum frequency, or `{"disabled": true}`."""
        if self.cron:
            return {"cron": self.cron, "clock": _LAST_RUN if self.from_last_run else _LOCAL}
        if self.every_hours:
            return {"maxFrequencyHours": self.every_hours, "clock": _LAST_RUN}
        if self.every_days:
            return {"maxFrequencyDays": self.every_days, "clock": _LAST_RUN}
        return {"disabled": True}


@dataclass(frozen=True, slots=True)
class Retention:
    """Which snapshots are kept: counts per bucket, or everything."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    keep_all: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return one of `policyKeepAll`, `policyKeepLastN` and `policyTimeBucketed`."""
        if self.keep_all:
            return {"policyKeepAll": True}
        counts = (self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        buckets = {name: count for name, count in zip(_BUCKETS, counts, strict=True) if count}
        if not buckets:
            return {"policyKeepLastN": self.last}
        if self.last:
            buckets["keepLastN"] = self.last
        return {"policyTimeBucketed": buckets}


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook: on which events, with which action, and what its failure means.

    `action` is the JSON name of Backrest's action (`actionCommand`, ...) and
    `settings` that action's fields.
    """

    conditions: tuple[Condition, ...]
    action: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    on_error: OnError = OnError.IGNORE

    def to_json(self) -> dict[str, Any]:
        """Return the hook; `onError` is left out where it is the zero value."""
        rendered: dict[str, Any] = {"conditions": [item.value for item in self.conditions]}
        if self.on_error is not OnError.IGNORE:
            rendered["onError"] = self.on_error.value
        rendered[self.action] = dict(self.settings)
        return rendered


class Plan(NamedTuple):
    """One backup plan as the labels ask for it.

    `labelled` holds the JSON names of those keys (`schedule`, `retention`,
    `iexcludes`, `backup_flags`) that a label sets; the others of them are set only
    when the plan is created.
    """

    id: str
    repo: str
    paths: tuple[str, ...]
    schedule: Schedule
    retention: Retention
    excludes: tuple[str, ...] = ()
    iexcludes: tuple[str, ...] = ()
    hooks: tuple[Hook, ...] = ()
    backup_flags: tuple[str, ...] = ()
    labelled: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """Return the whole plan, empty lists left out."""
        rendered = {
            "id": self.id,
            "repo": self.repo,
            "paths": list(self.paths),
            "excludes": list(self.excludes),
            "iexcludes": list(self.iexcludes),
            "schedule": self.schedule.to_json(),
            "retention": self.retention.to_json(),
            "hooks": [hook.to_json() for hook in self.hooks],
            "backup_flags": list(self.backup_flags),
        }
        return {key: value for key, value in rendered.items() if value}
