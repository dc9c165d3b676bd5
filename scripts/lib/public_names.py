"""The names that people, scripts and files of earlier versions rely on, read from the code.

    python public_names.py           prints them as JSON
    python public_names.py --write   writes testdata/public_names.json

`tests/test_public_names.py` compares them with that file: a rename inside the code must not
rename anything outside. A new name is written there on purpose; one that vanishes breaks
somebody's Compose file, script, dashboard or stored state.
"""

import ast
import dataclasses
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from command_pages import RUNNER, SIDECAR, Program
from sidecar.backrest.workloads import MountRecord, PathRecord, ProblemRecord, WorkloadRecord
from sidecar.docker.models import Mount
from sidecar.engines.base import Stats
from sidecar.labels.problem import REASONS
from sidecar.labels.registry import LABELS
from sidecar.reconciler.doctor.run import CHECKS
from sidecar.reconciler.log_events import EVENTS
from sidecar.reconciler.metrics import METRICS
from sidecar.reconciler.state import ApplyTrouble, RunnerSeen, State
from sidecar.runner.job.recovery import Resume
from sidecar.runner.journal.schema import MIGRATIONS
from sidecar.runner.log_events import EVENTS as RUNNER_EVENTS
from sidecar.runner.log_events import ONCE
from sidecar.runner.metrics import METRICS as RUNNER_METRICS
from sidecar.runner.notify.messages import QueuedMessage
from sidecar.runner.once.leftover import BackupRecord

ROOT = Path(__file__).parents[2]
FILE = ROOT / "testdata" / "public_names.json"

# Values that are stored: what a file of the last version holds, this one has to read.
STORED: Mapping[str, type[Any]] = {
    "state": State,
    "state.runner": RunnerSeen,
    "state.runner.mounts": Mount,
    "state.trouble": ApplyTrouble,
    "workloads": WorkloadRecord,
    "workloads.mounts": MountRecord,
    "workloads.paths": PathRecord,
    "workloads.problems": ProblemRecord,
    "backup-once": BackupRecord,
    "journal.resume": Resume,
    "journal.outbox": QueuedMessage,
    "journal.stats": Stats,
}

_KEY = re.compile(r"[\w./-]+")
_FILE_NAME = re.compile(r"\.?[a-z][\w-]*\.(?:json|sqlite|lock|sock|new|success|failed)|\.[a-z]{4,}")


def collect() -> dict[str, Any]:
    """Return all public names by kind, in a form that JSON keeps."""
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / "sidecar").rglob("*.py"))]
    return {
        "labels": {label.name: f"{label.values} [{label.default}]" for label in LABELS},
        "problems": {name: reason.severity.value for name, reason in REASONS.items()},
        "checks": [check.id for check in CHECKS],
        "commands": {program.name: _commands(program) for program in (SIDECAR, RUNNER)},
        "exit statuses": {program.name: sorted(program.statuses) for program in (SIDECAR, RUNNER)},
        "metrics": dict(_metrics()),
        "log events": _log_events(trees),
        "json keys": sorted(set(_keys(trees))),
        "words": sorted(set(_words(trees))),
        "file names": sorted(set(_file_names(trees))),
        "stored": {
            name: [field.name for field in dataclasses.fields(kind)]
            if dataclasses.is_dataclass(kind)
            else list(kind._fields)
            for name, kind in STORED.items()
        },
        "journal": [" ".join(statement.split()) for step in MIGRATIONS for statement in step],
    }


def _metrics() -> Iterator[tuple[str, str]]:
    for table in (METRICS, RUNNER_METRICS):
        for metric in table:
            yield metric.name, f"{metric.kind}{f' by {metric.label}' if metric.label else ''}"


def _commands(program: Program) -> dict[str, Any]:
    healthcheck = {"healthcheck": sorted(set(re.findall(r"--[a-z-]+", program.healthcheck)))}
    found = {
        name: {
            " ".join([*parameter.opts, *parameter.secondary_opts]): _parameter(parameter)
            for parameter in command.params
        }
        for name, command in program.group.commands.items()
    }
    return found | healthcheck


def _parameter(parameter: click.Parameter) -> str:
    """Write what one may give for a flag, its variables and its default as one line."""
    kind = parameter.type
    values = "|".join(kind.choices) if isinstance(kind, click.Choice) else kind.name
    default = parameter.default
    # What click puts where there is no default differs from version to version.
    is_given = default is not None and "UNSET" not in repr(default)
    shown = "computed" if callable(default) else repr(default) if is_given else "–"
    variables = parameter.envvar if isinstance(parameter.envvar, tuple) else (parameter.envvar,)
    negation = getattr(parameter, "negation", "")
    marks = "required " * parameter.required + "multiple " * parameter.multiple
    return f"{marks}{values} = {shown} {[one for one in (*variables, negation) if one]}"


def _log_events(trees: Iterable[ast.Module]) -> dict[str, list[str]]:
    """Return each event with the keys that calls which name it give."""
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for call in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)):
        for name in _texts(call.args):
            keys[name] |= {keyword.arg or "**" for keyword in call.keywords}
    return {name: sorted(keys[name]) for name in sorted({*EVENTS, *RUNNER_EVENTS, *ONCE})}


def _keys(trees: Iterable[ast.Module]) -> Iterator[str]:
    """Yield the keys of all dict displays: those of our JSON, of our files, of others' answers."""
    displays = (one for tree in trees for one in ast.walk(tree) if isinstance(one, ast.Dict))
    for text in _texts(key for display in displays for key in display.keys):
        if _KEY.fullmatch(text):
            yield text


def _texts(nodes: Iterable[ast.AST | None]) -> Iterator[str]:
    """Yield the values of those nodes that are constant text."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _words(trees: Iterable[ast.Module]) -> Iterator[str]:
    """Yield the values of all StrEnums: they stand in the journal, in states and in JSON."""
    for node in (one for tree in trees for one in ast.walk(tree) if isinstance(one, ast.ClassDef)):
        if "StrEnum" in {base.id for base in node.bases if isinstance(base, ast.Name)}:
            yield from _texts(one.value for one in node.body if isinstance(one, ast.Assign))


def _file_names(trees: Iterable[ast.Module]) -> Iterator[str]:
    """Yield constants that name files of ours."""
    for text in _texts(node for tree in trees for node in ast.walk(tree)):
        if _FILE_NAME.fullmatch(text):
            yield text


def render() -> str:
    """Write the names as the file has them."""
    return json.dumps(collect(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(render())
    else:
        print(render(), end="")
