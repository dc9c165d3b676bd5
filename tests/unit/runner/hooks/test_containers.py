"""Which containers hooks are known to stop."""

import pytest

from sidecar.backrest.reading import RunHook
from sidecar.planner import scripts
from sidecar.runner.hooks.containers import containers_of


def hook(command: str, action: str = "actionCommand") -> RunHook:
    """Return a hook of a command."""
    return RunHook(frozenset({"CONDITION_SNAPSHOT_START"}), action, {"command": command})


@pytest.mark.parametrize(
    "script",
    [
        scripts.render_quiesce("my-web_1.a", "plan_web", "stop"),
        scripts.render_quiesce("my-web_1.a", "plan_web", "pause"),
        scripts.render_resume("my-web_1.a", "start"),
        scripts.render_scale_down("my-web_1.a", "plan_web"),
        scripts.render_scale_up("my-web_1.a"),
        scripts.render_exec("my-web_1.a", "docker stop other", what="exec `a\nb`"),
        scripts.render_exec("my-web_1.a", "x", user="root", swarm_service="shop"),
    ],
)
def test_each_of_our_scripts_names_its_container(script: str) -> None:
    """Also that which runs a command in it: while it is stopped there would be no dump."""
    assert {"my-web_1.a"} == containers_of([hook(script)])


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("docker stop web", {"web"}),
        ("set -e\ndocker container stop -t 10 web 'db' >/dev/null 2>&1\n", {"web", "db"}),
        ("docker stop --time=5 --signal SIGINT web; docker pause db # wait", {"web", "db"}),
        ('ssh nas docker stop web && docker unpause "db"', {"web", "db"}),
        ('docker stop "$NAME"', set()),
        ("docker stop {{.Plan.Id}}", set()),
        ("docker compose stop web", set()),
        ("docker stopper web", set()),
        ("", set()),
    ],
)
def test_plain_commands_of_docker_are_read(command: str, names: set[str]) -> None:
    """What takes the name from elsewhere cannot be known."""
    assert names == containers_of([hook(command)])


def test_only_commands_touch_containers() -> None:
    """A notification may speak of them."""
    assert frozenset() == containers_of(
        [hook("docker stop web", "actionDiscord"), RunHook(frozenset())]
    )
