"""What the operator decides: flags, variables, secret files; and as whom it is done."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import pytest
from click.testing import CliRunner

from sidecar.cli.commands.backup_once import backup_once
from sidecar.cli.exits import RUNNER_STATUSES, status_of, worst
from sidecar.cli.runner import main as cli
from sidecar.cli.runner.options import (
    document_options,
    empty_options,
    health_options,
    log_options,
    neighbour_options,
    notify_options,
    program_options,
    schedule_options,
)
from sidecar.cli.runner.settings import build_settings
from sidecar.engines.base import FailureClass
from sidecar.engines.options import OnMissing
from sidecar.lib.errors import UsageError
from sidecar.runner.due import CatchUp
from sidecar.runner.identity import check_usable, switch_user
from sidecar.runner.journal import RunOutcome
from sidecar.runner.notify.notices import NoticeEvent
from sidecar.runner.settings import (
    NO_DOCKER,
    EmptySourceOptions,
    Neighbour,
    Notifying,
    ProcessUser,
    RunnerSettings,
    Running,
    Scheduling,
    environment_of,
)
from sidecar.runner.union import DocumentChoice

ROOT = Path(__file__).parents[3]


@click.command()
@document_options
@schedule_options
@program_options
@empty_options
@notify_options
@health_options
@neighbour_options
@log_options
@click.pass_context
def everything(ctx: click.Context, /, **flags: Any) -> None:
    """Take every flag there is."""
    ctx.obj.append(build_settings(flags))


def build(*arguments: str, **variables: str) -> RunnerSettings:
    """Return the settings of a command line and an environment."""
    found: list[RunnerSettings] = []
    runner = CliRunner(env={"BACKREST_CONFIG": None, "BACKREST_DATA": None, **variables})
    done = runner.invoke(everything, arguments, standalone_mode=False, obj=found)
    if done.exception is not None:
        raise done.exception
    return found[0]


def test_the_defaults_are_those_of_the_settings() -> None:
    """Said once in the code and once in the help, they have to agree."""
    assert RunnerSettings(Path("backrest.config.json")) == build()
    assert Path(".runner") == build().state_directory


def test_the_runners_document_is_beside_backrests_unless_it_is_named() -> None:
    """A runner of both locks both folders, one of its own document alone that one."""
    settings = RunnerSettings(Path("/c/config.json"))
    assert Path("/c/runner.json") == settings.files.runner
    assert {Path("/c")} == set(settings.files.locked_folders)
    named = replace(settings, runner_config=Path("/r/runner.json"))
    assert (Path("/c"), Path("/r")) == named.files.locked_folders
    companion = replace(named, documents=DocumentChoice.RUNNER)
    assert (Path("/r"),) == companion.files.locked_folders


def test_beside_backrest_hooks_leave_their_markers_apart_from_its() -> None:
    """The sidecar starts what Backrest has left stopped, and knows nothing of our runs."""
    settings = RunnerSettings(Path("/c/config.json"), Path("/state"))
    assert Path("/c/config.json") == settings.config_of_hooks
    assert (Path("/c"), Path("/state")) == settings.marker_folders
    companion = replace(settings, documents=DocumentChoice.RUNNER)
    assert Path("/state") == companion.config_of_hooks.parent
    assert (Path("/state"),) == companion.marker_folders


def test_every_flag_reaches_its_setting(tmp_path: Path) -> None:
    """Durations in seconds; 0 takes a limit away."""
    urls = tmp_path / "urls"
    urls.write_text("# mail\n\nmailto://MARK\n  json://other  \n")
    found = build(
        *("--config", "/c/config.json", "--state-dir", "/state", "--journal-keep", "5"),
        *("--puid", "1000", "--pgid", "1001"),
        *("--seats", "4", "--catch-up", "skip", "--backup-on-start", "--grace", "2m"),
        *("--restic", "/opt/restic", "--on-missing", "warn"),
        *("--stall-timeout", "0", "--hook-timeout", "1h30m", "--lock-wait", "0"),
        *("--restore-empty", "--restore-empty-plan", "a", "--empty-on-purpose", "b"),
        *("--restore-stop", "--restore-check-schedule", "0 1 * * *"),
        *("--notify-url", "ntfy://x", "--notify-url-file", str(urls), "--notify-on", "success"),
        *("--backrest-data", "/d", "--backrest-container", "br", "--docker-sock", "/s", "--force"),
        *("--health-grace", "2h", "--listen", ":9100", "--allowed-host", "NAS"),
        *("--runner-config", "/r/runner.json", "--documents", "runner"),
    )
    assert (
        RunnerSettings(
            Path("/c/config.json"),
            Path("/state"),
            Scheduling(4, CatchUp.SKIP, backup_on_start=True, grace=120.0),
            Running("/opt/restic", OnMissing.WARN, None, 5400.0, 0.0),
            Notifying(
                ("ntfy://x", "mailto://MARK", "json://other"), frozenset({NoticeEvent.SUCCESS})
            ),
            EmptySourceOptions(True, frozenset({"a"}), frozenset({"b"}), may_stop=True),
            "0 1 * * *",
            Neighbour(Path("/d"), "br", "/s", force=True),
            ProcessUser(1000, 1001),
            5,
            7200.0,
            ("", 9100),
            ("nas",),
            Path("/r/runner.json"),
            DocumentChoice.RUNNER,
        )
        == found
    )
    assert "MARK" not in repr(found)
    assert Path("/state") == found.state_directory


def test_a_container_of_a_docker_that_is_none_is_refused() -> None:
    """The variable says so as well, even that of the docker client."""
    for variable in ("BACKREST_RUNNER_DOCKER_SOCK", "DOCKER_HOST"):
        assert not build(**{variable: NO_DOCKER}).neighbour.has_docker
    with pytest.raises(UsageError, match="--backrest-container br"):
        build("--docker-sock", NO_DOCKER, "--backrest-container", "br")


def test_every_flag_has_its_variable() -> None:
    """Older names of Backrest's and of other images count too; the flag beats them all."""
    found = build(
        BACKREST_CONFIG="/c/config.json",
        PUID="7",
        BACKREST_RUNNER_SEATS="3",
        BACKREST_RUNNER_NOTIFY_URL="json://a json://b",
        BACKREST_DATA="/data",
    )
    assert Path("/c/config.json") == found.config
    assert (ProcessUser(7, 7), 3) == (found.identity, found.scheduling.seats)
    assert ("json://a", "json://b") == found.notifying.urls
    assert Path("/data") == found.neighbour.data
    both = build("--seats", "5", BACKREST_RUNNER_SEATS="3")
    assert 5 == both.scheduling.seats


def test_four_repositories_are_written_at_a_time() -> None:
    """Uplinks are slow: one that waits leaves room for others. `backup-once` does the same."""
    of_its_own = {param.name: param.default for param in backup_once.params}["seats"]

    assert [4, 4, 4] == [build().scheduling.seats, Scheduling().seats, of_its_own]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--grace", "soon"), "--grace 'soon' is no duration"),
        (("--hook-timeout", "-1"), "--hook-timeout '-1' is no duration"),
        (("--pgid", "5"), "--pgid is given without --puid"),
        (("--listen", "nowhere"), "--listen 'nowhere' is no address"),
        (("--notify-url-file", "/nowhere/x"), "--notify-url-file /nowhere/x cannot be read"),
        (("--restore-check-schedule", "never"), "--restore-check-schedule: 'never' is not five"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], words: str) -> None:
    """By the name of its flag, with what to write instead."""
    with pytest.raises(UsageError) as refused:
        build(*arguments)
    assert words in refused.value.message


def test_a_secret_file_that_is_no_text_is_not_shown(tmp_path: Path) -> None:
    """Whatever it holds."""
    (tmp_path / "urls").write_bytes(b"\xff MARK")
    with pytest.raises(UsageError) as refused:
        build("--notify-url-file", str(tmp_path / "urls"))
    assert "it is no text" in str(refused.value)
    assert "MARK" not in str(refused.value)


def test_programs_do_not_inherit_what_is_ours() -> None:
    """Some of it is secret."""
    environ = {"PATH": "/bin", "BACKREST_RUNNER_NOTIFY_URL": "MARK", "BACKREST_CONFIG": "/c"}
    assert {"PATH": "/bin", "BACKREST_CONFIG": "/c"} == environment_of(environ)


@pytest.mark.parametrize("name", sorted(cli.cli.commands))
def test_every_command_tells_what_it_does(name: str) -> None:
    """In a sentence, with examples where it takes anything."""
    command = cli.cli.commands[name]
    assert command.help
    assert command.help.partition("\n")[0].rstrip().endswith((".", ";"))
    assert len(command.params) < 2 or f"backrest-runner {name}" in command.help


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-command"], "No such command"),
        (["run"], "name plans, or give --all"),
        (["run", "--all", "web"], "name plans, or give --all"),
        (["daemon", "--seats", "0"], "--seats"),
        (["plans", "--config", "/nowhere/config.json"], "/nowhere"),
    ],
)
def test_a_command_that_cannot_begin_is_status_1(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a wrong flag."""
    assert 1 == cli.run_cli(arguments)
    assert words in capsys.readouterr().err


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """As for the sidecar."""
    from sidecar import __version__

    assert 0 == cli.run_cli(["version"])
    assert f"{__version__}\n" == capsys.readouterr().out


def test_exit_statuses_follow_the_outcomes() -> None:
    """Of several the worst; no run at all is a failure."""
    assert {0, 1, 3} == set(RUNNER_STATUSES)
    good = (RunOutcome.SUCCESS, RunOutcome.SKIPPED)
    bad = (RunOutcome.FAILED, RunOutcome.CANCELLED, RunOutcome.INTERRUPTED, None)
    assert {0} == set(map(status_of, good))
    assert {1} == set(map(status_of, bad))
    assert 0 == status_of(RunOutcome.CANCELLED, FailureClass.HOOK)
    assert 1 == status_of(RunOutcome.CANCELLED, FailureClass.INTERRUPTED)
    assert 1 == status_of(RunOutcome.FAILED, FailureClass.HOOK)
    assert 3 == status_of(RunOutcome.WARNING)
    assert (0, 3, 1) == (worst([]), worst([0, 3]), worst([3, 1, 0]))


# Becomes another user where it may, and says what has become of it.
ASSUME = """
import encodings.ascii, json, os, sys
from pathlib import Path
from sidecar.lib.errors import SidecarError
from sidecar.runner import identity
from sidecar.runner.identity import switch_user
from sidecar.runner.settings import ProcessUser, Neighbour, RunnerSettings
config, user, group, sock, *needed = sys.argv[1:]
# That of the tests may lie in root's home.
identity.needed_paths = lambda: needed
neighbour = Neighbour(docker_sock=sock)
settings = RunnerSettings(Path(config), identity=ProcessUser(int(user), int(group)), neighbour=neighbour)
try:
    home = switch_user(settings, {"HOME": "/nowhere"})["HOME"]
    print(json.dumps([os.getuid(), os.getgid(), os.getgroups(), home]))
except SidecarError as error:
    print(json.dumps([error.message, error.hint]))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody reaches, unlike those of the tests."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def become(config: Path, user: int, group: int, sock: str = "", *needed: Path) -> list[Any]:
    """Become somebody in a process of its own, whose Python needs these paths."""
    done = subprocess.run(
        [sys.executable, "-c", ASSUME, str(config), str(user), str(group), sock, *map(str, needed)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


def test_it_goes_on_as_another_user(open_folder: Path) -> None:
    """With the group of the engine's socket, and a home in which it may write.

    Who is not root can only stay who it is.
    """
    user, group = (12345, 12346) if os.getuid() == 0 else (os.getuid(), os.getgid())
    os.chown(open_folder, user, group)
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(open_folder / "docker.sock"))
        extra = (
            [(open_folder / "docker.sock").stat().st_gid] if os.getuid() == 0 else os.getgroups()
        )
        found = become(open_folder / "config.json", user, group, str(open_folder / "docker.sock"))
    assert [user, group, extra] == [*found[:2], sorted(found[2])]
    assert (open_folder / ".runner").stat().st_uid == user
    assert Path(found[3]).is_dir()


def test_a_python_that_cannot_be_read_is_told(open_folder: Path) -> None:
    """Before a module is missing in the middle of a backup. Root alone becomes another."""
    hidden = open_folder / "root" / "lib"
    hidden.mkdir(parents=True)
    (open_folder / "root").chmod(0o700)
    os.chown(open_folder, 12345 if os.getuid() == 0 else -1, -1)
    user = 12345 if os.getuid() == 0 else os.getuid()
    found = become(
        open_folder / "config.json",
        user,
        os.getgid() if user != 12345 else 12345,
        "",
        open_folder,
        hidden,
    )
    if os.getuid() == 0:
        assert f"Python needs {hidden}, which cannot be read by user 12345" == found[0]
        assert "where every user can read them" in found[1]
    else:
        assert user == found[0]


def test_a_user_that_could_not_work_is_told(open_folder: Path) -> None:
    """What cannot be read or written, by whom, and what to do."""
    user = 12345 if os.getuid() == 0 else os.getuid()
    open_folder.chmod(0o555)
    if os.getuid() == 0:
        message, hint = become(open_folder / "config.json", user, user)
        assert f"the state folder {open_folder}/.runner cannot be used by user {user}" in message
        assert "--state-dir" in hint
    else:
        with pytest.raises(UsageError, match="cannot be used by user"):
            check_usable(RunnerSettings(open_folder / "config.json"))


def test_files_of_another_user_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that cannot be read, a journal that cannot be written."""
    config = tmp_path / "config.json"
    config.touch()
    (tmp_path / ".runner").mkdir()
    (tmp_path / ".runner" / "journal.sqlite").touch()
    refused: set[tuple[str, int]] = {("config.json", os.R_OK)}

    def access(path: Path, mode: int) -> bool:
        return (Path(path).name, mode) not in refused

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(UsageError, match=r"config\.json cannot be read by user") as unread:
        check_usable(RunnerSettings(config))
    assert f"chown {os.getuid()}:{os.getgid()} {config}" in unread.value.hint
    refused.add(("journal.sqlite", os.W_OK))
    refused.discard(("config.json", os.R_OK))
    with pytest.raises(UsageError, match=r"journal\.sqlite cannot be written") as unwritten:
        check_usable(RunnerSettings(config))
    assert "chown -R" in unwritten.value.hint


def test_who_is_nobody_else_changes_nothing(tmp_path: Path) -> None:
    """The state folder is made, for its owner only."""
    environ = switch_user(RunnerSettings(tmp_path / "config.json"), {"HOME": "/home/x"})
    assert {"HOME": "/home/x"} == environ
    assert 0o700 == (tmp_path / ".runner").stat().st_mode & 0o777


def test_who_may_not_become_another_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start as root, or as that user."""

    def refuse(_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setgroups", refuse)
    settings = RunnerSettings(tmp_path / "config.json", identity=ProcessUser(54321, 54321))
    with pytest.raises(UsageError, match="cannot go on as user 54321") as refused:
        switch_user(settings, {})
    assert "start as root" in refused.value.hint
