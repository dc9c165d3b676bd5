"""How a repository is reached: prefix, flags and environment of every command.

Keeping a repository's secrets out of what restic said.
"""

import contextlib
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from sidecar.backrest.mask import mask_string
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import EngineError, FailureClass
from sidecar.lib.text import MASK

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_CPU = {"CPU_HIGH": ("nice", "-n", "-10"), "CPU_LOW": ("nice", "-n", "10")}
_IO = {
    "IO_IDLE": ("ionice", "-c", "3"),
    "IO_BEST_EFFORT_LOW": ("ionice", "-c", "2", "-n", "7"),
    "IO_BEST_EFFORT_HIGH": ("ionice", "-c", "2", "-n", "0"),
}


@dataclass(frozen=True, slots=True)
class RepositoryAccess:
    """Words before the program, the program, its flags, and what its environment is given."""

    prefix: tuple[str, ...]
    program: str
    flags: tuple[str, ...] = field(repr=False)
    env: Mapping[str, str] = field(repr=False)


def resolve_access(repo: Repo, environ: Mapping[str, str], program: str) -> RepositoryAccess:
    """Find out how a repository is reached, `${NAME}` taken from `environ`, as Backrest does.

    Raises EngineError for flags that no shell could split.
    """
    flags = [word for entry in repo.flags for word in split_flag(expand(entry, environ))]
    if expand(repo.uri, environ).startswith("sftp:") and "sftp.args" not in " ".join(flags):
        # Without it ssh may wait for somebody to type a password.
        flags += ["-o", "sftp.args=-oBatchMode=yes"]
    prefix = (*_CPU.get(repo.cpu_nice, ()), *_IO.get(repo.io_nice, ()))
    return RepositoryAccess(prefix, program, tuple(flags), _environment(repo, environ))


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace each `${NAME}`; a name that is not set stands for nothing."""
    return _REFERENCE.sub(lambda found: environ.get(found[1], ""), text)


def split_flag(entry: str) -> tuple[str, ...]:
    """Split an entry of flags as a shell does; one that is a comment is none.

    Raises EngineError, without the text of the entry: it may hold a secret.
    """
    if entry.lstrip().startswith("#"):
        return ()
    try:
        return tuple(shlex.split(entry))
    except ValueError as error:
        message = f"a flag cannot be split into words: {str(error).lower()}"
        raise EngineError(FailureClass.UNKNOWN, message, "close its quotes") from error


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


# Shorter ones mean something else more often than not: `1`, `yes`, `eu`.
_SHORTEST = 4


class Masking:
    """Masks secrets, in each spelling in which a program may show them."""

    def __init__(self, password: str = "", others: Iterable[str] = ()) -> None:
        lines = [line for text in others for line in text.splitlines()]
        spelt = {form for line in (password, *lines) for form in _spellings(line.strip())}
        long = sorted((form for form in spelt if len(form) >= _SHORTEST), key=len, reverse=True)
        parts = [re.escape(form) for form in long]
        if 0 < len(password) < _SHORTEST:
            parts.append(rf"(?<!\w){re.escape(password)}(?!\w)")
        self._secrets = re.compile("|".join(parts)) if parts else None

    def mask(self, text: str) -> str:
        """Return the text without the secrets, and without the user part of addresses."""
        text = mask_string(text)
        return self._secrets.sub(MASK, text) if self._secrets else text


def masking_of(repo: Repo, access: RepositoryAccess | None, plan: RunPlan | None = None) -> Masking:
    """Know a repository's password, the values of its environment and flags, its address's user.

    `access` is None where it cannot be resolved: then nothing was expanded. Of the plan's own
    flags those words are secret that stand with a password, a token or a key.
    """
    secrets = [value for _, value in repo.env]
    secrets += _passwords(repo.uri)
    if access is not None:
        secrets += [access.env[name] for name in access.env if _is_secret(name)]
        secrets += [value for flag in access.flags for value in _values(flag)]
        secrets += _passwords(access.env["RESTIC_REPOSITORY"])
    for entry in plan.backup_flags if plan else ():
        if mask_string(entry, "backupFlags") != entry:
            secrets += [value for word in entry.split() for value in _values(word)]
    return Masking(repo.password, secrets)


def _is_secret(name: str) -> bool:
    return not name.startswith("RESTIC_REPOSITORY")


def _values(flag: str) -> Iterator[str]:
    """Return what is secret of a word: all but the name of a flag and of what it sets."""
    name, equals, value = flag.partition("=")
    if equals:
        yield value
    elif not name.startswith("-"):
        yield name


def _passwords(uri: str) -> list[str]:
    # `rest:https://user:password@host/` is an address behind the name of a kind.
    address = uri[uri.find(":") + 1 :] if "://" not in uri.partition(":")[0] else uri
    with contextlib.suppress(ValueError):
        return [part.password for part in map(urlsplit, (uri, address)) if part.password]
    return []


def _spellings(text: str) -> set[str]:
    """Return a secret as it stands, in an address, in JSON and in Go's quotes."""
    plain = unquote(text)
    return {text, plain, quote(plain), quote(plain, safe=""), json.dumps(text)[1:-1]}
