"""What to do about a repository that cannot be used, by the kind of its failure."""

from collections.abc import Mapping

from sidecar.engines.base import FailureClass

ADVICE: Mapping[FailureClass, str] = {
    FailureClass.WRONG_PASSWORD: "correct the repository's password in the document",
    FailureClass.AUTH: "see the credentials in the repository's environment, or the runner's",
    FailureClass.NETWORK: "see whether its server can be reached from here",
    FailureClass.TIMEOUT: "see whether its server can be reached from here",
    FailureClass.PERMISSION: "let the runner's user read and write there",
    FailureClass.REPO_NOT_FOUND: "see whether its disk is mounted, and its address right",
    FailureClass.DAMAGED: "`backrest-runner check` tells more",
}
