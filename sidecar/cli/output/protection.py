"""Whether everything is backed up, as a table with a last line for people, and as JSON."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any

from sidecar.backrest.protection import (
    Judged,
    PlanFacts,
    Protection,
    ProtectionState,
    Service,
    is_believed,
)
from sidecar.cli.output.terminal import Cell, Column, Meaning, Styled, styled, table
from sidecar.cli.output.text import printable
from sidecar.lib.duration import render_duration
from sidecar.lib.text import counted, render_size
from sidecar.runner.plan_facts import Warned

_NONE = "–"
_MOST_NAMED = 3
_MEANINGS = {
    ProtectionState.PROTECTED: Meaning.GOOD,
    ProtectionState.IDLE: Meaning.MUTED,
    ProtectionState.UNKNOWN: Meaning.UNSURE,
}
_COLUMNS = (
    Column("service", has_prefix=True, folds=True),
    Column("state"),
    Column("last success"),
    Column("every", drop=2),
    Column("next run", drop=4),
    Column("verified", drop=3),
    Column("size", drop=1, is_number=True),
)
_WIDE = (Column("plan", has_prefix=True), Column("repository", drop=5))
_LABEL_HINT = "label the service with backrest.enable=true to save it, with false to leave it out"


def render_protection(
    answer: Protection,
    width: int | None,
    *,
    is_wide: bool = False,
    warnings: Iterable[Warned] = (),
    notes: Iterable[str] = (),
    needs_attention: bool = False,
) -> str:
    """Write the answer for a terminal of that width; None: nobody watches.

    Above its last line come `warnings` and `notes`; `needs_attention`: what they tell keeps it from
    being a good one. `is_wide` adds the ids of plans and repositories.
    """
    told = tuple(warnings)
    blocks = (
        [_table(answer, width, is_wide=is_wide)] if answer.services else [],
        [*_unsaved_lines(answer, width)],
        [*_fault_lines(answer, width)],
        [
            line
            for one in told
            for line in _told("warning", one.message, one.hint, width, Meaning.UNSURE)
        ],
        [line for note in notes for line in _folded(printable(note), width, "    ")],
        [*_last_lines(answer, width, has_warnings=needs_attention or bool(told))],
    )
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _table(answer: Protection, width: int | None, *, is_wide: bool) -> str:
    columns = (*_COLUMNS, *(_WIDE if is_wide else ()))
    rows = [_cells(one, answer.now, is_wide=is_wide) for one in answer.services]
    return table(columns, rows, width)


def _cells(service: Service, now: float, *, is_wide: bool) -> list[Cell]:
    facts, state = service.facts or PlanFacts(plan=""), service.judged.state
    runs = facts.runs
    size = None if runs is None else runs.size
    shown: list[Cell] = [
        service.name,
        Styled(state.value, _meaning(state)),
        _ago(service.last_success, now),
        _NONE if facts.period is None else render_duration(facts.period),
        "runs now" if runs is not None and runs.is_running else _until(facts.next_run, now),
        _ago(facts.verified, now),
        _NONE if size is None else render_size(size),
    ]
    return [*shown, facts.plan, facts.repository or _NONE] if is_wide else shown


def _ago(at: float | None, now: float) -> str:
    if at is None:
        return _NONE
    if not is_believed(at, now):
        return f"{render_duration(at - now)} ahead"
    return f"{render_duration(now - at)} ago"


def _until(at: float | None, now: float) -> str:
    if at is None:
        return _NONE
    return f"in {render_duration(at - now)}" if at > now else "due"


def _unsaved_lines(answer: Protection, width: int | None) -> Iterator[str]:
    if not answer.unsaved:
        return
    yield "In no plan:"
    for one in answer.unsaved:
        why = f"({one.why})" if one.why else ""
        yield from _with_head(f"  {one.service} {one.path}", why, width, Meaning.BAD)
    yield from _folded(f"  → {_LABEL_HINT}", width, "    ")


def _fault_lines(answer: Protection, width: int | None) -> Iterator[str]:
    """Yield what is wrong with services, once for all with which the same is."""
    alike: dict[Judged, list[str]] = {}
    for one in answer.services:
        if not one.judged.state.is_good and not _is_told(one, answer):
            alike.setdefault(one.judged, []).append(one.name)
    for judged, names in alike.items():
        about = f"{_named(names)}: {judged.state.value}"
        yield from _told(about, judged.why, judged.hint, width, _meaning(judged.state))
    for one in answer.services:
        if one.judged.state.is_good and one.failure:
            words, hint = f"its last run {one.failure}", "see how it ended"
            yield from _told(one.name, words, hint, width, Meaning.UNSURE)


def _is_told(service: Service, answer: Protection) -> bool:
    """Return whether it is among those in no plan, and there is nothing to add."""
    is_bare = service.judged.state is ProtectionState.NO_PLAN and service.facts is None
    return is_bare and any(one.service == service.name for one in answer.unsaved or ())


def _told(
    about: str, message: str, hint: str, width: int | None, meaning: Meaning
) -> Iterator[str]:
    yield from _with_head(f"{about}:" if message else about, message, width, meaning)
    if hint:
        yield from _folded(f"  → {printable(hint)}", width, "    ")


def _with_head(head: str, rest: str, width: int | None, meaning: Meaning) -> Iterator[str]:
    """Yield a text whose head has a meaning, folded."""
    head = printable(head)
    first, *more = _folded(f"{head} {printable(rest)}".rstrip(), width, "    ")
    if first.startswith(head):
        first = styled(head, meaning) + first[len(head) :]
    yield from (first, *more)


def _folded(text: str, width: int | None, indent: str) -> list[str]:
    """Return a text as lines that fit, all but the first indented."""
    if width is None or len(text) <= width:
        return [text]
    # A long name is rather broken by the terminal than by us: it can be copied then.
    return wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _meaning(state: ProtectionState) -> Meaning:
    return _MEANINGS.get(state, Meaning.BAD)


def _last_lines(answer: Protection, width: int | None, *, has_warnings: bool) -> Iterator[str]:
    meaning = _meaning_of(answer, has_warnings=has_warnings)
    return (styled(line, meaning) for line in _folded(_summary(answer), width, "  "))


def _meaning_of(answer: Protection, *, has_warnings: bool) -> Meaning:
    if answer.is_everything:
        return Meaning.UNSURE if has_warnings else Meaning.GOOD
    is_bad = bool(answer.unsaved) or any(
        _meaning(one.judged.state) is Meaning.BAD or one.failure for one in answer.services
    )
    return Meaning.BAD if is_bad else Meaning.UNSURE


def _summary(answer: Protection) -> str:
    total = len(answer.counted)
    parts = [f"{answer.protected} of {counted(total, *_nouns(answer))} protected"]
    parts[0] += f", newest {_ago(answer.newest, answer.now)}" if total else ""
    if answer.unsaved is None:
        parts.append(f"in no plan: {_NONE}" + (f" ({answer.unlisted})" if answer.unlisted else ""))
    elif answer.unsaved:
        parts.append(f"in no plan: {_named(f'{u.service} {u.path}' for u in answer.unsaved)}")
    if failed := [one.name for one in answer.counted if one.failure and one.judged.state.is_good]:
        parts.append(f"last run failed: {_named(failed)}")
    return "; ".join(parts)


def _nouns(answer: Protection) -> tuple[str, str]:
    kinds = {one.is_plan for one in answer.counted}
    if kinds == {True}:
        return "plan", "plans"
    return ("service or plan", "services and plans") if len(kinds) > 1 else ("service", "services")


def _named(names: Iterable[str]) -> str:
    listed = tuple(names)
    more = len(listed) - _MOST_NAMED
    shown = ", ".join(listed[:_MOST_NAMED])
    return shown if more <= 0 else f"{shown} and {more} more"


def protection_json(
    answer: Protection, warnings: Iterable[Warned] = (), *, needs_attention: bool = False
) -> dict[str, Any]:
    """Return the same facts; times are ISO 8601 in UTC, sizes bytes, ages and periods seconds.

    null: never, or not known. Like the last line, `everything_protected` is no good answer where
    there are warnings, or something else `needs_attention`.
    """
    told = [{"message": one.message, "hint": one.hint} for one in warnings]
    return {
        "now": _iso(answer.now),
        "everything_protected": answer.is_everything and not told and not needs_attention,
        "everything_known": answer.is_known,
        "protected": answer.protected,
        "total": len(answer.counted),
        "newest": _iso(answer.newest),
        "services": [_service_json(one, answer.now) for one in answer.services],
        "in_no_plan": None
        if answer.unsaved is None
        else [{"service": u.service, "path": u.path, "why": u.why} for u in answer.unsaved],
        "warnings": told,
    }


def _service_json(service: Service, now: float) -> dict[str, Any]:
    facts, success = service.facts or PlanFacts(plan=""), service.last_success
    runs = facts.runs
    return {
        "service": None if service.is_plan else service.name,
        "plan": facts.plan or None,
        "repository": facts.repository or None,
        "document": facts.document or None,
        "state": service.judged.state.name.lower(),
        "why": service.judged.why,
        "hint": service.judged.hint,
        "last_success": _iso(success),
        "age": None if success is None else max(0, int(now - success)),
        "period": facts.period,
        "last_failure": service.failure or None,
        "running": None if runs is None else runs.is_running,
        "next_run": _iso(facts.next_run),
        "verified": _iso(facts.verified),
        "files": None if runs is None else runs.files,
        "size": None if runs is None else runs.size,
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
