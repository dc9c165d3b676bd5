"""Check that the next pass goes through: all of it but the write."""

from dataclasses import replace

from sidecar.docker.models import Inventory
from sidecar.lib.errors import SidecarError
from sidecar.lib.text import counted
from sidecar.reconciler.doctor.check import CheckContext, Found, NotChecked
from sidecar.reconciler.doctor.docker import require_containers
from sidecar.reconciler.observe import with_own_container
from sidecar.reconciler.reconcile import PassOutcome, Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.state import Memory
from sidecar.service.check_result import CheckResult, failed, passed, warned


def check_pass(context: CheckContext) -> CheckResult | Found:
    """Do everything that a pass does, but for the write."""
    require_containers(context)
    for variable in ("VOLUMES", "IMAGES"):
        if variable not in context.facts.may:
            raise NotChecked(f"{variable} is not granted")
    if context.facts.runner is None:
        _ = context.document
    if not context.facts.is_usable:
        raise NotChecked("the document is not valid")
    policy, facts = context.settings.policy, context.facts
    try:
        observed = context.docker.observe(policy.label_prefix, policy.runner_container)
        facts = replace(facts, inventory=observed.inventory)
        outcome = _preview(context, observed.inventory)
    except SidecarError as error:
        return Found(failed(f"no pass is possible: {error.message}", error.hint), facts)
    facts = replace(facts, proposal=outcome.proposal, desired=outcome.desired)
    return Found(_result_of(outcome), facts)


def _preview(context: CheckContext, inventory: Inventory) -> PassOutcome:
    settings = with_own_container(context.settings, inventory)
    recorder = PassRecorder(Memory(settings.state_directory, read_only=True))
    reconciler = Reconciler(settings, dict(context.environment), recorder)
    reconciler.confirm_docker(settings, context.docker.identity())
    return reconciler.preview(settings, inventory, context.now)


def _result_of(outcome: PassOutcome) -> CheckResult:
    rendered, changes = outcome.proposal.rendered, outcome.proposal.all_changes
    wanted = counted(len(rendered.plans), "plan")
    if outcome.has_serious_problems:
        return warned(
            f"labels ask for something that cannot be had; {wanted} would stand",
            "run `backrest-sidecar lint`, which says what and where",
        )
    if outcome.ageing.held:
        return warned(
            "so many plans are without their workload that nothing is done about it",
            "see whether this is the right engine; confirm with "
            "`backrest-sidecar reconcile --accept-orphans`",
        )
    if outcome.backrest.is_awaited:
        return warned(
            "the runner was never seen, so new plans wait for it",
            "start it, or correct --backrest-container",
        )
    if outcome.changed:
        now = len(changes.added) + len(changes.edits) + len(changes.removed)
        return passed(f"labels ask for {wanted}, and the next pass writes {now} of them")
    return passed(f"labels ask for {wanted}, and so they stand in the document")
