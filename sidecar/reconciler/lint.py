"""lint_once, lint_each: every problem of a pass, every mount's coverage, nothing written."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from sidecar.backrest.document import Document, DocumentView
from sidecar.docker.compose.load import ComposeReading, group_projects
from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Mount
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Severity
from sidecar.lib.errors import InventoryError
from sidecar.planner import coverage
from sidecar.planner import lint as findings
from sidecar.planner.coverage import MountCoverage
from sidecar.planner.lint import LintFinding
from sidecar.planner.plans import Rendered
from sidecar.planner.propose import propose
from sidecar.reconciler.observe import Observed, observe_engine, read_files
from sidecar.reconciler.reconcile import read_document, resolve_runner_view, with_secrets
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory

UNREADABLE = "lint.unreadable"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LintReport:
    """All findings and the coverage; `has_document` unless there was none to check against."""

    config: str
    has_document: bool
    findings: tuple[LintFinding, ...]
    coverage: tuple[MountCoverage, ...]

    def has_failed(self, *, strict: bool) -> bool:
        """Whether something needs attention: an error or degraded, if strict a warning too."""
        return any(strict or item.severity is not Severity.WARNING for item in self.findings)


def lint_once(
    settings: ReconcilerSettings, now: datetime, environment: dict[str, str]
) -> LintReport:
    """Look for everything that is wrong with the labels, and write nothing.

    `now` is aware. Without a document, what concerns repositories is left out. On an
    engine the containers are asked for the paths that labels name. Raises SidecarError
    when the pass is void, as it would be for `reconcile`.
    """
    return _lint(settings, _read_document(settings), now, environment)


def lint_each(
    settings: ReconcilerSettings, now: datetime, environment: dict[str, str]
) -> LintReport:
    """Look at each Compose file of the settings as a project of its own, not at one of all.

    A file goes with the override beside it. One that cannot be read is a finding,
    and the others are looked at all the same. Raises SidecarError for the document.
    """
    document = _read_document(settings)
    reports = [
        _lint_project(files, settings, document, now, environment)
        for files in group_projects(settings.source.compose)
    ]
    return LintReport(
        str(settings.config),
        document is not None,
        tuple(finding for report in reports for finding in report.findings),
        tuple(one for report in reports for one in report.coverage),
    )


def _lint_project(
    files: tuple[str, ...],
    settings: ReconcilerSettings,
    document: Document | None,
    now: datetime,
    environment: dict[str, str],
) -> LintReport:
    source = replace(settings.source, compose=files)
    try:
        return _lint(replace(settings, source=source), document, now, environment)
    except InventoryError as error:
        unreadable = LintFinding(UNREADABLE, error.message, error.hint, file=files[0])
        return LintReport(str(settings.config), document is not None, (unreadable,), ())


def _lint(
    settings: ReconcilerSettings,
    document: Document | None,
    now: datetime,
    environment: dict[str, str],
) -> LintReport:
    with ExitStack() as stack:
        engine, seen = None, read_files(settings)
        if seen is None:
            engine = stack.enter_context(DockerInventory(settings.source.docker_sock))
            seen = observe_engine(engine, settings)
        policy = with_secrets(seen.settings, seen.inventory, environment)
        memory = Memory(settings.state_directory, read_only=True)
        runner = resolve_runner_view(
            seen.inventory, settings, memory.state.runner, from_engine=engine is not None
        )
        view, rendered = _render(document, seen, policy, now, runner.mounts)
        found = list(_find(rendered, policy, seen.compose, engine))
    covered = coverage.cover_mounts(seen.inventory, rendered, view, policy, runner.mounts)
    found += findings.find_live_databases(covered, rendered, policy.label_prefix)
    found += findings.find_excluded_names(covered, policy.label_prefix)
    positions = seen.compose.positions if seen.compose else {}
    placed = findings.placed(found, seen.inventory, positions)
    return LintReport(
        str(settings.config),
        document is not None,
        tuple(sorted(placed, key=lambda finding: finding.workload)),
        covered,
    )


def _read_document(settings: ReconcilerSettings) -> Document | None:
    """Read the document; None if there is none, which is no failure of a lint."""
    try:
        os.lstat(settings.config)
    except (FileNotFoundError, NotADirectoryError):
        _log.warning(
            "there is no document %s, so repositories and secrets are not checked", settings.config
        )
        return None
    except OSError:
        # It is for the store to say what is wrong with the place.
        pass
    return read_document(settings.config)


def _render(
    document: Document | None,
    seen: Observed,
    policy: Policy,
    now: datetime,
    runner_mounts: tuple[Mount, ...] | None,
) -> tuple[DocumentView, Rendered]:
    if document is None:
        return coverage.render_without_document(seen.inventory, policy, now, runner_mounts)
    proposal = propose(
        document,
        seen.inventory,
        policy,
        now,
        runner_mounts=runner_mounts,
        accept_version=seen.settings.accept_version,
    )
    return document.view, proposal.rendered


def _find(
    rendered: Rendered,
    policy: Policy,
    compose: ComposeReading | None,
    engine: DockerInventory | None,
) -> Iterator[LintFinding]:
    yield from map(findings.finding_of, rendered.problems)
    yield from findings.find_not_enabled(rendered, policy.label_prefix)
    yield from findings.find_split_commands(rendered, policy.label_prefix)
    if compose is not None:
        yield from findings.find_swarm_only(
            compose.inventory, compose.swarm_only, policy.label_prefix
        )
    if engine is not None:
        yield from _absent_paths(engine, rendered, policy.label_prefix)


def _absent_paths(
    engine: DockerInventory, rendered: Rendered, prefix: str
) -> Iterator[LintFinding]:
    """Ask the containers for the paths that labels name; one that has it is enough."""
    for item, path in findings.included_paths(rendered):
        containers = item.workload.containers
        if not any(engine.archive_exists(container.id, path) for container in containers):
            yield findings.path_absent(item, path, prefix)
