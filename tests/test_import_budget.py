"""What each command imports before it does anything: a cold start stays short."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What no command of the runner needs before it does anything.
_NOT_FOR_THE_RUNNER = frozenset(
    {
        "apprise",
        "jsonschema",
        "pydantic",
        "prometheus_client",
        "rich",
        "watchfiles",
        "yaml",
        "starlette",
    }
)

# What no list of commands needs: no command itself, and nothing of what commands do.
_NOT_FOR_THE_HELP = _NOT_FOR_THE_RUNNER | {
    "docker",
    "logging",
    "requests",
    "rich",
    "sidecar.backrest",
    "sidecar.cli.options",
    "sidecar.engines",
    "sidecar.labels",
    "sidecar.planner",
    "sidecar.reconciler",
    "sidecar.schedule",
    "sqlite3",
    "subprocess",
}

# What a look at documents and journal needs none of: it runs nothing.
_NOT_FOR_PLANS = frozenset(
    {
        "docker",
        "pydantic_core",
        "requests",
        "rich",
        "sidecar.engines.restic",
        "sidecar.engines.rsync",
        "sidecar.runner.foreground",
        "sidecar.runner.hooks",
        "sidecar.runner.job.session",
        "sidecar.runner.parts",
        "sidecar.runner.restore",
        "ssl",
    }
)

# A command line of Python → what it must import, so that the test looks at the right thing,
# and what it must not import, because that costs more than the whole command.
BUDGETS: dict[str, tuple[str, set[str]]] = {
    "-m sidecar healthcheck --state-dir nowhere": (
        "sidecar.reconciler.healthcheck",
        {
            "click",
            "docker",
            "logging",
            "pydantic",
            "requests",
            "sidecar.cli.commands.main",
            "sidecar.planner",
        },
    ),
    "-m sidecar.runner healthcheck --state-dir nowhere": (
        "sidecar.runner.healthcheck",
        {
            "click",
            "docker",
            "logging",
            "pydantic",
            "requests",
            "sqlite3",
            "sidecar.cli.runner.main",
        },
    ),
    "-m sidecar version": (
        "sidecar.cli.commands.main",
        {
            "docker",
            "jsonschema",
            "pydantic",
            "requests",
            "rich",
            "sidecar.reconciler.loop",
            "starlette",
        },
    ),
    "-m sidecar reconcile --help": (
        "sidecar.cli.commands.main",
        {"docker", "jsonschema", "pydantic", "requests", "rich", "starlette"},
    ),
    "-m sidecar reconcile --dry-run --inventory testdata/inventory/minimal.json --config testdata/example-sidecar.config.json": (
        "sidecar.reconciler.reconcile",
        {
            "apprise",
            "docker",
            "jsonschema",
            "requests",
            "rich",
            "sidecar.backrest.api",
            "sidecar.docker.client",
            "sidecar.docker.compose",
            "sidecar.reconciler.apply",
            "ssl",
            "starlette",
            "yaml",
        },
    ),
    "-m sidecar.runner version": ("sidecar.cli.runner.main", set(_NOT_FOR_THE_HELP)),
    "-m sidecar.runner --help": ("sidecar.cli.runner.main", set(_NOT_FOR_THE_HELP)),
    "-m sidecar.runner plans --help": (
        "sidecar.cli.runner.options",
        {*_NOT_FOR_THE_RUNNER, *_NOT_FOR_PLANS},
    ),
    "-m sidecar.runner plans --config testdata/example-sidecar.config.json --state-dir /dev/null/x": (
        "sidecar.runner.timetable",
        {*_NOT_FOR_THE_RUNNER, *_NOT_FOR_PLANS},
    ),
}


# What makes up a program → what its process must not hold: the other program, above all. A server
# only if it serves, and never in what asks one.
PROGRAMS: dict[str, set[str]] = {
    "sidecar.reconciler.daemon": {"starlette", "uvicorn"},
    "sidecar.web.client": {"asyncio", "jsonschema", "starlette", "uvicorn"},
    "sidecar.reconciler.daemon, sidecar.web.reconciler": {
        "apprise",
        "jsonschema",
        "sidecar.engines",
        "sidecar.runner",
        "sqlite3",
    },
    "sidecar.runner.parts, sidecar.docker.one_shot": {"pydantic", "sidecar.reconciler"},
    "sidecar.runner.daemon, sidecar.web.runner": {
        "apprise",
        "jsonschema",
        "prometheus_client",
        "sidecar.labels",
        "sidecar.planner",
        "sidecar.reconciler",
    },
}


def imported(*arguments: str) -> set[str]:
    """Run Python so and return all modules that it imports, with their packages."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize("command", BUDGETS)
def test_a_command_imports_what_it_needs(command: str) -> None:
    """The rest is imported where it is used."""
    needed, heavy = BUDGETS[command]
    found = imported(*command.split())

    assert needed in found
    assert set() == found & heavy


@pytest.mark.parametrize("program", ["sidecar", "sidecar.runner"])
def test_healthcheck_imports_of_ours_little_more_than_its_own_file(program: str) -> None:
    """It runs every few seconds, for as long as the daemon does."""
    found = imported("-m", program, "healthcheck", "--state-dir", "nowhere")
    own = {name for name in found if name.split(".")[0] == "sidecar"}
    packages = {name.rpartition(".")[0] for name in own}

    assert {
        "sidecar.lib.read_file",
        "sidecar.service.healthcheck",
        "sidecar.service.start",
    } == {
        name
        for name in own - packages
        if not name.endswith(("reconciler.healthcheck", "runner.healthcheck"))
    }


@pytest.mark.parametrize("modules", PROGRAMS)
def test_a_program_holds_nothing_that_it_does_not_need(modules: str) -> None:
    """It would cost megabytes, for as long as it runs, and time before it begins."""
    found = imported("-c", f"import {modules}")

    assert set(modules.split(", ")) <= found
    assert set() == found & PROGRAMS[modules]


def test_the_budgets_name_modules_that_exist() -> None:
    """A name that is gone would forbid nothing."""
    named = {name for needed, heavy in BUDGETS.values() for name in (needed, *heavy)}
    named |= {name for heavy in PROGRAMS.values() for name in heavy}

    assert [] == [name for name in sorted(named) if importlib.util.find_spec(name) is None]
