"""What `lint` finds: every problem of a pass, every mount's coverage; nothing is written."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from sidecar.backrest.document import Document, DocumentView, joined_view, parse_document
from sidecar.backrest.rules import check_engines, check_hidden, check_runner_repos
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
from sidecar.planner.propose import DesiredState, propose
from sidecar.reconciler.backrest_view import resolve_backrest_view
from sidecar.reconciler.links import with_links, with_source_links
from sidecar.reconciler.observe import Observed, observe_docker, read_files
from sidecar.reconciler.reconcile import read_document
from sidecar.reconciler.runner_document import NO_CONFIG, is_without_config, read_runner_document
from sidecar.reconciler.secrets import with_secrets
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory
from sidecar.reconciler.unknown_keys import NOT_KNOWN, find_unknown_keys

UNREADABLE = "lint.unreadable"
UNKNOWN_KEY = "lint.unknown-key"
ENGINE_OPTION = "lint.engine-option"
ENGINE_HIDDEN = "lint.engine-hidden"
NO_ENGINE = "repo.no-engine"
NOT_RESTIC = "repo.not-restic"

_log = logging.getLogger(__name__)


class _Documents(NamedTuple):
    """What is linted against: config.json, None without any document, and the runner's."""

    config: Document | None
    runner: Document | None = None


@dataclass(frozen=True, slots=True)
class LintReport:
    """All findings and the coverage; `has_document` unless there was none to check against.

    `unlabelled` is the label to write where nothing at all has a label of ours, else empty.
    """

    config: str
    has_document: bool
    findings: tuple[LintFinding, ...]
    coverage: tuple[MountCoverage, ...]
    unlabelled: str = ""

    def has_failed(self, *, strict: bool) -> bool:
        """Whether something needs attention: an error or degraded, if strict a warning too."""
        return any(strict or item.severity is not Severity.WARNING for item in self.findings)


def lint_once(
    settings: ReconcilerSettings, now: datetime, environment: dict[str, str]
) -> LintReport:
    """Find everything that is wrong with the labels, and write nothing.

    `now` is aware. Without a document, what concerns repositories is left out. Where the
    containers come from Docker, they are asked for the paths that labels name. Raises
    SidecarError when the pass is void, as it would be for `reconcile`.
    """
    documents = _read_documents(settings)
    report = _lint(settings, documents, now, environment)
    return replace(report, findings=(*_in_documents(settings, documents), *report.findings))


def lint_each(
    settings: ReconcilerSettings, now: datetime, environment: dict[str, str]
) -> LintReport:
    """Lint each Compose file of the settings as a project of its own, not all as one.

    A file goes with the override beside it. One that cannot be read is a finding,
    and the others are read all the same. Raises SidecarError for the document.
    """
    documents = _read_documents(settings)
    reports = [
        _lint_project(files, settings, documents, now, environment)
        for files in group_projects(settings.source.compose)
    ]
    return LintReport(
        str(settings.config),
        documents.config is not None,
        (
            *_in_documents(settings, documents),
            *(finding for report in reports for finding in report.findings),
        ),
        tuple(one for report in reports for one in report.coverage),
        reports[0].unlabelled if all(report.unlabelled for report in reports) else "",
    )


def _lint_project(
    files: tuple[str, ...],
    settings: ReconcilerSettings,
    documents: _Documents,
    now: datetime,
    environment: dict[str, str],
) -> LintReport:
    source = replace(settings.source, compose=files)
    try:
        return _lint(replace(settings, source=source), documents, now, environment)
    except InventoryError as error:
        unreadable = LintFinding(UNREADABLE, error.message, error.hint, file=files[0])
        return LintReport(str(settings.config), documents.config is not None, (unreadable,), ())


def _lint(
    settings: ReconcilerSettings,
    documents: _Documents,
    now: datetime,
    environment: dict[str, str],
) -> LintReport:
    with ExitStack() as stack:
        docker, observed = None, read_files(settings)
        if observed is None:
            docker = stack.enter_context(DockerInventory(settings.source.docker_sock))
            observed = observe_docker(docker, settings)
        policy = with_secrets(observed.settings, observed.inventory, environment)
        if docker is not None:
            inventory = with_links(observed.inventory, policy, settings.source.docker_sock)
            observed = replace(observed, inventory=inventory)
        memory = Memory(settings.state_directory, read_only=True)
        backrest = resolve_backrest_view(
            observed.inventory, settings, memory.state.runner, from_docker=docker is not None
        )
        view, rendered = _render(documents, observed, policy, now, backrest.mounts)
        if docker is not None:
            sock = settings.source.docker_sock
            inventory = with_source_links(
                observed.inventory, rendered, policy, sock, backrest.mounts
            )
            if inventory is not observed.inventory:
                observed = replace(observed, inventory=inventory)
                view, rendered = _render(documents, observed, policy, now, backrest.mounts)
        found = list(_find(rendered, policy, observed.compose, docker))
    covered = coverage.cover_mounts(observed.inventory, rendered, view, policy, backrest.mounts)
    found += findings.find_excluded_names(covered, policy.label_prefix)
    positions = observed.compose.positions if observed.compose else {}
    placed = findings.placed(found, observed.inventory, positions)
    return LintReport(
        str(settings.config),
        documents.config is not None,
        tuple(sorted(placed, key=lambda finding: finding.workload)),
        covered,
        "" if rendered.has_labels else f"{policy.label_prefix}enable",
    )


def _read_documents(settings: ReconcilerSettings) -> _Documents:
    """Read the documents; that there is none is no failure of a lint."""
    runner = read_runner_document(settings)
    if runner is None:
        return _Documents(_read_document(settings))
    if is_without_config(settings.config):
        return _Documents(parse_document(NO_CONFIG), runner)
    return _Documents(_read_document(settings), runner)


def _read_document(settings: ReconcilerSettings) -> Document | None:
    """Read config.json; None if there is none."""
    try:
        os.lstat(settings.config)
    except (FileNotFoundError, NotADirectoryError):
        _log.warning(
            "there is no document %s, so repositories and secrets are not checked", settings.config
        )
        return None
    except OSError:
        # Reading it below fails with the store's own message.
        pass
    return read_document(settings.config)


def _in_documents(settings: ReconcilerSettings, documents: _Documents) -> Iterator[LintFinding]:
    """Yield what is wrong with the documents themselves."""
    config, runner = documents
    if config is not None:
        yield from _unknown_keys(config, str(settings.config))
        for fault in check_engines(config.root):
            message = f"{fault.pointer}: {fault.message.partition(': ')[2]}"
            yield LintFinding(NOT_RESTIC, message, fault.hint, file=str(settings.config))
    if runner is not None:
        file = str(settings.runner_document)
        yield from _unknown_keys(runner, file)
        for fault in check_runner_repos(runner.root):
            reason = NO_ENGINE if fault.pointer.endswith("/uri") else ENGINE_OPTION
            message = f"{fault.pointer}: {fault.message}"
            yield LintFinding(reason, message, fault.hint, file=file)
        for fault in check_hidden(runner.root):
            message = f"{fault.pointer}: {fault.message}"
            severity = Severity.WARNING
            yield LintFinding(ENGINE_HIDDEN, message, fault.hint, severity=severity, file=file)


def _unknown_keys(document: Document, file: str) -> Iterator[LintFinding]:
    """Yield the keys of a document that Backrest would ignore."""
    found = find_unknown_keys(document.root)
    for key in found.listed:
        hint = f"did you mean {key.meant}?" if key.meant else ""
        yield _unknown_key(f"{key.path} is {NOT_KNOWN}", hint, file)
    if found.has_more:
        yield _unknown_key(f"there are more keys that are {NOT_KNOWN}", "", file)


def _unknown_key(message: str, hint: str, file: str) -> LintFinding:
    hint = hint or "correct it; what a newer Backrest knows may stay"
    return LintFinding(UNKNOWN_KEY, message, hint, severity=Severity.WARNING, file=file)


def _render(
    documents: _Documents,
    observed: Observed,
    policy: Policy,
    now: datetime,
    backrest_mounts: tuple[Mount, ...] | None,
) -> tuple[DocumentView, Rendered]:
    document, runner = documents
    if document is None:
        return coverage.render_without_document(observed.inventory, policy, now, backrest_mounts)
    proposal = propose(
        document,
        DesiredState(
            observed.inventory,
            policy,
            now,
            runner_mounts=backrest_mounts,
            accept_version=observed.settings.accept_version,
            runner=runner,
        ),
    )
    view = document.view if runner is None else joined_view(document.view, runner.view)
    return view, proposal.rendered


def _find(
    rendered: Rendered,
    policy: Policy,
    compose: ComposeReading | None,
    docker: DockerInventory | None,
) -> Iterator[LintFinding]:
    yield from map(findings.finding_of, rendered.problems)
    yield from findings.find_not_enabled(rendered, policy.label_prefix)
    yield from findings.find_split_commands(rendered, policy.label_prefix)
    if compose is not None:
        yield from findings.find_swarm_only(
            compose.inventory, compose.swarm_only, policy.label_prefix
        )
        for item in compose.misplaced:
            if found := findings.misplaced(item.place, item.key, policy.label_prefix):
                yield replace(found, file=item.file, line=item.line)
    if docker is not None:
        yield from _absent_paths(docker, rendered, policy.label_prefix)


def _absent_paths(
    docker: DockerInventory, rendered: Rendered, prefix: str
) -> Iterator[LintFinding]:
    """Yield the paths that labels name and that no container of the workload has."""
    for item, path in findings.included_paths(rendered):
        containers = item.workload.containers
        if not any(docker.archive_exists(container.id, path) for container in containers):
            yield findings.path_absent(item, path, prefix)
