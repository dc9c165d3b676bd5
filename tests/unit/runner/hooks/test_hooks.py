"""Hooks: which run, in which order, what their failure means. The commands are real."""

import json
import logging
import os
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sidecar.backrest.plan import OnError
from sidecar.backrest.reading import Config, Repo, RunHook, RunPlan
from sidecar.lib.process import ProcessRunner
from sidecar.runner.due import Job, JobKind
from sidecar.runner.hooks.check import HookProblem, check_hooks, find_blocker
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.events import HookFacts, HookOutcome, Hooks
from sidecar.runner.notify.messages import HttpRequest
from tests.fakes.message_list import MessageList

START = ("CONDITION_SNAPSHOT_START",)
SUCCESS = ("CONDITION_SNAPSHOT_SUCCESS", "CONDITION_SNAPSHOT_END")
FAILED = ("CONDITION_SNAPSHOT_ERROR", "CONDITION_ANY_ERROR", "CONDITION_SNAPSHOT_END")
REPO = Repo("main", "rest:http://u:repo-pass@host/", "", "hunter2-hunter2")
TASK = 'backup for plan "web"'
FACTS = HookFacts(TASK, REPO, None, 1_900_000_000.0, 2.5, "4bba301e", error="it broke")
HALTING = [on_error for on_error in OnError if on_error is not OnError.IGNORE]
LONG = 20.0


def command(
    script: str, *conditions: str, on_error: OnError = OnError.IGNORE, **settings: Any
) -> RunHook:
    """Make a hook that runs a script."""
    return RunHook(
        frozenset(conditions), "actionCommand", {"command": script, **settings}, on_error
    )


def discord(*conditions: str, template: str = "") -> RunHook:
    """Make a hook that notifies."""
    settings = {"webhookUrl": "https://discord.example/token-of-discord", "template": template}
    return RunHook(frozenset(conditions), "actionDiscord", settings, OnError.FATAL)


@dataclass
class Ground:
    """A place in which hooks run: what they write into `said`, and what they post."""

    directory: Path
    timeout: float | None = LONG
    messages: MessageList = field(default_factory=MessageList)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        environ = {"PATH": os.environ["PATH"], "SAID": str(self.said), "OWN": "its own"}
        self.programs = ProcessRunner(environ, grace=0.3)

    @property
    def said(self) -> Path:
        """The file into which hooks write."""
        return self.directory / "said"

    @property
    def lines(self) -> list[str]:
        """What they wrote."""
        return self.said.read_text("utf-8").splitlines() if self.said.exists() else []

    def run(
        self,
        events: tuple[str, ...],
        hooks: tuple[RunHook, ...],
        repo_hooks: tuple[RunHook, ...] = (),
        facts: HookFacts = FACTS,
        *,
        notifies: bool = True,
        ran: tuple[str, ...] = (),
    ) -> HookOutcome:
        """Run an event set of a plan with these hooks."""
        document = self.directory / "config.json"
        runner: Hooks = HookRunner(
            self.programs, document, self.messages, self.timeout, ZoneInfo("Europe/Berlin")
        )
        plan = RunPlan("web", "main", hooks=hooks)
        of_these = replace(facts, repo=replace(REPO, hooks=repo_hooks), plan=plan)
        return runner.run(events, of_these, self.stopping, notifies=notifies, ran=ran)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """Return a place of its own."""
    return Ground(tmp_path)


def say(word: str) -> str:
    """Return a script that writes a word."""
    return f'echo "{word}" >>"$SAID"'


def test_hooks_run_in_order_and_each_once(ground: Ground) -> None:
    """Those of the repository come first, and one with two events of the set runs once."""
    result = ground.run(
        SUCCESS,
        (
            command(say("plan 1 {{ .Event }}"), *reversed(SUCCESS)),
            command(say("plan 2"), *START),
            command(say("plan 3"), "CONDITION_SNAPSHOT_END", "CONDITION_SNAPSHOT_ERROR"),
        ),
        (command(say("repo {{ .Event }}"), "CONDITION_SNAPSHOT_END"),),
    )

    assert HookOutcome() == result
    assert [
        "repo CONDITION_SNAPSHOT_END",
        "plan 1 CONDITION_SNAPSHOT_SUCCESS",
        "plan 3",
    ] == ground.lines


def test_the_event_is_the_first_of_the_set_that_the_hook_has(ground: Ground) -> None:
    """The order of the set counts, not that of the hook."""
    ground.run(
        FAILED,
        (command(say("{{ .EventName .Event }}"), "CONDITION_SNAPSHOT_END", "CONDITION_ANY_ERROR"),),
    )

    assert ["error"] == ground.lines


def test_commands_are_templates(ground: Ground) -> None:
    """They are given what is known of the run, in the time of people."""
    ground.run(
        FAILED,
        (command(
            "printf '%s\\n' {{ .ShellEscape .Task }} {{ .ShellEscape .Error }} {{ .SnapshotId }}"
            " {{ .FormatTime .CurTime }} {{ .FormatDuration .Duration }} {{ .Plan.Id }} {{ .Repo.Id }}"
            ' "{{"{{"}}" >>"$SAID"',
            "CONDITION_ANY_ERROR",
        ),),
    )  # fmt: skip

    assert [
        'backup for plan "web"', "it broke", "4bba301e", "2030-03-17T18:46:40+01:00", "2.5s",
        "web", "main", "{{",
    ] == ground.lines  # fmt: skip


def test_a_command_sees_where_the_document_lies(ground: Ground) -> None:
    """Marker scripts find their folder beside it; all else is the runner's own environment."""
    ground.run(START, (command('echo "${BACKREST_CONFIG%/*} $OWN" >>"$SAID"', *START),))

    assert [f"{ground.directory} its own"] == ground.lines


def test_a_first_line_with_a_program_replaces_the_shell(ground: Ground) -> None:
    """What stands in it is split like a shell does; a comment in it is none of its words."""
    script = """#! /usr/bin/env  "-S" 'python3 -'  # told\nimport os, sys\nopen(os.environ["SAID"], "w").write(sys.argv[0])"""

    assert HookOutcome() == ground.run(START, (command(script, *START),))
    assert ["-"] == ground.lines


def test_only_the_last_command_counts(ground: Ground) -> None:
    """As in Backrest: without `set -e` a shell goes on."""
    assert HookOutcome() == ground.run(START, (command("false\ntrue", *START),))


def test_an_empty_command_does_nothing(ground: Ground) -> None:
    """Backrest runs an empty script."""
    assert HookOutcome() == ground.run(START, (command("", *START),))


@pytest.mark.parametrize("on_error", HALTING)
def test_a_failing_start_hook_halts(ground: Ground, on_error: OnError) -> None:
    """The hooks behind it do not run, and it is told how the run is to end."""
    result = ground.run(
        START,
        (command("echo why >&2; exit 3", *START, on_error=on_error), command(say("later"), *START)),
    )

    assert HookOutcome(on_error, ("hook 1 of plan web: exit code 3: why",)) == result
    assert [] == ground.lines


def test_a_start_hook_that_may_fail_does_not_halt(ground: Ground) -> None:
    """What is ignored is told all the same."""
    result = ground.run(START, (command("exit 3", *START), command(say("later"), *START)))

    assert HookOutcome(None, ("hook 1 of plan web: exit code 3",)) == result
    assert ["later"] == ground.lines


@pytest.mark.parametrize("on_error", HALTING)
@pytest.mark.parametrize("events", [SUCCESS, FAILED])
def test_after_the_work_nothing_halts(
    ground: Ground, on_error: OnError, events: tuple[str, ...]
) -> None:
    """What starts a container again runs, whatever the hook before it did."""
    end = "CONDITION_SNAPSHOT_END"
    result = ground.run(
        events, (command("kill -9 $$", end, on_error=on_error), command(say("later"), end))
    )

    assert HookOutcome(None, ("hook 1 of plan web: ended by signal 9",)) == result
    assert ["later"] == ground.lines


def test_a_hook_that_takes_too_long_is_ended(ground: Ground) -> None:
    """With all that it started, and told as a failure."""
    ground.timeout = 0.2
    script = 'echo begun; (sleep 60; echo late >>"$SAID") & sleep 60'

    result = ground.run(START, (command(script, *START, on_error=OnError.FATAL),))

    assert (
        HookOutcome(OnError.FATAL, ("hook 1 of plan web: it took longer than 0 s and was ended",))
        == result
    )


def test_notifications_may_wait_for_the_last_try(ground: Ground) -> None:
    """Commands run all the same."""
    hooks = (command(say("ran"), FAILED[0]), discord(FAILED[0]))
    for notifies, sent in ((False, 0), (True, 1)):
        ground.run(FAILED, hooks, notifies=notifies)
        assert sent == len(ground.messages)
    assert ["ran", "ran"] == ground.lines


def test_no_start_hook_begins_when_the_runner_is_asked_to_end(ground: Ground) -> None:
    """What it would stop nobody might start again."""
    ground.stopping.set()

    result = ground.run(START, (command(say("begun"), *START),))

    assert HookOutcome(OnError.CANCEL, ("the runner was asked to end",)) == result
    assert [] == ground.lines


def test_hooks_after_the_work_run_also_when_the_runner_is_asked_to_end(ground: Ground) -> None:
    """They put things right."""
    ground.stopping.set()

    assert HookOutcome() == ground.run(SUCCESS, (command(say("put right"), *SUCCESS),))
    assert ["put right"] == ground.lines


def test_a_start_hook_that_the_stop_ends_cancels(ground: Ground) -> None:
    """Also one whose failure would be ignored."""
    results: list[HookOutcome] = []
    os.mkfifo(ground.directory / "begun")
    hook = command(f"echo >{ground.directory}/begun; sleep 60", *START)
    thread = threading.Thread(target=lambda: results.append(ground.run(START, (hook,))))
    thread.start()
    (ground.directory / "begun").read_text("ascii")

    ground.programs.stop_all()
    thread.join(LONG)

    assert [
        HookOutcome(OnError.CANCEL, ("hook 1 of plan web: the runner was asked to end",))
    ] == results
    assert results == [ground.run(START, (hook,))]


def test_what_a_hook_says_is_short_and_masked(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    """The repository's password stands neither in the reason nor in the log."""
    caplog.set_level(logging.DEBUG)
    script = "seq 100000; echo pass=hunter2-hunter2 rest:http://u:repo-pass@host/ >&2; exit 1"

    (reason,) = ground.run(START, (command(script, *START),)).failures

    assert (
        "hook 1 of plan web: exit code 1: 100000 / pass=******** rest:http://********@host/"
        == reason
    )
    (ended,) = [
        record.__dict__["fields"] for record in caplog.records if record.message == "hook.ended"
    ]
    assert (20, "hook 1 of plan web", 1) == (
        len(ended["output"].splitlines()),
        ended["hook"],
        ended["status"],
    )
    assert "hunter2" not in str(ended)
    assert "repo-pass" not in str(ended)


def test_half_of_a_secret_is_not_shown(ground: Ground) -> None:
    """Where a very long line was cut, what is left of it is not told at all."""
    script = "printf 'hunter2-%.0s' $(seq 20000); exit 1"

    assert ("hook 1 of plan web: exit code 1",) == ground.run(
        START, (command(script, *START),)
    ).failures


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/no/such/program\n", "/no/such/program cannot be started: No such file or directory"),
        ("{{ .Nothing }}", "it cannot be used: .Nothing is not known here"),
        (
            "#!{{ .SnapshotId | .ShellEscape }}'\n",
            "it cannot be used: the quotes in the #! line do not match",
        ),
        ("#! # only told\n", "it cannot be used: the #! line names no program"),
    ],
)
def test_a_command_that_cannot_be_run_has_failed(ground: Ground, script: str, reason: str) -> None:
    """A START hook of that kind halts as it would if it had run and failed."""
    result = ground.run(START, (command(script, *START, on_error=OnError.CANCEL),))

    assert HookOutcome(OnError.CANCEL, (f"hook 1 of plan web: {reason}",)) == result


def test_notifications_are_posted_and_never_fail(ground: Ground) -> None:
    """They are on their way when the set is through; one that cannot be used is left out."""
    hooks = (
        discord(*START),
        discord(*START, template="{{ .Nothing }}"),
        command(say("run"), *START),
    )

    assert HookOutcome() == ground.run(START, hooks)
    (message,) = ground.messages
    assert isinstance(message.request, HttpRequest)
    assert ("discord of hook 1 of plan web", "plan web", 1_900_000_000.0, True) == (
        message.to,
        message.about,
        message.at,
        message.is_start,
    )
    assert json.loads(message.request.body)["content"].startswith(
        'backup for plan "web": snapshot start\n'
    )
    assert ["run"] == ground.lines


def test_what_is_posted_does_not_show_its_address(ground: Ground) -> None:
    """A message may be shown where its address may not."""
    ground.run(SUCCESS, (discord("CONDITION_SNAPSHOT_END"),))

    assert "token-of-discord" not in repr(ground.messages)


WEBHOOK = RunHook(frozenset(START), "actionWebhook", {"webhookUrl": "https://host/secret-token"})


def problems_of(*hooks: RunHook, repo_hooks: tuple[RunHook, ...] = ()) -> tuple[HookProblem, ...]:
    """Check a document with one plan."""
    repo = Repo("main", hooks=repo_hooks)
    return check_hooks(Config("", (repo,), (RunPlan("web", "main", hooks=hooks),)))


def test_hooks_that_can_run_have_no_problems() -> None:
    """Commands, notifications, and what has no event and so never runs."""
    assert () == problems_of(
        command("#!/bin/bash -e\n{{ if .Error }}x{{ end }}", *START),
        command("#!{{ .Task }}", *START),
        command("{{ nothing"),
        discord(*FAILED),
    )


def test_problems_are_told_where_they_are() -> None:
    """With the hook's owner, its number, the line in it, and whether anything can be run."""
    found = problems_of(
        command("true", *START),
        command("true\n{{ range .Plan.Paths }}{{ end }}", *START),
        WEBHOOK,
        RunHook(frozenset(START)),
        repo_hooks=(command("#!'", "CONDITION_PRUNE_START"),),
    )

    assert [
        ("hook 1 of repository main: the quotes in the #! line do not match", True),
        (
            "hook 2 of plan web: line 2: range is not supported here (use fields, if, else, and functions such as eq, and, or, not, printf, js)",
            True,
        ),
        (
            "hook 3 of plan web: the action actionWebhook is not supported (use actionShoutrrr with a generic:// address for a webhook)",
            False,
        ),
        (
            "hook 4 of plan web: it has no action (use actionShoutrrr with a generic:// address for a webhook)",
            False,
        ),
    ] == [(str(problem), problem.blocks) for problem in found]


@pytest.mark.parametrize(
    ("job", "is_blocked"),
    [
        (Job(JobKind.BACKUP, "web", "main"), True),
        (Job(JobKind.BACKUP, "db", "main"), False),
        (Job(JobKind.CHECK, "main", "main"), False),
        (Job(JobKind.PRUNE, "main", "main"), True),
        (Job(JobKind.PRUNE, "other", "other"), False),
        (Job(JobKind.RESTORE, "web", "main"), False),
    ],
)
def test_a_command_with_a_problem_blocks_what_it_belongs_to(job: Job, is_blocked: bool) -> None:
    """And nothing else: a check does not ask for the hooks of prune."""
    found = problems_of(
        command("{{ nothing }}", *START), repo_hooks=(command("{{ x }}", "CONDITION_PRUNE_START"),)
    )

    assert is_blocked == (find_blocker(found, job) is not None)


def test_a_notification_with_a_problem_blocks_nothing() -> None:
    """It is only left out."""
    assert find_blocker(problems_of(WEBHOOK), Job(JobKind.BACKUP, "web", "main")) is None


def test_hooks_of_retention_belong_to_the_backup() -> None:
    """They run behind it."""
    found = problems_of(command("{{ nothing }}", "CONDITION_FORGET_SUCCESS"))

    assert find_blocker(found, Job(JobKind.BACKUP, "web", "main")) is not None
