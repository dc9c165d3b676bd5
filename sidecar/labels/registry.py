"""The label registry: one table drives parsing, error texts, schema and docs."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sidecar.labels.flags import parse_flag_list
from sidecar.labels.values import parse_patterns
from sidecar.lib.text import SpecInvalid, quoted

TRUE_WORDS = frozenset({"true", "1", "yes", "on", "t", "y"})
FALSE_WORDS = frozenset({"false", "0", "no", "off", "f", "n"})
TEMPLATES = (
    "none",
    "simple-stop-start",
    "stop-start",
    "quiesce-stop-start",
    "pause-unpause",
    "swarm-scale",
    "postgres-dump",
    "mysql-dump",
    "mariadb-dump",
    "mongodb-dump",
    "redis-save",
    "sqlite-backup",
)
ON_ERROR_WORDS = ("ignore", "cancel", "fatal", "retry-1m", "retry-10m", "retry-backoff")
NOTIFY_EVENTS = ("error", "warning", "success", "start")
SNAPSHOT_EVENTS = ("start", "end", "success", "error", "warning", "skipped")
# What people write from habit, in other tools' words.
_SYNONYMS = {
    "retention": "keep",
    "cron": "schedule",
    "repository": "repo",
    "name": "id",
    "excludes": "paths.exclude",
    "includes": "paths.include",
    "flags": "backup-flags",
}
# No more digits than Python reads as a number in no time: nobody counts further.
_INDEXED = re.compile(r"(.+)\.(0|[1-9][0-9]{0,17})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Label:
    """One row of the grammar.

    `field` is the LabelSpec field; `parse` turns the text (for a list label its
    items) into the value and raises SpecInvalid; `values` and `default` are for
    people; `keeps_quotes`: the quotes around an item are part of it; `is_commands`: so are line
    ends, which separate the items of other lists; `trusted` labels
    are ignored when they come from an image; `choices` are all values, if they are few.
    """

    name: str
    field: str
    parse: Callable[[Any], Any]
    values: str
    default: str = "–"
    is_list: bool = False
    keeps_quotes: bool = False
    is_commands: bool = False
    trusted: bool = False
    choices: tuple[str, ...] = ()


def parse_bool(text: str) -> bool:
    """Parse true/1/yes/on/t/y or false/0/no/off/f/n in any case."""
    word = text.lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise SpecInvalid(f"{quoted(text)} is neither true nor false", "write true or false")


def _parse_name(text: str) -> str:
    if not text:
        raise SpecInvalid("the value is empty", "write a name, or remove the label")
    return text


def _parse_text(text: str) -> str:
    return text


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            known = ", ".join(words)
            raise SpecInvalid(f"{quoted(text)} is not known here", f"write one of {known}")
        return text

    return parse


def _each_of(words: tuple[str, ...]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    one = _one_of(words)

    def parse(items: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one(item) for item in items)

    return parse


def _parse_items(items: tuple[str, ...]) -> tuple[str, ...]:
    return items


def _snapshot_labels() -> tuple[Label, ...]:
    return tuple(
        Label(
            f"snapshot-{event}",
            f"snapshot_{event}",
            _parse_items,
            f"list of shell commands that the runner runs on snapshot {event}",
            is_list=True,
            keeps_quotes=True,
            is_commands=True,
            trusted=True,
        )
        for event in SNAPSHOT_EVENTS
    )


LABELS: tuple[Label, ...] = (
    Label("enable", "enable", parse_bool, "true or false", "not enabled", trusted=True),
    Label("group", "group", _parse_name, "name shared by services backed up as one", trusted=True),
    Label("id", "id", _parse_text, "base of the plan id"),
    Label("repo", "repo", _parse_text, "repository id in the document", "see Repository"),
    Label("schedule", "schedule", _parse_text, "see Schedule", "`--default-schedule`"),
    Label(
        "paths.include",
        "include",
        _parse_items,
        "list of container paths, `volume:NAME[/sub]`, `host:/path`",
        "all data mounts",
        is_list=True,
    ),
    Label(
        "paths.exclude",
        "exclude",
        parse_patterns,
        "list of container paths or restic patterns",
        is_list=True,
    ),
    Label(
        "paths.iexclude",
        "iexclude",
        parse_patterns,
        "the same, case ignored",
        is_list=True,
    ),
    Label("keep", "keep", _parse_text, "see Retention", "`--default-retention`"),
    *_snapshot_labels(),
    Label(
        "exec.start",
        "exec_start",
        _parse_items,
        "list of commands run inside the container before the snapshot",
        is_list=True,
        keeps_quotes=True,
        is_commands=True,
        trusted=True,
    ),
    Label(
        "exec.end",
        "exec_end",
        _parse_items,
        "list of commands run inside the container after it",
        is_list=True,
        keeps_quotes=True,
        is_commands=True,
        trusted=True,
    ),
    Label(
        "exec.user", "exec_user", _parse_name, "user that the exec commands run as", trusted=True
    ),
    Label(
        "hooks.template",
        "template",
        _parse_text,
        "one of " + ", ".join(TEMPLATES),
        "none",
        trusted=True,
        choices=TEMPLATES,
    ),
    Label(
        "hooks.on-error",
        "on_error",
        _one_of(ON_ERROR_WORDS),
        "one of " + ", ".join(ON_ERROR_WORDS) + "; for your own START hooks",
        "fatal",
        trusted=True,
        choices=ON_ERROR_WORDS,
    ),
    Label("dump.path", "dump_path", _parse_name, "container path of the dump file, in a mount"),
    Label("dump.user", "dump_user", _parse_name, "database user of the dump"),
    Label("dump.database", "dump_database", _parse_name, "database, or SQLite file, to dump"),
    Label("quiesce", "quiesce", parse_bool, "stop and start around `backup-once`", "false"),
    Label(
        "notify",
        "notify",
        _parse_items,
        "list of `healthchecks:URL`, `shoutrrr:URL`, `discord:URL`, `slack:URL`, "
        "`gotify:URL@TOKEN`",
        is_list=True,
        trusted=True,
    ),
    Label(
        "notify.on",
        "notify_on",
        _each_of(NOTIFY_EVENTS),
        "list of " + ", ".join(NOTIFY_EVENTS),
        "error",
        is_list=True,
        choices=NOTIFY_EVENTS,
    ),
    Label(
        "backup-flags",
        "backup_flags",
        parse_flag_list,
        "list of extra restic backup flags",
        is_list=True,
        keeps_quotes=True,
        trusted=True,
    ),
)
REGISTRY: Mapping[str, Label] = {label.name: label for label in LABELS}


@lru_cache(maxsize=4096)
def resolve_label(name: str) -> tuple[Label | None, int]:
    """Find the row of a label name without prefix, and its index (-1: the plain label)."""
    label = REGISTRY.get(name)
    if label is not None:
        return label, -1
    match = _INDEXED.fullmatch(name)
    if match and (label := REGISTRY.get(match[1])) is not None and label.is_list:
        return label, int(match[2])
    return None, -1


def suggest_label(name: str) -> str:
    """Return the label that an unknown name probably means, or the empty string."""
    wanted = name.lower().replace("_", "-")
    if wanted in _SYNONYMS:
        return _SYNONYMS[wanted]
    base, _, index = wanted.rpartition(".")
    if index.isdecimal() and base in REGISTRY:
        return base
    for known in REGISTRY:
        if known.startswith(f"{wanted}.") or known.endswith(f".{wanted}"):
            return known
    close = difflib.get_close_matches(wanted, REGISTRY, n=1, cutoff=0.6)
    if close:
        return close[0]
    first = wanted.partition(".")[0]
    return first if first in REGISTRY else ""
