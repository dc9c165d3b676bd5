"""Switch to another user: a runner that was started as root need not stay root."""

import os
import pwd
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from sidecar.docker.endpoint import UNIX, find_endpoint
from sidecar.lib.errors import UsageError
from sidecar.runner.settings import ProcessUser, RunnerSettings


def switch_user(settings: RunnerSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Become the user of the settings; return the environment of its programs.

    The group of Docker's socket is kept, for hooks use it. Nothing may be open or running yet.
    Raises UsageError if this cannot be done, or if that user could not work: it has to read
    the document and write the state folder.
    """
    changed = dict(environ)
    if (wanted := settings.identity) is not None:
        if (os.getuid(), os.getgid()) != (wanted.user, wanted.group):
            _become(wanted, _docker_group(settings, environ))
        changed["HOME"] = _home(wanted.user, environ.get("HOME", ""), settings.state_directory)
    check_usable(settings)
    return changed


def _become(wanted: ProcessUser, extra: tuple[int, ...]) -> None:
    needed = needed_paths()
    try:
        os.setgroups(extra)
        os.setgid(wanted.group)
        os.setuid(wanted.user)
    except OSError as error:
        raise UsageError(
            f"cannot go on as user {wanted.user} and group {wanted.group}: {error.strerror}",
            "start as root with --puid, or as that user without it",
        ) from None
    # Modules are imported when they are needed, and programs of ours are started.
    hidden = [path for path in needed if not os.access(path, os.R_OK)]
    if hidden:
        raise UsageError(
            f"Python needs {hidden[0]}, which cannot be read by user {wanted.user}",
            "install Python and backrest-sidecar where every user can read them",
        )


def needed_paths() -> list[str]:
    """List what Python needs beside the modules that are imported already."""
    return [path for path in (sys.executable, *sys.path) if path and Path(path).exists()]


def _docker_group(settings: RunnerSettings, environ: Mapping[str, str]) -> tuple[int, ...]:
    try:
        address = find_endpoint(settings.neighbour.docker_sock, environ).address
        found = Path(address.removeprefix(UNIX)).stat()
    except (OSError, UsageError):
        return ()
    return (found.st_gid,) if stat.S_ISSOCK(found.st_mode) else ()


def _home(user: int, now: str, state: Path) -> str:
    """Choose a folder in which restic can keep its cache, and ssh find its keys."""
    if now and os.access(now, os.W_OK):
        return now
    try:
        known = pwd.getpwuid(user).pw_dir
    except KeyError:
        return str(state)
    return known if os.access(known, os.W_OK) else str(state)


def check_usable(settings: RunnerSettings) -> None:
    """Raise UsageError if this user cannot read the documents or write the state folder."""
    who = f"user {os.getuid()} of group {os.getgid()}"
    state = settings.state_directory
    for file in (settings.files.config, settings.files.runner):
        if os.access(file, os.F_OK) and not os.access(file, os.R_OK):
            raise UsageError(
                f"{file} cannot be read by {who}",
                f"run `chown {os.getuid()}:{os.getgid()} {file}`",
            )
    try:
        # A mistyped path of the document must not create folders.
        state.mkdir(mode=0o700, parents=settings.state_dir is not None, exist_ok=True)
        held = (state, *state.iterdir())
    except OSError as error:
        raise UsageError(
            f"the state folder {state} cannot be used by {who}: {error.strerror}",
            "give its parent to that user, or name another by --state-dir",
        ) from None
    unusable = [path for path in held if not os.access(path, os.W_OK)]
    if unusable:
        raise UsageError(
            f"{unusable[0]} cannot be written by {who}",
            f"run `chown -R {os.getuid()}:{os.getgid()} {state}`",
        )
