"""Why something is not restored."""

from sidecar.engines.base import FailureClass
from sidecar.lib.errors import SidecarError


class RestoreError(SidecarError):
    """Nothing was restored; what was there before is still there."""

    def __init__(
        self, message: str, hint: str = "", failure: FailureClass = FailureClass.UNKNOWN
    ) -> None:
        super().__init__(message, hint)
        self.failure = failure
