"""What Backrest tells of its runs, for the commands of both programs that show them."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sidecar.reconciler.settings import BackrestLogin
    from sidecar.reconciler.status import StatusReport
    from sidecar.runner.plan_facts import BackrestLog

_UNKNOWN = "nothing is known of its runs"
_NOT_ASKED = f"{_UNKNOWN}: neither Backrest nor a runner's journal tells"
_ASK_HINT = "give --backrest-url, or start backrest-runner"


def build_login(flags: Mapping[str, Any], prefix: str) -> "BackrestLogin":
    """Return the checked login of click's values; variables begin with `prefix`.

    Raises UsageError naming the flag.
    """
    from sidecar.reconciler.settings import BackrestLogin, check_access, read_password

    url, user = flags.get("backrest_url", ""), flags.get("backrest_user", "")
    file = flags.get("backrest_password_file")
    password = os.environ.get(f"{prefix}BACKREST_PASSWORD", "")
    return check_access(BackrestLogin(url, user, read_password(file) if file else password))


def read_log(login: "BackrestLogin") -> "BackrestLog":
    """Ask Backrest for its runs; what goes wrong is told in place of them."""
    from sidecar.backrest.api import ApiError
    from sidecar.backrest.operations import runs_by_plan
    from sidecar.reconciler.status import read_operations
    from sidecar.runner.plan_facts import BackrestLog

    try:
        operations = read_operations(login)
    except ApiError as error:
        return BackrestLog(None, f"{_UNKNOWN}: {error.message}", error.hint)
    if operations is None:
        return _nobody_asked()
    return BackrestLog(runs_by_plan(operations))


def log_of(report: "StatusReport") -> "BackrestLog":
    """Return what the sidecar's status has read of Backrest's log already."""
    from sidecar.reconciler.status import NO_API
    from sidecar.runner.plan_facts import BackrestLog

    if report.trouble == NO_API:
        return _nobody_asked()
    why = f"{_UNKNOWN}: {report.words}" if report.trouble else ""
    return BackrestLog(report.runs, why, report.hint)


def _nobody_asked() -> "BackrestLog":
    from sidecar.runner.plan_facts import BackrestLog

    return BackrestLog(None, _NOT_ASKED, _ASK_HINT)
