"""Checks of the document: there, accepted by Backrest, writable, and private."""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sidecar.backrest.document import Document
from sidecar.backrest.rules import check_document, check_engines, check_runner_repos, check_version
from sidecar.backrest.shape import DocumentFault
from sidecar.lib import files as atomic
from sidecar.lib.errors import DocumentError, StoreError
from sidecar.lib.text import counted
from sidecar.planner.host_path import is_under
from sidecar.reconciler.doctor.check import CheckContext, Found, NotChecked
from sidecar.reconciler.reconcile import read_document
from sidecar.reconciler.runner_document import is_absent
from sidecar.reconciler.store import leftovers
from sidecar.reconciler.store.read import (
    DocumentFile,
    explained,
    find_document_file,
    hint_for,
)
from sidecar.reconciler.store.replace import Store
from sidecar.reconciler.unknown_keys import NOT_KNOWN, find_unknown_keys
from sidecar.service.check_result import CheckResult, CheckStatus, failed, passed, warned

_PRIVATE = 0o600
_OTHERS = 0o077
_LOCK_SECONDS = 2.0
_ESCAPED = re.compile(r"\\([0-7]{3})")


def check_found(context: CheckContext) -> CheckResult | Found:
    """Read and decode the document."""
    config, runner = context.settings.config, context.settings.runner_document
    if is_absent(config) and runner.is_file():
        raise NotChecked(f"there is no {config}, so all plans are those of {runner}")
    try:
        document = read_document(config)
    except (DocumentError, StoreError) as error:
        return failed(error.message, error.hint)
    view = document.view
    plans = counted(len(view.plans), "plan")
    repos = counted(len(view.repos), "repository", "repositories")
    result = passed(f"{config} holds {plans} and {repos}")
    return Found(result, replace(context.facts, document=document))


def check_valid(context: CheckContext) -> CheckResult | Found:
    """Check it against everything that Backrest refuses."""
    root = context.document.root
    if fault := check_version(root, context.settings.accept_version):
        return failed(fault.message, fault.hint)
    faults = check_document(root, context.now.date())
    if not faults:
        result = passed(f"Backrest accepts it; its version is {root['version']}")
        if others := check_engines(root):
            details = [f"{fault.pointer}: {fault.message}" for fault in others]
            result = warned("repositories of no use to Backrest", others[0].hint, details)
        return Found(result, replace(context.facts, is_usable=True))
    ours = all(_is_ours(context, fault) for fault in faults)
    hint = "run `backrest-sidecar reconcile`, which writes these plans anew"
    if not ours:
        hint = next((fault.hint for fault in faults if fault.hint), "correct it in an editor")
    details = [f"{fault.pointer or '/'}: {fault.message}" for fault in faults]
    result = failed("Backrest would not start with this document", hint, details)
    return Found(result, replace(context.facts, is_usable=ours))


def _is_ours(context: CheckContext, fault: DocumentFault) -> bool:
    """Return whether a fault lies in a plan that the next pass would write anew."""
    _, _, rest = fault.pointer.partition("/plans/")
    index = rest.partition("/")[0]
    if not fault.pointer.startswith("/plans/") or not index.isdecimal():
        return False
    plan = context.document.root["plans"][int(index)]
    plan_id = plan.get("id") if isinstance(plan, dict) else None
    return type(plan_id) is str and plan_id.startswith(context.settings.policy.plan_id_prefix)


def check_runner(context: CheckContext) -> CheckResult | Found:
    """Check the runner's document, if there is one: readable, private, and without a fault."""
    settings, facts = context.settings, context.facts
    path = settings.runner_document
    if not os.path.lexists(path):
        raise NotChecked(f"there is no {path}, so Backrest's document has all plans")
    try:
        document = read_document(path)
    except (DocumentError, StoreError) as error:
        return failed(error.message, error.hint)
    if fault := check_version(document.root, settings.accept_version):
        return failed(f"{path}: {fault.message}", fault.hint)
    faults = check_document(document.root, context.now.date(), any_engine=True)
    if faults:
        details = [f"{fault.pointer or '/'}: {fault.message}" for fault in faults]
        hint = next((fault.hint for fault in faults if fault.hint), "correct it in an editor")
        return failed("backrest-runner would not run this document", hint, details)
    if facts.document is not None:
        taken = sorted(document.view.repo_by_id.keys() & facts.document.view.repo_by_id.keys())
        if taken:
            hint = "give each its own id: until then nothing is written to either document"
            return failed("repositories that stand in both documents", hint, taken)
    is_only = facts.document is None and is_absent(settings.config)
    facts = replace(facts, runner=document, is_usable=facts.is_usable or is_only)
    return Found(_judge_runner(document, path), facts)


def _judge_runner(document: Document, path: Path) -> CheckResult:
    """Return what is no reason to refuse the runner's document, and should be known."""
    if faults := check_runner_repos(document.root):
        details = [f"{fault.pointer}: {fault.message}" for fault in faults]
        return failed("repositories that backrest-runner cannot use", faults[0].hint, details)
    with explained(path, "read"):
        mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        return warned(
            f"others than its owner can use {path}: its mode is {mode:04o}", f"chmod 600 {path}"
        )
    view = document.view
    plans, repos = counted(len(view.plans), "plan"), len(view.repos)
    shown = counted(repos, "repository", "repositories")
    return passed(f"{path} holds {plans} and {shown}, which Backrest does not run")


def check_keys(context: CheckContext) -> CheckResult:
    """Look for keys that Backrest would ignore: what was meant by them does not happen."""
    found = find_unknown_keys(context.document.root)
    if not found.listed:
        return passed("Backrest knows every key")
    details = [
        f"{key.path}: did you mean {key.meant}?" if key.meant else key.path for key in found.listed
    ]
    return warned(
        f"keys that are {NOT_KNOWN}",
        "correct what is misspelt; what a newer Backrest knows may stay",
        [*details, "and more"] if found.has_more else details,
    )


def check_mounted_whole(context: CheckContext) -> CheckResult:
    """Check that the file is not a mount of its own: then nobody could replace it."""
    config = context.settings.config
    real = os.path.realpath(config)
    try:
        text = context.mountinfo.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        raise NotChecked("this system does not tell its mounts") from None
    points = [_unescaped(line.split(" ")[4]) for line in text.splitlines() if line.count(" ") > 4]
    if real in points:
        return failed(
            f"{config} is mounted as a single file, so it cannot be replaced",
            f"mount the directory that holds it, as in ./config:{config.parent.absolute()}",
        )
    if context.is_contained and not any(is_under(real, point) for point in points if point != "/"):
        return warned(
            f"{config} lies in this container itself, where no other container sees it",
            f"mount Backrest's config directory, as in ./config:{config.parent.absolute()}",
        )
    return passed(f"its directory {config.parent} is there as a whole")


def _unescaped(point: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), point)


def check_writable(context: CheckContext) -> CheckResult:
    """Make a file beside it as a write does, with its owner and mode, and remove it."""
    _ = context.document
    config = context.settings.config
    try:
        with explained(config, "replace"):
            directory = atomic.open_directory(config.parent)
            try:
                return _try_part(find_document_file(directory, config))
            finally:
                os.close(directory)
    except StoreError as error:
        return failed(error.message, error.hint)


def _try_part(file: DocumentFile) -> CheckResult:
    part = leftovers.new_part_name(file)
    document = atomic.open_present(file.directory, file.name)
    try:
        descriptor = atomic.create_new(file.directory, part)
        try:
            return _set_attributes(file, document, descriptor)
        finally:
            os.close(descriptor)
            atomic.remove(file.directory, part)
    finally:
        os.close(document)


def _set_attributes(file: DocumentFile, document: int, part: int) -> CheckResult:
    status = os.fstat(document)
    owner = f"{status.st_uid}:{status.st_gid}"
    if not atomic.give_owner(part, status.st_uid, status.st_gid):
        return failed(
            f"the owner {owner} of {file.path} cannot be kept by user {os.geteuid()}, "
            "so nothing would be written",
            hint_for(f"user {status.st_uid} and group {status.st_gid}"),
        )
    atomic.copy_attributes(document, part)
    if not atomic.give_mode(part, stat.S_IMODE(status.st_mode)):
        return failed(
            f"the file system does not let a new file have the mode of {file.path}",
            "set the mode by the options of the mount",
        )
    atomic.write_all(part, b"backrest-sidecar doctor\n")
    os.fsync(part)
    return passed(f"it can be replaced; its owner {owner} is kept")


def check_private(context: CheckContext) -> CheckResult:
    """Check that only its owner can read it: passwords of repositories stand in it."""
    _ = context.document
    config = context.settings.config
    with explained(config, "read"):
        status = config.stat()
    mode = stat.S_IMODE(status.st_mode)
    if not mode & _OTHERS or mode == context.settings.config_mode:
        return passed(f"its mode is {mode:04o}")
    message = f"others than its owner can use it: its mode is {mode:04o}"
    if status.st_uid != os.geteuid():
        owner = f"user {status.st_uid} or root"
        return warned(message, f"let its owner restrict it: chmod 600 {config} as {owner}")
    if not context.fix:
        return warned(message, f"run `backrest-sidecar doctor --fix`, or chmod 600 {config}")
    with explained(config, "restrict"):
        _restrict(config)
    return passed("only its owner can use it now", fixed=f"mode {mode:04o} → 0600")


def _restrict(config: Path) -> None:
    descriptor = os.open(config, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, _PRIVATE)
    finally:
        os.close(descriptor)


def check_litter(context: CheckContext) -> CheckResult:
    """Look for files that an interrupted write left, and for saves that were put aside."""
    settings = context.settings
    paths = [settings.config]
    paths += [settings.runner_document] if settings.runner_document.is_file() else []
    parts, displaced = _leftovers(paths)
    fixed = ""
    if parts and context.fix:
        notices = [
            notice for path in paths for notice in Store(path, lock_wait=_LOCK_SECONDS).recover()
        ]
        fixed = "; ".join([f"{counted(len(parts), 'file')} put in order", *notices])
        parts, displaced = _leftovers(paths)
    if parts:
        return warned(
            "an interrupted write left something beside it",
            "run `backrest-sidecar doctor --fix`; the next write puts it in order too",
            parts,
        )
    if displaced:
        return CheckResult(
            CheckStatus.WARNING,
            "saves of another program that met a write of ours were put aside",
            "compare them with the document, then remove them",
            tuple(displaced),
            fixed,
        )
    return passed("nothing is left of interrupted writes", fixed=fixed)


def _leftovers(paths: Iterable[Path]) -> tuple[list[str], list[str]]:
    """Return the names of unfinished writes of these documents, and of saves that were put aside.

    Raises NotChecked while another process writes: then they are no leftovers.
    """
    found = [_leftovers_of(path) for path in paths]
    return [name for parts, _ in found for name in parts], [
        name for _, far in found for name in far
    ]


def _leftovers_of(config: Path) -> tuple[list[str], list[str]]:
    try:
        directory = atomic.open_directory(config.parent)
    except OSError:
        raise NotChecked(f"the directory {config.parent} cannot be opened") from None
    try:
        if not atomic.try_lock(directory):
            raise NotChecked("another sidecar writes at this moment")
        names = atomic.list_names(directory)
    finally:
        os.close(directory)
    part = re.compile(rf"\.{re.escape(config.name)}\.sidecar-[0-9a-f.]+\.(?:part|swap)")
    aside = f"{config.name}.displaced-"
    return (
        [name for name in names if part.fullmatch(name)],
        [name for name in names if name.startswith(aside)],
    )
