"""Coverage of mounts and what only a lint looks for, on inventories made in memory."""

from dataclasses import replace
from datetime import UTC, datetime

from sidecar.backrest.document import DocumentView, PlanView, RepoView
from sidecar.docker.models import Container, Inventory, Mount, Volume
from sidecar.labels.policy import Policy
from sidecar.labels.problem import SEVERITIES, Severity, problem_of
from sidecar.planner.coverage import MountCoverage, cover_mounts, render_without_document
from sidecar.planner.lint import (
    LIVE_DATABASE,
    NAME_EXCLUDED,
    NOT_ENABLED,
    PATH_ABSENT,
    SPLIT_COMMAND,
    SWARM_ONLY,
    LintFinding,
    find_excluded_names,
    find_live_databases,
    find_not_enabled,
    find_split_commands,
    find_swarm_only,
    finding_of,
    included_paths,
    path_absent,
    placed,
)
from sidecar.planner.plans import Rendered, render

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy()
PREFIX = POLICY.label_prefix
VIEW = DocumentView(repos=(RepoView("local"),))


def volume(name: str, destination: str) -> Mount:
    """A mount of a plain local volume."""
    return Mount("volume", f"/var/lib/docker/volumes/{name}/_data", destination, name, "local")


def container(name: str, *mounts: Mount, project: str = "", **labels: str) -> Container:
    """A container; the names of `labels` lack the prefix, and `__` stands for a dot."""
    own = {PREFIX + key.replace("__", "."): value for key, value in labels.items()}
    if project:
        service = {"com.docker.compose.project": project, "com.docker.compose.service": name}
        own |= service
    return Container(f"id-{name}", name, labels=own, mounts=mounts)


def cover(
    *containers: Container, view: DocumentView = VIEW, policy: Policy = POLICY
) -> list[tuple[str, str, str, str]]:
    """Cover an inventory; tell destination, plan, runner path and reason of each mount."""
    inventory = Inventory(containers)
    rendered = render(inventory, view, policy, NOW)
    return [
        (one.mount.destination, one.plan, one.path, one.reason)
        for one in cover_mounts(inventory, rendered, view, policy)
    ]


def rendered_of(*containers: Container) -> Rendered:
    """Render containers against a document with one repository."""
    return render(Inventory(containers), VIEW, POLICY, NOW)


def test_a_mount_is_looked_for_where_the_runner_sees_it() -> None:
    """The runner's own mounts translate the host's path, as they did for the plan."""
    inventory = Inventory((container("backrest", Mount("bind", "/home/me/config", "/config")),))
    mounts = inventory.containers[0].mounts
    labelled = Inventory((replace(inventory.containers[0], labels={f"{PREFIX}enable": "true"}),))
    rendered = render(labelled, VIEW, POLICY, NOW, mounts)

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


def findings_of(*containers: Container) -> list[LintFinding]:
    """What a lint tells of mounts and commands, on a document with one repository."""
    rendered = rendered_of(*containers)
    covered = cover_mounts(Inventory(containers), rendered, VIEW, POLICY)
    return [
        *find_live_databases(covered, rendered, PREFIX),
        *find_excluded_names(covered, PREFIX),
        *find_split_commands(rendered, PREFIX),
    ]


def test_database_that_nothing_stops_or_dumps_is_found() -> None:
    """Its files are copied while they are written; told once for all replicas."""
    places = {
        "pg": ("/var/lib/postgresql/data", "postgres-dump"),
        "maria": ("/var/lib/mysql", "mariadb-dump or mysql-dump"),
        "mongo": ("/data/db", "to stop-start"),
    }
    for name, (destination, hint) in places.items():
        twice = [
            replace(
                container(name, volume(name, destination), project="p", enable="1"), id=f"id-{n}"
            )
            for n in range(2)
        ]
        (found,) = findings_of(*twice)
        assert (LIVE_DATABASE, f"p/{name}") == (found.reason, found.workload)
        assert destination in found.message
        assert hint in found.hint


def test_database_that_is_cared_for_is_no_finding() -> None:
    """Stopped, dumped by a template or a command, left out, held in part or by a plan of the user."""
    mount = volume("db", "/var/lib/mysql")
    for labels in (
        {"hooks__template": "stop-start"},
        {"hooks__template": "mariadb-dump", "dump__path": "/var/lib/mysql/all.sql"},
        {"exec__start": "flush"},
        {"snapshot-start": "flush"},
        {"paths__exclude": "/var/lib/mysql"},
        {"paths__include": "/var/lib/mysql/dumps"},
    ):
        assert [] == findings_of(container("db", mount, enable="1", **labels))
    view = replace(VIEW, plans=(PlanView("by-hand", "local", ("/",)),))
    rendered = render(Inventory((container("db", mount),)), view, POLICY, NOW)
    covered = cover_mounts(Inventory((container("db", mount),)), rendered, view, POLICY)
    assert ["by-hand"] == [one.plan for one in covered]
    assert [] == find_live_databases(covered, rendered, PREFIX)


def test_relative_exclude_that_names_a_folder_above_the_data_is_found() -> None:
    """Every name of a path counts, also those above what is backed up."""
    bind = Mount("bind", "/srv/app/data", "/files")
    (found,) = findings_of(container("web", bind, enable="1", paths__exclude="data"))
    assert (NAME_EXCLUDED, Severity.WARNING) == (found.reason, found.severity)
    assert "as in /files/data" in found.hint
    assert [] == findings_of(container("web", bind, enable="1", paths__exclude="/files"))


def test_command_that_a_comma_takes_apart_is_found() -> None:
    """A comma between two characters is seldom the end of a command."""
    (found,) = findings_of(
        container("web", volume("a", "/a"), enable="1", **{"snapshot-start": "run --only a,b"})
    )
    assert (SPLIT_COMMAND, "backrest.snapshot-start") == (found.reason, found.label)


def test_commands_set_apart_on_purpose_are_no_finding() -> None:
    """A blank, quotes, JSON, an indexed label or another list; a broken list has its problem."""
    for label, text in (
        ("snapshot-start", "one, two"),
        ("snapshot-start", "one ,two"),
        ("exec__start", "sh -c 'a,b'"),
        ("exec__start", '["a,b"]'),
        ("exec__start__0", "a,b"),
        ("exec__start", "it's a,b"),
        ("exec__user", "a,b"),
        ("paths__exclude", "x,y"),
    ):
        labels = {"enable": "1", label: text}
        assert [] == findings_of(container("web", volume("a", "/a"), **labels))


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


def test_mount_included_in_part_tells_which_part() -> None:
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
    """A mount that is neither in the plan nor skipped is still told truthfully."""
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
    rendered = render(inventory, VIEW, POLICY, NOW)
    (found,) = cover_mounts(inventory, rendered, VIEW, POLICY)
    assert ("", "", "the volume driver rclone keeps its data elsewhere") == (
        found.plan,
        found.path,
        found.reason,
    )


def test_containers_that_are_no_workload_are_told_too() -> None:
    """The sidecar and a `run` container have mounts, which nobody backs up."""
    run = container("run", volume("a", "/a"))
    run = replace(run, labels={"com.docker.compose.oneoff": "True"})
    own = container("sidecar", volume("b", "/b"))
    inventory, policy = Inventory((run, own)), replace(POLICY, own_container_id=own.id)
    rendered = render(inventory, VIEW, policy, NOW)
    assert (
        MountCoverage("run", "run", run.mounts[0], reason="a `run` container, which does not last"),
        MountCoverage("sidecar", "sidecar", own.mounts[0], reason="the sidecar itself"),
    ) == cover_mounts(inventory, rendered, VIEW, policy)


def test_labels_without_enable_are_found() -> None:
    """Labels of ours that nothing switches on do nothing: that is a finding."""
    (finding,) = find_not_enabled(rendered_of(container("web", keep="all")), PREFIX)
    assert (NOT_ENABLED, "web", "backrest.keep") == (
        finding.reason,
        finding.container,
        finding.label,
    )
    assert "add backrest.enable=true, or remove the others" == finding.hint
    assert Severity.WARNING is finding.severity


def test_misspelt_enable_is_recognised() -> None:
    """Something like `enabled` is what was meant, whatever else stands there."""
    (finding,) = find_not_enabled(rendered_of(container("web", a="x", enabled="true")), PREFIX)
    assert "did you mean backrest.enable instead of backrest.enabled?" == finding.hint


def test_switched_off_and_unlabelled_containers_are_no_finding() -> None:
    """Nobody asked for a backup of these."""
    off = container("off", enable="no", keep="all")
    assert [] == find_not_enabled(rendered_of(off, container("bare")), PREFIX)


def test_labels_for_swarm_only_are_found() -> None:
    """A label of ours under `deploy.labels` reaches no container, unless it stands in both."""
    inventory = Inventory((container("web", project="shop", keep="all"),))
    swarm = {
        "web": {"backrest.enable": "1", "backrest.keep": "all", "other": "x"},
        "gone": {"backrest.enable": "1"},
    }
    found = find_swarm_only(inventory, swarm, PREFIX)
    assert [
        (SWARM_ONLY, "shop/web", "web", "backrest.enable"),
        (SWARM_ONLY, "gone", "", "backrest.enable"),
    ] == [(one.reason, one.workload, one.container, one.label) for one in found]


def test_service_without_a_project_is_its_own_workload() -> None:
    """Resolved text may tell a service whose container carries no project."""
    lone = replace(container("web"), labels={"com.docker.compose.service": "web"})
    (found,) = find_swarm_only(Inventory((lone,)), {"web": {"backrest.enable": "1"}}, PREFIX)
    assert ("web", "web") == (found.workload, found.container)


def test_included_paths_are_container_paths_each_once() -> None:
    """Only paths in the container can be asked for; volumes and host paths cannot."""
    include = "/a,volume:a,host:/x,/a,/b"
    rendered = rendered_of(
        container("web", volume("a", "/a"), enable="1", paths__include=include),
        container("db", volume("b", "/b"), enable="1"),
    )
    assert ["/a", "/b"] == [path for _, path in included_paths(rendered)]


def test_absent_path_is_a_warning_on_its_label() -> None:
    """The finding says where the path should have been."""
    rendered = rendered_of(container("web", volume("a", "/a"), enable="1", paths__include="/a/b"))
    (item,) = rendered.workloads
    found = path_absent(item, "/a/b", PREFIX)
    assert (PATH_ABSENT, "web", "backrest.paths.include", Severity.WARNING) == (
        found.reason,
        found.container,
        found.label,
        found.severity,
    )
    assert "/a/b does not exist in web: the backup would fail" == found.message


def test_lint_reasons_are_no_problems_of_a_pass() -> None:
    """They never block a plan, so the table of problems does not know them."""
    assert not {NOT_ENABLED, SWARM_ONLY, PATH_ABSENT} & SEVERITIES.keys()


def test_finding_keeps_all_of_a_problem() -> None:
    """A problem as a finding is the same but for its place."""
    problem = problem_of("keep.invalid", "m", "h", workload="w", container="c", label="l")
    expected = LintFinding("keep.invalid", "m", "h", "w", "c", "l", Severity.ERROR)
    assert expected == finding_of(problem)
    assert ("", 0) == (expected.file, expected.line)


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


def test_findings_get_the_line_of_their_label() -> None:
    """The label's own line, in its indexed form too; else the service's; else none."""
    inventory = Inventory((container("web", project="shop"),))
    positions = {
        ("web", ""): ("c.yaml", 1),
        ("web", "backrest.keep"): ("c.yaml", 2),
        ("web", "backrest.paths.include.0"): ("c.yaml", 3),
        ("web", "backrest.paths.include.x"): ("c.yaml", 4),
    }

    def at(workload: str, name: str, label: str) -> tuple[str, int]:
        finding = LintFinding("lint.x", "m", workload=workload, container=name, label=label)
        (found,) = placed([finding], inventory, positions)
        return found.file, found.line

    assert ("c.yaml", 2) == at("shop/web", "web", "backrest.keep")
    assert ("c.yaml", 2) == at("shop/web", "", "backrest.keep")
    assert ("c.yaml", 3) == at("shop/web", "web", "backrest.paths.include")
    assert ("c.yaml", 1) == at("shop/web", "web", "backrest.schedule")
    assert ("c.yaml", 1) == at("shop/web", "web", "")
    assert ("", 0) == at("other", "other", "backrest.keep")


def test_without_positions_findings_stay_as_they_are() -> None:
    """Resolved text on standard input tells no lines."""
    finding = LintFinding("lint.x", "m", workload="shop/web", container="web")
    assert [finding] == placed([finding], Inventory((container("web", project="shop"),)), {})
