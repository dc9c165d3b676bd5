"""The socket proxies: what they grant is what is needed, and the doctor tests all of it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import pytest

from doctor_world import WITH_CLIENT, with_client
from doctor_world import Stack as Examined
from hook_shell import NAME as HOOKED
from hook_shell import Hooks, state_of
from private_docker import PrivateEngine
from sidecar.planner.scripts import render_exec, render_quiesce, render_resume
from sidecar.reconciler.doctor import docker as reading
from sidecar.reconciler.doctor import rights
from sidecar.reconciler.settings import Applying, ApplyVia, InventorySource
from sidecar.service.check_result import CheckStatus
from stack_world import ROOT, WEB, Stack, compose_file, running_stack, services_with_socket
from tests.fakes.proxy_program import parse_rules
from tests.fakes.socket_proxy import SocketProxy
from world import World

FILE = "compose.socket-proxy.yaml"
RUNNER_FILE = "compose.runner-socket-proxy.yaml"
# The image is built from the Dockerfile first.
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, slots=True)
class Grant:
    """One line of the file: a method, the rule for paths, and the doctor's name for it."""

    method: str
    rule: str
    name: str

    def __str__(self) -> str:
        return f"{self.name}-{self.method}-{self.rule.rpartition('/')[2]}"


def grants(file: str = FILE) -> list[Grant]:
    """Read a file's grants with the names that stand behind them."""
    line = re.compile(r"^ +- -allow([A-Z]+)=(\S+) # ([A-Z_]+)$", re.MULTILINE)
    return [Grant(*found) for found in line.findall((ROOT / file).read_text())]


GRANTS = grants()
ACTING = {"ALLOW_STOP", "ALLOW_START", "ALLOW_PAUSE", "ALLOW_UNPAUSE", "EXEC"}


def rules_without(left_out: Grant | None = None) -> Mapping[str, list[str]]:
    """Return the rules of the file but for one of them."""
    kept = [grant for grant in GRANTS if grant is not left_out]
    return parse_rules(f"-allow{grant.method}={grant.rule}" for grant in kept)


@pytest.fixture
def proxy(engine: PrivateEngine) -> Iterator[SocketProxy]:
    """Stand before the engine with the rules of the file."""
    with SocketProxy(engine.socket, allowed=rules_without(), listen=("127.0.0.1", 0)) as standing:
        yield standing


@pytest.fixture
def examined(
    proxy: SocketProxy,
    docker_client: docker.APIClient,
    world: World,
    engine: PrivateEngine,
    tmp_path: Path,
) -> Iterator[Examined]:
    """Return a runner and a doctor that both reach the engine through the proxy only."""
    docker_client.import_image_from_data(
        with_client(),
        repository=WITH_CLIENT,
        tag="latest",
        changes=['CMD ["/bin/sleep", "86400"]'],
    )
    house = Examined(tmp_path, world, engine)
    house.binds.pop()
    house.environment["DOCKER_HOST"] = proxy.address
    house.settings = replace(
        house.settings,
        source=InventorySource(docker_sock=proxy.address),
        applying=Applying(enabled=True, via=ApplyVia.API),
    )
    pairs = [("stop", "start"), ("pause", "unpause")]
    scripts = [render_quiesce("web", "mine", verb) for verb, _ in pairs]
    scripts += [render_resume("web", verb) for _, verb in pairs]
    house.write(*scripts, render_exec("web", "true"))
    house.run_runner()
    yield house
    world.clear()
    docker_client.remove_image(WITH_CLIENT, force=True)


def test_every_grant_has_the_doctors_name_for_it() -> None:
    """No line is without one, and Compose reads the very same rules."""
    flags = compose_file(FILE)["services"]["socket-proxy"]["command"]
    assert rules_without() == parse_rules(flags)
    assert len([flag for flag in flags if flag.startswith("-allow")]) == len(GRANTS) + 1


def test_the_file_for_the_runner_is_the_same_but_for_who_may_ask() -> None:
    """What is tried below with one of them holds for both."""
    theirs, ours = (compose_file(name)["services"]["socket-proxy"] for name in (FILE, RUNNER_FILE))
    assert GRANTS == grants(RUNNER_FILE)
    assert "-allowfrom=backrest,sidecar" in theirs["command"]
    command = [flag.replace("=backrest,", "=runner,") for flag in theirs["command"]]
    assert {**theirs, "command": command} == ours


def test_it_grants_what_the_doctor_tests_and_no_more() -> None:
    """But for what this stack has no use for: restarting Backrest, and Swarm."""
    tested = {"VERSION", *reading._READINGS}
    tested |= {right.variable for right in rights._OWN_RIGHTS.values()}
    tested |= {right.variable for right in rights._HOOK_RIGHTS}
    assert {grant.name for grant in GRANTS} == tested - {"ALLOW_RESTARTS", "SERVICES"}


def test_with_all_grants_the_doctor_finds_nothing_wrong(examined: Examined) -> None:
    """It has tried each of them, those of the hooks too."""
    found = examined.examine()
    assert {} == examined.wrong()
    tried = {check for check, one in found.items() if one.verdict is CheckStatus.OK}
    assert {"permission.start", "permission.unpause", "hooks.permissions"} <= tried
    for purpose in ("stop containers", "unpause containers", "run commands in containers"):
        assert purpose in found["hooks.permissions"].message


@pytest.mark.parametrize("missing", GRANTS, ids=str)
def test_with_one_grant_fewer_the_doctor_names_it(
    missing: Grant, examined: Examined, proxy: SocketProxy
) -> None:
    """Without INFO one can live, so that is a warning."""
    proxy.allowed = rules_without(missing)
    well = {CheckStatus.OK, CheckStatus.NOT_CHECKED}
    wrong = [one for one in examined.examine().values() if one.verdict not in well]
    assert wrong
    assert {f"{missing.name} is not granted"} == {one.message.partition(":")[0] for one in wrong}
    assert {f"set {missing.name}=1 on the socket proxy"} == {
        one.hint.partition(",")[0] for one in wrong
    }
    expected = CheckStatus.WARNING if missing.name == "INFO" else CheckStatus.FAILURE
    assert {expected} == {one.verdict for one in wrong}


LABELS = {
    "stop": {"hooks.template": "stop-start"},
    "pause": {"hooks.template": "pause-unpause"},
    "exec": {"exec.start": "echo done >/data/done"},
}


@pytest.fixture
def hooked(world: World, tmp_path: Path) -> str:
    """Run a container that hooks act on."""
    (tmp_path / "data").mkdir()
    return world.container(HOOKED, {}, [f"{tmp_path}/data:/data"], running=True)


@pytest.mark.parametrize("kind", LABELS)
def test_hooks_do_their_work_through_it(
    kind: str,
    hooked: str,
    proxy: SocketProxy,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    tmp_path: Path,
) -> None:
    """Scripts as they are rendered, by the machine's docker client."""
    hooks = Hooks(LABELS[kind], engine, tmp_path)
    states = []
    for index in range(len(hooks.scripts)):
        status, said = hooks.run(index, DOCKER_HOST=proxy.address)
        assert 0 == status, said
        states.append(state_of(docker_client, hooked))
    expected = {"stop": ["exited", "running"], "pause": ["paused", "running"]}
    assert expected.get(kind, ["running"]) == states
    assert (kind == "exec") == (tmp_path / "data" / "done").exists()
    assert [] == proxy.refused


@pytest.mark.parametrize("missing", [g for g in GRANTS if g.name in ACTING], ids=str)
def test_a_hook_without_its_grant_fails_and_says_why(
    missing: Grant,
    hooked: str,
    proxy: SocketProxy,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    tmp_path: Path,
) -> None:
    """So the backup ends as failed, and nothing is thought to be stopped that runs."""
    kind = "exec" if missing.name == "EXEC" else "pause" if "PAUSE" in missing.name else "stop"
    proxy.allowed = rules_without(missing)
    hooks = Hooks(LABELS[kind], engine, tmp_path)
    done = [hooks.run(index, DOCKER_HOST=proxy.address) for index in range(len(hooks.scripts))]
    failed = next(said for status, said in done if status)
    # A client of 20.10 takes that one refusal for the command's output; the doctor names it.
    assert "403" in failed or ("/exec/" in missing.rule and "Unrecognized input" in failed)
    assert proxy.refused
    if missing.name == "ALLOW_UNPAUSE":
        docker_client.unpause(hooked)


@pytest.mark.parametrize(
    "call",
    [
        "POST /v1.41/containers/create",
        "DELETE /v1.41/containers/web",
        "POST /v1.41/containers/web/restart",
        "POST /v1.41/containers/web/kill",
        "POST /v1.41/containers/web/update",
        "POST /v1.41/containers/web/attach",
        "GET /v1.41/containers/web/archive?path=/etc",
        "PUT /v1.41/containers/web/archive?path=/etc",
        "GET /v1.41/containers/web/logs",
        "GET /v1.41/containers/web/export",
        "POST /v1.41/images/create",
        "GET /v1.41/images/name/get",
        "POST /v1.41/build",
        "POST /v1.41/volumes/create",
        "DELETE /v1.41/volumes/data",
        "POST /v1.41/networks/create",
        "POST /v1.41/services/create",
        "POST /v1.41/swarm/init",
        "GET /v1.41/secrets",
        "POST /containers/create/start/../../create",
        "POST /v1.41/containers%2Fcreate",
        "PUT /v1.41/containers/web/start",
        "GET /anything/containers/json",
    ],
)
def test_nothing_else_is_granted(call: str, proxy: SocketProxy) -> None:
    """Above all nothing that makes a container, or reads what is in one."""
    assert not proxy.grants(*call.split(" "))


class Recording(SocketProxy):
    """A proxy that knows which of the file's grants were made use of."""

    def __init__(self, engine: PrivateEngine) -> None:
        super().__init__(engine.socket, allowed=rules_without(), listen=("127.0.0.1", 0))
        self.used: set[str] = set()

    def grants(self, method: str, path: str) -> bool:
        """Note the names of what lets a call through."""
        bare = path.partition("?")[0]
        self.used |= {
            grant.name
            for grant in GRANTS
            if grant.method == method and re.fullmatch(grant.rule, bare)
        }
        return super().grants(method, path)


def test_the_runner_itself_asks_for_what_the_page_says(
    hooked: str, engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    """To read; and for a restore to stop and start who uses the data. Hooks come on top of that."""
    data = tmp_path / "data"
    (data / "page").write_text("hello\n")
    plan = {"id": "web", "repo": "r", "paths": [str(data)], "schedule": {"disabled": True}}
    place = str(tmp_path / "repository")
    repo = {"id": "r", "uri": place, "guid": "", "password": "x", "autoInitialize": True}
    document = {"modno": 1, "version": 6, "instance": "here", "repos": [repo], "plans": [plan]}
    config = tmp_path / "config.json"
    config.write_text(json.dumps(document))
    with Recording(engine) as proxy:
        for command in (("run", "web"), ("restore", "web", "--yes")):
            done = subprocess.run(
                [sys.executable, "-m", "sidecar.runner", *command, "--config", config],
                env={**os.environ, "DOCKER_HOST": proxy.address},
                capture_output=True,
                text=True,
                check=False,
            )
            assert 0 == done.returncode, done.stdout + done.stderr
        assert [] == proxy.refused
        asked = {"VERSION", "CONTAINERS", "VOLUMES", "INFO", "ALLOW_STOP", "ALLOW_START"}
        assert asked == proxy.used
    assert "running" == state_of(docker_client, hooked)


@pytest.fixture(scope="module")
def stack(
    networked_engine: PrivateEngine,
    stack_client: docker.APIClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Run the stack with the proxy, and a workload of somebody else."""
    del stack_client
    folder = tmp_path_factory.mktemp("proxied") / "backup"
    with running_stack(networked_engine, folder, ["docker-compose"], FILE) as made:
        made.add("shop", WEB)
        made.await_plans("backup_backrest", "shop_web")
        yield made


def test_the_stack_backs_up_through_the_proxy(stack: Stack) -> None:
    """With hooks that stop, run a command and start."""
    assert "success" in stack.sidecar("backup", "shop/web")
    data = f"{stack.engine.data_root}/volumes/shop_www/_data"
    assert "dumped\n" == stack.restic(f"dump latest {data}/dump.txt")
    assert [] == list((stack.config.parent / ".quiesced").iterdir())


def test_the_doctor_finds_nothing_wrong_behind_the_proxy(stack: Stack) -> None:
    """It asks for all that the present plans need."""
    said = stack.sidecar("doctor", "--all")
    assert " 0 warning, 0 failure" in said
    assert "tcp://socket-proxy:2375 lets hooks" in said


def test_nobody_but_the_proxy_has_the_socket(stack: Stack, stack_client: docker.APIClient) -> None:
    """And through the proxy nobody makes a container."""
    assert {"socket-proxy"} == services_with_socket(stack, stack_client)
    assert "backup" in stack.in_backrest("docker ps")
    assert "Forbidden" in stack.in_backrest("docker run --rm busybox:stable true", 125)
    assert "Forbidden" in stack.in_backrest("docker rm --force backrest", 1)
