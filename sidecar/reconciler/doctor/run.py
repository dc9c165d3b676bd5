"""The doctor: all checks in their order; whatever goes wrong in one is its finding."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sidecar.lib.errors import InventoryError, SidecarError
from sidecar.reconciler.doctor import backrest, docker, document, hooks, host, passes, rights
from sidecar.reconciler.doctor.check import CheckContext, Found, NotChecked, make_context
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.service.check_result import CheckResult, CheckStatus, DoctorReport, failed


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its stable id, what a good result proves, and the function that makes it."""

    id: str
    proves: str
    run: Callable[[CheckContext], CheckResult | Found]


CHECKS = (
    Check("document.found", "the document can be read and is JSON", document.check_found),
    Check("document.valid", "Backrest starts with the document", document.check_valid),
    Check("document.runner", "backrest-runner accepts its own document", document.check_runner),
    Check("document.keys", "Backrest knows every key of the document", document.check_keys),
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
    Check("state.writable", "something can be remembered", host.check_state),
    Check("clock", "the clock of this machine is set", host.check_clock),
    Check("engine.reachable", "something answers where the engine is", docker.check_reachable),
    Check("permission.version", "VERSION: questions can be put", docker.check_version_permission),
    Check("engine.version", "the engine is one that is supported", docker.check_version),
    Check("permission.containers", "CONTAINERS: containers are seen", docker.check_containers),
    Check("permission.volumes", "VOLUMES: options of volumes are seen", docker.check_volumes),
    Check("permission.images", "IMAGES: labels of images are told apart", docker.check_images),
    Check("permission.info", "INFO: another engine is noticed", docker.check_info),
    Check("permission.events", "EVENTS: a new container is seen at once", docker.check_events),
    Check("runner.found", "Backrest's container, or the runner's, is there", backrest.check_found),
    Check("pass", "a pass goes through, and labels get what they ask for", passes.check_pass),
    Check("permission.post", "POST: something may be done at all", rights.check_post),
    Check("permission.restart", "ALLOW_RESTARTS: Backrest can be restarted", rights.check_restart),
    Check("permission.start", "ALLOW_START: the guard can start", rights.check_start),
    Check("permission.unpause", "ALLOW_UNPAUSE: the guard can unpause", rights.check_unpause),
    Check("permission.services", "SERVICES: the guard sees services", rights.check_services),
    Check("runner.running", "that container runs", backrest.check_running),
    Check("runner.self", "the runner is not this sidecar", backrest.check_not_us),
    Check("runner.version", "this Backrest can read the document", backrest.check_version),
    Check("runner.paths", "the runner sees every path of every plan", backrest.check_paths),
    Check("runner.links", "no path of a plan is only a symbolic link", backrest.check_links),
    Check("runner.config", "the runner reads the document we write", backrest.check_config),
    Check("hooks.shell", "hooks find a shell in the runner", hooks.check_shell),
    Check("hooks.client", "hooks find a docker client in the runner", hooks.check_client),
    Check("hooks.socket", "hooks reach the engine from the runner", hooks.check_socket),
    Check("hooks.permissions", "a proxy lets hooks do their work", rights.check_permissions),
    Check("zones", "runner and sidecar are in the same time zone", host.check_zones),
    Check("api.reachable", "Backrest's API answers", backrest.check_reachable),
    Check("api.login", "Backrest accepts our login", backrest.check_login),
    Check("api.document", "the API serves the same Backrest", backrest.check_same_document),
    Check("apply.loaded", "Backrest has loaded what is wanted", backrest.check_loaded),
    Check("apply.edits", "Backrest has read what was edited by hand", backrest.check_edits),
    Check("repos.exist", "there is a repository", backrest.check_repos),
    Check("repos.known", "Backrest has loaded our repositories", backrest.check_repos_known),
    Check("markers", "no dead backup has left anything stopped", hooks.check_markers),
)
"""All checks, in an order in which each may rely on what earlier ones found."""


def run_doctor(
    settings: ReconcilerSettings, environment: Mapping[str, str], *, fix: bool
) -> DoctorReport:
    """Check this machine as the settings say; `fix`: repair what is safe to repair.

    Raises nothing of its own: what goes wrong is a finding. Each wait for Docker or for
    Backrest is bounded by five seconds.
    """
    return examine(make_context(settings, environment, fix=fix))


def examine(context: CheckContext) -> DoctorReport:
    """Run all checks, and close the connections of the context."""
    results: list[CheckResult] = []
    with context.connections:
        facts = context.facts
        for check in CHECKS:
            result, facts = _run(check, replace(context, facts=facts))
            results.append(replace(result, check=check.id))
    return DoctorReport(str(context.settings.config), tuple(results))


def _run(check: Check, context: CheckContext) -> Found:
    facts = context.facts
    try:
        found = check.run(context)
    except NotChecked as reason:
        found = CheckResult(CheckStatus.NOT_CHECKED, str(reason))
    except InventoryError as error:
        # Asked ten times more it would take ten times as long.
        return Found(failed(error.message, error.hint), facts.without_docker())
    except SidecarError as error:
        found = failed(error.message, error.hint)
    except OSError as error:
        found = failed(f"it cannot be told: {error.strerror or error}", "see its permissions")
    return found if isinstance(found, Found) else Found(found, facts)
