"""Checks of Backrest's API, and of the repositories that it and the document know."""

from contextlib import ExitStack

from sidecar.backrest.api_api import ApiError, ApiTrouble, BackrestApi
from sidecar.backrest.document import parse_document
from sidecar.backrest.messages import REPO
from sidecar.backrest.schedule_rules import value_of
from sidecar.reconciler.doctor.check import Finding, NotChecked, counted, failed, needed, passed
from sidecar.reconciler.doctor.patient import SECONDS, Patient

_NO_URL = "no --backrest-url is given"
_NOT_SERVED = "Backrest does not serve its configuration"


def check_reachable(patient: Patient) -> Finding:
    """Ask for the configuration; a refused login is an answer too."""
    if not patient.settings.access.url:
        raise NotChecked(_NO_URL)
    with ExitStack() as stack:
        api = stack.enter_context(BackrestApi(patient.settings.access, SECONDS))
        try:
            patient.learned.served = parse_document(api.get_config())
        except ApiError as error:
            if error.kind is not ApiTrouble.REFUSED_LOGIN:
                return failed(error.message, error.hint)
        patient.learned.api = api
        stack.pop_all()
    return passed(f"it answers at {patient.settings.access.url}")


def check_login(patient: Patient) -> Finding:
    """See whether the configuration was given out."""
    if not patient.settings.access.url:
        raise NotChecked(_NO_URL)
    needed(patient.learned.api, _NOT_SERVED)
    user = patient.settings.access.user
    if patient.learned.served is not None:
        return passed(f"it accepts {user}" if user else "it asks for no login")
    if user:
        return failed(
            f"it refuses the user {user} or that password",
            "correct --backrest-user and its password file",
        )
    return failed(
        "it asks for a login, and we have none",
        "set --backrest-user and --backrest-password-file",
    )


def check_same_document(patient: Patient) -> Finding:
    """Compare who the Backrest that answers and the one of the document say that they are."""
    document = patient.document
    served = needed(patient.learned.served, _why_not_served(patient))
    theirs, ours = served.root.get("instance") or "", document.root.get("instance") or ""
    if theirs == ours:
        return passed(f"it serves the instance {ours or 'without a name'}, as the document")
    return failed(
        f"the instance {theirs or 'without a name'} answers, and the document is of "
        f"{ours or 'one without a name'}",
        "correct --backrest-url or --config: they belong to two Backrests",
    )


def check_repos(patient: Patient) -> Finding:
    """See whether there is somewhere to save to."""
    listed = patient.document.root.get("repos")
    repos = [repo for repo in listed if isinstance(repo, dict)] if isinstance(listed, list) else []
    if not repos:
        return failed(
            "the document has no repository",
            "add one in Backrest, or start with `backrest-sidecar init`",
        )
    new = [repo for repo in repos if value_of(repo, REPO, "autoInitialize")[1]]
    said = counted(len(repos), "repository", "repositories")
    more = f", of which Backrest initialises {len(new)} when it starts" if new else ""
    return passed(f"there is {said}{more}" if len(repos) == 1 else f"there are {said}{more}")


def check_repos_known(patient: Patient) -> Finding:
    """See whether Backrest has loaded the repositories that our plans go to."""
    prefix = patient.settings.policy.plan_id_prefix
    plans = [plan for plan in patient.planned.view.plans if plan.id.startswith(prefix)]
    served = needed(patient.learned.served, _why_not_served(patient))
    unknown = {plan.repo for plan in plans} - set(served.view.repo_by_id)
    if not unknown:
        return passed(f"Backrest knows the repositories of {counted(len(plans), 'plan')}")
    return failed(
        "Backrest has not loaded repositories that plans of ours go to",
        "restart Backrest, so that it reads the document",
        sorted(unknown),
    )


def _why_not_served(patient: Patient) -> str:
    return _NOT_SERVED if patient.settings.access.url else _NO_URL
