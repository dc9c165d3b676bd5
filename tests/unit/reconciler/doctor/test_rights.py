"""What hooks may do through a proxy, as the doctor tries it."""

from pathlib import Path

import pytest

from sidecar.planner.scripts import render_exec, render_quiesce, render_resume, render_scale_down
from sidecar.service.check_result import CheckResult, CheckStatus
from tests.fakes.fake_docker import FakeDocker
from tests.unit.reconciler.doctor.test_run import Host

PROXY = "tcp://socket-proxy:2375"
EXEC = render_exec("web", "true")
CASES = [
    (render_quiesce("web", "p", "stop"), "POST /containers/_backrest-sidecar/stop", "ALLOW_STOP"),
    (render_resume("web", "start"), "POST /containers/_backrest-sidecar/start", "ALLOW_START"),
    ("docker stop web", "POST /containers/_backrest-sidecar/stop", "ALLOW_STOP"),
    ("docker  container start web", "POST /containers/_backrest-sidecar/start", "ALLOW_START"),
    (
        render_quiesce("web", "p", "pause"),
        "POST /containers/_backrest-sidecar/pause",
        "ALLOW_PAUSE",
    ),
    (
        render_resume("web", "unpause"),
        "POST /containers/_backrest-sidecar/unpause",
        "ALLOW_UNPAUSE",
    ),
    ("docker restart web", "POST /containers/_backrest-sidecar/restart", "ALLOW_RESTARTS"),
    ("docker kill -s HUP web", "POST /containers/_backrest-sidecar/kill", "ALLOW_RESTARTS"),
    (EXEC, "POST /containers/_backrest-sidecar/exec", "EXEC"),
    (EXEC, "POST /exec/_backrest-sidecar/start", "EXEC"),
    (EXEC, "GET /exec/_backrest-sidecar/json", "EXEC"),
    (EXEC, "HEAD /_ping", "PING"),
    (EXEC, "GET /containers/_backrest-sidecar/json", "CONTAINERS"),
    (render_scale_down("web", "p"), "POST /services/_backrest-sidecar/update", "SERVICES"),
]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host whose runner and doctor reach the engine by the same proxy."""
    made = Host(tmp_path)
    made.env.append(f"DOCKER_HOST={PROXY}")
    made.connection.address = PROXY
    return made


def look(host: Host, *commands: str) -> CheckResult:
    """Examine a host whose plans have these hooks."""
    for command in commands:
        host.add_plan(command)
    return host.examine()["hooks.permissions"]


@pytest.mark.parametrize(("command", "call", "variable"), CASES)
def test_a_right_that_hooks_need_and_lack_is_named(
    command: str, call: str, variable: str, host: Host
) -> None:
    """With its variable and the plans that are concerned; proxies answer 403 or 405."""
    host.connection.statuses = {call: 405}
    found = look(host, "docker ps", command)
    assert found.verdict is CheckStatus.FAILURE
    assert found.message.startswith(f"{variable} is not granted: hooks may not ")
    assert found.hint == f"set {variable}=1 on the socket proxy"
    assert "backrest_sidecar_p1" in found.details


def test_several_rights_are_one_finding(host: Host) -> None:
    """Each variable is named once."""
    host.connection.statuses = {"POST ": 403}
    found = look(host, "docker restart web; docker kill web", EXEC)
    assert found.message == (
        "ALLOW_RESTARTS and EXEC are not granted: "
        "hooks may not restart containers, kill containers and run commands in containers"
    )
    assert found.hint == "set ALLOW_RESTARTS=1 and EXEC=1 on the socket proxy"


def test_what_no_hook_does_is_not_tried(host: Host) -> None:
    """A proxy may well keep it back, and its log stays short."""
    found = look(host, "docker stop web")
    assert found.verdict is CheckStatus.OK
    assert "stop containers" in found.message
    tried = [call for call in host.connection.asked if "_backrest-sidecar/" in call]
    assert not [call for call in tried if call.endswith(("/exec", "/pause", "/kill"))]


def test_without_a_proxy_hooks_may_do_everything(host: Host) -> None:
    """They have the engine's own socket."""
    host.env.pop()
    host.connection.statuses = {"POST ": 403}
    assert look(host, "docker stop web").verdict is CheckStatus.OK


def test_without_a_hook_that_calls_docker_there_is_nothing_to_check(host: Host) -> None:
    """Whatever the proxy grants."""
    assert look(host, "echo docker").verdict is CheckStatus.NOT_CHECKED


def test_another_proxy_than_ours_is_tried_where_it_lets_us(host: Host) -> None:
    """Else nobody can tell from here, and that is no failure."""
    with FakeDocker(port=0) as other:
        host.env[-1] = f"DOCKER_HOST={other.address}"
        assert look(host, "docker ps").verdict is CheckStatus.OK
        other.refusals["/containers"] = 403
        host.connection.runner = None
        assert "CONTAINERS is not granted" in host.examine()["hooks.permissions"].message
        other.refusals["/version"] = 403
        host.connection.runner = None
        found = host.examine()["hooks.permissions"]
    assert found.verdict is CheckStatus.NOT_CHECKED
    assert "the hooks' way to the engine is not ours" in found.message
