"""What a command tells beside its result: lines for people, where a daemon has lines of a log."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from string import Formatter

from sidecar.cli.output.terminal import Meaning, folded, styled, terminal_width
from sidecar.cli.output.text import can_redraw, echo, printable
from sidecar.lib.log import LEVELS, start_logging

_CLEAR = "\r\x1b[K"
_TOLD_IN_WORDS = frozenset({"warn", "error"})
# Where the meaning in the reference is no sentence about what happened; fields that are named.
_SENTENCES = {
    # A command reads a document once: it has no earlier state that could be executed.
    "document.refused": "nothing of a document is used",
    "run.ended": "{kind} {plan}{repo} has ended with {outcome}",
    "run.interrupted": "a run that had died was put right",
    "hook.ended": "{hook} has ended with status {status}: {output}",
    "problem.appeared": "a label has a problem",
}
# Fields that say to people what the sentence has said.
_UNTOLD = {"document.refused": "executed"}
_WHY = ("reason", "message", "error", "why")
# What the end of a run says again, if the run failed for it; and the field that it repeats.
_SAID_AT_END = {"hook.ended": "hook", "hook.unusable": "hook", "repository.not-created": "reason"}


def start_messages(level: str, form: str | None) -> None:
    """Tell what goes wrong on standard error, in words or, where they are asked for, as a log.

    `form` is that of the log lines, json or text. Without it there are lines for people, unless
    the level asks for more than what goes wrong.
    """
    if form is None and level in _TOLD_IN_WORDS:
        start_logging(level, "text", _LinesForPeople())
    else:
        start_logging(level, form or "text")


def hold_back() -> None:
    """Hold back what the end of a run says again, until `tell_held`."""
    for handler in _handlers():
        handler.is_holding = True


def tell_held(said: str = "", *, others_run: bool = False) -> None:
    """Tell what was held back, but for what was `said` at the end of the run.

    Where `others_run`, what was not said stays back: it may be said at the end of one of them.
    """
    for handler in _handlers():
        handler.tell_held(said, others_run=others_run)


def _handlers() -> Iterator["_LinesForPeople"]:
    for handler in logging.getLogger("sidecar").handlers:
        if isinstance(handler, _LinesForPeople):
            yield handler


class _LinesForPeople(logging.Handler):
    """Writes an event as a line that begins with `warning:` or `error:`, and what to do below."""

    def __init__(self) -> None:
        super().__init__()
        self.is_holding = False
        self._held: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event, or hold it back."""
        if self.is_holding and record.getMessage() in _SAID_AT_END:
            self._held.append(record)
        else:
            _write(record)

    def tell_held(self, said: str, *, others_run: bool) -> None:
        """Write what was held back and is not part of what was `said`."""
        with self.lock or nullcontext():
            left = [record for record in self._held if _repeated(record) not in said]
            self._held = left if others_run else []
        if not others_run:
            for record in left:
                _write(record)


def _repeated(record: logging.LogRecord) -> str:
    return str(_fields(record).get(_SAID_AT_END[record.getMessage()], record.getMessage()))


def _write(record: logging.LogRecord) -> None:
    """Write the event, above a line that shows progress."""
    is_error = record.levelno >= LEVELS["error"]
    head = styled("error:", Meaning.BAD) if is_error else styled("warning:", Meaning.UNSURE)
    width = terminal_width(sys.stderr)
    room = None if width is None else width - len("warning: ")
    first, *more = _lines(record.getMessage(), _fields(record), room)
    if can_redraw(sys.stderr, os.environ):
        sys.stderr.write(_CLEAR)
    echo("\n".join((f"{head} {first}", *(f"  {line}" for line in more))), err=True)


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return fields


def _lines(event: str, fields: Mapping[str, object], room: int | None) -> Iterator[str]:
    """Yield what happened, then what to do about it."""
    told = {name: printable(_text(value)) for name, value in fields.items()}
    told = {name: text for name, text in told.items() if text}
    hint = told.pop("hint", "")
    told.pop(_UNTOLD.get(event, ""), None)
    words = _words_of(event)
    if event in _SENTENCES:
        named = {name: told.pop(name, "") for name in _names_in(words)}
        words = words.format_map(named).rstrip(": ")
    parts = [words, *(told.pop(name) for name in _WHY if name in told)]
    about = ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in told.items())
    sentence = ": ".join(parts) + (f" ({about})" if about else "")
    yield from folded(sentence, room).split("\n")
    if hint:
        yield from folded(f"→ {hint}", room, "  ").split("\n")


def _names_in(words: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(words) if name]


def _text(value: object) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _words_of(event: str) -> str:
    """Return what an event of either program means; what is no event is a sentence already."""
    from sidecar.reconciler.log_events import EVENTS
    from sidecar.runner.log_events import EVENTS as RUNNER_EVENTS
    from sidecar.runner.log_events import ONCE

    if event in _SENTENCES:
        return _SENTENCES[event]
    for table in (RUNNER_EVENTS, ONCE, EVENTS):
        if event in table:
            return table[event].when
    return printable(event)
