"""Names that want to be paths, options or commands: every hook of a pass in a real shell."""

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from sidecar.backrest.reading import RunHook
from tests.attack.crowd import POLICIES, as_run, container, document, look, plans_of

NAMES = [
    "../config.json",
    "..",
    "a/b",
    ".new@victim",
    ".service@victim",
    "-v",
    "--help",
    "$(touch HIT)",
    "x;touch HIT",
    "x\ntouch HIT\n",
    "victim\n",
    "`touch HIT`",
    "x' ; touch HIT ; '",
    "{{ .Plan.Id }}",
    "víctim",
    "a\N{FULLWIDTH SOLIDUS}b",
]
USES = [
    {"hooks.template": "simple-stop-start"},
    {"hooks.template": "stop-start"},
    {"hooks.template": "pause-unpause"},
    {"hooks.template": "swarm-scale"},
    {"hooks.template": "redis-save", "dump.path": "/data/dump"},
    {"exec.start": "true", "exec.end": "echo $SELF", "exec.user": "$(touch HIT)"},
    {"snapshot-success": "docker restart $SELF", "snapshot-end": "docker kill ${SELF}"},
]
_DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"$CALLS"
case "$*" in
  *"ps "*) printf 'abc running\\n' ;;
  *"service ls"*) printf 'abc %s\\n' "$NAME" ;;
  *inspect*) echo 2 ;;
esac
"""


class Host:
    """A folder of Backrest's, with a `docker` that only writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config"
        (self.config / ".quiesced").mkdir(parents=True)
        (self.config / "config.json").write_text("{}")
        (self.config / ".quiesced" / "victim").write_text("plan=victim\ncontainer=abc\n")
        self.calls = folder / "calls"
        self.calls.write_text("")
        tool = folder / "bin" / "docker"
        tool.parent.mkdir()
        tool.write_text(_DOCKER)
        tool.chmod(0o755)

    def run(self, hook: RunHook, name: str) -> None:
        """Give the command of a hook to a shell, as Backrest does."""
        text = hook.settings["command"].replace('{{"{{"}}', "{{")
        environment = {
            "PATH": f"{self.config.parent / 'bin'}:{os.environ['PATH']}",
            "BACKREST_CONFIG": str(self.config / "config.json"),
            "CALLS": str(self.calls),
            "NAME": name,
        }
        subprocess.run(
            ["sh"],
            input=text,
            text=True,
            env=environment,
            cwd=self.config,
            capture_output=True,
            timeout=30,
            check=False,
        )

    def files(self) -> dict[str, str]:
        """What lies there, by name."""
        return {
            str(path.relative_to(self.config)): path.read_text()
            for path in sorted(self.config.rglob("*"))
            if path.is_file()
        }


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["container", "service"])
@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_more_than_a_name(tmp_path: Path, name: str, kind: str, policy: str) -> None:
    """Nothing is run or stopped by it, nothing overwritten or removed; what stood goes too."""
    host = Host(tmp_path)
    before = host.files()
    swarm = {"com.docker.swarm.service.name": name} if kind == "service" else {}
    for use in USES:
        evil = container(name if kind == "container" else "task", use)
        evil.labels.update(swarm)  # type: ignore[attr-defined]
        standing = look("all", container("x", {"id": "evil", "snapshot-end": f"stop {name}"}))
        evil.labels["backrest.id"] = "evil"  # type: ignore[index]
        proposal = look(policy, evil, before=document(list(plans_of(standing).values())))
        assert "{{ ." not in proposal.after.text
        for plan, event in itertools.product(as_run(proposal).plans, ("START", "END", "SUCCESS")):
            for hook in plan.hooks:
                if f"CONDITION_SNAPSHOT_{event}" in hook.conditions:
                    host.run(hook, name)

    assert before == host.files()
    assert [] == [
        line
        for line in host.calls.read_text().splitlines()
        if not line.startswith(("ps ", "inspect ", "service ls"))
    ]
