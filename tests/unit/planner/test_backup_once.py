"""What labels want of backup-once: which containers stop, and what is kept."""

from collections.abc import Mapping

import pytest

from sidecar.docker.models import Container, Inventory
from sidecar.labels.policy import Policy
from sidecar.lib.text import SpecInvalid
from sidecar.planner.backup_once import (
    KeepRule,
    QuiesceLabel,
    parse_quiesce_label,
    read_once_labels,
    render_keep_flags,
)

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
POLICY = Policy()


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("daily=7,weekly=4", "--keep-daily 7 --keep-weekly 4"),
        ("last=3, within=1y5m7d2h", "--keep-last 3 --keep-within 1y5m7d2h"),
        ("within-hourly=2d", "--keep-within-hourly 2d"),
        (
            "within-h=2d,within-d=14d,within-w=2m,within-m=1y,within-y=10y",
            (
                "--keep-within-hourly 2d --keep-within-daily 14d --keep-within-weekly 2m "
                "--keep-within-monthly 1y --keep-within-yearly 10y"
            ),
        ),
        (
            "h=24,d=7,w=4,m=6,y=2",
            "--keep-hourly 24 --keep-daily 7 --keep-weekly 4 --keep-monthly 6 --keep-yearly 2",
        ),
        ("all", ""),
    ],
)
def test_a_keep_label_becomes_flags_of_restic(text: str, flags: str) -> None:
    """Spans may stand alone, and the short spellings mean the long ones."""
    assert tuple(flags.split()) == render_keep_flags(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "daily",
        "daily=0",
        "d=7,daily=7",
        "within=soon",
        "within",
        "all,last=1",
        "minutely=3",
        "=",
    ],
)
def test_a_keep_label_that_is_none_is_refused(text: str) -> None:
    """A wrong retention deletes data, so nothing is guessed."""
    with pytest.raises(SpecInvalid):
        render_keep_flags(text)


@pytest.mark.parametrize(
    ("said", "labels", "is_on"),
    [
        ("", {"backrest.quiesce": " Yes "}, True),
        ("", {"backrest.quiesce": "off"}, False),
        ("", {}, False),
        ("backrest.quiesce=1", {"backrest.quiesce": "true"}, True),
        ("quiet=0", {"quiet": "off"}, True),
        ("tier=db", {"tier": "db"}, True),
        ("tier=db", {"tier": "web"}, False),
        ("tier", {"tier": ""}, True),
        ("tier", {"other": "x"}, False),
    ],
)
def test_the_label_that_asks_for_quiet(said: str, labels: dict[str, str], is_on: bool) -> None:
    """All words for true are one value; any other value has to be the very same."""
    assert is_on == parse_quiesce_label(said, "backrest.").is_on(labels)


def observed(name: str, labels: Mapping[str, str]) -> Container:
    """Return a container as the sidecar sees it."""
    return Container(id=f"id-{name}", name=name, labels=labels)


def test_containers_that_ask_for_it_are_quiet_but_neither_we_nor_who_runs_a_command() -> None:
    """A word that is no answer is told with the container and the label."""
    inventory = Inventory(
        (
            observed("db", {"backrest.quiesce": "true"}),
            observed("us", {"backrest.quiesce": "true"}),
            observed("run", {"backrest.quiesce": "true", "com.docker.compose.oneoff": "True"}),
            observed("odd", {"backrest.quiesce": "perhaps"}),
        )
    )
    policy = Policy(own_container_id="id-us")
    found = read_once_labels(inventory, policy, parse_quiesce_label("", "backrest."))
    assert ("id-db",) == found.to_stop
    (problem,) = found.problems
    assert ("label.invalid", "odd", "backrest.quiesce") == (
        problem.reason,
        problem.container,
        problem.label,
    )


def test_each_service_that_is_enabled_is_kept_as_it_says() -> None:
    """Replicas are one service; a container of its own is called by its name."""
    keep = {"backrest.enable": "on", "backrest.keep": "last=2"}
    db = {PROJECT: "p", SERVICE: "db"}
    inventory = Inventory(
        (
            observed("p-db-1", db | keep),
            observed("p-db-2", db | keep),
            observed("alone", keep),
            observed("all", keep | {"backrest.keep": "all"}),
            observed("off", keep | {"backrest.enable": "no"}),
            observed("silent", {"backrest.enable": "yes"}),
        )
    )
    never = QuiesceLabel("none", None)
    flags = ("--keep-last", "2")
    found = read_once_labels(inventory, POLICY, never)
    assert (KeepRule("alone", flags), KeepRule("p/db", flags)) == found.keep_rules
    short = read_once_labels(inventory, Policy(include_project_name=False), never)
    assert ["alone", "db"] == [one.folder for one in short.keep_rules]


def test_a_label_that_cannot_be_read_keeps_everything_and_is_told() -> None:
    """The other services are kept as they say."""
    inventory = Inventory(
        (
            observed("a", {"backrest.enable": "perhaps", "backrest.keep": "last=2"}),
            observed("b", {"backrest.enable": "yes", "backrest.keep": "often"}),
            observed("c", {"backrest.enable": "yes", "backrest.keep": "last=1"}),
        )
    )
    found = read_once_labels(inventory, POLICY, QuiesceLabel("none", None))
    assert ["c"] == [one.folder for one in found.keep_rules]
    assert [("label.invalid", "a"), ("keep.invalid", "b")] == [
        (one.reason, one.workload) for one in found.problems
    ]
