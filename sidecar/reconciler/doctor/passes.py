"""A pass without its write, and what earlier runs have left stopped."""

from sidecar.lib.errors import SidecarError, StoreError
from sidecar.reconciler.apply.idle import PlanActivity, Rest
from sidecar.reconciler.desired_state import Ledger
from sidecar.reconciler.doctor.check import Finding, NotChecked, counted, failed, passed, warned
from sidecar.reconciler.doctor.docker import require_containers
from sidecar.reconciler.doctor.patient import Patient
from sidecar.reconciler.observe import knowing_itself
from sidecar.reconciler.reconcile import Outcome, Reconciler
from sidecar.reconciler.resume.markers import DIRECTORY, Marker, read_markers
from sidecar.reconciler.state import Memory


def check_pass(patient: Patient) -> Finding:
    """Do all that a pass does, but for the write."""
    require_containers(patient)
    for variable in ("VOLUMES", "IMAGES"):
        if variable not in patient.learned.may:
            raise NotChecked(f"{variable} is not granted")
    _ = patient.document
    if not patient.learned.is_usable:
        raise NotChecked("the document is not valid")
    try:
        outcome = _preview(patient)
    except SidecarError as error:
        return failed(f"no pass is possible: {error.message}", error.hint)
    patient.learned.proposal = outcome.proposal
    return _judged(outcome)


def _preview(patient: Patient) -> Outcome:
    engine = patient.engine
    inventory = engine.observe(patient.settings.policy.label_prefix).inventory
    patient.learned.inventory = inventory
    settings = knowing_itself(patient.settings, inventory)
    ledger = Ledger(Memory(settings.state_directory, read_only=True))
    reconciler = Reconciler(settings, dict(patient.environment), ledger)
    reconciler.confirm_engine(settings, engine.identity())
    return reconciler.preview(settings, inventory, patient.now)


def _judged(outcome: Outcome) -> Finding:
    rendered, changes = outcome.proposal.rendered, outcome.proposal.changes
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
    if outcome.runner.is_awaited:
        return warned(
            "the runner was never seen, so new plans wait for it",
            "start it, or correct --backrest-container",
        )
    if outcome.changed:
        now = len(changes.added) + len(changes.edits) + len(changes.removed)
        return passed(f"labels ask for {wanted}, and the next pass writes {now} of them")
    return passed(f"labels ask for {wanted}, and so they stand in the document")


def check_markers(patient: Patient) -> Finding:
    """Read what the hooks noted, and ask whether the runs that they are of still go on."""
    directory = patient.settings.config.parent / DIRECTORY
    try:
        markers = read_markers(directory)
    except StoreError as error:
        return failed(error.message, error.hint)
    latest = patient.now.timestamp() - patient.settings.applying.guard_after
    old = [marker for marker in markers if marker.written_at <= latest]
    stale = [marker for marker in old if not _is_running(patient, marker)]
    if stale:
        return warned(
            f"{counted(len(stale), 'container')} may be stopped since a backup that has died",
            "the daemon starts them again; without one, see `docker ps -a` and start them",
            [f"{marker.name}, by the plan {marker.plan or '?'}" for marker in stale],
        )
    if not markers:
        return passed("no backup has left anything stopped")
    return passed(f"{counted(len(markers), 'container')} stopped by backups that go on")


def _is_running(patient: Patient, marker: Marker) -> bool:
    """Whether the run that a marker is of goes on, as far as can be told."""
    try:
        connection = patient.connection
    except NotChecked:
        return False
    served = patient.learned.served
    look = PlanActivity(
        patient.learned.api if served is not None else None,
        connection,
        patient.settings.policy.runner_container,
        lambda: patient.learned.runner is not None,
        patient.now.timestamp,
    )(frozenset({marker.plan} - {""}))
    return look.rest is Rest.BUSY
