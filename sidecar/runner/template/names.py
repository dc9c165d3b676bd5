"""The fields and methods that templates may name. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.backrest.messages import CONDITIONS
from sidecar.backrest.reading import Repo
from sidecar.engines.base import Stats
from sidecar.runner.template import go
from sidecar.runner.template.lexer import TemplateFault
from sidecar.runner.template.values import (
    NUMBERS,
    Evaluate,
    Type,
    Typed,
    Values,
    event_name,
    is_error,
    summarise,
)

_NO_STATS = Stats()


def _of_repo(give: Callable[[Repo], Any]) -> Evaluate:
    return lambda values: give(values.repo)


def _of_stats(name: str) -> Evaluate:
    return lambda values: getattr(values.stats or _NO_STATS, name) or 0


def _stats_fields() -> dict[str, tuple[Type, Evaluate]]:
    found = {
        f".SnapshotStats.{name}": (Type.NUMBER, _of_stats(ours))
        for name, (_, ours) in go.STATS.items()
    }
    found[".SnapshotStats.TotalDuration"] = (Type.FRACTION, _of_stats("seconds"))
    found[".SnapshotStats.SnapshotId"] = (Type.TEXT, lambda values: values.snapshot)
    return found


FIELDS: Final[Mapping[str, tuple[Type, Evaluate]]] = {
    ".Task": (Type.TEXT, lambda values: values.task),
    ".Event": (Type.EVENT, lambda values: NUMBERS.get(values.event, 0)),
    ".Repo": (Type.REPO, lambda values: values.repo),
    ".Repo.Id": (Type.TEXT, _of_repo(lambda repo: repo.id)),
    ".Repo.Uri": (Type.TEXT, _of_repo(lambda repo: repo.uri)),
    ".Repo.Guid": (Type.TEXT, _of_repo(lambda repo: repo.guid)),
    ".Repo.Password": (Type.TEXT, _of_repo(lambda repo: repo.password)),
    ".Repo.Env": (Type.LIST, _of_repo(lambda repo: tuple(map("=".join, repo.env)))),
    ".Repo.Flags": (Type.LIST, _of_repo(lambda repo: repo.flags)),
    ".Repo.AutoUnlock": (Type.TRUTH, _of_repo(lambda repo: repo.auto_unlock)),
    ".Repo.AutoInitialize": (Type.TRUTH, _of_repo(lambda repo: repo.auto_initialise)),
    ".Plan": (Type.PLAN, lambda values: values.known_plan),
    ".Plan.Id": (Type.TEXT, lambda values: values.known_plan.id),
    ".Plan.Repo": (Type.TEXT, lambda values: values.known_plan.repo),
    ".Plan.Paths": (Type.LIST, lambda values: values.known_plan.paths),
    ".Plan.Excludes": (Type.LIST, lambda values: values.known_plan.excludes),
    ".Plan.Iexcludes": (Type.LIST, lambda values: values.known_plan.iexcludes),
    ".Plan.BackupFlags": (Type.LIST, lambda values: values.known_plan.backup_flags),
    ".SnapshotId": (Type.TEXT, lambda values: values.snapshot),
    ".SnapshotStats": (Type.STATS, lambda values: values.stats),
    **_stats_fields(),
    ".CurTime": (Type.TIME, lambda values: values.now),
    ".Duration": (Type.DURATION, lambda values: values.nanoseconds),
    ".Error": (Type.TEXT, lambda values: values.error),
}
"""Field → its type and its value."""

SHOWN: Final[Mapping[Type, Callable[[Any], str]]] = {
    Type.TEXT: str,
    Type.NUMBER: str,
    Type.FRACTION: go.show_float,
    Type.TRUTH: lambda value: "true" if value else "false",
    Type.TIME: go.show_time,
    Type.DURATION: go.show_duration,
    Type.EVENT: lambda number: CONDITIONS[number],
    Type.LIST: go.show_texts,
    Type.EITHER: lambda either: SHOWN[either.type](either.value),
}
"""Type → its text in the output; values of other types cannot be shown."""

_JSON: Final[Mapping[Type, Callable[[Any, Values], str]]] = {
    Type.TEXT: lambda value, _: go.json_text(value),
    Type.NUMBER: lambda value, _: go.json_number(value),
    Type.FRACTION: lambda value, _: go.json_number(value),
    Type.TRUTH: lambda value, _: "true" if value else "false",
    Type.TIME: lambda value, _: go.json_time(value),
    Type.DURATION: lambda value, _: go.json_number(value),
    Type.EVENT: lambda value, _: go.json_number(value),
    Type.LIST: lambda value, _: go.json_texts(value),
    Type.STATS: lambda value, values: go.json_stats(value, values.snapshot),
}


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the values.

    `type` is the type of its result, `takes` the types of its argument; None: it has none.
    `give` gets the argument, the values and the type of the argument.
    """

    type: Type
    takes: tuple[Type, ...] | None
    give: Callable[[Any, Values, Type], Any]

    def bind(self, name: str, arguments: tuple[Typed, ...], position: int) -> Evaluate:
        """Return its evaluation for these arguments; raises TemplateFault if they do not fit."""
        give = self.give
        if self.takes is None:
            if arguments:
                raise TemplateFault(position, f"{name} takes no arguments")
            return lambda values: give(None, values, Type.TEXT)
        if len(arguments) != 1:
            raise TemplateFault(position, f"{name} takes one value, not {len(arguments)}")
        (only,) = arguments
        if only.type not in self.takes:
            wanted = " or ".join(kind.value for kind in self.takes[:1])
            raise TemplateFault(
                only.position, f"{name} cannot take {only.type.value}", f"give it {wanted}"
            )
        return lambda values: give(only.evaluate(values), values, only.type)


METHODS: Final[Mapping[str, Method]] = {
    ".Summary": Method(Type.TEXT, None, lambda _, values, __: summarise(values)),
    ".EventName": Method(
        Type.TEXT, (Type.EVENT,), lambda number, _, __: event_name(CONDITIONS[number])
    ),
    ".IsError": Method(
        Type.TRUTH, (Type.EVENT,), lambda number, _, __: is_error(CONDITIONS[number])
    ),
    ".FormatTime": Method(Type.TEXT, (Type.TIME,), lambda at, _, __: go.format_time(at)),
    ".FormatDuration": Method(
        Type.TEXT, (Type.DURATION,), lambda value, _, __: go.format_duration(value)
    ),
    ".FormatSizeBytes": Method(Type.TEXT, (Type.NUMBER,), lambda size, _, __: go.format_size(size)),
    ".ShellEscape": Method(Type.TEXT, (Type.TEXT,), lambda text, _, __: go.quote_for_shell(text)),
    ".JsonMarshal": Method(
        Type.TEXT, tuple(_JSON), lambda value, values, kind: _JSON[kind](value, values)
    ),
}
"""Name → method."""
