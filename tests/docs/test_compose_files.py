"""The repository's Compose files, as far as reading them tells."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar import __version__

ROOT = Path(__file__).parents[2]
FILES = sorted(path.name for path in ROOT.glob("compose*.yaml"))
SOCKET = "/var/run/docker.sock"
DATA = ("${DOCKER_ROOT:-/var/lib/docker}/volumes", "${BIND_ROOT:-/srv}")


def services(name: str) -> dict[str, dict[str, Any]]:
    """Return the services of a file."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / name).read_text())["services"]
    return found


def mounts(name: str, service: str) -> dict[str, tuple[str, str]]:
    """Return a service's mounts: source and mode by target."""
    pattern = re.compile(r"(.+?):((?:/|\$\{).*?)(?::(ro|rw))?")
    split = [pattern.fullmatch(volume) for volume in services(name)[service]["volumes"]]
    return {found[2]: (found[1], found[3] or "") for found in split if found is not None}


def test_these_are_the_files() -> None:
    """A new one has to be tested too."""
    assert FILES == [
        "compose.dry-run.yaml",
        "compose.engines.yaml",
        "compose.restore.yaml",
        "compose.runner-restore.yaml",
        "compose.runner-socket-proxy.yaml",
        "compose.runner.yaml",
        "compose.socket-proxy.yaml",
        "compose.yaml",
    ]


def test_data_is_read_only_at_its_own_path() -> None:
    """A plan's path is then the path on the host, whoever executes it."""
    for name, service in (
        ("compose.yaml", "backrest"),
        ("compose.runner.yaml", "runner"),
        ("compose.engines.yaml", "companion"),
    ):
        found = mounts(name, service)
        assert {path: (path, "ro") for path in DATA} == {path: found[path] for path in DATA}


def test_the_override_for_a_restore_makes_exactly_the_data_writable() -> None:
    """At the same targets, so that nothing is mounted twice."""
    for name, service in (("restore", "backrest"), ("runner-restore", "runner")):
        found = mounts(f"compose.{name}.yaml", service)
        assert {path: (path, "rw") for path in DATA} == {path: found[path] for path in DATA}
    assert set(DATA) == set(mounts("compose.restore.yaml", "backrest"))


def test_both_have_the_directory_of_the_document() -> None:
    """Not the file alone, which could not be replaced; each command looks at the same place."""
    source = "./config"
    assert mounts("compose.yaml", "backrest")["/config"] == (source, "")
    for service in ("init", "sidecar"):
        assert mounts("compose.yaml", service)["/etc/backrest"] == (source, "")
    stack = services("compose.yaml")
    assert stack["backrest"]["environment"]["BACKREST_CONFIG"] == "/config/config.json"
    assert "--config=/etc/backrest/config.json" in stack["init"]["command"]
    given = stack["sidecar"]["environment"]["BACKREST_SIDECAR_CONFIG"]
    assert given == "/etc/backrest/config.json"


def test_the_companion_sees_what_backrest_sees_and_executes_its_own_document() -> None:
    """Its repository too, for a restore; and snapshots of both bear one instance's name."""
    stack, base = services("compose.engines.yaml"), services("compose.yaml")
    found = mounts("compose.engines.yaml", "companion")
    theirs = mounts("compose.yaml", "backrest")
    assert theirs.items() - found.items() == {("/data", ("data", "")), ("/cache", ("cache", ""))}
    environment = stack["companion"]["environment"]
    assert "runner" == environment["BACKREST_RUNNER_DOCUMENTS"]
    assert base["backrest"]["environment"]["BACKREST_CONFIG"] == environment["BACKREST_CONFIG"]
    assert base["backrest"]["environment"]["TZ"] == environment["TZ"]
    instance = "--instance=backrest"
    assert instance in base["init"]["command"]
    assert instance in stack["init-engines"]["command"]
    [repo] = [word for word in stack["init-engines"]["command"] if word.startswith("--repo=")]
    assert repo.partition("rsync:")[2] in found


def test_the_interface_is_closed_and_the_sidecar_has_the_login() -> None:
    """The user and the file with the password are those that `init` makes."""
    stack = services("compose.yaml")
    environment, command = stack["sidecar"]["environment"], stack["init"]["command"]
    user = environment["BACKREST_SIDECAR_BACKREST_USER"]
    file = environment["BACKREST_SIDECAR_BACKREST_PASSWORD_FILE"]
    assert {f"--user={user}", f"--user-password-file={file}"} <= set(command)
    assert file.startswith("/etc/backrest/")


def test_both_are_in_the_same_time_zone() -> None:
    """Schedules run by Backrest's, and are shown by the sidecar's."""
    stack = services("compose.yaml")
    zones = {stack[name]["environment"]["TZ"] for name in ("backrest", "sidecar")}
    assert zones == {"${TZ:-Etc/UTC}"}


def test_the_override_for_the_proxy_replaces_each_socket() -> None:
    """Where the stack mounts one, the override puts nothing in its place."""
    for stack, override in (
        ("compose.yaml", "compose.socket-proxy.yaml"),
        ("compose.runner.yaml", "compose.runner-socket-proxy.yaml"),
    ):
        for name, service in services(stack).items():
            if SOCKET in mounts(stack, name):
                assert mounts(override, name)[SOCKET] == ("/dev/null", "ro")
                assert "engine" not in service.get("networks", [])
        assert mounts(override, "socket-proxy")[SOCKET][0].endswith("docker.sock}")


@pytest.mark.parametrize("name", [name for name in FILES if name != "compose.dry-run.yaml"])
def test_images_are_pinned(name: str) -> None:
    """To a release, since what they do was tried with that one."""
    images = {service["image"] for service in services(name).values() if "image" in service}
    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images)


def test_images_of_ours_are_those_of_this_version() -> None:
    """In the Compose files, and where a page shows a part of one."""
    read = [ROOT / name for name in FILES] + [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = re.compile(r"image: ghcr\.io/backrest-sidecar/(?:[\w-]+)(:\S+)?")
    tags = {tag for file in read for tag in named.findall(file.read_text())}
    assert {f":{__version__}"} == tags


def test_the_demo_workloads_are_those_of_the_demo() -> None:
    """A preview in a container shows what scripts/demo shows."""
    demo = services("testdata/demo/compose.yaml")
    dry_run = services("compose.dry-run.yaml")
    assert set(demo) == set(dry_run) - {"sidecar"}
    for name, service in demo.items():
        assert service.get("labels", {}) == dry_run[name]["labels"]
        volumes = [v.replace("./uploads", "./testdata/demo/uploads") for v in service["volumes"]]
        assert volumes == dry_run[name]["volumes"]


def test_lint_finds_nothing_wrong_with_the_stack() -> None:
    """And Backrest's own configuration in a plan."""
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "lint", "--compose", "compose.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 error, 0 degraded, 0 warning" in done.stdout
    assert "✓ /config (bind)" in done.stdout
