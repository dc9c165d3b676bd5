"""A whole document as typed values: both spellings, zeros, nulls, and what is not known."""

import json
from typing import Any

import pytest

from sidecar.backrest.document import parse_document
from sidecar.backrest.plan import OnError, Retention
from sidecar.backrest.reading import (
    CheckPolicy,
    Config,
    ForgetPolicy,
    PrunePolicy,
    Repo,
    RunHook,
    RunPlan,
    Timing,
    read_config,
)

GUID = "0123456789abcdef" * 4


def read(**fields: Any) -> Config:
    """Read a document, as its bytes are read."""
    return read_config(parse_document(json.dumps(fields).encode()).root)


def repo(**fields: Any) -> Repo:
    """Read a document's only repository."""
    return read(repos=[fields]).repos[0]


def plan(**fields: Any) -> RunPlan:
    """Read a document's only plan."""
    return read(plans=[fields]).plans[0]


def test_an_empty_document_is_an_empty_config() -> None:
    """There is nothing to run then."""
    assert Config() == read()


def test_things_are_found_by_their_ids() -> None:
    """None of another id."""
    config = read(repos=[{"id": "a"}, {"id": "b"}], plans=[{"id": "p", "repo": "b"}])
    assert Repo("b") == config.repo("b")
    assert RunPlan("p", "b") == config.plan("p")
    assert (None, None) == (config.repo("c"), config.plan("a"))


def test_a_repository_is_read_in_full() -> None:
    """With its policies; the text of an env entry is cut at its first equals sign."""
    found = repo(
        id="store",
        uri="/backups",
        guid=GUID,
        password="MARK",
        env=["A=1", "B=x=y"],
        flags=["--no-cache"],
        prunePolicy={"schedule": {"cron": "0 4 * * *"}, "maxUnusedBytes": "5"},
        checkPolicy={"schedule": {"maxFrequencyDays": 7}, "readDataSubsetPercent": 2.5},
        forgetPolicy={"schedule": {"cron": "0 5 * * *"}, "retention": {"policyKeepLastN": 2}},
        autoUnlock=True,
        autoInitialize=True,
        commandPrefix={"ioNice": "IO_IDLE", "cpuNice": "CPU_LOW"},
    )
    assert (
        Repo(
            "store",
            "/backups",
            GUID,
            "MARK",
            (("A", "1"), ("B", "x=y")),
            ("--no-cache",),
            PrunePolicy(Timing("0 4 * * *"), 5),
            CheckPolicy(Timing(every_seconds=7 * 86400), read_data_subset_percent=2.5),
            ForgetPolicy(Timing("0 5 * * *"), Retention(last=2)),
            (),
            auto_unlock=True,
            auto_initialise=True,
            io_nice="IO_IDLE",
            cpu_nice="CPU_LOW",
        )
        == found
    )
    assert found.overrides_retention
    assert "MARK" not in repr(found)


def test_other_spellings_are_the_same() -> None:
    """Proto names, numbers in text, enums by their number; null is not set."""
    assert repo(
        id="store", auto_unlock=True, prune_policy={"max_unused_percent": 5}, env=None
    ) == Repo("store", auto_unlock=True, prune=PrunePolicy(max_unused_percent=5.0))
    assert Timing(every_seconds=21_600) == plan(id="p", schedule={"maxFrequencyHours": "6"}).timing
    assert (
        repo(id="s", commandPrefix={"ioNice": 3}).io_nice
        == repo(id="s", commandPrefix={"ioNice": "IO_IDLE"}).io_nice
    )


def test_enum_values_that_are_not_known_are_dropped() -> None:
    """As Backrest drops them."""
    hooks = [{"conditions": ["CONDITION_NEW", "CONDITION_SNAPSHOT_END"], "onError": "ON_ERROR_NEW"}]
    assert (RunHook(frozenset({"CONDITION_SNAPSHOT_END"})),) == plan(id="p", hooks=hooks).hooks


def test_a_forget_policy_without_a_schedule_overrides_nothing() -> None:
    """Then the plans' own retention counts."""
    assert not repo(id="s", forgetPolicy={"retention": {"policyKeepLastN": 2}}).overrides_retention
    assert not repo(id="s").overrides_retention


def test_a_plan_is_read_in_full() -> None:
    """With its hooks, each with the fields of its own action."""
    found = plan(
        id="web",
        repo="store",
        paths=["/a"],
        excludes=["*.tmp"],
        iexcludes=["*.BAK"],
        schedule={"cron": "0 2 * * *", "clock": "CLOCK_LAST_RUN_TIME"},
        retention={"policyTimeBucketed": {"daily": 7, "keepLastN": 1}},
        hooks=[
            {
                "conditions": ["CONDITION_SNAPSHOT_START"],
                "onError": "ON_ERROR_CANCEL",
                "actionCommand": {"command": "echo MARK"},
            }
        ],
        backup_flags=["--one-file-system"],
    )
    hook = RunHook(
        frozenset({"CONDITION_SNAPSHOT_START"}),
        "actionCommand",
        {"command": "echo MARK"},
        OnError.CANCEL,
    )
    assert (
        RunPlan(
            "web",
            "store",
            ("/a",),
            ("*.tmp",),
            ("*.BAK",),
            Timing("0 2 * * *", from_last_run=True),
            Retention(last=1, daily=7),
            (hook,),
            ("--one-file-system",),
        )
        == found
    )
    assert "MARK" not in repr(found)


@pytest.mark.parametrize(
    ("schedule", "timing"),
    [
        (None, Timing()),
        ({}, Timing()),
        ({"disabled": True}, Timing()),
        ({"maxFrequencyDays": 2}, Timing(every_seconds=172_800)),
        ({"maxFrequencyDays": 2**31 - 1}, Timing(every_seconds=36_600 * 86_400)),
        ({"cron": "0 2 * * *", "clock": "CLOCK_UTC"}, Timing("0 2 * * *")),
    ],
)
def test_a_schedule_is_a_cron_a_pause_or_never(
    schedule: dict[str, Any] | None, timing: Timing
) -> None:
    """Whatever else it says."""
    found = plan(id="p", schedule=schedule).timing
    assert (timing, timing != Timing()) == (found, found.is_active)


@pytest.mark.parametrize(
    ("retention", "expected"),
    [
        (None, None),
        ({"policyKeepAll": True}, Retention(keep_all=True)),
        ({"policyKeepLastN": 3}, Retention(last=3)),
        ({"policyTimeBucketed": {"weekly": 4}}, Retention(weekly=4)),
    ],
)
def test_a_retention_is_counts_or_everything(
    retention: dict[str, Any] | None, expected: Retention | None
) -> None:
    """None: nothing is forgotten."""
    assert expected == plan(id="p", retention=retention).retention
