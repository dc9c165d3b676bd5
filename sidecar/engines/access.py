"""Find out how a repository is reached: prefix, flags and environment of every command."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.backrest.flag_words import split_entry
from sidecar.backrest.reading import Repo
from sidecar.engines.base import EngineError, FailureClass

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_CPU = {"CPU_HIGH": ("nice", "-n", "-10"), "CPU_LOW": ("nice", "-n", "10")}
_IO = {
    "IO_IDLE": ("ionice", "-c", "3"),
    "IO_BEST_EFFORT_LOW": ("ionice", "-c", "2", "-n", "7"),
    "IO_BEST_EFFORT_HIGH": ("ionice", "-c", "2", "-n", "0"),
}


@dataclass(frozen=True, slots=True)
class RepositoryAccess:
    """How commands reach a repository; variables are replaced everywhere.

    Attributes:
        address: of the repository.
        prefix: the words before each program.
        flags: the words of the repository's own flags.
        env: additions to the environment of each program.
    """

    address: str = field(repr=False)
    prefix: tuple[str, ...] = ()
    flags: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


def resolve_access(repo: Repo, environ: Mapping[str, str]) -> RepositoryAccess:
    """Return how a repository is reached; `${NAME}` comes from `environ`, as in Backrest.

    Raises EngineError for flags that no shell could split.
    """
    return RepositoryAccess(
        expand(repo.uri, environ),
        (*_CPU.get(repo.cpu_nice, ()), *_IO.get(repo.io_nice, ())),
        tuple(word for entry in repo.flags for word in split_flag(expand(entry, environ))),
        {expand(name, environ): expand(value, environ) for name, value in repo.env},
    )


def resolve_address(repo: Repo, environ: Mapping[str, str]) -> str:
    """Return the address of a repository, `${NAME}` taken from `environ`.

    Raises EngineError where a variable is not set: without it, it would be another address.
    """
    empty = [name for name in references(repo.uri) if not environ.get(name)]
    if empty:
        names = ", ".join(f"${{{name}}}" for name in dict.fromkeys(empty))
        message = f"the address of repository {repo.id} has {names}, which is not set"
        raise EngineError(FailureClass.UNKNOWN, message, "set it where the runner is started")
    return expand(repo.uri, environ)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace each `${NAME}`; a variable that is not set becomes empty."""
    return _REFERENCE.sub(lambda found: environ.get(found[1], ""), text)


def references(text: str) -> list[str]:
    """List the names of the variables that `expand` replaces."""
    return _REFERENCE.findall(text)


def split_flag(entry: str) -> tuple[str, ...]:
    """Split an entry of flags into words, as Backrest does: see `flag_words`.

    Raises EngineError for what is left open, without the text of the entry: it may hold a secret.
    """
    words = split_entry(entry)
    if words is None:
        message = "a flag cannot be split into words: it has an open quote or a last backslash"
        raise EngineError(FailureClass.UNKNOWN, message, "close its quotes")
    return words
