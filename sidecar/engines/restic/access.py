"""How restic reaches a repository: beyond what all engines have, its variables and its program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.backrest.reading import Repo
from sidecar.engines.access import RepositoryAccess, resolve_access
from sidecar.engines.restic.features import Feature, Features

# Restic refuses the one beside the other.
_SSH_OPTIONS = ("sftp.args", "sftp.command")


@dataclass(frozen=True, slots=True)
class ResticAccess(RepositoryAccess):
    """How a repository is reached by the restic of this name or path."""

    program: str = "restic"

    @property
    def folder(self) -> Path | None:
        """The folder of a repository on a disk of this machine; None for any other."""
        address = self.address.removeprefix("local:")
        return Path(address) if address.startswith("/") else None


def resolve_restic_access(
    repo: Repo, environ: Mapping[str, str], program: str, features: Callable[[], Features]
) -> ResticAccess:
    """Return how restic reaches a repository, see `resolve_access`.

    `features` tells what the program can do, and is only asked where that matters. Raises
    EngineError for flags that no shell could split.
    """
    access = resolve_access(repo, environ)
    flags = access.flags
    is_own = any(option in word for word in flags for option in _SSH_OPTIONS)
    if access.address.startswith("sftp:") and not is_own and features().has(Feature.SFTP_ARGS):
        # Without it ssh may wait for somebody to type a password.
        flags = (*flags, "-o", "sftp.args=-oBatchMode=yes")
    env = {
        **_password(repo),
        **access.env,
        # With a file that names a repository beside it, restic would refuse to choose.
        "RESTIC_REPOSITORY": access.address,
        "RESTIC_REPOSITORY_FILE": "",
    }
    return ResticAccess(access.address, access.prefix, flags, env, program)


def _password(repo: Repo) -> dict[str, str]:
    """Return the variables of a password of the document: it wins over what we were given."""
    if not repo.password:
        return {}
    return {
        "RESTIC_PASSWORD": repo.password,
        "RESTIC_PASSWORD_FILE": "",
        "RESTIC_PASSWORD_COMMAND": "",
    }
