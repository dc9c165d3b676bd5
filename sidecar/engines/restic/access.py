"""Find out how a repository is reached: prefix, flags and environment of every command."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from sidecar.backrest.reading import Repo
from sidecar.engines.base import EngineError, FailureClass

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_CPU = {"CPU_HIGH": ("nice", "-n", "-10"), "CPU_LOW": ("nice", "-n", "10")}
_BLANK = " \t\r\n"


class _State(Enum):
    """Where in an entry of flags the reader is."""

    BETWEEN = auto()
    WORD = auto()
    ESCAPE = auto()
    SINGLE = auto()
    DOUBLE = auto()
    ESCAPE_IN_DOUBLE = auto()
    COMMENT = auto()


_OPENING = {"'": _State.SINGLE, '"': _State.DOUBLE, "\\": _State.ESCAPE}
_CLOSING = {_State.SINGLE: "'", _State.DOUBLE: '"'}
_AFTER_ESCAPE = {_State.ESCAPE: _State.WORD, _State.ESCAPE_IN_DOUBLE: _State.DOUBLE}
_LEFT_OPEN = {
    _State.ESCAPE: "nothing follows its last backslash",
    _State.SINGLE: "no closing quotation",
    _State.DOUBLE: "no closing quotation",
    _State.ESCAPE_IN_DOUBLE: "nothing follows its last backslash",
}
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


def resolve_access(repo: Repo, environ: Mapping[str, str], program: str) -> RepositoryAccess:
    """Return how a repository is reached; `${NAME}` comes from `environ`, as in Backrest.

    Raises EngineError for flags that no shell could split.
    """
    flags = [word for entry in repo.flags for word in split_flag(expand(entry, environ))]
    if expand(repo.uri, environ).startswith("sftp:") and "sftp.args" not in " ".join(flags):
        # Without it ssh may wait for somebody to type a password.
        flags += ["-o", "sftp.args=-oBatchMode=yes"]
    prefix = (*_CPU.get(repo.cpu_nice, ()), *_IO.get(repo.io_nice, ()))
    return RepositoryAccess(prefix, program, tuple(flags), _environment(repo, environ))


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace each `${NAME}`; a variable that is not set becomes empty."""
    return _REFERENCE.sub(lambda found: environ.get(found[1], ""), text)


def split_flag(entry: str) -> tuple[str, ...]:
    """Split an entry of flags into words by the rules of google/shlex, which Backrest uses.

    They are not those of Python's `shlex`: a word that begins with `#` starts a comment, to the
    end of the line, and within double quotes a backslash escapes every character. Raises
    EngineError for what is left open, without the text of the entry: it may hold a secret.
    """
    words: list[str] = []
    state, word = _State.BETWEEN, ""
    for character in entry:
        if state in (_State.BETWEEN, _State.WORD) and character in _BLANK:
            if state is _State.WORD:
                words.append(word)
            state, word = _State.BETWEEN, ""
        else:
            state, added = _read(state, character)
            word += added
    if state in _LEFT_OPEN:
        message = f"a flag cannot be split into words: {_LEFT_OPEN[state]}"
        raise EngineError(FailureClass.UNKNOWN, message, "close its quotes")
    return (*words, word) if state is _State.WORD else tuple(words)


def _read(state: _State, character: str) -> tuple[_State, str]:
    """Read one character, no blank that ends a word: the next state, and what the word gains."""
    if state in _AFTER_ESCAPE:
        return _AFTER_ESCAPE[state], character
    if state is _State.COMMENT:
        return (_State.BETWEEN if character == "\n" else state), ""
    if state in _CLOSING:
        if character == _CLOSING[state]:
            return _State.WORD, ""
        if character == "\\" and state is _State.DOUBLE:
            return _State.ESCAPE_IN_DOUBLE, ""
        return state, character
    if character == "#" and state is _State.BETWEEN:
        return _State.COMMENT, ""
    if character in _OPENING:
        return _OPENING[character], ""
    return _State.WORD, character


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
