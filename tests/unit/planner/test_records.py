"""The records of workloads.json: what is known of each workload after a pass."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.backrest.document import parse_document
from sidecar.backrest.workloads import (
    DumpRecord,
    MountRecord,
    PathRecord,
    ProblemRecord,
    WorkloadRecord,
    join_lines,
    parse_workloads,
)
from sidecar.docker.models import Container, Inventory, Mount, Volume
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.planner.ids import Owner
from sidecar.planner.lifecycle import PlanHistory
from sidecar.planner.propose import DesiredState, Planner, Proposal, propose
from sidecar.planner.records import WorkloadRecords, gone_plans

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLAIN = Policy()
ENABLED = {"backrest.enable": "true"}
DB = "backrest_sidecar_media_db"


def document_of(repo: str, *plans: Mapping[str, Any]) -> bytes:
    """Return a document with a repository and plans."""
    repos = [{"id": repo, "uri": f"/{repo}", "password": "-", "autoInitialize": True}]
    root = {"version": 6, "instance": "here", "repos": repos, "plans": plans}
    return json.dumps(root).encode()


def volume(name: str, path: str = "/data") -> Mount:
    """Return a mount of a named volume."""
    return Mount("volume", f"/var/lib/docker/volumes/{name}/_data", path, name, "local")


def container(name: str, *mounts: Mount, service: str = "", **labels: str) -> Container:
    """Return a container of the project `media` if it has a service; labels lack the prefix."""
    own = {f"backrest.{key.replace('__', '.')}": value for key, value in labels.items()}
    if service:
        own |= {"com.docker.compose.project": "media", "com.docker.compose.service": service}
    return Container(f"id-{name}", name, labels=own, mounts=mounts)


def desired_of(
    *containers: Container, policy: Policy = PLAIN, history: PlanHistory | None = None
) -> DesiredState:
    """Return what is wanted of these containers."""
    return DesiredState(Inventory(containers), policy, NOW, history=history)


def records_of(
    desired: DesiredState,
    document: bytes = document_of("main"),
    gone: Mapping[str, WorkloadRecord] | None = None,
) -> list[WorkloadRecord]:
    """Return the records after a pass over a document."""
    proposal = propose(parse_document(document), desired)
    known = {plan: (gone or {}).get(plan) for plan in gone_plans(proposal, desired)}
    return read(WorkloadRecords().lines(proposal, desired, known))


def read(lines: tuple[str, ...]) -> list[WorkloadRecord]:
    """Return the records of lines."""
    return list(parse_workloads(join_lines(lines)))


def mounts_of(*containers: Container, policy: Policy = PLAIN) -> list[tuple[str, str, str, bool]]:
    """Return path, plan, why and whether a label says so of each mount of the one workload."""
    [record] = records_of(desired_of(*containers, policy=policy))
    return [(one.path, one.plan, one.why, one.is_chosen) for one in record.mounts]


def test_a_workload_is_recorded_with_its_plan_and_its_data() -> None:
    """Replicas are one workload, and mount the same volume once."""
    first = container("media-db-1", volume("db"), service="db", enable="true", schedule="x")
    second = replace(first, id="id-2", name="media-db-2")
    plan = {"id": DB, "repo": "main", "paths": ["/var/lib/docker/volumes/db/_data"]}

    [record] = records_of(desired_of(first, second), document_of("main", plan))

    host = "/var/lib/docker/volumes/db/_data"
    names = ("media-db-1", "media-db-2")
    assert record == WorkloadRecord(
        name="media/db",
        service="db",
        project="media",
        containers=names,
        plan=DB,
        document="config.json",
        repository="main",
        mounts=(MountRecord("/data", names, host, host, "volume", "db", DB, "it holds data"),),
        paths=(PathRecord("/data", host, host),),
        problems=record.problems,
    )
    [problem] = record.problems
    assert isinstance(problem, ProblemRecord)
    assert ("schedule.invalid", "error", "backrest.schedule") == (
        problem.reason,
        problem.severity,
        problem.label,
    )


DUMP = {"hooks__template": "postgres-dump", "dump__path": "/data/all.sql"}


def test_what_a_template_dumps_is_recorded() -> None:
    """Names and a path: what the labels say, and no secret."""
    given = {**DUMP, "dump__database": "shop", "dump__user": "app", "exec__user": "postgres"}
    database = container("media-db-1", volume("db"), service="db", enable="true", **given)

    [record] = records_of(desired_of(database))

    assert record.dump == DumpRecord(
        "postgres-dump", "/data/all.sql", "media-db-1", "shop", "app", "postgres"
    )


def test_who_dumps_is_taken_from_labels_only_where_they_may_say_it() -> None:
    """The policy allows templates, and no user."""
    given = {**DUMP, "exec__user": "postgres"}
    database = container("media-db-1", volume("db"), service="db", enable="true", **given)
    policy = replace(PLAIN, hook_policy=HookPolicy.TEMPLATES)

    [record] = records_of(desired_of(database, policy=policy))

    assert record.dump == DumpRecord("postgres-dump", "/data/all.sql", "media-db-1")


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"hooks__template": "stop-start"},
        {"hooks__template": "stop-start", "dump__path": "/data/all.sql"},
        {"hooks__template": "postgres-dump"},
    ],
)
def test_where_no_template_dumps_none_is_recorded(labels: dict[str, str]) -> None:
    """Nor where its labels are wrong, so that there is no hook."""
    database = container("media-db-1", volume("db"), service="db", enable="true", **labels)

    [record] = records_of(desired_of(database))

    assert record.dump is None


def test_data_in_no_plan_is_recorded_with_why() -> None:
    """Of a workload that no label enables, also with what is wrong with its labels."""
    redis = container("redis", volume("redis"), service="redis", enabel="true")
    proxy = container("proxy", Mount("bind", "/var/run/docker.sock", "/sock"), service="proxy")

    [record] = records_of(desired_of(redis, proxy))

    assert ("media/redis", "", "", ()) == (
        record.name,
        record.plan,
        record.document,
        record.paths,
    )
    assert ["labelled, but without backrest.enable"] == [one.why for one in record.unsaved]
    assert ["label.unknown"] == [one.reason for one in record.problems]


def test_what_a_label_leaves_out_is_no_mistake() -> None:
    """By `enable`, by an exclude, or because other paths are named."""
    both = (volume("a", "/a"), volume("b", "/b"))
    label = "backrest.paths.include"

    assert [("/a", "", "backrest.enable does not say yes", True)] == mounts_of(
        container("web", both[0], enable="false")
    )
    assert [
        ("/a", "backrest_sidecar_web", f"{label} names it", False),
        ("/b", "", f"{label} does not name it", True),
    ] == mounts_of(container("web", *both, enable="true", paths__include="/a"))
    assert [
        ("/a", "backrest_sidecar_web", "it holds data", False),
        ("/b", "", "left out by the exclude /var/lib/docker/volumes/b/_data", True),
    ] == mounts_of(container("web", *both, enable="true", paths__exclude="/b"))


def test_the_data_of_the_runner_itself_is_no_mistake() -> None:
    """Its repositories are not to be saved into themselves."""
    runner = container("backrest", Mount("bind", "/srv/repos", "/repos"))

    assert [("/repos", "", "not labelled", True)] == mounts_of(runner)
    assert [("/repos", "", "not labelled", False)] == mounts_of(
        runner, policy=Policy(runner_container="other")
    )


def test_a_mount_that_another_plan_holds_is_saved() -> None:
    """The plan's id says by which."""
    holder = container("web", volume("data"), service="web", enable="true")
    other = container("cron", volume("data"), service="cron")

    cron, _ = records_of(desired_of(holder, other))

    plan = "backrest_sidecar_media_web"
    assert [(plan, f"the plan {plan} holds it")] == [(one.plan, one.why) for one in cron.mounts]


def test_data_that_only_its_driver_reaches_is_data() -> None:
    """It is in no plan, and nobody may think that it is."""
    elsewhere = Mount("volume", "", "/nfs", "nfs", "local")
    options = {"type": "nfs", "device": ":/export", "o": "addr=10.0.0.1"}
    desired = desired_of(container("web", elsewhere, Mount("tmpfs", "", "/tmp"), enable="true"))
    volumes = {"nfs": Volume("nfs", "local", "", options)}
    desired = replace(desired, inventory=replace(desired.inventory, volumes=volumes))

    [record] = records_of(desired)

    assert [("/nfs", "", "")] == [(one.path, one.host, one.seen) for one in record.unsaved]
    assert "" == record.plan


def test_a_group_is_called_by_its_members_too() -> None:
    """And a service of a stack without the stack."""
    php = container("media-php-1", volume("php"), service="php", enable="true", group="app")
    db = container("media-db-1", volume("db"), service="db", group="app")
    swarm = Container(
        "3",
        "shop_web.1.abc",
        labels={
            "com.docker.swarm.service.name": "shop_web",
            "com.docker.swarm.task.id": "abc",
            "com.docker.stack.namespace": "shop",
        }
        | ENABLED,
        mounts=(volume("shop"),),
    )

    group, service = records_of(desired_of(php, db, swarm))

    assert ("media/app", "app", ("db", "media/db", "media/php", "php")) == (
        group.name,
        group.group,
        group.aliases,
    )
    assert ("shop_web", ("shop/web", "web")) == (service.name, service.aliases)


def test_a_plan_whose_workload_is_gone_keeps_its_record() -> None:
    """As it was when the workload was there; of what was never seen the owner's name."""
    plans = [{"id": f"backrest_sidecar_{name}", "repo": "main", "paths": ["/a"]} for name in "abc"]
    plans.append({"id": "by-hand", "repo": "main", "paths": ["/b"]})
    document = document_of("main", *plans)
    known = WorkloadRecord(
        "media/a",
        "a",
        "media",
        plan="backrest_sidecar_a",
        paths=(PathRecord("/data", "/a", "/a"),),
        problems=(ProblemRecord("path.link", "degraded", "a link"),),
    )
    owners = {
        "backrest_sidecar_b": Owner("media/b", "media"),
        "backrest_sidecar_c": Owner("shop_c", "shop"),
    }
    desired = desired_of(history=PlanHistory(owners=owners, grace=1e9))

    found = records_of(desired, document, {"backrest_sidecar_a": known})

    placed = {"document": "config.json", "repository": "main", "is_gone": True}
    a = replace(known, problems=(), is_gone=True)
    b = WorkloadRecord("media/b", "b", "media", plan="backrest_sidecar_b", **placed)  # type: ignore[arg-type]
    c = WorkloadRecord("shop_c", "shop_c", plan="backrest_sidecar_c", **placed)  # type: ignore[arg-type]
    assert [a, b, c] == found
    assert [a] == records_of(desired_of(), document, {"backrest_sidecar_a": known})


def test_a_plan_of_the_runners_document_says_so() -> None:
    """With the repository that it goes to there."""
    web = container("web", volume("web"), enable="true", repo="nas")
    desired = replace(desired_of(web), runner=parse_document(document_of("nas")))

    [record] = records_of(desired)

    assert ("runner.json", "nas") == (record.document, record.repository)


def test_lines_of_workloads_that_are_as_they_were_are_the_same() -> None:
    """So a pass in which one has changed costs what changed, and all are told if paths have."""
    web = container("web", volume("web"), enable="true")
    other, third = container("other", volume("shared")), container("third", volume("third"))
    records, planner = WorkloadRecords(), Planner()

    def lines(*containers: Container, policy: Policy = PLAIN) -> tuple[str, ...]:
        desired = desired_of(*containers, policy=policy)
        return records.lines(planner.propose(document_of("main"), desired), desired)

    before = lines(web, other, third)
    again = lines(replace(web, state="exited"), other, third)
    changed = lines(replace(web, mounts=(volume("web"), volume("shared", "/s"))), other, third)
    back = lines(web, other, third)
    moved = lines(web, other, third, policy=Policy(volume_prefix="/mnt"))

    assert before == again == back
    assert id(before[0]) == id(again[0])
    assert id(before[1]) == id(changed[1])
    assert ["not labelled", "the plan backrest_sidecar_web holds it", "not labelled"] == [
        read(found)[0].mounts[0].why for found in (before, changed, back)
    ]
    assert "/mnt/shared/_data" == read(moved)[0].mounts[0].seen


def test_the_plans_of_ours_without_a_workload_are_known() -> None:
    """Not those that somebody made by hand, nor one that a problem keeps as it is."""
    broken = container("web", volume("web"), enable="true", schedule="never ever")
    names = ("by-hand", "backrest_sidecar_web", "backrest_sidecar_gone")
    plans = [{"id": name, "repo": "main", "paths": ["/a"]} for name in names]
    desired = desired_of(broken)
    proposal: Proposal = propose(parse_document(document_of("main", *plans)), desired)

    assert ["backrest_sidecar_gone"] == gone_plans(proposal, desired)


def test_a_workload_that_asks_for_the_plan_of_another_is_not_called_so() -> None:
    """Else the data of the one were restored by the name of the other."""
    plan = "backrest_sidecar_shop"
    owner = container("a", volume("a"), enable="true", id="other")
    other = container("b", volume("b"), enable="true", id="shop")
    document = document_of("main", {"id": plan, "repo": "main", "paths": ["/a"]})
    desired = desired_of(owner, other, history=PlanHistory(owners={plan: Owner("a")}, grace=1e9))

    found = records_of(desired, document)

    assert [("a", "backrest_sidecar_other", False), ("a", plan, True), ("b", "", False)] == [
        (one.name, one.plan, one.is_gone) for one in found
    ]
