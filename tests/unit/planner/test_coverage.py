"""Coverage: which plan holds each mount, on inventories made in memory."""

from dataclasses import replace
from datetime import UTC, datetime

from sidecar.backrest.document import DocumentView, PlanView, RepoView
from sidecar.docker.models import Container, Inventory, Mount, Volume
from sidecar.labels.policy import Policy
from sidecar.planner.coverage import MountCoverage, cover_mounts, render_without_document
from sidecar.planner.plan import Pass
from sidecar.planner.plans import Rendered, render

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy()
PREFIX = POLICY.label_prefix
VIEW = DocumentView(repos=(RepoView("local"),))


def volume(name: str, destination: str) -> Mount:
    """Return a mount of a plain local volume."""
    return Mount("volume", f"/var/lib/docker/volumes/{name}/_data", destination, name, "local")


def container(name: str, *mounts: Mount, project: str = "", **labels: str) -> Container:
    """Return a container; the names of `labels` lack the prefix, and `__` stands for a dot."""
    own = {PREFIX + key.replace("__", "."): value for key, value in labels.items()}
    if project:
        service = {"com.docker.compose.project": project, "com.docker.compose.service": name}
        own |= service
    return Container(f"id-{name}", name, labels=own, mounts=mounts)


def cover(
    *containers: Container, view: DocumentView = VIEW, policy: Policy = POLICY
) -> list[tuple[str, str, str, str]]:
    """Cover an inventory; return destination, plan, runner path and reason of each mount."""
    inventory = Inventory(containers)
    rendered = render(Pass(inventory, view, policy, NOW))
    return [
        (one.mount.destination, one.plan, one.path, one.reason)
        for one in cover_mounts(inventory, rendered, view, policy)
    ]


def rendered_of(*containers: Container) -> Rendered:
    """Render containers against a document with one repository."""
    return render(Pass(Inventory(containers), VIEW, POLICY, NOW))


def test_a_mount_is_searched_where_the_runner_sees_it() -> None:
    """The runner's own mounts translate the host's path, as they did for the plan."""
    inventory = Inventory((container("backrest", Mount("bind", "/home/me/config", "/config")),))
    mounts = inventory.containers[0].mounts
    labelled = Inventory((replace(inventory.containers[0], labels={f"{PREFIX}enable": "true"}),))
    rendered = render(Pass(labelled, VIEW, POLICY, NOW, mounts))

    [found] = cover_mounts(labelled, rendered, VIEW, POLICY, mounts)

    assert ("backrest_sidecar_backrest", "/config", "") == (found.plan, found.path, found.reason)


def test_mount_in_the_plan_names_it() -> None:
    """A volume of a labelled container is in that container's plan."""
    expected = [("/data", "backrest_sidecar_web", "/var/lib/docker/volumes/web/_data", "")]
    assert expected == cover(container("web", volume("web", "/data"), enable="true"))


def test_mount_of_an_unlabelled_container_says_so() -> None:
    """Without a label there is no plan, which is the reason."""
    path = "/var/lib/docker/volumes/web/_data"
    assert [("/data", "", path, "not labelled")] == cover(container("web", volume("web", "/data")))


def test_mount_of_a_switched_off_container_says_so() -> None:
    """`enable=false` is a decision, not an oversight."""
    found = cover(container("web", volume("web", "/data"), enable="false"))
    assert ["backrest.enable does not say yes"] == [reason for *_, reason in found]


def test_mount_with_labels_but_no_enable_says_so() -> None:
    """Somebody meant something by them."""
    found = cover(container("web", volume("web", "/data"), keep="all"))
    assert ["labelled, but without backrest.enable"] == [reason for *_, reason in found]


def test_mount_that_excludes_leave_out_is_not_held() -> None:
    """A plan may name a mount and exclude all of it; half of it is held."""
    labels = {"enable": "1", "paths__exclude": "/a, /b/cache", "paths__iexclude": "/C/*, /c/*"}
    found = cover(
        container("web", volume("a", "/a"), volume("b", "/b"), volume("c", "/c"), **labels)
    )
    root = "/var/lib/docker/volumes"
    assert [
        ("/a", "", f"left out by the exclude {root}/a/_data"),
        ("/b", "backrest_sidecar_web", ""),
        ("/c", "", f"left out by the exclude {root}/c/_data/*"),
    ] == [(destination, plan, reason) for destination, plan, _, reason in found]


def test_mount_that_another_plan_excludes_may_be_held_by_a_third() -> None:
    """What one plan leaves out the next may hold; else the plan is named that does not."""
    web = container("web", volume("a", "/a"), enable="1", paths__exclude="/a")
    other = container("other", volume("a", "/x"))
    path = "/var/lib/docker/volumes/a/_data"
    reason = f"left out by the exclude {path}"
    assert [
        ("/x", "", path, f"{reason} of backrest_sidecar_web"),
        ("/a", "", path, reason),
    ] == cover(web, other)
    view = replace(VIEW, plans=(PlanView("by-hand", "local", (path,)),))
    assert ["by-hand", "by-hand"] == [plan for _, plan, _, _ in cover(web, other, view=view)]


def test_mount_that_holds_no_data_says_why() -> None:
    """A socket and a temporary file system are left out for reasons of their own."""
    sock = Mount("bind", "/var/run/docker.sock", "/docker.sock")
    found = cover(
        container("web", volume("w", "/data"), sock, Mount("tmpfs", "", "/tmp"), enable="1")
    )
    assert [
        "",
        "a socket holds no data",
        "a tmpfs mount has no directory of its own on the host",
    ] == [reason for *_, reason in found]


def test_mount_that_no_label_names_says_so() -> None:
    """With `paths.include` only what it names is backed up."""
    mounts = (volume("a", "/a"), volume("b", "/b"), volume("c", "/c"))
    found = cover(container("web", *mounts, enable="1", paths__include="/a"))
    assert [
        ("/a", "backrest_sidecar_web", ""),
        ("/b", "", "backrest.paths.include does not name it"),
        ("/c", "", "backrest.paths.include does not name it"),
    ] == [(destination, plan, reason) for destination, plan, _, reason in found]


def test_mount_included_in_part_names_the_part() -> None:
    """A label may name a folder within a mount: then the rest is not backed up."""
    found = cover(container("web", volume("a", "/a"), enable="1", paths__include="/a/sub"))
    part = "only /var/lib/docker/volumes/a/_data/sub of it"
    assert [("/a", "backrest_sidecar_web", "/var/lib/docker/volumes/a/_data", part)] == found


def test_mount_included_by_its_volume_counts_as_named() -> None:
    """`volume:NAME` names a mount as well as its path does."""
    found = cover(container("web", volume("a", "/a"), enable="1", paths__include="volume:a"))
    assert [("backrest_sidecar_web", "")] == [(plan, reason) for _, plan, _, reason in found]


def test_mount_of_a_blocked_workload_names_the_problems() -> None:
    """No plan because of errors: their reasons stand there, each once."""
    found = cover(container("web", volume("a", "/a"), enable="1", keep="x", schedule="x"))
    assert ["no plan: schedule.invalid, keep.invalid"] == [reason for *_, reason in found]


def test_mount_in_the_plan_that_stays_is_held_by_it() -> None:
    """A workload with an error keeps the plan that it had."""
    path = "/var/lib/docker/volumes/a/_data"
    view = replace(VIEW, plans=(PlanView("backrest_sidecar_web", "local", (path,)),))
    found = cover(container("web", volume("a", "/a"), enable="1", keep="x"), view=view)
    assert [("/a", "backrest_sidecar_web", path, "")] == found


def test_mount_in_a_plan_of_the_user_is_held_by_it() -> None:
    """A plan made by hand may hold what no label asks for, by a folder further up."""
    for path in ("/", "/var/lib/docker/volumes/a"):
        view = replace(VIEW, plans=(PlanView("by-hand", "local", (path,)),))
        found = cover(container("web", volume("a", "/a")), view=view)
        assert [("by-hand", "")] == [(plan, reason) for _, plan, _, reason in found]


def test_own_plan_comes_before_a_plan_of_the_user() -> None:
    """Where both hold a mount, the workload's own plan is named."""
    view = replace(
        VIEW, plans=(PlanView("by-hand", "local", ("/var/lib/docker/volumes/a/_data",)),)
    )
    found = cover(container("web", volume("a", "/a"), enable="1"), view=view)
    assert ["backrest_sidecar_web"] == [plan for _, plan, _, _ in found]


def test_mount_that_the_rendering_left_out_is_not_claimed() -> None:
    """A mount that is neither in the plan nor skipped is still reported truthfully."""
    inventory = Inventory((container("web", volume("a", "/a"), volume("b", "/b"), enable="1"),))
    item = rendered_of(*inventory.containers).workloads[0]
    assert item.plan is not None
    smaller = item.plan._replace(paths=("/var/lib/docker/volumes/a/_data",))
    rendered = Rendered((item._replace(plan=smaller),))
    found = cover_mounts(inventory, rendered, VIEW, POLICY)
    assert ["", "the plan does not hold it"] == [one.reason for one in found]


def test_volume_of_another_driver_has_no_path() -> None:
    """What lies elsewhere has no path here, and the driver is the reason."""
    inventory = Inventory(
        (container("web", Mount("volume", "", "/a", "a", "rclone"), enable="1"),),
        {"a": Volume("a", "rclone")},
    )
    rendered = render(Pass(inventory, VIEW, POLICY, NOW))
    (found,) = cover_mounts(inventory, rendered, VIEW, POLICY)
    assert ("", "", "the volume driver rclone keeps its data elsewhere") == (
        found.plan,
        found.path,
        found.reason,
    )


def test_containers_that_are_no_workload_are_covered_too() -> None:
    """The sidecar and a `run` container have mounts, which nobody backs up."""
    run = container("run", volume("a", "/a"))
    run = replace(run, labels={"com.docker.compose.oneoff": "True"})
    own = container("sidecar", volume("b", "/b"))
    inventory, policy = Inventory((run, own)), replace(POLICY, own_container_id=own.id)
    rendered = render(Pass(inventory, VIEW, policy, NOW))
    assert (
        MountCoverage("run", "run", run.mounts[0], reason="a `run` container, which does not last"),
        MountCoverage("sidecar", "sidecar", own.mounts[0], reason="the sidecar itself"),
    ) == cover_mounts(inventory, rendered, VIEW, policy)


def test_without_document_repositories_and_secrets_are_not_judged() -> None:
    """What only the sidecar's machine knows is no problem elsewhere; all else is."""
    one = container(
        *("web", volume("a", "/a")),
        enable="1",
        repo="offsite",
        notify="discord:env:BACKREST_SECRET_X",
    )
    two = container("db", volume("b", "/b"), enable="1", keep="x")
    inventory = Inventory((one, two))
    _, rendered = render_without_document(inventory, POLICY, NOW)
    assert ["keep.invalid"] == [problem.reason for problem in rendered.problems]
    assert ["backrest_sidecar_web"] == [plan.id for plan in rendered.plans]


def test_without_document_the_default_repository_is_believed() -> None:
    """`--default-repo` names a repository that may well exist."""
    inventory = Inventory((container("web", volume("a", "/a"), enable="1"),))
    view, rendered = render_without_document(inventory, replace(POLICY, default_repo="b2"), NOW)
    assert ["b2"] == [plan.repo for plan in rendered.plans]
    assert ["b2"] == [repo.id for repo in view.repos]
