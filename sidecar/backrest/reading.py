"""A whole document as typed values, for whoever executes it.

Input is a decoded document that `backrest.rules` accepts, so nothing here can fail. Both
spellings of a field are read; zero values and nulls count as not set. Secrets are kept
out of every `repr`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.backrest.jsontext import parse_integer
from sidecar.backrest.messages import CONFIG, FieldKind, MessageField, MessageType
from sidecar.backrest.plan import OnError, Retention

_HOUR = 3600
# A hundred years: what is due later is never due, and its date could not be shown.
_LONGEST = 100 * 366 * 24 * _HOUR
_BUCKETS = ("hourly", "daily", "weekly", "monthly", "yearly")


@dataclass(frozen=True, slots=True)
class Timing:
    """When something is due: a cron in local time, or seconds between runs; else never.

    `from_last_run`: the seconds count from the last run, not from when Backrest last checked.
    """

    cron: str = ""
    every_seconds: int = 0
    from_last_run: bool = False

    @property
    def is_active(self) -> bool:
        """Whether it is ever due."""
        return bool(self.cron or self.every_seconds)


@dataclass(frozen=True, slots=True)
class RunHook:
    """A hook: JSON names of the conditions and of the action, and that action's fields.

    `action` is empty where none is set. Enum values that Backrest does not know are dropped.
    """

    conditions: frozenset[str]
    action: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    on_error: OnError = OnError.IGNORE


@dataclass(frozen=True, slots=True)
class PrunePolicy:
    """When space is freed, and how much unused may stay; zero where that is not set."""

    timing: Timing = field(default_factory=Timing)
    max_unused_bytes: int = 0
    max_unused_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """When the repository is checked, and how much of its data is read."""

    timing: Timing = field(default_factory=Timing)
    structure_only: bool = False
    read_data_subset_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class ForgetPolicy:
    """When snapshots of the whole repository are forgotten; it replaces that of the plans."""

    timing: Timing = field(default_factory=Timing)
    retention: Retention | None = None


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository; `uri`, `password`, `env` and `flags` may hold secrets."""

    id: str
    uri: str = field(default="", repr=False)
    guid: str = ""
    password: str = field(default="", repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    flags: tuple[str, ...] = field(default=(), repr=False)
    prune: PrunePolicy | None = None
    check: CheckPolicy | None = None
    forget: ForgetPolicy | None = None
    hooks: tuple[RunHook, ...] = ()
    auto_unlock: bool = False
    auto_initialise: bool = False
    io_nice: str = ""
    cpu_nice: str = ""

    @property
    def overrides_retention(self) -> bool:
        """Whether the forget policy of the repository is active, so that no plan's is."""
        return self.forget is not None and self.forget.timing.is_active


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A plan as it is to be executed; `retention` None: nothing is forgotten."""

    id: str
    repo: str
    paths: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    iexcludes: tuple[str, ...] = ()
    timing: Timing = field(default_factory=Timing)
    retention: Retention | None = None
    hooks: tuple[RunHook, ...] = ()
    backup_flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """All of the document that a run needs."""

    instance: str = ""
    repos: tuple[Repo, ...] = ()
    plans: tuple[RunPlan, ...] = ()

    def repo(self, repo_id: str) -> Repo | None:
        """Return the repository of that id."""
        return next((repo for repo in self.repos if repo.id == repo_id), None)

    def plan(self, plan_id: str) -> RunPlan | None:
        """Return the plan of that id."""
        return next((plan for plan in self.plans if plan.id == plan_id), None)


def read_config(root: Mapping[str, Any]) -> Config:
    """Return the values of a decoded document that `backrest.rules` accepts."""
    plain = _read(root, CONFIG)
    return Config(
        plain.get("instance", ""),
        tuple(_repo(entry) for entry in plain.get("repos", ())),
        tuple(_plan(entry) for entry in plain.get("plans", ())),
    )


def _read(holder: Mapping[str, Any], message: MessageType) -> dict[str, Any]:
    """Return what is set, under its JSON names, with Python's numbers."""
    return {
        known.name: _read_field(value, known)
        for key, value in holder.items()
        if value is not None and (known := message.fields.get(key)) is not None
    }


def _read_field(value: Any, known: MessageField) -> Any:
    if known.repeated:
        return tuple(item for one in value if (item := _read_one(one, known)) is not None)
    return _read_one(value, known)


def _read_one(value: Any, known: MessageField) -> Any:
    if known.message is not None:
        return _read(value, known.message)
    if known.kind is FieldKind.ENUM:
        return _enum(value, known.names)
    if known.kind in {FieldKind.INT32, FieldKind.INT64}:
        return parse_integer(str(value), 64)
    return float(value) if known.kind is FieldKind.DOUBLE else value


def _enum(value: str, names: Mapping[int, str]) -> str | None:
    """Return the name; None for what Backrest does not know."""
    if value in names.values():
        return str(value)
    number = parse_integer(value, 32)
    return None if number is None else names.get(number)


def _repo(plain: Mapping[str, Any]) -> Repo:
    prefix = plain.get("commandPrefix", {})
    pairs = (entry.partition("=") for entry in plain.get("env", ()))
    return Repo(
        id=plain.get("id", ""),
        uri=plain.get("uri", ""),
        guid=plain.get("guid", ""),
        password=plain.get("password", ""),
        env=tuple((name, value) for name, _, value in pairs),
        flags=plain.get("flags", ()),
        prune=_prune(plain["prunePolicy"]) if "prunePolicy" in plain else None,
        check=_check(plain["checkPolicy"]) if "checkPolicy" in plain else None,
        forget=_forget(plain["forgetPolicy"]) if "forgetPolicy" in plain else None,
        hooks=tuple(_hook(entry) for entry in plain.get("hooks", ())),
        auto_unlock=plain.get("autoUnlock", False),
        auto_initialise=plain.get("autoInitialize", False),
        io_nice=prefix.get("ioNice") or "",
        cpu_nice=prefix.get("cpuNice") or "",
    )


def _plan(plain: Mapping[str, Any]) -> RunPlan:
    return RunPlan(
        id=plain.get("id", ""),
        repo=plain.get("repo", ""),
        paths=plain.get("paths", ()),
        excludes=plain.get("excludes", ()),
        iexcludes=plain.get("iexcludes", ()),
        timing=_timing(plain.get("schedule")),
        retention=_retention(plain.get("retention")),
        hooks=tuple(_hook(entry) for entry in plain.get("hooks", ())),
        backup_flags=plain.get("backup_flags", ()),
    )


def _timing(plain: Mapping[str, Any] | None) -> Timing:
    held = plain or {}
    hours = held.get("maxFrequencyHours", 0) + 24 * held.get("maxFrequencyDays", 0)
    is_last = held.get("clock") == "CLOCK_LAST_RUN_TIME"
    return Timing(held.get("cron", ""), min(hours * _HOUR, _LONGEST), is_last)


def _retention(plain: Mapping[str, Any] | None) -> Retention | None:
    held = plain or {}
    if "policyTimeBucketed" in held:
        counts = held["policyTimeBucketed"]
        buckets = {name: counts.get(name, 0) for name in _BUCKETS}
        return Retention(last=counts.get("keepLastN", 0), **buckets)
    if held.get("policyKeepLastN"):
        return Retention(last=held["policyKeepLastN"])
    return Retention(keep_all=True) if held.get("policyKeepAll") else None


def _prune(plain: Mapping[str, Any]) -> PrunePolicy:
    return PrunePolicy(
        _timing(plain.get("schedule")),
        plain.get("maxUnusedBytes", 0),
        plain.get("maxUnusedPercent", 0.0),
    )


def _check(plain: Mapping[str, Any]) -> CheckPolicy:
    return CheckPolicy(
        _timing(plain.get("schedule")),
        plain.get("structureOnly", False),
        plain.get("readDataSubsetPercent", 0.0),
    )


def _forget(plain: Mapping[str, Any]) -> ForgetPolicy:
    return ForgetPolicy(_timing(plain.get("schedule")), _retention(plain.get("retention")))


def _hook(plain: Mapping[str, Any]) -> RunHook:
    action = next((name for name in plain if name.startswith("action")), "")
    return RunHook(
        frozenset(plain.get("conditions", ())),
        action,
        plain.get(action, {}),
        OnError(plain.get("onError") or OnError.IGNORE),
    )
