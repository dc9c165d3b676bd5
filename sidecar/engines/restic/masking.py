"""Mask a repository's secrets in the output of programs, in each spelling that may occur."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote, urlsplit

from sidecar.backrest.mask import mask_string
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import EngineError
from sidecar.engines.restic.access import RepositoryAccess, split_flag
from sidecar.lib.text import MASK

# Shorter values are rarely secrets: `1`, `yes`, `eu`.
_SHORTEST = 4


class Masking:
    """Masks a password and other secrets.

    Of the others, those of less than four characters are left as they are.
    """

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
    """Return the masking of a repository's secrets.

    Secret are its password, the values of its environment and flags, and the password in its
    address; of the plan's own flags those that name a password, a token or a key. `access` is
    None if it cannot be resolved: then nothing was expanded.
    """
    secrets = [value for _, value in repo.env]
    secrets += _passwords(repo.uri)
    if access is not None:
        secrets += [access.env[name] for name in access.env if _is_secret(name)]
        secrets += [value for flag in access.flags for value in _values(flag)]
        secrets += _passwords(access.env["RESTIC_REPOSITORY"])
    for entry in plan.backup_flags if plan else ():
        if mask_string(entry, "backupFlags") != entry:
            secrets += [value for word in _words(entry) for value in _values(word)]
    return Masking(repo.password, secrets)


def _is_secret(name: str) -> bool:
    return not name.startswith("RESTIC_REPOSITORY")


def _words(entry: str) -> tuple[str, ...]:
    """Split flags as they are run; what cannot be split is not run, and is split at blanks."""
    try:
        return split_flag(entry)
    except EngineError:
        return tuple(entry.split())


def _values(flag: str) -> Iterator[str]:
    """Yield what is secret in a word: all but the name of a flag and of what it sets."""
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
    """Return a secret as it is, and as it is written in an address and in JSON."""
    plain = unquote(text)
    return {text, plain, quote(plain), quote(plain, safe=""), json.dumps(text)[1:-1]}
