"""What only a lint finds, on inventories made in memory, and the line that a finding gets."""

from dataclasses import replace
from datetime import UTC, datetime

from sidecar.backrest.document import DocumentView, RepoView
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.labels.problem import SEVERITIES, Problem, Severity
from sidecar.planner.coverage import cover_mounts
from sidecar.planner.lint import (
    MISPLACED,
    NAME_EXCLUDED,
    NOT_ENABLED,
    PATH_ABSENT,
    SPLIT_COMMAND,
    SWARM_ONLY,
    LintFinding,
    find_excluded_names,
    find_not_enabled,
    find_split_commands,
    find_swarm_only,
    finding_of,
    included_paths,
    misplaced,
    path_absent,
    placed,
)
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


def rendered_of(*containers: Container) -> Rendered:
    """Render containers against a document with one repository."""
    return render(Pass(Inventory(containers), VIEW, POLICY, NOW))


def findings_of(*containers: Container) -> list[LintFinding]:
    """Return what a lint finds about mounts and commands, on a document with one repository."""
    rendered = rendered_of(*containers)
    covered = cover_mounts(Inventory(containers), rendered, VIEW, POLICY)
    return [
        *find_excluded_names(covered, PREFIX),
        *find_split_commands(rendered, PREFIX),
    ]


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


def test_label_in_another_place_is_found() -> None:
    """Ours, or nearly; a variable of somebody else's is none."""
    found = misplaced("services.web.build.labels", "backrest.enable", PREFIX)
    assert found is not None
    assert (MISPLACED, "services.web.build.labels", Severity.WARNING) == (
        found.reason,
        found.workload,
        found.severity,
    )
    near = misplaced("services.web.environment", "backrest_enable", PREFIX)
    assert near is not None
    assert near.hint == "write backrest.enable under the labels of the service itself"
    assert misplaced("services.web.environment", "BACKREST_CONFIG", PREFIX) is None


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
    """Resolved text may name a service whose container carries no project."""
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
    problem = Problem("keep.invalid", "m", "h", "w", "c", "l")
    expected = LintFinding("keep.invalid", "m", "h", "w", "c", "l", Severity.ERROR)
    assert expected == finding_of(problem)
    assert ("", 0) == (expected.file, expected.line)


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
    """Resolved text on standard input has no lines to point at."""
    finding = LintFinding("lint.x", "m", workload="shop/web", container="web")
    assert [finding] == placed([finding], Inventory((container("web", project="shop"),)), {})
