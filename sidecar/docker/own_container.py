"""Find the container that this process runs in."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from sidecar.docker.models import Container

_HOSTNAME_FILE = re.compile(r"containers/([0-9a-f]{64})/(?:userdata/)?hostname$")
_CGROUP = re.compile(r"[/-]([0-9a-f]{64})(?:\.scope)?$", re.MULTILINE)
_SHORT_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)


def own_container_id(
    known_ids: Iterable[str] = (),
    proc: Path = Path("/proc/self"),
    environment: Mapping[str, str] | None = None,
) -> str:
    """Return the id of the container this process runs in; empty outside of any.

    A host name that looks like a short id is completed from `known_ids`, the ids
    of an observation; without a match it is returned as it is.
    """
    found = _from_mounts(_read(proc / "mountinfo")) or _from_cgroup(_read(proc / "cgroup"))
    if found:
        return found
    name = (os.environ if environment is None else environment).get("HOSTNAME", "")
    if not _SHORT_ID.fullmatch(name):
        return ""
    return next((known for known in known_ids if known.startswith(name)), name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _from_mounts(mountinfo: str) -> str | None:
    """Return the id in the source of the mount that Docker makes over /etc/hostname.

    That is `.../containers/ID/hostname`. Both ends count: a host lists mounts below the
    directories of all its containers.
    """
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if len(fields) > 4 and fields[4] == "/etc/hostname":
            match = _HOSTNAME_FILE.search(fields[3])
            return match[1] if match else None
    return None


def _from_cgroup(text: str) -> str | None:
    match = _CGROUP.search(text)
    return match[1] if match else None


def find_own_container(containers: Iterable[Container], own: str) -> Container | None:
    """Return the container whose id is, or begins with, our own; None if there is none."""
    return next((one for one in containers if own and one.id.startswith(own)), None)
