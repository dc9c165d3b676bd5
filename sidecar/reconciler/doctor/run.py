"""run_doctor: all checks in their order; whatever goes wrong in one is its finding."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sidecar.lib.errors import InventoryError, SidecarError
from sidecar.reconciler.doctor import backrest as api
from sidecar.reconciler.doctor import backrest as runner
from sidecar.reconciler.doctor import docker as engine
from sidecar.reconciler.doctor import document, hooks
from sidecar.reconciler.doctor import document as passes
from sidecar.reconciler.doctor import host as places
from sidecar.reconciler.doctor import host as zones
from sidecar.reconciler.doctor import rights as acting
from sidecar.reconciler.doctor import rights as hook_rights
from sidecar.reconciler.doctor.check import (
    CheckContext,
    CheckResult,
    CheckStatus,
    DoctorReport,
    NotChecked,
    admit,
    failed,
)
from sidecar.reconciler.settings import ReconcilerSettings

__all__ = [
    "CHECKS",
    "Check",
    "examine",
    "run_doctor",
]


@dataclass(frozen=True, slots=True)
class Check:
    """One question: its stable id, what a good answer proves, and how it is asked."""

    id: str
    proves: str
    run: Callable[[CheckContext], CheckResult]


CHECKS = (
    Check("document.found", "the document can be read and is JSON", document.check_found),
    Check("document.valid", "Backrest starts with the document", document.check_valid),
    Check(
        "document.directory",
        "the directory of the document is mounted, not the file alone",
        document.check_mounted_whole,
    ),
    Check(
        "document.writable",
        "the document can be replaced, and its owner and mode are kept",
        document.check_writable,
    ),
    Check("document.private", "only its owner can read the document", document.check_private),
    Check("document.litter", "no interrupted write has left anything", document.check_litter),
    Check("state.writable", "something can be remembered", places.check_state),
    Check("clock", "the clock of this machine is set", places.check_clock),
    Check("engine.reachable", "something answers where the engine is", engine.check_reachable),
    Check("permission.version", "VERSION: questions can be put", engine.check_version_permission),
    Check("engine.version", "the engine is one that is supported", engine.check_version),
    Check("permission.containers", "CONTAINERS: containers are seen", engine.check_containers),
    Check("permission.volumes", "VOLUMES: options of volumes are seen", engine.check_volumes),
    Check("permission.images", "IMAGES: labels of images are told apart", engine.check_images),
    Check("permission.info", "INFO: another engine is noticed", engine.check_info),
    Check("permission.events", "EVENTS: a new container is seen at once", engine.check_events),
    Check("runner.found", "the container of Backrest is there", runner.check_found),
    Check("pass", "a pass goes through, and labels get what they ask for", passes.check_pass),
    Check("permission.post", "POST: something may be done at all", acting.check_post),
    Check("permission.restart", "ALLOW_RESTARTS: Backrest can be restarted", acting.check_restart),
    Check("permission.start", "ALLOW_START: the guard can start", acting.check_start),
    Check("permission.unpause", "ALLOW_UNPAUSE: the guard can unpause", acting.check_unpause),
    Check("permission.services", "SERVICES: the guard sees services", acting.check_services),
    Check("runner.running", "Backrest's container runs", runner.check_running),
    Check("runner.self", "the runner is not this sidecar", runner.check_not_us),
    Check("runner.version", "this Backrest can read the document", runner.check_version),
    Check("runner.paths", "the runner sees every path of every plan", runner.check_paths),
    Check("runner.config", "the runner reads the document we write", runner.check_config),
    Check("hooks.shell", "hooks find a shell in the runner", hooks.check_shell),
    Check("hooks.client", "hooks find a docker client in the runner", hooks.check_client),
    Check("hooks.socket", "hooks reach the engine from the runner", hooks.check_socket),
    Check("hooks.permissions", "a proxy lets hooks do their work", hook_rights.check_permissions),
    Check("zones", "runner and sidecar are in the same time zone", zones.check_zones),
    Check("api.reachable", "Backrest's API answers", api.check_reachable),
    Check("api.login", "Backrest accepts our login", api.check_login),
    Check("api.document", "the API serves the same Backrest", api.check_same_document),
    Check("repos.exist", "there is a repository", api.check_repos),
    Check("repos.known", "Backrest has loaded our repositories", api.check_repos_known),
    Check("markers", "no dead backup has left anything stopped", passes.check_markers),
)
"""All checks, in the order in which one may rely on what another has learned."""


def run_doctor(
    settings: ReconcilerSettings, environment: Mapping[str, str], *, fix: bool
) -> DoctorReport:
    """Examine this machine as the settings say; `fix`: put right what is safe.

    Raises nothing of its own: what goes wrong is a finding. Each wait for the engine or
    for Backrest is bounded by five seconds.
    """
    return examine(admit(settings, environment, fix=fix))


def examine(context: CheckContext) -> DoctorReport:
    """Run all checks, and give the patient's connections back."""
    try:
        findings = tuple([_run(check, context) for check in CHECKS])
    finally:
        context.close()
    return DoctorReport(str(context.settings.config), findings)


def _run(check: Check, context: CheckContext) -> CheckResult:
    try:
        finding = check.run(context)
    except NotChecked as reason:
        finding = CheckResult(CheckStatus.NOT_CHECKED, str(reason))
    except InventoryError as error:
        # Whoever does not answer once is not asked ten times more.
        context.lose_engine()
        finding = failed(error.message, error.hint)
    except SidecarError as error:
        finding = failed(error.message, error.hint)
    except OSError as error:
        finding = failed(f"it cannot be told: {error.strerror or error}", "see its permissions")
    return replace(finding, check=check.id)
