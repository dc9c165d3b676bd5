"""Find out how a repository is reached: prefix, flags and environment of every command."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.backrest.reading import Repo
from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.restic.features import Feature, Features

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
# Restic refuses the one beside the other.
_SSH_OPTIONS = ("sftp.args", "sftp.command")
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
    """The words before the program, the program, its flags, and additions to its environment."""

    prefix: tuple[str, ...]
    program: str
    flags: tuple[str, ...] = field(repr=False)
    env: Mapping[str, str] = field(repr=False)

    @property
    def folder(self) -> Path | None:
        """The folder of a repository on a disk of this machine; None for any other."""
        address = self.env["RESTIC_REPOSITORY"].removeprefix("local:")
        return Path(address) if address.startswith("/") else None


def resolve_access(
    repo: Repo, environ: Mapping[str, str], program: str, features: Callable[[], Features]
) -> RepositoryAccess:
    """Return how a repository is reached; `${NAME}` comes from `environ`, as in Backrest.

    `features` tells what the program can do, and is only asked where that matters. Raises
    EngineError for flags that no shell could split.
    """
    flags = [word for entry in repo.flags for word in split_flag(expand(entry, environ))]
    is_own = any(option in word for word in flags for option in _SSH_OPTIONS)
    is_sftp = expand(repo.uri, environ).startswith("sftp:")
    if is_sftp and not is_own and features().has(Feature.SFTP_ARGS):
        # Without it ssh may wait for somebody to type a password.
        flags += ["-o", "sftp.args=-oBatchMode=yes"]
    prefix = (*_CPU.get(repo.cpu_nice, ()), *_IO.get(repo.io_nice, ()))
    return RepositoryAccess(prefix, program, tuple(flags), _environment(repo, environ))


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


def _environment(repo: Repo, environ: Mapping[str, str]) -> dict[str, str]:
    env: dict[str, str] = {}
    if repo.password:
        # A password of the document wins over whatever the process was given.
        env |= {"RESTIC_PASSWORD": repo.password}
        env |= {"RESTIC_PASSWORD_FILE": "", "RESTIC_PASSWORD_COMMAND": ""}
    for name, value in repo.env:
        env[expand(name, environ)] = expand(value, environ)
    # With a file that names a repository beside it, restic would refuse to choose.
    return env | {"RESTIC_REPOSITORY": expand(repo.uri, environ), "RESTIC_REPOSITORY_FILE": ""}
