"""Find out how a repository is reached: prefix, flags and environment of every command."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.backrest.reading import Repo
from sidecar.engines.base import EngineError, FailureClass

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_CPU = {"CPU_HIGH": ("nice", "-n", "-10"), "CPU_LOW": ("nice", "-n", "10")}
# A piece of an entry of flags: white space, or a part of a word.
_PIECE = re.compile(
    r"""(?P<blank>[ \t\r\n]+)|\\(?P<escaped>.)|'(?P<single>[^']*)'|"""
    r""""(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>[^ \t\r\n\\'"]+)""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
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
    """Split an entry of flags into words by the rules of google/shlex, which Backrest uses.

    They are not those of Python's `shlex`: a word that begins with `#` starts a comment, to the
    end of the line, and within double quotes a backslash escapes every character. Raises
    EngineError for what is left open, without the text of the entry: it may hold a secret.
    """
    words: list[str] = []
    word: str | None = None
    position = 0
    while position < len(entry):
        if word is None and entry[position] == "#":
            end = entry.find("\n", position)
            position = len(entry) if end < 0 else end
            continue
        piece = _PIECE.match(entry, position)
        if piece is None:
            message = "a flag cannot be split into words: it has an open quote or a last backslash"
            raise EngineError(FailureClass.UNKNOWN, message, "close its quotes")
        position = piece.end()
        if piece["blank"] is None:
            word = (word or "") + _text_of(piece)
        elif word is not None:
            words.append(word)
            word = None
    return tuple(words) if word is None else (*words, word)


def _text_of(piece: re.Match[str]) -> str:
    if piece["double"] is not None:
        return _ESCAPED.sub(r"\1", piece["double"])
    return next(filter(None, piece.group("escaped", "single", "plain")), "")
