"""The texts behind secret references, read only from where labels may point."""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from sidecar.docker.models import Container, Inventory
from sidecar.labels.policy import Policy
from sidecar.lib.text import is_utf8
from sidecar.planner.memo import ItemMemo
from sidecar.planner.notifications import find_references
from sidecar.reconciler.settings import ReconcilerSettings

MAX_BYTES = 64 * 1024
ENVIRONMENT_PREFIX = "BACKREST_SECRET_"


def with_secrets(
    settings: ReconcilerSettings,
    inventory: Inventory,
    environment: dict[str, str],
    memo: ItemMemo[Container, frozenset[str]] | None = None,
) -> Policy:
    """Return the policy with the secrets that labels refer to.

    `memo`, made by `secret_references`, saves reading labels that did not change.
    """
    memo = memo or secret_references(settings.policy.label_prefix)
    references = frozenset[str]().union(*memo.recall_all(inventory.containers))
    if not references:
        return settings.policy
    found = read_secrets(references, settings.secrets_dir, environment)
    return replace(settings.policy, secrets=found)


def secret_references(label_prefix: str) -> ItemMemo[Container, frozenset[str]]:
    """Return a memo of the secret references in the labels of each container."""
    return ItemMemo(partial(_references, prefix=label_prefix))


def _references(container: Container, prefix: str) -> frozenset[str]:
    labels = container.labels.items()
    own = ((name.removeprefix(prefix), value) for name, value in labels if name.startswith(prefix))
    return frozenset(find_references(own))


def read_secrets(
    references: Iterable[str], secrets_dir: Path, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the texts of the references that may be read; any other is absent.

    `file:PATH` is an absolute path that really lies below `secrets_dir`: a regular
    file of UTF-8 text of at most 64 KiB, without its one trailing newline.
    `env:NAME` is a variable called BACKREST_SECRET_*. Empty secrets are absent too.
    """
    found = {ref: _read(ref, secrets_dir, environment) for ref in references}
    return {reference: text for reference, text in found.items() if text}


def _read(reference: str, secrets_dir: Path, environment: Mapping[str, str]) -> str:
    kind, _, rest = reference.partition(":")
    if kind == "env":
        return _from_environment(rest, environment)
    if kind == "file" and rest.startswith("/") and "\0" not in rest:
        return _from_file(rest, secrets_dir)
    return ""


def _from_environment(name: str, environment: Mapping[str, str]) -> str:
    allowed = name.startswith(ENVIRONMENT_PREFIX) and name != ENVIRONMENT_PREFIX
    text = environment.get(name, "") if allowed else ""
    # Bytes that are no UTF-8 arrive as lone surrogates and could not be written again.
    return text if is_utf8(text) else ""


def _from_file(path: str, secrets_dir: Path) -> str:
    try:
        real = os.path.realpath(path, strict=True)
        root = os.path.realpath(secrets_dir, strict=True)
        if os.path.commonpath((real, root)) != root:
            return ""
        return _without_newline(_content(real).decode())
    except (OSError, UnicodeError):
        return ""


def _content(path: str) -> bytes:
    """Read a regular file that is small enough; empty for anything else.

    Opened without waiting, so that a FIFO cannot hold the pass up, and without
    following a link that has taken the file's place since it was resolved.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        data = os.read(descriptor, MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    return data if len(data) <= MAX_BYTES else b""


def _without_newline(text: str) -> str:
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
