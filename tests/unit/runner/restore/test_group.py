"""Several services: what names mean, and in which order they come."""

import posixpath
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.backrest.names import Names
from sidecar.backrest.reading import Config, RunPlan
from sidecar.backrest.workloads import MountRecord, WorkloadRecord
from sidecar.docker.failures import DockerError
from sidecar.docker.models import Container
from sidecar.lib.errors import UsageError
from sidecar.runner.restore.choose import RestoreRequest
from sidecar.runner.restore.group import (
    RestoreSelection,
    Subject,
    find_subjects,
    in_dependency_order,
    request_of,
)

CONFIG = Config(plans=tuple(RunPlan(name, "store", (f"/v/{name}",)) for name in ("w", "d", "x")))


def workload(name: str, plan: str) -> WorkloadRecord:
    """Return the record of a workload with one mount, and one container."""
    project, _, service = name.rpartition("/")
    mount = MountRecord("/data", seen=f"/v/{plan}", plan=plan)
    containers = (f"{service}-1",)
    return WorkloadRecord(name, service, project, containers=containers, plan=plan, mounts=(mount,))


NAMES = Names([workload("shop/web", "w"), workload("shop/db", "d")], ["w", "d", "x"])


def selection(*names: str, **usual: object) -> RestoreSelection:
    """Select services."""
    request = RestoreRequest(RunPlan("", ""), "", **usual)  # type: ignore[arg-type]
    return RestoreSelection(names, usual=request)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("web",), ["shop/web"]),
        (("x",), ["x"]),
        (("db-1", "shop/web", "db"), ["shop/db", "shop/web"]),
        (("shop/",), ["shop/db", "shop/web"]),
        (("x", "shop/"), ["x", "shop/db", "shop/web"]),
    ],
)
def test_names_mean_plans_each_once(names: tuple[str, ...], expected: list[str]) -> None:
    """A project means all of its services that have one."""
    assert expected == [one.name for one in find_subjects(selection(*names), CONFIG, NAMES)]


@pytest.mark.parametrize("name", ["media/db", ".", "..", "...", "../..", "/", "a/../b", "p_db"])
def test_a_service_has_a_folder_within_that_for_several(name: str) -> None:
    """Whatever it is called: who may write the names may not choose where data goes."""
    folder = Subject(RunPlan("p", "store"), name).folder
    assert "/to" == posixpath.dirname(posixpath.normpath(f"/to/{folder}"))


@pytest.mark.parametrize(
    ("name", "hint"), [("shp/", "did you mean shop/?"), ("blog/", "there are: shop"), ("we", "web")]
)
def test_a_name_that_means_nothing_is_told_with_what_comes_near(name: str, hint: str) -> None:
    """For projects too."""
    with pytest.raises(UsageError) as caught:
        find_subjects(selection(name), CONFIG, NAMES)
    assert hint in caught.value.hint


def test_a_path_without_its_slash_is_taken_for_a_name_and_told_so() -> None:
    """The first word is a service, whatever it looks like."""
    with pytest.raises(UsageError) as error:
        find_subjects(selection("shop/web", "data/page"), CONFIG, NAMES)
    assert error.value.hint.endswith("a path in the container is written from the root: /data/page")
    with pytest.raises(UsageError) as error:
        find_subjects(selection("data/page"), CONFIG, NAMES)
    assert "from the root" not in error.value.hint


@pytest.mark.parametrize(
    "usual",
    [
        {"snapshot": "4bba301e"},
        {"paths": ("/v/w/x",)},
        {"target": "/t"},
        {"path_map": (("/a", "/b"),)},
    ],
)
def test_what_can_only_be_said_of_one_service_is_refused_for_two(usual: dict[str, object]) -> None:
    """But taken for one."""
    assert find_subjects(selection("web", **usual), CONFIG, NAMES)
    with pytest.raises(UsageError, match="is that of one service"):
        find_subjects(selection("shop/", **usual), CONFIG, NAMES)


def test_a_plan_of_another_repository_is_named_with_that() -> None:
    """Also one that the document has no more."""
    given = RestoreSelection(("w",), repo="old"), RestoreSelection(("gone",), repo="old")
    (known,), (gone,) = (find_subjects(one, CONFIG, NAMES) for one in given)

    assert RunPlan("w", "old", ("/v/w",)) == known.plan
    assert RunPlan("gone", "old") == gone.plan


def test_a_request_has_the_paths_of_the_plan() -> None:
    """And with a folder each service has one of its own in it."""
    (web,) = find_subjects(selection("web"), CONFIG, NAMES)
    folder = RestoreSelection(("web",), ("/data/page",), folder="/restored")

    found = request_of(web, folder, "here")

    assert (web.plan, "here", ("/v/w/page",)) == (found.plan, found.instance, found.paths)
    assert "/restored/shop_web" == found.target
    assert (("/", "/"), ("/v/w", "/data")) == found.inside
    assert () == request_of(web, selection("web", target="/t"), "here").inside


def docker_of(*containers: Container) -> Any:
    """Return a Docker that has these."""
    return SimpleNamespace(all=lambda: containers)


def container(service: str, needs: str = "") -> Container:
    """Return a container of a service that depends on another."""
    labels = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": service,
        "com.docker.compose.depends_on": needs,
    }
    return Container(service, f"{service}-1", labels=labels)


def refuse() -> tuple[Container, ...]:
    """Answer as a Docker that is not there."""
    raise DockerError("gone")


def test_what_others_depend_on_comes_first() -> None:
    """What is not known comes last, and without Docker all stay as they were named."""
    x = Subject(RunPlan("x", "store"), "x")
    named = (x, *reversed(find_subjects(selection("shop/"), CONFIG, NAMES)))
    docker = docker_of(container("web", "db:service_started:true"), container("db"))
    other = docker_of(container("db", "web:service_started:true"), container("web"))

    def order(found: Any) -> list[str]:
        return [one.name for one in in_dependency_order(named, found)]

    assert ["shop/db", "shop/web", "x"] == order(docker)
    assert ["shop/web", "shop/db", "x"] == order(other)
    assert ["x", "shop/web", "shop/db"] == order(None) == order(SimpleNamespace(all=refuse))
