"""Snapshots that one plan forges of another: with a real restic, by flags in a document.

The labels' grammar refuses such flags; a plan that somebody made in Backrest's interface, or that an
older version wrote, may have them all the same, and Backrest runs it.
"""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import Config, RunPlan
from sidecar.engines.base import ResultKind
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job, JobKind
from sidecar.runner.empty_source import EmptySourceGuard
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.report import EndedRuns
from sidecar.runner.job.session import Session
from sidecar.runner.job.steps import Programs
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from sidecar.runner.restore.choose import RestoreRequest
from sidecar.runner.restore.restore import Restorer
from sidecar.runner.settings import EmptySourceOptions
from sidecar.runner.union import only_config
from tests.engines.bench import INSTANCE, ResticBench
from tests.fakes.made_engines import MadeEngines
from tests.fakes.message_list import MessageList

FORGERIES = [
    "--tag=plan:web",
    "--tag 'x,plan:web'",
    "--tag '  plan:web'",
    "--tag '\N{NO-BREAK SPACE}plan:web'",
    "--tag x --tag plan:web",
    f"--tag plan:web,created-by:{INSTANCE}",
]


@pytest.fixture
def attack(bench: ResticBench) -> Callable[[str], None]:
    """Return what backs up foreign data, and the victim's own paths, with a flag of the attacker."""

    def run(flag: str) -> None:
        for path in (bench.folder / "foreign", bench.source):
            plan = bench.plan("evil", path, backup_flags=(flag,))
            done = bench.engine().capture(plan, INSTANCE, bench.reported.append)
            assert ResultKind.SUCCESS is done.kind, done.reason

    return run


def back_up(bench: ResticBench, journal: Journal, plan: RunPlan) -> Ended:
    """Run a plan's backup and retention as the daemon does."""
    hooks = HookRunner(bench.runner, bench.folder / "config.json", MessageList())
    programs = Programs(MadeEngines(bench.restic), hooks)
    config = Config(INSTANCE, (bench.repo(),), (plan,))
    job = Job(JobKind.BACKUP, plan.id, "store")
    run = Session(journal, programs, programs, EndedRuns()).run(job, config, RunCause.MANUAL)
    assert run.ended is not None
    return run.ended


@pytest.mark.parametrize("flag", FORGERIES)
def test_nothing_of_the_victims_is_forgotten(
    bench: ResticBench, journal: Journal, attack: Callable[[str], None], flag: str
) -> None:
    """The attacker's would count as the newest, and push out what the victim has."""
    victim = bench.plan("web", retention=Retention(last=1))
    with journal:
        first = bench.backup(victim).snapshot
        attack(flag)
        ended = back_up(bench, journal, victim)
    kept = [one[:8] for one in bench.names(victim)]

    assert [first[:8], ended.snapshot[:8]] == kept
    assert RunOutcome.WARNING is ended.outcome
    assert "snapshot.forged" in ended.reason


@pytest.mark.parametrize("flag", FORGERIES)
def test_nothing_foreign_is_restored(
    bench: ResticBench, journal: Journal, attack: Callable[[str], None], flag: str
) -> None:
    """Neither to a target, nor where a plan has become empty."""
    victim = bench.plan("web")
    bench.backup(victim)
    attack(flag)
    target = bench.folder / "target"
    with journal:
        restorer = Restorer(bench.engine(), journal, None, now=lambda: 1000.0)
        request = RestoreRequest(victim, INSTANCE, target=str(target))
        restorer.run(restorer.prepare(request))

    assert ["mine"] == [one.name for one in target.iterdir()]


def test_an_emptied_plan_is_filled_from_its_own(
    bench: ResticBench, journal: Journal, attack: Callable[[str], None]
) -> None:
    """`--restore-empty` takes the newest of the plan's, without anybody looking at it."""
    victim = bench.plan("web")
    bench.backup(victim)
    bench.write("mine", "not mine any more")
    attack("--tag=plan:web")

    with journal:
        options = EmptySourceOptions(everything=True)
        engines, document = (
            MadeEngines(lambda _: bench.engine()),
            ExecutedDocument(only_config(Config(INSTANCE))),
        )
        guard = EmptySourceGuard(journal, engines, document, None, options)
        guard.remember(victim, has_saved=True)
        (bench.source / "mine").unlink()
        guard.refill(victim)

    assert "mine" == (bench.source / "mine").read_text()


@pytest.mark.parametrize(
    "tag", ["plan:x;touch HIT", "plan:$(touch HIT)", "plan:a b'c", "plan:\x1b[2J"]
)
def test_the_line_that_heals_is_safe_to_paste(
    bench: ResticBench, journal: Journal, tag: str
) -> None:
    """A tag is the attacker's text: a shell takes it for one word, and it heals."""
    victim = bench.plan("web")
    first = bench.backup(victim).snapshot[:8]
    bench.run("tag", "--add", tag, first)
    [forged] = [one["short_id"] for one in json.loads(bench.run("snapshots", "--json"))]
    with journal:
        reason = back_up(bench, journal, replace(victim, retention=Retention(last=9))).reason
        words = shlex.split(reason.rpartition("→ ")[2])
        assert ["restic", "tag", "--remove", tag, forged] == words
        bench.run(*words[1:])
        healed = back_up(bench, journal, replace(victim, retention=Retention(last=9)))

    assert "" == healed.reason
    assert 3 == len(bench.names(victim))
