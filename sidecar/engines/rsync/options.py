"""How rsync is run for all repositories, and what the flags of one ask for."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, tzinfo

from sidecar.backrest.engine_name import EngineName
from sidecar.backrest.engine_options import parse_options
from sidecar.backrest.reading import Repo
from sidecar.engines.access import RepositoryAccess, split_flag
from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.options import EngineOptions
from sidecar.engines.rsync.address import parse_address
from sidecar.engines.rsync.commands import RsyncAccess, ssh_words
from sidecar.lib.text import SpecInvalid


@dataclass(frozen=True, slots=True)
class RsyncOptions(EngineOptions):
    """How rsync is run for all repositories.

    Attributes:
        rsync: its name or path.
        zone: the local one, in which snapshots are named.
        now: gives unix seconds.
    """

    rsync: str = "rsync"
    zone: tzinfo = UTC
    now: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Settings:
    """What the address and the flags of a repository ask for.

    Attributes:
        access: how rsync is run for it.
        is_flat: whether it is the tree of one plan, in tiers.
        allows_copies: whether it may lie where there are no hard links.
        keeps_owners: whether owners are kept.
    """

    access: RsyncAccess
    is_flat: bool
    allows_copies: bool
    keeps_owners: bool


def read_settings(repo: Repo, access: RepositoryAccess, program: str) -> Settings:
    """Return what a repository asks for. Raises EngineError, which shows no value."""
    try:
        given = parse_options(EngineName.RSYNC, access.flags)
    except SpecInvalid as error:
        message = f"the flags of repository {repo.id}: {error.message}"
        raise EngineError(FailureClass.UNKNOWN, message, error.hint) from error
    address = parse_address(access.address)
    ssh = split_flag(given.get("--ssh", ""))
    return Settings(
        RsyncAccess(
            address,
            program,
            access.prefix,
            ssh_words(ssh),
            given.get("--bwlimit", ""),
            dict(access.env),
            os.geteuid() == 0,
        ),
        "--flat" in given,
        "--full-copies" in given,
        "--no-owner" not in given,
    )
