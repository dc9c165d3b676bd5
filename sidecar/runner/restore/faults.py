"""Why something is not restored."""

from sidecar.errors import SidecarError
from sidecar.runner.engines.base import FailureClass


class RestoreError(SidecarError):
    """Nothing was restored; what was there before is still there."""

    def __init__(
        self, message: str, hint: str = "", failure: FailureClass = FailureClass.UNKNOWN
    ) -> None:
        super().__init__(message, hint)
        self.failure = failure
