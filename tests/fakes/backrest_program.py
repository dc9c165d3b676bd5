"""A stand-in for Backrest that really backs up, as a program: BACKREST_CONFIG and BACKREST_PORT.

Real in it: restic, the repository, `sh` and whatever the hooks call. It initialises
repositories that ask for it, and runs plans as Backrest was seen to: START hooks, a look at
every path, `restic backup` with its tags and excludes, then the hooks of the outcome, each
given to `sh` on its standard input and run at most once.

What is fake: the HTTP API and the queue (`fake_backrest`), the templates of hooks (only what
generated hooks write in them is rendered), one way of failing (a START hook that fails always
ends the run), and everything that is left out: other actions than commands, retention,
pruning, checks, limits, the web interface.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidecar.backrest.operations import Status
from tests.fakes import google_shlex
from tests.fakes.fake_backrest import FakeBackrest

Json = dict[str, Any]
_LOOK_SECONDS = 0.2
_PARTIAL = 3
_START = {"CONDITION_SNAPSHOT_START"}
_HALTED = {"CONDITION_ANY_ERROR", "CONDITION_SNAPSHOT_ERROR"}
_FAILED = {*_HALTED, "CONDITION_SNAPSHOT_END"}
_OUTCOMES = {
    Status.SUCCESS: {"CONDITION_SNAPSHOT_SUCCESS", "CONDITION_SNAPSHOT_END"},
    Status.WARNING: {"CONDITION_SNAPSHOT_WARNING", "CONDITION_SNAPSHOT_END"},
}


class RunError(RuntimeError):
    """A command failed; the message ends with what it said."""


def initialise(config: Path) -> None:
    """Make each repository that asks for it, and write into the document what it became."""
    document: Json = json.loads(config.read_text())
    for repo in document.get("repos", []):
        if repo.pop("autoInitialize", False):
            try:
                known = _restic(repo, "cat", "config")
            except RunError:
                _restic(repo, "init")
                known = _restic(repo, "cat", "config")
            repo["guid"] = json.loads(known[known.index("{") :])["id"]
    part = config.with_suffix(".new")
    part.touch(mode=0o600)
    part.write_text(json.dumps(document, indent=2))
    part.replace(config)


def run_plan(config: Json, plan: Json) -> tuple[Status, str, str]:
    """Run one plan to its end; give its status, what went wrong, and the snapshot's id."""
    try:
        _fire(plan, _START)
    except RunError as error:
        _fire_all(plan, _HALTED)
        return Status.ERROR, str(error), ""
    try:
        status, snapshot = _backup(config, plan)
    except (RunError, OSError) as error:
        _fire_all(plan, _FAILED)
        return Status.ERROR, str(error), ""
    _fire_all(plan, _OUTCOMES[status])
    return status, "", snapshot


def _backup(config: Json, plan: Json) -> tuple[Status, str]:
    for path in plan["paths"]:
        Path(path).stat()
    repo = next(repo for repo in config["repos"] if repo["id"] == plan["repo"])
    command = ["backup", "--json", *plan["paths"], "--exclude-caches"]
    command += ["--tag", f"plan:{plan['id']}", "--tag", f"created-by:{config['instance']}"]
    for flag, key in (("--exclude", "excludes"), ("--iexclude", "iexcludes")):
        command += [word for pattern in plan.get(key, []) for word in (flag, pattern)]
    for flags in plan.get("backup_flags", []):
        words = google_shlex.split(flags)
        if words is None:
            raise RunError(f"failed to parse backup flag {flags!r}")
        command += words
    done = _run(["restic", *command], _environment(repo))
    if done.returncode not in {0, _PARTIAL}:
        raise RunError(done.stdout)
    summary = json.loads(done.stdout.splitlines()[-1])
    return (Status.WARNING if done.returncode else Status.SUCCESS), summary["snapshot_id"]


def _restic(repo: Json, *command: str) -> str:
    done = _run(["restic", *command], _environment(repo))
    if done.returncode:
        raise RunError(done.stdout)
    return done.stdout


def _environment(repo: Json) -> Mapping[str, str]:
    own = dict(entry.split("=", 1) for entry in repo.get("env", []))
    secret = {"RESTIC_PASSWORD": repo["password"], "RESTIC_REPOSITORY": repo["uri"]}
    return {**os.environ, **secret, **own}


def _fire(plan: Json, events: set[str]) -> None:
    """Run the hooks of a set of events; raises RunError at the first that fails."""
    for hook in plan.get("hooks", []):
        if events & set(hook["conditions"]) and "actionCommand" in hook:
            script = hook["actionCommand"]["command"].replace('{{"{{"}}', "{{")
            done = _run(["sh"], os.environ, script)
            print(done.stdout, end="", flush=True)  # noqa: T201 - the container's log
            if done.returncode and hook.get("onError", "ON_ERROR_IGNORE") != "ON_ERROR_IGNORE":
                raise RunError(f"hook failed: {done.stdout}")


def _fire_all(plan: Json, events: set[str]) -> None:
    for hook in plan.get("hooks", []):
        _fire({"hooks": [{**hook, "onError": "ON_ERROR_IGNORE"}]}, events)


def _run(
    command: list[str], environment: Mapping[str, str], stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def main() -> None:
    """Serve, and run what is due or asked for, until SIGTERM."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    config = Path(os.environ["BACKREST_CONFIG"])
    host, _, port = os.environ["BACKREST_PORT"].rpartition(":")
    initialise(config)
    # No hash is checked: the password is the one that `init` made beside the document.
    made = config.with_name("ui-password")
    password = made.read_text().strip() if made.exists() else ""
    with FakeBackrest(config, listen=(host, int(port)), password=password) as fake:
        while signal.sigtimedwait(ends, _LOOK_SECONDS) is None:
            fake.begin_due()
            for plan_id in fake.in_progress():
                known = fake.cached
                plan = next(plan for plan in known["plans"] if plan["id"] == plan_id)
                fake.finish(plan_id, *run_plan(known, plan))


if __name__ == "__main__":
    main()
