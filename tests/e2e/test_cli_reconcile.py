"""`reconcile` as people and programs call it: flags, variables, results, exit codes, messages."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from sidecar.cli.commands.main import run_cli
from sidecar.cli.commands.preview import reconcile
from sidecar.cli.output.plan_table import RESTART_NOTE
from sidecar.docker.models import Mount
from sidecar.reconciler.state import Memory, RunnerSeen
from tests.fakes.fake_docker import FakeDocker

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "testdata" / "example-sidecar.config.json"
WEB = "backrest_sidecar_web"
KEYS = ["config", "changed", "added", "updated", "orphaned", "unchanged", "plans", "problems"]
PROBLEM_KEYS = ["reason", "severity", "workload", "container", "label", "message", "hint"]
# Older names of variables, by flag.
OLDER = {
    "config": "BACKREST_CONFIG",
    "docker-sock": "DOCKER_HOST",
    "volume-prefix": "BACKREST_VOLUME_PREFIX",
    "default-repo": "BACKREST_DEFAULT_REPO",
    "default-retention": "BACKREST_DEFAULT_RETENTION",
    "plan-id-prefix": "BACKREST_PLAN_ID_PREFIX",
}
USAGE = "Usage: "


@dataclass(frozen=True)
class Ran:
    """What one run gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object on standard output."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Place:
    """A folder with a document and a saved list, and runs in it."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        """The document."""
        return self.folder / "config.json"

    @property
    def plans(self) -> dict[str, Any]:
        """The document's plans by id."""
        return {plan["id"]: plan for plan in json.loads(self.config.read_text())["plans"]}

    def containers(self, *entries: dict[str, Any]) -> None:
        """Make these the saved list."""
        (self.folder / "list.json").write_text(json.dumps(entries))

    def run(self, *args: str) -> Ran:
        """Run the command line in this process."""
        code = run_cli(args)
        output = self.capsys.readouterr()
        return Ran(code, output.out, output.err)

    def reconcile(self, *args: str) -> Ran:
        """Run with the document and the saved list."""
        return self.run("--config", "config.json", "--inventory", "list.json", *args)

    def preview(self, *args: str) -> Any:
        """Return the JSON object of a dry run."""
        return self.reconcile("--dry-run", "--output", "json", *args).json

    def snapshot(self) -> dict[str, tuple[bytes, int, int]]:
        """Return bytes, mtime and inode of every file, and the folder's own mtime."""
        found = {".": (b"", self.folder.stat().st_mtime_ns, 0)}
        for path in self.folder.iterdir():
            content = path.read_bytes() if path.is_file() else b""
            found[path.name] = (content, path.stat().st_mtime_ns, path.stat().st_ino)
        return found


def container(name: str = "web", **labels: str) -> dict[str, Any]:
    """A running container with one volume; `_` in a label's name stands for `.`."""
    own = {f"backrest.{key.replace('_', '.')}": value for key, value in labels.items()}
    source = f"/var/lib/docker/volumes/{name}/_data"
    mount = {"Type": "volume", "Name": name, "Source": source, "Destination": "/data"}
    return {
        "Id": name.encode().hex().ljust(64, "0"),
        "Names": [f"/{name}"],
        "Labels": {"backrest.enable": "true", **own},
        "Mounts": [{**mount, "Driver": "local"}],
    }


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Place]:
    """A folder of our own, and no variable of ours in the environment."""
    for name in [*os.environ]:
        if name.startswith("BACKREST") or name == "DOCKER_HOST":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    made = Place(tmp_path, capsys)
    made.config.write_bytes(EXAMPLE.read_bytes())
    made.containers(container())
    logger = logging.getLogger("sidecar")
    before = logger.handlers[:], logger.level, logger.propagate
    yield made
    logger.handlers[:], logger.level, logger.propagate = before


def spawn(folder: Path, *args: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Run `python -m sidecar` in the folder."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("BACKREST") and key != "DOCKER_HOST"
    }
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *args],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)} | more.pop("variables", {}),
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
        **more,
    )


# Without a subcommand


def test_flags_alone_are_a_reconcile(place: Place) -> None:
    """The subcommand may be left out, in front of flags and altogether."""
    named = place.run(
        "reconcile", "--dry-run", "--config", "config.json", "--inventory", "list.json"
    )
    assert named == place.reconcile("--dry-run")
    assert (0, "") == (named.code, named.err)


def test_no_argument_at_all_is_the_help(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no success; a flag is enough to reconcile, variables say all that is not the default."""
    monkeypatch.setenv("BACKREST_SIDECAR_INVENTORY", "list.json")
    document = place.folder / "backrest.config.json"
    document.write_bytes(EXAMPLE.read_bytes())
    ran = place.run()
    assert (1, EXAMPLE.read_bytes()) == (ran.code, document.read_bytes())
    assert ran.err.startswith("Usage: ")
    ran = place.run("--log-level", "warn")
    assert 0 == ran.code
    assert "backrest.config.json is written: 1 new" in ran.out


def test_a_process_behaves_the_same(place: Place) -> None:
    """`python -m sidecar` gives the same result on the same streams."""
    here = place.reconcile("--dry-run")
    done = spawn(place.folder, "--config", "config.json", "--inventory", "list.json", "--dry-run")
    assert here == Ran(done.returncode, done.stdout, done.stderr)


# Results


def test_json_is_one_object_with_stable_keys(place: Place) -> None:
    """Programs get exactly these keys, the plan whole, and nothing else on standard output."""
    shown = place.preview()
    assert KEYS == list(shown)
    assert ("config.json", True, [WEB], [], [], []) == tuple(shown[key] for key in KEYS[:6])
    assert [
        {
            "id": WEB,
            "repo": "sample-repo",
            "paths": ["/var/lib/docker/volumes/web/_data"],
            "schedule": {"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"},
            "retention": {"policyTimeBucketed": {"daily": 7, "weekly": 4}},
        }
    ] == shown["plans"]
    assert [] == shown["problems"]


def test_json_tells_each_kind_of_plan(place: Place) -> None:
    """Added, updated, orphaned and unchanged plans are told apart, sorted by id."""
    place.containers(container("a"), container("b"), container("c"))
    place.reconcile()
    place.containers(container("b", keep="last=3"), container("c"), container("d"))
    shown = place.preview()
    prefix = "backrest_sidecar_"
    assert {
        "added": [f"{prefix}d"],
        "updated": [f"{prefix}b"],
        "orphaned": [f"{prefix}a"],
        "unchanged": [f"{prefix}c"],
    } == {key: shown[key] for key in ("added", "updated", "orphaned", "unchanged")}
    assert [f"{prefix}{name}" for name in "bcd"] == [plan["id"] for plan in shown["plans"]]


def test_json_problems_have_stable_keys(place: Place) -> None:
    """Each problem says what is wrong where, and what to write instead."""
    place.containers(container(schedule="61 * * * *"))
    (problem,) = place.preview()["problems"]
    assert PROBLEM_KEYS == list(problem)
    assert ["schedule.invalid", "error", "web", "web", "backrest.schedule"] == [
        problem[key] for key in PROBLEM_KEYS[:5]
    ]
    assert problem["message"]
    assert problem["hint"]


def test_table_is_for_people(place: Place) -> None:
    """Per workload: container path and runner path, words for the schedule, retention, repo."""
    place.containers(container(hooks_template="stop-start", keep="daily=3,last=2"))
    lines = [" ".join(line.split()) for line in place.reconcile("--dry-run").out.splitlines()]
    assert f"web plan {WEB} (new)" == lines[0]
    assert "paths /data → /var/lib/docker/volumes/web/_data" in lines
    assert "repository sample-repo" in lines
    assert any(line.startswith("schedule every day at 02:00, next ") for line in lines)
    assert any(line.startswith("retention ") and "3 daily" in line for line in lines)
    assert "hooks on start: stop web if it runs" in lines
    assert lines[-1].startswith("config.json would be written: 1 new")
    assert "Nothing was written." in lines[-1]


def test_table_shows_a_problem_below_its_workload(place: Place) -> None:
    """A blocked workload says so, with reason and hint."""
    place.containers(container("bad", keep="weekly=0"), container("good"))
    out = place.reconcile("--dry-run").out
    blocks = out.split("\n\n")
    assert "bad  plan backrest_sidecar_bad (no plan)" in blocks[0]
    assert "keep.invalid [bad backrest.keep] " in blocks[0]
    assert "→ write" in blocks[0]
    assert "keep.invalid" not in blocks[1]


def test_diff_applies_to_the_document(place: Place) -> None:
    """The unified diff turns the file as it is into the file as it is written."""
    diff = place.reconcile("--dry-run", "--output", "diff").out
    patched = place.folder / "patched.json"
    patched.write_bytes(place.config.read_bytes())
    # The password is masked in context lines too, so it cannot match there.
    patched.write_text(patched.read_text().replace("only-an-example", "********"))
    subprocess.run(["patch", "--quiet", str(patched)], input=diff, text=True, check=True)
    place.reconcile()
    assert place.config.read_text().replace("only-an-example", "********") == patched.read_text()


def test_diff_is_empty_when_nothing_changes(place: Place) -> None:
    """No heading, no line break: a program may test for emptiness."""
    place.reconcile()
    assert Ran(0, "", "") == place.reconcile("--output", "diff")


@pytest.mark.parametrize("form", ["table", "json", "diff"])
def test_note_about_the_restart_comes_only_after_a_write(place: Place, form: str) -> None:
    """Backrest reads the file when it starts; who wrote nothing need not restart it.

    A program that reads standard output does not meet the note there.
    """
    ran = place.reconcile("--output", form, "--dry-run")
    assert RESTART_NOTE not in ran.out + ran.err
    ran = place.reconcile("--output", form)
    assert RESTART_NOTE in (ran.out if form == "table" else ran.err)
    ran = place.reconcile("--output", form)
    assert RESTART_NOTE not in ran.out + ran.err


# What is written


def test_a_real_run_changes_plans_and_modno_alone(place: Place) -> None:
    """The new plan stands among the others, `modno` is one more, all else is as it was."""
    before = json.loads(place.config.read_text())
    place.reconcile()
    after = json.loads(place.config.read_text())
    assert before["modno"] + 1 == after["modno"]
    assert [WEB, "made-in-the-web-interface"] == [plan["id"] for plan in after["plans"]]
    own = after["plans"].pop(0)
    assert place.preview()["plans"] == [own]
    assert before | {"modno": after["modno"]} == after


def test_a_second_run_touches_nothing(place: Place) -> None:
    """Bytes, mtime and inode of the document stay, and so does the folder."""
    place.reconcile()
    before = place.snapshot()
    again = place.reconcile("--output", "json", "--detailed-exitcode")
    assert 0 == again.code
    assert (False, [WEB]) == (again.json["changed"], again.json["unchanged"])
    assert before == place.snapshot()


def test_a_dry_run_touches_nothing(place: Place) -> None:
    """Nothing is created, written or left behind, whatever the output."""
    before = place.snapshot()
    for form in ("table", "json", "diff"):
        assert 0 == place.reconcile("--dry-run", "--output", form).code
    assert before == place.snapshot()


def test_modno_starts_at_one_where_there_is_none(place: Place) -> None:
    """A document that Backrest never saved has no `modno`."""
    root = json.loads(place.config.read_text())
    del root["modno"]
    place.config.write_text(json.dumps(root))
    place.reconcile()
    assert 1 == json.loads(place.config.read_text())["modno"]


def test_mode_is_kept_or_set(place: Place) -> None:
    """Without the flag the permission bits stay; with it each write sets them."""
    place.config.chmod(0o640)
    place.reconcile()
    assert 0o640 == place.config.stat().st_mode & 0o777
    place.containers(container("other"))
    place.reconcile("--config-mode", "0600")
    assert 0o600 == place.config.stat().st_mode & 0o777


# Exit codes


@pytest.mark.parametrize(
    ("labels", "flags", "code"),
    [
        ({}, [], 0),
        ({}, ["--detailed-exitcode"], 2),
        ({"backup-flags": "--tag x", "keep": "daily=1,within=3d"}, [], 0),
        ({"keep": "nonsense"}, [], 3),
        ({"nonsense": "x"}, [], 3),
        ({"nonsense": "x"}, ["--detailed-exitcode"], 3),
    ],
    ids=["fine", "changed", "warning", "error", "degraded", "degraded-and-changed"],
)
def test_exit_code_tells_the_worst(
    place: Place, labels: dict[str, str], flags: list[str], code: int
) -> None:
    """3 for errors and degraded problems goes before 2 for changes; warnings are 0."""
    place.containers(container(**labels))
    assert code == place.reconcile("--dry-run", *flags).code
    assert code == place.reconcile(*flags).code


def test_a_problem_stops_no_other_workload(place: Place) -> None:
    """Exit code 3, and the others' plans are written all the same."""
    place.containers(container("bad", keep="nonsense"), container("good"))
    assert 3 == place.reconcile().code
    assert {"backrest_sidecar_good", "made-in-the-web-interface"} == set(place.plans)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--nonsense"], "No such option '--nonsense'"),
        (["--apply"], "No such option '--apply'"),
        (["--interval", "60s"], "No such option '--interval'"),
        (["--with-events"], "No such option '--with-events'"),
        (["--restart-timeout", "15s"], "No such option '--restart-timeout'"),
        (["nonsense"], "'nonsense' is neither a command nor a file"),
        (["--output", "xml"], "'xml' is not one of"),
        (["--log-level", "loud"], "'loud' is not one of"),
        (["--log-format", "xml"], "'xml' is not one of"),
        (["--hook-policy", "some"], "'some' is not one of"),
        (["--accept-version", "5"], "--accept-version"),
        (["--default-schedule", "61 * * * *"], "--default-schedule '61 * * * *'"),
        (["--default-schedule", ""], "--default-schedule ''"),
        (["--default-retention", "daily=0"], "--default-retention 'daily=0'"),
        (["--default-retention", "within=3d"], "--default-retention 'within=3d'"),
        (["--plan-id-prefix", "Mine_"], "--plan-id-prefix 'Mine_'"),
        (["--plan-id-prefix", "mine"], "--plan-id-prefix 'mine'"),
        (["--label-prefix", "backrest"], "--label-prefix 'backrest'"),
        (["--label-prefix", ""], "--label-prefix ''"),
        (["--path-map", "/srv"], "--path-map /srv is no mapping"),
        (["--path-map", "srv=/srv"], "--path-map srv=/srv is no mapping"),
        (["--path-map", "/srv=/\udce4"], r"--path-map '/srv=/\udce4' is no UTF-8"),
        (["--volume-prefix", "/\udce4"], r"--volume-prefix '/\udce4' is no UTF-8"),
        (["--docker-root", "/\udce4"], r"--docker-root '/\udce4' is no UTF-8"),
        (["--docker-root", "var"], "--docker-root var is not absolute"),
        (["--volume-prefix", "volumes"], "--volume-prefix volumes is not absolute"),
        (["--config-mode", "rw"], "--config-mode rw is no mode"),
        (["--config-mode", "1777"], "--config-mode 1777 is no mode"),
        (["--compose", "compose.yaml"], "--inventory and --compose exclude each other"),
        (["--save-inventory", "new.json"], "--save-inventory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors_are_failures(place: Place, flags: list[str], message: str) -> None:
    """Status 1, never click's 2, which means `changed`; the message names the flag."""
    before = place.snapshot()
    ran = place.reconcile(*flags)
    assert (1, "") == (ran.code, ran.out)
    assert message in ran.err
    assert before == place.snapshot()


def test_a_command_that_is_none_is_a_failure(place: Place) -> None:
    """Also commands that come later are no commands yet."""
    for name in ("nonsense", "backup-twice"):
        ran = place.run(name)
        assert (1, "") == (ran.code, ran.out)
        assert f"No such command '{name}'" in ran.err


def test_usage_error_of_a_process_is_one(place: Place) -> None:
    """The mapped status reaches the shell."""
    done = spawn(place.folder, "--nonsense")
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(USAGE)


# Variables


def test_each_flag_has_a_variable_of_its_name() -> None:
    """BACKREST_SIDECAR_<FLAG> comes first, then the older names of the contract."""
    options = {one.opts[0]: one for one in reconcile.params if isinstance(one, click.Option)}
    for flag, one in options.items():
        name = flag.removeprefix("--")
        own = [f"BACKREST_SIDECAR_{name.upper().replace('-', '_')}"]
        older = [OLDER[name]] if name in OLDER else []
        assert own + older == list(one.envvar or ())
    assert {f"--{name}" for name in OLDER} <= set(options)


@pytest.mark.parametrize(
    ("variable", "value", "key", "expected"),
    [
        (
            "DEFAULT_SCHEDULE",
            "30 5 * * *",
            "schedule",
            {"cron": "30 5 * * *", "clock": "CLOCK_LOCAL"},
        ),
        ("DEFAULT_RETENTION", "last=9", "retention", {"policyKeepLastN": 9}),
        ("PLAN_ID_PREFIX", "mine_", "id", "mine_web"),
        ("VOLUME_PREFIX", "/vols", "paths", ["/vols/web/_data"]),
        ("PATH_MAP", "/var/lib/docker=/host", "paths", ["/host/volumes/web/_data"]),
    ],
    ids=str,
)
def test_variable_sets_what_its_flag_sets(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    key: str,
    expected: Any,
) -> None:
    """Each has the effect of the flag."""
    monkeypatch.setenv(f"BACKREST_SIDECAR_{variable}", value)
    (plan,) = place.preview()["plans"]
    assert expected == plan[key]


@pytest.mark.parametrize(
    ("variable", "value", "key", "expected"),
    [
        ("BACKREST_DEFAULT_RETENTION", "all", "retention", {"policyKeepAll": True}),
        ("BACKREST_PLAN_ID_PREFIX", "older_", "id", "older_web"),
        ("BACKREST_VOLUME_PREFIX", "/older", "paths", ["/older/web/_data"]),
        ("BACKREST_DEFAULT_REPO", "second", "repo", "second"),
    ],
    ids=str,
)
def test_older_variables_still_work(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    key: str,
    expected: Any,
) -> None:
    """Who comes from the older sidecar need not rename; the new name beats the old one."""
    root = json.loads(place.config.read_text())
    root["repos"].append({"id": "second", "uri": "/second", "autoInitialize": True})
    place.config.write_text(json.dumps(root))
    before = place.preview()["plans"][0][key]
    monkeypatch.setenv(variable, value)
    assert expected == place.preview()["plans"][0][key]
    newer = {
        "retention": "daily=7,weekly=4",
        "id": "backrest_sidecar_",
        "paths": "",
        "repo": "sample-repo",
    }
    monkeypatch.setenv(variable.replace("BACKREST_", "BACKREST_SIDECAR_"), newer[key])
    if newer[key]:
        assert before == place.preview()["plans"][0][key]


def test_a_flag_beats_its_variables(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where both of them are set."""
    monkeypatch.setenv("BACKREST_SIDECAR_DEFAULT_RETENTION", "daily=1")
    monkeypatch.setenv("BACKREST_DEFAULT_RETENTION", "daily=2")
    (plan,) = place.preview("--default-retention", "daily=3")["plans"]
    assert {"policyTimeBucketed": {"daily": 3}} == plan["retention"]


def test_config_and_engine_have_older_variables(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BACKREST_CONFIG names the document, DOCKER_HOST the engine."""
    monkeypatch.setenv("BACKREST_CONFIG", "elsewhere.json")
    assert "elsewhere.json does not exist" in place.run("--inventory", "list.json").err
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert "unix:///nowhere/docker.sock" in place.run("--config", "config.json").err


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OUTPUT", "xml"), ("DRY_RUN", "maybe"), ("DEFAULT_SCHEDULE", "* *"), ("CONFIG_MODE", "rw")],
)
def test_wrong_variable_is_a_usage_error(
    place: Place, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """It fails like the flag, and nothing is written."""
    monkeypatch.setenv(f"BACKREST_SIDECAR_{variable}", value)
    before = place.snapshot()
    ran = place.reconcile()
    assert (1, "") == (ran.code, ran.out)
    assert f"--{variable.lower().replace('_', '-')}" in ran.err
    assert before == place.snapshot()


def test_project_name_can_be_left_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is part of the id by default; flag and variable take it out."""
    of_compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    entry = container()
    place.containers(entry | {"Labels": entry["Labels"] | of_compose})
    assert ["backrest_sidecar_shop_web"] == place.preview()["added"]
    assert [WEB] == place.preview("--no-include-project-name")["added"]
    monkeypatch.setenv("BACKREST_SIDECAR_INCLUDE_PROJECT_NAME", "false")
    assert [WEB] == place.preview()["added"]


# Streams


def test_results_and_logs_go_apart(place: Place) -> None:
    """Even with every event logged, standard output is the one object."""
    done = spawn(
        place.folder,
        *("--config", "config.json", "--inventory", "list.json", "--output", "json"),
        *("--log-level", "debug", "--log-format", "json"),
    )
    assert KEYS == list(json.loads(done.stdout))
    *events, note = (json.loads(line) for line in done.stderr.splitlines())
    assert ("warn", RESTART_NOTE) == (note["level"], note["event"])
    assert ["plan.rendered", "config.write", "reconcile.complete"] == [e["event"] for e in events]
    assert {"added": 1, "updated": 0, "orphaned": 0, "unchanged": 0, "problems": 0}.items() <= (
        events[-1].items()
    )


def test_events_of_a_dry_run_say_so(place: Place) -> None:
    """Nobody should take a preview for a write, in text lines either."""
    err = place.reconcile("--dry-run", "--log-level", "info").err
    assert "dry-run.complete added=1" in err
    assert "config.write" not in err


def test_a_quiet_run_logs_nothing(place: Place) -> None:
    """With the default level a run without trouble is silent on standard error."""
    assert "" == place.reconcile().err


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_reader_that_goes_away_is_no_crash(place: Place, form: str) -> None:
    """`| head` ends early: status 1, because the result may be cut, and no traceback."""
    place.containers(*[container(f"service{number}") for number in range(1000)])
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sidecar", "--config", "config.json"),
            *("--inventory", "list.json", "--dry-run", "--output", form),
        ],
        cwd=place.folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (1, "") == (done.returncode, done.stderr)


# What can be wrong with the document


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the document is empty"),
        ("{", "the document is not JSON: line 1, column 2"),
        ('{"version": 6,\n "modno": 1,\n}', "the document is not JSON: line 3"),
        ("[]", "the document is not a JSON object"),
        ("{}", "the document has no `version`"),
        ('{"version": 4}', "start Backrest once so that it migrates"),
        ('{"version": 7}', "allow it with --accept-version 7"),
        ('{"version": 6, "repos": 5}', "/repos"),
        ('{"version": 6, "auth": {}}', "authentication is on but there are no users"),
    ],
    ids=lambda value: value if value.startswith(("{", "[")) else "",
)
def test_a_document_that_cannot_be_used_voids_the_pass(
    place: Place, content: str, message: str
) -> None:
    """Status 1, nothing on standard output, one sentence and a hint, and the file as it was."""
    place.config.write_text(content)
    before = place.snapshot()
    for flags in ([], ["--dry-run"]):
        ran = place.reconcile(*flags)
        assert (1, "") == (ran.code, ran.out)
        assert ran.err.startswith("Error: ")
        assert "\n  → " in ran.err
        assert message in ran.err
    assert before == place.snapshot()


def test_bytes_that_are_no_text_are_told(place: Place) -> None:
    """The position of the first such byte is named."""
    place.config.write_bytes(b'{"version": 6, "instance": "\xff"}')
    ran = place.reconcile()
    assert 1 == ran.code
    assert "not UTF-8: line 1, column 29: byte 0xff" in ran.err


def test_a_newer_version_can_be_accepted(place: Place) -> None:
    """Only that version, and it is written as it stands."""
    root = json.loads(place.config.read_text()) | {"version": 8}
    place.config.write_text(json.dumps(root))
    assert 1 == place.reconcile("--accept-version", "7").code
    assert 0 == place.reconcile("--accept-version", "8").code
    assert 8 == json.loads(place.config.read_text())["version"]


def test_a_missing_document_names_both_ways_out(place: Place) -> None:
    """A run never makes one up: it says how to get one, and creates nothing."""
    place.config.unlink()
    before = place.snapshot()
    for flags in ([], ["--dry-run"]):
        ran = place.reconcile(*flags)
        assert (1, "") == (ran.code, ran.out)
        assert "start Backrest once or run `backrest-sidecar init`" in ran.err
    assert before == place.snapshot()


def test_a_missing_folder_is_named(place: Place) -> None:
    """Also that is never created."""
    ran = place.run("--config", "no/config.json", "--inventory", "list.json")
    assert 1 == ran.code
    assert "there is no directory no" in ran.err


def test_a_folder_or_pipe_in_its_place_is_named(place: Place) -> None:
    """A FIFO does not make the run wait for ever."""
    place.config.unlink()
    place.config.mkdir()
    assert "config.json is a directory" in place.reconcile().err
    place.config.rmdir()
    os.mkfifo(place.config)
    assert "config.json is a FIFO" in place.reconcile().err


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Mount the folder over itself, read-only."""
    subprocess.run(["mount", "--bind", "-o", "ro", str(folder), str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder_is_named_and_can_be_previewed(place: Place) -> None:
    """A dry run works there; a write says how to mount it."""
    folder = place.folder / "mounted"
    folder.mkdir()
    (folder / "config.json").write_bytes(EXAMPLE.read_bytes())
    arguments = ("--config", str(folder / "config.json"), "--inventory", "list.json")
    with read_only(folder):
        assert 0 == place.run(*arguments, "--dry-run").code
        ran = place.run(*arguments)
    assert (1, "") == (ran.code, ran.out)
    assert f"{folder} is read-only" in ran.err
    assert "\n  → " in ran.err


# Where the containers come from


def test_an_inventory_with_volumes_and_images_is_read(place: Place) -> None:
    """The object form tells what the list alone does not: a network volume, an image's labels."""
    bad = container("net") | {"ImageID": "sha256:aa"}
    bad["Labels"]["backrest.snapshot-end"] = "true"
    volume = {"Name": "net", "Driver": "local", "Options": {"type": "nfs", "device": ":/x"}}
    saved = {
        "containers": [bad],
        "volumes": {"Volumes": [volume]},
        "images": [{"Id": "sha256:aa", "Config": {"Labels": {"backrest.snapshot-end": "true"}}}],
    }
    (place.folder / "list.json").write_text(json.dumps(saved))
    reasons = [problem["reason"] for problem in place.preview()["problems"]]
    assert {"label.from-image", "mount.unsupported", "paths.empty"} == set(reasons)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("", "Invalid JSON"),
        ("{}", "containers"),
        ('[{"Names": ["/web"]}]', "Id"),
        ('[{"Id": "a", "Labels": {"backrest.enable": true}}]', "backrest.enable"),
    ],
)
def test_an_inventory_that_cannot_be_read_is_never_empty(
    place: Place, content: str | None, message: str
) -> None:
    """Unknown is not the same as nothing: the pass is void and plans stay."""
    place.reconcile()
    saved = place.folder / "list.json"
    saved.unlink() if content is None else saved.write_text(content)
    before = place.snapshot()
    ran = place.reconcile()
    assert (1, "") == (ran.code, ran.out)
    assert "list.json" in ran.err
    assert message in ran.err
    assert before == place.snapshot()


def test_an_empty_list_leaves_orphans(place: Place) -> None:
    """An engine without containers is a fact; its plans are told, and stay."""
    place.reconcile()
    place.containers()
    before = place.snapshot()
    ran = place.reconcile("--output", "json")
    assert (0, [WEB], False) == (ran.code, ran.json["orphaned"], ran.json["changed"])
    assert before == place.snapshot()


COMPOSE = """\
name: shop
services:
  web:
    image: example/web
    volumes: ["data:/data"]
    labels: {backrest.enable: "true", backrest.hooks.template: simple-stop-start}
volumes: {data: {}}
"""


def test_compose_files_need_no_engine(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that needs no resolution is read even where no Compose is installed."""
    monkeypatch.setenv("PATH", str(place.folder))
    (place.folder / "compose.yaml").write_text(COMPOSE)
    ran = place.run(
        *("--config", "config.json", "--dry-run", "--output", "json", "--compose", "compose.yaml")
    )
    (plan,) = ran.json["plans"]
    assert (0, "backrest_sidecar_shop_web") == (ran.code, plan["id"])
    assert ["/var/lib/docker/volumes/shop_data/_data"] == plan["paths"]
    assert "docker stop shop-web-1" in json.dumps(plan["hooks"])


def test_a_compose_file_is_previewed_with_the_runner_as_it_was_last_seen(place: Place) -> None:
    """What Backrest's container sees is remembered, wherever the containers are read from."""
    mounts = (Mount("bind", "/var/lib/docker/volumes", "/data"),)
    Memory(place.folder / ".sidecar").change(runner=RunnerSeen("backrest", mounts))
    labels = 'labels: {backrest.enable: "true"}'
    services = f"services: {{web: {{image: x, volumes: [html:/html], {labels}}}}}"
    (place.folder / "compose.yaml").write_text(f"{services}\nvolumes: {{html: {{}}}}\n")
    compose = str(place.folder / "compose.yaml")
    named = ("--backrest-container", "backrest", "--output", "json")

    ran = place.run(
        "reconcile", "--dry-run", "--config", str(place.config), "--compose", compose, *named
    )

    assert 0 == ran.code, ran.err
    [plan] = ran.json["plans"]
    [path] = plan["paths"]
    assert path.startswith("/data/")
    assert path.endswith("_html/_data")


def test_resolved_compose_comes_from_standard_input(place: Place) -> None:
    """`docker compose config | backrest-sidecar --compose -`."""
    done = spawn(
        place.folder,
        *("--config", "config.json", "--dry-run", "--output", "json", "--compose", "-"),
        input=COMPOSE,
    )
    assert (0, ["backrest_sidecar_shop_web"]) == (done.returncode, json.loads(done.stdout)["added"])


def test_an_engine_that_is_not_there_voids_the_pass(place: Place) -> None:
    """Nothing is taken away because nobody answered."""
    place.reconcile()
    before = place.snapshot()
    ran = place.run("--config", "config.json", "--docker-sock", "/nowhere/docker.sock")
    assert (1, "") == (ran.code, ran.out)
    assert "there is no Docker socket at unix:///nowhere/docker.sock" in ran.err
    assert before == place.snapshot()


def test_a_plan_is_taken_over_by_hand_only(place: Place) -> None:
    """An owner that is still there keeps its plan, until the operator hands it over."""
    mounts = container("data")["Mounts"]
    plan = "backrest_sidecar_shop"
    with FakeDocker() as engine:
        place_of = ("--config", "config.json", "--docker-sock", engine.address)
        first = engine.add("a", {"backrest.enable": "true", "backrest.id": "shop"}, mounts=mounts)
        assert place.run(*place_of).code == 0
        engine.containers[first]["Labels"]["backrest.id"] = "other"
        engine.add("b", {"backrest.enable": "true", "backrest.id": "shop"}, mounts=mounts)
        refused = place.run("reconcile", *place_of, "--output", "json")
        assert refused.code == 3
        assert "plan.id-taken" in {problem["reason"] for problem in refused.json["problems"]}
        shown = place.run("status", *place_of, "--output", "json").json["plans"]
        assert {row["owner"] for row in shown if row["plan"] == plan} == {"a"}
        assert "belongs to a" in place.run("status", *place_of).out
        unknown = place.run("reconcile", *place_of, "--take-over", "backrest_sidecar_none")
        assert (unknown.code, "there is no plan or service" in unknown.err) == (1, True)
        handed = place.run("reconcile", *place_of, "--take-over", plan, "--output", "json")
        assert "plan.id-taken" not in {p["reason"] for p in handed.json["problems"]}
        again = place.run("reconcile", *place_of, "--output", "json")
        assert "plan.id-taken" not in {p["reason"] for p in again.json["problems"]}
        shown = place.run("status", *place_of, "--output", "json").json["plans"]
        assert {row["owner"] for row in shown if row["plan"] == plan} == {"b"}
    without = place.reconcile("--take-over", plan)
    assert (without.code, "needs Docker" in without.err) == (1, True)


# Policy, seen from outside


def test_label_prefix_changes_which_labels_count(place: Place) -> None:
    """Two sidecars with prefixes of their own do not see each other's labels."""
    assert [] == place.preview("--label-prefix", "other.")["added"]
    entry = container("mine") | {"Labels": {"other.enable": "true"}}
    place.containers(entry)
    assert ["backrest_sidecar_mine"] == place.preview("--label-prefix", "other.")["added"]


def test_hook_policy_takes_hooks_away(place: Place) -> None:
    """From a plan that stands there too, and says so."""
    place.containers(container(**{"snapshot-end": "true", "exec_start": "sync"}))
    place.reconcile()
    assert 2 == len(place.plans[WEB]["hooks"])
    assert 3 == place.reconcile("--hook-policy", "none").code
    assert "hooks" not in place.plans[WEB]


def test_defaults_are_for_new_plans_unless_enforced(place: Place) -> None:
    """What somebody changed in Backrest stays, until --enforce-defaults."""
    place.reconcile()
    assert not place.preview("--default-schedule", "0 5 * * *")["changed"]
    enforced = place.preview("--default-schedule", "0 5 * * *", "--enforce-defaults")
    assert ([WEB], "0 5 * * *") == (enforced["updated"], enforced["plans"][0]["schedule"]["cron"])


def test_help_has_examples_and_every_flag(place: Place) -> None:
    """Help is a result: standard output, status 0."""
    for flags in (["--help"], ["reconcile", "--help"]):
        ran = place.run(*flags)
        assert (0, "") == (ran.code, ran.err)
        assert "Examples:" in ran.out
    assert "BACKREST_SIDECAR_DRY_RUN" in ran.out
    assert "Exit status: 0 done; 1 failed" in ran.out


def test_version_is_told_in_both_ways(place: Place) -> None:
    """By flag and by command."""
    number = place.run("version").out.strip()
    assert place.run("--version").out.strip().endswith(number)


def test_shell_completion_is_given(place: Place) -> None:
    """The line that the help names prints a script."""
    program = "import sys; sys.argv[0] = 'backrest-sidecar'; from sidecar.cli.commands.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=place.folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "_BACKREST_SIDECAR_COMPLETE": "bash_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_backrest_sidecar_completion" in done.stdout
