"""What Backrest tells of its runs, for the commands of both programs that show them."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sidecar.reconciler.settings import BackrestLogin
    from sidecar.runner.plan_facts import BackrestLog

NOT_ASKED = "nothing is known of its runs: neither Backrest nor a runner's journal tells"
ASK_HINT = "give --backrest-url, or start backrest-runner"


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
        return BackrestLog(None, f"nothing is known of its runs: {error.message}", error.hint)
    if operations is None:
        return BackrestLog(None, NOT_ASKED, ASK_HINT)
    return BackrestLog(runs_by_plan(operations))
