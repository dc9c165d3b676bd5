"""The last line says what is the case and has the colour of that; JSON has the same facts."""

import click
import pytest

from sidecar.backrest.protection import KnownRuns, PlanFacts, Protection, assess
from sidecar.backrest.workloads import MountRecord, WorkloadRecord
from sidecar.cli.output.protection import protection_json, render_protection
from sidecar.cli.output.terminal import Meaning
from sidecar.runner.plan_facts import Warned

NOW, HOUR, DAY = 1_800_000_000.0, 3600.0, 86_400.0
GOOD = KnownRuns(last_success=NOW - 3 * HOUR, files=2, size=10)
REDIS = WorkloadRecord("media/redis", "redis", mounts=(MountRecord("/data"),))
STARTS = {meaning: click.style("|", fg=meaning.value).partition("|")[0] for meaning in Meaning}


def answer(
    *names: str, runs: KnownRuns | None = GOOD, more: tuple[WorkloadRecord, ...] = ()
) -> Protection:
    """The answer about services with such runs, and more workloads."""
    plans = {name: PlanFacts(plan=name, period=DAY, runs=runs) for name in names}
    workloads = [WorkloadRecord(f"media/{name}", name, plan=name) for name in names]
    return assess((*workloads, *more), plans, HOUR, NOW)


def last_line(
    found: Protection, *, warnings: tuple[Warned, ...] = (), needs_attention: bool = False
) -> tuple[str, Meaning]:
    """The last line, and what its colour means."""
    text = render_protection(found, None, warnings=warnings, needs_attention=needs_attention)
    line = text.splitlines()[-1]
    (meaning,) = [one for one, start in STARTS.items() if line.startswith(start)]
    return click.unstyle(line), meaning


@pytest.mark.parametrize(
    ("found", "words", "meaning"),
    [
        (answer("db"), "1 of 1 service protected, newest 3 h ago", Meaning.GOOD),
        (
            answer("db", "web", more=(REDIS,)),
            "2 of 3 services protected, newest 3 h ago; in no plan: media/redis /data",
            Meaning.BAD,
        ),
        (answer("db", runs=None), "0 of 1 service protected, newest –", Meaning.UNSURE),
        (answer("db", runs=KnownRuns()), "0 of 1 service protected, newest –", Meaning.BAD),
        (
            answer("db", runs=KnownRuns(last_success=NOW - HOUR, files=1, failure="failed")),
            "1 of 1 service protected, newest 1 h ago; last run failed: media/db",
            Meaning.BAD,
        ),
        (answer(), "0 of 0 services protected", Meaning.UNSURE),
        (
            assess(None, {"db": PlanFacts(plan="db", period=DAY, runs=GOOD)}, HOUR, NOW, "why"),
            "1 of 1 plan protected, newest 3 h ago; in no plan: – (why)",
            Meaning.UNSURE,
        ),
        (
            assess(
                [WorkloadRecord("web", "web", plan="web")],
                {name: PlanFacts(plan=name, period=DAY, runs=GOOD) for name in ("web", "mine")},
                HOUR,
                NOW,
            ),
            "2 of 2 services and plans protected, newest 3 h ago",
            Meaning.GOOD,
        ),
    ],
)
def test_last_line_is_the_answer(found: Protection, words: str, meaning: Meaning) -> None:
    """Never green for what is not known."""
    assert (words, meaning) == last_line(found)


def test_many_mounts_in_no_plan_are_counted_in_the_last_line() -> None:
    """All are above it."""
    mounts = tuple(MountRecord(f"/{number}") for number in range(5))
    found = answer("db", more=(WorkloadRecord("big", "big", mounts=mounts),))
    assert last_line(found)[0].endswith("in no plan: big /0, big /1, big /2 and 2 more")
    assert "  big /4" in click.unstyle(render_protection(found, None))


def test_what_is_told_beside_it_keeps_it_from_being_green() -> None:
    """A broken document, or what waits for a person."""
    warned = (Warned("the document runner.json is broken", "mend it"),)
    assert Meaning.UNSURE is last_line(answer("db"), warnings=warned)[1]
    assert Meaning.UNSURE is last_line(answer("db"), needs_attention=True)[1]
    shown = click.unstyle(render_protection(answer("db"), None, warnings=warned, notes=["note"]))
    assert "warning: the document runner.json is broken\n  → mend it\n\nnote\n\n" in shown


def test_a_run_that_is_due_and_one_that_failed_are_shown() -> None:
    """With what to do."""
    facts = PlanFacts(
        plan="db",
        period=DAY,
        next_run=NOW - 1,
        runs=KnownRuns(last_success=NOW - HOUR, files=1, failure="failed (network)"),
    )
    found = assess([WorkloadRecord("db", "db", plan="db")], {"db": facts}, HOUR, NOW)
    shown = click.unstyle(render_protection(found, None))
    assert "  due  " in shown
    assert "db: its last run failed (network)\n  → see how it ended" in shown


def test_json_tells_what_is_not_known_by_null() -> None:
    """Ids, times and numbers, as everywhere in UTC, bytes and seconds."""
    shown = protection_json(answer("db", runs=None, more=(REDIS,)), [Warned("w", "h")])
    assert {"service": "media/redis", "path": "/data", "why": ""} == shown["in_no_plan"][0]
    assert [{"message": "w", "hint": "h"}] == shown["warnings"]
    assert ("unknown", None, None) == tuple(
        shown["services"][0][key] for key in ("state", "last_success", "running")
    )
    told = [
        protection_json(answer("db"), *more)["everything_protected"]
        for more in ((), ([Warned("w", "h")],))
    ]
    assert [True, False] == told
    good = protection_json(answer("db"))["services"][0]
    assert ("protected", "2027-01-15T05:00:00+00:00", 3 * HOUR, DAY) == tuple(
        good[key] for key in ("state", "last_success", "age", "period")
    )
    assert protection_json(assess(None, {}, HOUR, NOW))["in_no_plan"] is None
