"""Tell which entries of a document are one and the same repository, whatever they are called.

A repository may be renamed while a run uses it, and two entries may have one address.
"""

import os
from collections.abc import Mapping

from sidecar.backrest.reading import Repo
from sidecar.engines.access import expand


def lock_keys(repo: Repo, guid: str, environ: Mapping[str, str]) -> frozenset[str]:
    """Return what tells a repository from others: two that share one of these are the same.

    That is its address, `${NAME}` taken from `environ`, and its id where one is known: that of
    the document, and `guid`, which it was seen to have. They hold secrets, as addresses do. One
    without an address is told by its name.
    """
    address = plain_address(expand(repo.uri, environ))
    found = {f"at {address}" if address else f"named {repo.id}"}
    found.update(f"id {known}" for known in (repo.guid, guid) if known)
    return frozenset(found)


def is_at_hand(repo: Repo, environ: Mapping[str, str]) -> bool:
    """Return whether a repository is a folder of this machine, and is there."""
    address = plain_address(expand(repo.uri, environ))
    return address.startswith("/") and os.path.exists(f"{address}/config")  # noqa: PTH110 - as it is written


def plain_address(address: str) -> str:
    """Return one spelling of an address: `//srv//repo/` and `local:/srv/repo` are the same."""
    path = address.removeprefix("local:")
    if not path.startswith("/"):
        return address.rstrip("/")
    # normpath keeps two slashes at the beginning.
    return os.path.normpath(f"/{path.lstrip('/')}")
