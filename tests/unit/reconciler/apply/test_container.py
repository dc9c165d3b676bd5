"""The runner's container: what is its own process, and what is work."""

import json
from typing import Any

import pytest

from sidecar.docker.client import DockerClient
from sidecar.lib.errors import InventoryError
from sidecar.reconciler.apply.container import (
    BackrestContainer,
    Process,
    find_backrest,
    find_busy,
    processes_of,
    restart,
)

COMMAND = ("/sbin/tini", "--", "/start.sh", "backrest")
RUNNER = BackrestContainer("a" * 64, "backrest", True, 100.0, command=COMMAND)


class Answers(DockerClient):
    """A connection that gives one prepared answer: a body, nothing, or a failure."""

    def __init__(self, answer: Any) -> None:
        super().__init__("unix:///nowhere.sock")
        self.answer = answer
        self.asked: list[str] = []

    def find(self, path: str, method: str = "GET") -> bytes | None:
        """Return it."""
        self.asked.append(f"{method} {path}")
        if isinstance(self.answer, Exception):
            raise self.answer
        return None if self.answer is None else json.dumps(self.answer).encode()

    def act(
        self, path: str, body: object = None, *, method: str = "POST", timeout: float | None = None
    ) -> bytes | None:
        """Return it too."""
        del body, timeout
        return self.find(path, method)


@pytest.mark.parametrize(
    "line",
    [
        "/backrest --bind-address 0.0.0.0:9898",
        "/usr/local/bin/backrest",
        "/sbin/tini -- /docker-entrypoint.sh backrest",
        "/sbin/docker-init -- /backrest",
        "s6-supervise backrest",
        "/bin/sh /docker-entrypoint.sh backrest",
        "busybox sh -e /docker-entrypoint.sh backrest",
        "bash /usr/bin/entrypoint",
        "/bin/sh /start.sh backrest",
        "/sbin/tini -- /start.sh backrest",
        "tini -- backrest-runner daemon",
        "/opt/x/bin/python3 /opt/x/bin/backrest-runner daemon --listen :1",
    ],
)
def test_the_runners_own_processes_are_no_work(line: str) -> None:
    """Backrest, an init, and the shell of the entrypoint are always there."""
    assert [] == find_busy([Process(line)], RUNNER)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("/bin/restic backup --json /data", "restic"),
        ("sh", "sh"),
        ("/bin/sh", "sh"),
        ("bash -s", "bash"),
        ("sh -c /docker-entrypoint.sh", "sh"),
        ("sh -c restic backup", "sh"),
        ("/bin/sh /tmp/hook.sh", "sh"),
        ("docker stop web", "docker"),
        ("ssh -s host sftp", "ssh"),
        ("rclone serve restic --stdio", "rclone"),
        ("backrest-hook", "backrest-hook"),
        ("/opt/x/bin/python3 /opt/x/bin/backrest-runner restore web", "python3"),
        ("curl https://user:secret@h", "curl"),
        ("", "?"),
    ],
)
def test_everything_else_is_work_and_named_without_its_arguments(line: str, name: str) -> None:
    """Arguments may hold secrets."""
    assert [name] == find_busy([Process("/backrest"), Process(line)], RUNNER)


def test_the_first_process_is_the_runners_own_also_behind_an_interpreter() -> None:
    """A script of one's own as the container's command shows with its interpreter."""
    runner = BackrestContainer("a" * 64, "r", True, 1.0, command=("/run.sh", "x"))
    assert [] == find_busy([Process("/run.sh x"), Process("/bin/sh -e /run.sh x")], runner)
    assert ["sleep"] == find_busy([Process("sleep 5 /run.sh x y")], runner)


def tree(*rows: str) -> list[Process]:
    """Make processes of rows such as `7 1 restic backup`: number, parent, command line."""
    fields = [row.split(maxsplit=2) for row in rows]
    return [Process(line, pid, parent) for pid, parent, line in fields]


GO_ENTRYPOINT = (
    "100 90 /sbin/tini -- /docker-entrypoint /backrest",
    "110 100 /docker-entrypoint /backrest",
    "120 110 /backrest",
)
SHELL_ENTRYPOINT = (
    "100 90 /sbin/tini -- /docker-entrypoint.sh /backrest",
    "110 100 /bin/sh /docker-entrypoint.sh /backrest",
    "120 110 /backrest",
)
BUNDLED = (
    "100 90 /sbin/tini -- backrest-runner daemon",
    "120 100 /opt/x/bin/python3 /opt/x/bin/backrest-runner daemon",
)
EXEC = ("300 80 sh", "301 300 restic snapshots", "310 80 /bin/bash -c /backrest-hook")


@pytest.mark.parametrize(
    "above",
    [
        ("120 90 /backrest",),
        ("100 90 /sbin/tini -- /backrest", "120 100 /backrest"),
        ("100 90 /sbin/docker-init -- /backrest", "120 100 /backrest --bind-address :9898"),
        SHELL_ENTRYPOINT,
        GO_ENTRYPOINT,
        ("100 90 sh -c umask 077; /backrest", "120 100 /backrest"),
        ("100 90 /usr/bin/supervise /backrest", "120 100 /backrest"),
        ("100 90 s6-svscan /run", "110 100 s6-supervise backrest", "120 110 backrest"),
        ("120 90 /usr/bin/qemu-aarch64 /backrest /backrest",),
        BUNDLED,
        ("1 0 /sbin/tini -- /docker-entrypoint /backrest", "7 1 /docker-entrypoint /backrest",
         "120 7 /backrest"),
    ],
    ids=["bare", "tini", "docker-init", "shell script", "go program", "sh -c", "unknown wrapper",
         "s6", "emulated", "bundled runner", "numbers of the container"],
)  # fmt: skip
def test_only_what_runs_below_backrest_is_work(above: tuple[str, ...]) -> None:
    """Whatever stands above it; a shell of `docker exec` has its parent elsewhere."""
    assert [] == find_busy(tree(*above), RUNNER)
    assert [] == find_busy(tree(*above, *EXEC), RUNNER)
    hooks = (
        "200 120 sh",
        "210 200 sh /config/my-entrypoint.sh",
        "220 210 docker stop web",
        "230 120 /bin/restic backup --json /data",
    )
    assert ["docker", "restic", "sh"] == find_busy(tree(*above, *EXEC, *hooks), RUNNER)


def test_before_backrest_has_started_its_entrypoint_is_no_work() -> None:
    """Nor is a shell of `docker exec`; what else the entrypoint starts is."""
    starting = GO_ENTRYPOINT[:2]
    assert [] == find_busy(tree(*starting, *EXEC), RUNNER)
    assert ["chown"] == find_busy(tree(*starting, "130 110 chown -R /data"), RUNNER)


def test_a_backrest_of_another_name_is_known_by_the_command_of_its_container() -> None:
    """What is below it is work; where nothing is known all counts."""
    runner = BackrestContainer("a" * 64, "r", True, 1.0, command=("/opt/backup-ui", "--x"))
    rows = ("100 90 /opt/backup-ui --x", "120 100 restic backup")
    assert ["restic"] == find_busy(tree(*rows, *EXEC), runner)
    assert ["backup-ui", "restic"] == find_busy(tree(*rows), RUNNER)


def test_parents_that_go_round_in_circles_end() -> None:
    """Numbers are used again while a list is made."""
    assert ["sh"] == find_busy(tree("5 6 /backrest", "6 5 sh"), RUNNER)


def top(*lines: str, title: str = "CMD") -> dict[str, Any]:
    """Make an answer of `docker top`."""
    return {"Titles": ["PID", title], "Processes": [["1", line] for line in lines]}


def test_processes_are_their_command_lines_without_the_defunct() -> None:
    """Whatever the last column is called."""
    for title in ("CMD", "COMMAND"):
        answer = top("/backrest", "[restic] <defunct>", title=title)
        assert [Process("/backrest")] == processes_of(Answers(answer), RUNNER)


def test_processes_know_their_parents_where_the_list_does() -> None:
    """As `ps -ef` gives them; a defunct child is none."""
    answer = {
        "Titles": ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"],
        "Processes": [
            ["root", "120", "110", "0", "10:00", "?", "00:00:01", "/backrest"],
            ["root", "200", "120", "0", "10:00", "?", "00:00:00", "[restic] <defunct>"],
        ],
    }
    assert [Process("/backrest", "120", "110")] == processes_of(Answers(answer), RUNNER)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        InventoryError("refused with status 403"),
        {"message": "no"},
        {"Titles": ["PID"], "Processes": [["1"]]},
        {"Titles": ["PID", "CMD"], "Processes": [["1"]]},
        {"Titles": ["PID", "CMD"], "Processes": None},
        {"Titles": ["PID", "CMD"], "Processes": []},
    ],
)
def test_processes_that_cannot_be_told_are_unknown(answer: object) -> None:
    """Unknown is not the same as none."""
    assert processes_of(Answers(answer), RUNNER) is None


def test_a_runner_is_inspected() -> None:
    """Times in unix seconds, mounts sorted, the environment by name."""
    answer = {
        "Id": "b" * 64,
        "Name": "/backrest",
        "Path": "/sbin/tini",
        "Args": ["--", "/x"],
        "State": {
            "Running": True,
            "StartedAt": "2026-01-02T03:04:05.123456789Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
        },
        "Config": {"Env": ["TZ=Europe/Berlin", "A=b=c", "EMPTY"]},
        "Mounts": [
            {"Type": "volume", "Name": "v", "Source": "/s", "Destination": "/z", "Driver": "local"},
            {"Type": "bind", "Source": "/t", "Destination": "/a", "RW": True},
        ],
    }
    connection = Answers(answer)
    runner = find_backrest(connection, "back rest")
    assert ["GET /containers/back%20rest/json"] == connection.asked
    assert runner is not None
    assert ("b" * 64, "backrest", True) == (runner.id, runner.name, runner.is_running)
    assert ("/sbin/tini", "--", "/x") == runner.command
    assert (1767323045.123456, 0.0) == (runner.started_at, runner.finished_at)
    assert ["/a", "/z"] == [mount.destination for mount in runner.mounts]
    assert {"TZ": "Europe/Berlin", "A": "b=c", "EMPTY": ""} == runner.environment
    assert "Europe/Berlin" == runner.time_zone
    assert "b=c" not in repr(runner)


def test_no_container_is_no_runner() -> None:
    """A name that nobody has."""
    assert find_backrest(Answers(None), "backrest") is None


def test_a_stranger_behind_the_address_is_an_error() -> None:
    """An answer of another shape never looks like a container."""
    with pytest.raises(InventoryError):
        find_backrest(Answers({"Id": "x"}), "backrest")


def test_a_restart_leaves_the_processes_their_time() -> None:
    """In whole seconds, as the engine takes them; a container that is gone is an error."""
    connection = Answers({})
    restart(connection, RUNNER, 14.6)
    assert [f"POST /containers/{'a' * 64}/restart?t=15"] == connection.asked
    with pytest.raises(InventoryError):
        restart(Answers(None), RUNNER, 1)


def test_short_ids_name_a_container_and_nothing_names_none() -> None:
    """The sidecar may know only the beginning of its own id."""
    assert RUNNER.is_container("a" * 64)
    assert RUNNER.is_container("a" * 12)
    assert not RUNNER.is_container("a" * 11)
    assert not RUNNER.is_container("")
    assert not RUNNER.is_container("b" * 12)
