"""Mask a repository's secrets in the output of programs, in each spelling that may occur."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote, urlsplit

from sidecar.backrest.mask import is_secret_name, mask_string
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.access import RepositoryAccess, references, split_flag
from sidecar.engines.base import EngineError
from sidecar.lib.text import MASK

# Shorter values are rarely secrets: `1`, `yes`, `eu`.
_SHORTEST = 4
_EXTENDED = frozenset({"-o", "--option"})
# `:s3,secret_access_key=VALUE,region=eu:bucket`
_PARAMETER = re.compile(r"""[:,](\w+)=("(?:[^"]|"")*"|[^,:"]*)""")


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

    Secret are its password, the passwords in addresses, and the values of variables and options
    whose names say so: others, as `auto` or the name of a region, occur in any text. `access` is
    None if it cannot be resolved: then nothing was expanded.
    """
    secrets = [*_of_variables(repo.env), *_of_address(repo.uri)]
    if access is not None:
        secrets += _of_variables(access.env.items())
        # `REMOTE=${NAS_TOKEN}`: as secret as what it stands for.
        given = [name for name, value in repo.env if any(map(is_secret_name, references(value)))]
        secrets += [access.env.get(name, "") for name in given]
        secrets += _of_flags(access.flags)
        secrets += _of_address(access.address)
    for entry in plan.backup_flags if plan else ():
        secrets += _of_flags(_words(entry))
    return Masking(repo.password, secrets)


def masking_of_variables(variables: Iterable[tuple[str, str]]) -> Masking:
    """Return what masks the secrets among variables."""
    return Masking(others=_of_variables(variables))


def _of_variables(variables: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in variables:
        if is_secret_name(name) and not name.startswith("RESTIC_REPOSITORY"):
            yield value
        yield from _of_address(value)


def _of_flags(words: Iterable[str]) -> Iterator[str]:
    """Yield the values of options whose names say that they may be secret.

    `--header VALUE`, `--header=VALUE`, `-o s3.key=VALUE`; a value without an option is one too.
    """
    option = ""
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("-") or option in _EXTENDED:
            if equals and is_secret_name(name):
                yield value
            option = "" if equals else word
        elif not option or is_secret_name(option):
            yield word


def _words(entry: str) -> tuple[str, ...]:
    """Split flags as they are run; what cannot be split is not run, and is split at blanks."""
    try:
        return split_flag(entry)
    except EngineError:
        return tuple(entry.split())


def _of_address(uri: str) -> Iterator[str]:
    """Yield the passwords of an address, and the secret parameters of a remote of rclone's."""
    for name, value in _PARAMETER.findall(uri):
        if is_secret_name(name):
            yield value.strip('"')
    # `rest:https://user:password@host/` is an address behind the name of a kind.
    address = uri[uri.find(":") + 1 :] if "://" not in uri.partition(":")[0] else uri
    with contextlib.suppress(ValueError):
        yield from [part.password for part in map(urlsplit, (uri, address)) if part.password]


def _spellings(text: str) -> set[str]:
    """Return a secret as it is, and as it is written in an address and in JSON."""
    plain = unquote(text)
    return {text, plain, quote(plain), quote(plain, safe=""), json.dumps(text)[1:-1]}
