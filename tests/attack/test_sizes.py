"""Labels that want to be too much: for a document, a list, or the patience of a pass."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.labels.registry import LABELS
from tests.attack.crowd import POLICIES, container, document, look, plans_of

KIB = 1 << 10
VICTIM = container("victim", {"schedule": "0 3 * * *"}, "/srv/victim")
TOO_LARGE: dict[str, dict[str, str]] = {
    "a-value": {"id": "x" * (64 * KIB + 1)},
    "a-value-of-wide-characters": {"keep": "\N{PILE OF POO}" * (16 * KIB + 1)},
    "a-list": {"paths.exclude": "x" * (64 * KIB + 1)},
    "indexed-items-together": {f"paths.exclude.{number}": "x" * (33 * KIB) for number in range(2)},
    "many-items": {"paths.exclude": ",".join(["x"] * 257)},
    "many-indexed-items": {f"paths.exclude.{number}": "x" for number in range(257)},
    "many-flags": {"backup-flags": ",".join(["--tag=x"] * 257)},
    "an-index-of-many-digits": {f"paths.exclude.{'9' * 60_000}": "x"},
    "a-count-of-many-digits": {"keep": f"daily={'9' * 60_000}"},
}
# What programs that go back and forth over a text never end with, or end with late.
SLOW: dict[str, dict[str, str]] = {
    "exclude-stars": {"paths.exclude": f"/data/{'*a' * 60}b, {'*a' * 60}b"},
    "iexclude-folders": {"paths.iexclude": "*/" * 30_000 + "b"},
    "exclude-sets": {"paths.exclude": "[a-b" * 15_000},
    "stop-options": {"snapshot-start": "docker stop " + "-t " * 60 + "x y"},
    "stop-blanks": {"snapshot-end": "docker stop" + " " * 60_000 + "x"},
    "many-stops": {"snapshot-end": "docker stop " * 5_000 + "x"},
    "selves": {"exec.start": "$SELF" * 12_000},
    "quotes": {"exec.start": "\"'" * 30_000},
    "brackets": {"paths.include": "[" * 60_000},
    "deep-json": {"paths.include": '["' + "[" * 60_000},
    "bullets": {"paths.include": "- \n" * 20_000},
    "short-flags": {"backup-flags": "-" + "v" * 15_000},
    "a-cron": {"schedule": ",".join(["*/1"] * 15_000) + " * * * *"},
    "a-hashed-cron": {"schedule": ",".join(["T/7"] * 15_000) + " * * * *"},
    "a-pause": {"schedule": "every " + "1d" * 30_000},
    "a-retention": {"keep": "daily=1," * 8_000},
    "a-near-label": {f"{'paths.' * 9_000}x": "1"},
    "dots": {"paths.include": "/data/" + "../a/" * 12_000},
    "a-notification": {"notify": "gotify:http://" + "a@" * 30_000},
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", TOO_LARGE)
def test_who_asks_for_too_much_gets_nothing(name: str, policy: str) -> None:
    """The victim's plan is made as if nobody else were there."""
    alone = plans_of(look(policy, VICTIM))
    proposal = look(policy, container("evil", TOO_LARGE[name], "/srv/evil"), VICTIM)

    assert alone == plans_of(proposal)
    assert any(problem.blocks for problem in proposal.rendered.problems)


@pytest.mark.parametrize("policy", POLICIES)
def test_many_long_commands_are_no_larger_than_a_plan_may_be(policy: str) -> None:
    """Each label within its limit, all of them beyond that of a plan."""
    events = ("start", "end", "success", "error", "warning", "skipped")
    long = {f"snapshot-{event}": "$SELF " * 10_000 for event in events}
    proposal = look(policy, container("e" * 100, long, "/srv/evil"), VICTIM)

    assert "victim" in plans_of(proposal)
    assert 1 << 21 > len(proposal.after.text)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "words",
    [("reconcile", "--dry-run", "--output"), ("lint", "--format")],
    ids=lambda words: words[0],
)
def test_no_label_takes_long(tmp_path: Path, policy: str, words: tuple[str, ...]) -> None:
    """All of them at once, on mounts that look like those of a database; each has a limit."""
    listed = []
    hostile = {
        name: {f"backrest.{key}": text for key, text in labels.items()}
        for name, labels in SLOW.items()
    }
    hostile |= {
        label.name: {f"backrest.{label.name}": "*a" * 30_000}
        for label in LABELS
        if label.name != "enable"
    }
    hostile["victim"] = {}
    for number, (name, labels) in enumerate(hostile.items()):
        own = {"backrest.enable": "true", "." * 60_000: "x", "a." * 30_000: "x", **labels}
        mount = {
            "Type": "bind",
            "Source": f"/srv/{name}{'/a' * 200}/{'a' * 200}",
            "Destination": "/data/db",
            "RW": True,
        }
        listed.append(
            {
                "Id": f"{number:064x}",
                "Names": [f"/{name}"],
                "Image": "mongo",
                "State": "running",
                "Labels": own,
                "Mounts": [mount],
            }
        )
    inventory, config = tmp_path / "list.json", tmp_path / "config.json"
    inventory.write_text(json.dumps(listed))
    config.write_text(document().text)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sidecar", *words, "json"),
            *("--config", str(config), "--inventory", str(inventory), "--hook-policy", policy),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert "backrest_sidecar_victim" in done.stdout
    assert "Traceback" not in done.stderr
