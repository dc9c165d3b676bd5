"""A first document: one repository, initialised when Backrest or the runner starts."""

import base64
import ctypes
import json
import logging
import os
import re
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.backrest.document import parse_document
from sidecar.backrest.engine_name import (
    RUNNABLE,
    EngineName,
    check_scheme,
    engine_of,
    is_hidden,
)
from sidecar.backrest.rules import VERSION, check_document
from sidecar.lib.errors import UsageError
from sidecar.lib.read_file import read_file
from sidecar.reconciler.settings import check_utf8, parse_mode, runner_document
from sidecar.reconciler.store.read import naming
from sidecar.reconciler.store.replace import AlreadyThereError, Store

_PASSWORD_BYTES = 32
_USER_PASSWORD_BYTES = 16
_LONGEST_PASSWORD_FILE = 64 * 1024
_LONGEST_INSTANCE = 50
_LONGEST_BCRYPT = 72
_BCRYPT_LETTERS = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LIBCRYPT = "libcrypt.so.1"
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_OUTSIDE_ID = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
# A server has a dot or a port in its name, or is the machine itself; then a bucket follows.
_SERVER = re.compile(r"(?:[^/]*[.:][^/]*|localhost)/[^/]")
_FORMS = {
    "s3": "s3:s3.amazonaws.com/BUCKET/PATH, or s3:https://HOST/BUCKET/PATH of another server",
    "b2": "b2:BUCKET:/PATH",
    "gs": "gs:BUCKET:/PATH",
    "gcs": "gs:BUCKET:/PATH",
    "az": "azure:CONTAINER:/PATH",
    "azure": "azure:CONTAINER:/PATH",
    "swift": "swift:CONTAINER:/PATH",
    "rclone": "rclone:REMOTE:PATH",
    "http": "rest:http://HOST/PATH, or s3:http://HOST/BUCKET for S3",
    "https": "rest:https://HOST/PATH, or s3:https://HOST/BUCKET for S3",
    "ssh": "sftp:USER@HOST:/PATH",
    "scp": "sftp:USER@HOST:/PATH",
    "file": "the path alone, as in /backups",
    "webdav": "rclone:REMOTE:PATH, with the server as a remote of rclone",
    "dav": "rclone:REMOTE:PATH, with the server as a remote of rclone",
    "smb": "the path at which the share is mounted",
    "ftp": "rclone:REMOTE:PATH, with the server as a remote of rclone",
}
_OPEN = (
    "anybody who reaches Backrest's port can use it: authentication is open "
    "until you set a user in Backrest's settings"
)
_NEXT = ("Backrest, or the runner in its place, initialises the repository when it starts.",)
_HIDDEN = (
    "A variable hides the scheme of its address: it is taken for one of restic's. For another "
    "program write the scheme before the variable, as in rsync:${PLACE}."
)
_GENERATED = (
    "The generated password stands in that file only, as `password` of the repository.",
    "Keep a copy of it somewhere else: without it nobody can restore anything.",
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewDocument:
    """What `init` is asked for: its flags, as `--help` has them."""

    config: Path
    repo: str
    password_file: Path | None
    generate_password: bool
    repo_id: str
    instance: str | None
    if_absent: bool
    config_mode: str
    user: str | None = None
    user_password_file: Path | None = None
    runner_config: Path | None = None


def create_document(wanted: NewDocument) -> Iterable[str]:
    """Create the document; return what was done, in lines for people.

    A repository of another engine than restic goes into the runner's document, for Backrest
    would end over it. Raises UsageError for flags that make no valid document, and StoreError
    when the file cannot be created; one that is there is never touched (with `if_absent` it
    is no failure either).
    """
    if (fault := check_scheme(wanted.repo.strip())) is not None:
        raise UsageError(f"--repo {fault.message}", fault.hint)
    engine = engine_of(wanted.repo.strip())
    if engine not in RUNNABLE:
        names = " and ".join(sorted(RUNNABLE))
        raise UsageError(f"this version has no engine {engine} yet", f"it has {names}")
    if engine is not EngineName.RESTIC:
        return _create_of_runner(wanted, engine)
    config = wanted.config
    mode = parse_mode(wanted.config_mode)
    if wanted.generate_password == (wanted.password_file is not None):
        raise UsageError(
            "a repository needs exactly one source of its password",
            "pass --password-file FILE, or --generate-password",
        )
    # Also beside a document that stays: who names that file for a login would not start
    # without it.
    login, made = _make_login(wanted.user, wanted.user_password_file)
    if wanted.if_absent and config.is_file():
        return [_kept(config)]
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    if wanted.password_file is not None:
        password = read_password(wanted.password_file)
    name = _instance_of(wanted, runner_document(config, wanted.runner_config))
    content = render_document(wanted.repo, password, wanted.repo_id, name, login)
    _check_unused(wanted.repo_id, runner_document(config, wanted.runner_config))
    if not _is_created(config, mode, content, if_absent=wanted.if_absent):
        return [_kept(config)]
    if login is None:
        _log.warning(_OPEN)
    lines = [f"{config} is written: instance {name}, repository {wanted.repo_id}.", *_NEXT]
    if is_hidden(wanted.repo.strip()):
        lines.append(_HIDDEN)
    return [*lines, *made, *(_GENERATED if wanted.generate_password else ())]


def _create_of_runner(wanted: NewDocument, engine: EngineName) -> Iterable[str]:
    """Create the runner's document with a repository of another engine than restic."""
    path = runner_document(wanted.config, wanted.runner_config)
    mode = parse_mode(wanted.config_mode)
    if wanted.user is not None or wanted.user_password_file is not None:
        raise UsageError(
            f"--user is one of Backrest, which does not run {engine}", "leave it out here"
        )
    if wanted.generate_password or wanted.password_file is not None:
        raise UsageError(
            f"a repository of {engine} has no password, for nothing in it is encrypted",
            "leave out --password-file and --generate-password",
        )
    if wanted.if_absent and path.is_file():
        return [_kept(path)]
    name = _instance_of(wanted, wanted.config)
    content = render_document(wanted.repo, "", wanted.repo_id, name)
    _check_unused(wanted.repo_id, wanted.config)
    if not _is_created(path, mode, content, if_absent=wanted.if_absent):
        return [_kept(path)]
    return [
        f"{path} is written: instance {name}, repository {wanted.repo_id} of {engine}.",
        "backrest-runner initialises the repository when it starts.",
    ]


def _instance_of(wanted: NewDocument, other: Path) -> str:
    """Return the name of the instance: where none is wanted that of the other document."""
    if wanted.instance is not None:
        return wanted.instance
    known: object = None
    if other.is_file():
        with naming(other):
            known = parse_document(Store(other).read().content).root.get("instance")
    return known if isinstance(known, str) and known else default_instance(socket.gethostname())


def _check_unused(repo_id: str, other: Path) -> None:
    """Raise UsageError where the other document has a repository of this id, or cannot tell."""
    if not other.is_file():
        return
    content = Store(other).read().content
    with naming(other):
        known = parse_document(content).view.repo_by_id
    if repo_id in known:
        raise UsageError(
            f"--repo-id {repo_id} is a repository in {other} already", "pass another --repo-id"
        )


def _is_created(path: Path, mode: int | None, content: bytes, *, if_absent: bool) -> bool:
    try:
        Store(path, mode).create(content)
    except AlreadyThereError:
        if if_absent and path.is_file():
            return False
        raise
    return True


def _make_login(user: str | None, file: Path | None) -> tuple[dict[str, str] | None, list[str]]:
    """Return the user as the document holds one, and what was done for it; None without one."""
    if user is None and file is None:
        return None, []
    if user is None or file is None:
        raise UsageError(
            "a user of Backrest needs a name and a password",
            "pass --user NAME and --user-password-file FILE, or neither",
        )
    is_made = make_password_file(file)
    login = user_of(user, read_password(file, "--user-password-file"))
    made = [f"The password of the user {user} is made; it stands in {file}."] if is_made else []
    return login, made


def _kept(config: Path) -> str:
    return f"{config} is there already and stays as it is."


def read_password(path: Path, flag: str = "--password-file") -> str:
    """Read a password as restic reads its own: the file's text without space around it.

    Raises UsageError naming the flag.
    """
    try:
        content = read_file(path, _LONGEST_PASSWORD_FILE)
    except OSError as error:
        raise UsageError(
            f"{flag} {path} cannot be read: {error.strerror}",
            "name a file that this user may read",
        ) from None
    fault = ""
    password = content.decode("utf-8", "replace").strip()
    if not password:
        fault = "is empty"
    elif len(content) > _LONGEST_PASSWORD_FILE:
        fault = "is too large for a password"
    elif not password.isprintable() or "\N{REPLACEMENT CHARACTER}" in password:
        fault = "is not one line of text"
    if fault:
        raise UsageError(f"{flag} {path} {fault}", "write the password alone into it")
    return password


def default_instance(host: str) -> str:
    """Return an instance name for a host: letters, digits, `_`, `.`, `-`, 50 at most."""
    return _OUTSIDE_ID.sub("-", host)[:_LONGEST_INSTANCE].strip("-_.") or "backrest"


def restic_form(uri: str) -> str:
    """Return how restic wants what is written as other programs want it; empty: it is restic's.

    For example `s3:s3.amazonaws.com/BUCKET/PATH` for `s3://bucket/path`, whose bucket restic would
    take for the name of a server. Names are not repeated, for addresses hold secrets.
    """
    scheme, separator, rest = uri.partition("://")
    scheme = scheme.lower()
    if not separator or (scheme == "s3" and _SERVER.match(rest)):
        return ""
    return _FORMS.get(scheme, "")


def make_password_file(path: Path) -> bool:
    """Make a password in a file that only its owner can read, unless there is one.

    Returns whether it was made. Raises UsageError where it cannot be.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise UsageError(
            f"--user-password-file {path} cannot be made: {error.strerror}",
            "name a file in a folder that this user may write to",
        ) from None
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - opened with its mode
        file.write(f"{secrets.token_urlsafe(_USER_PASSWORD_BYTES)}\n")
    return True


def user_of(name: str, password: str) -> dict[str, str]:
    """Return a user as the document holds one: the name, and a hash of the password."""
    if not _USER.fullmatch(name):
        raise UsageError(
            f"--user {name!r} is no name of a user", "write letters, digits, `_`, `.` and `-` only"
        )
    hashed = bcrypt_hash(password)
    return {"name": name, "passwordBcrypt": base64.b64encode(hashed.encode()).decode()}


def bcrypt_hash(password: str) -> str:
    """Hash a password as Backrest stores it: bcrypt, cost 10. Raises UsageError.

    By the C library's own function, which Debian's and our image's Python have beside them.
    """
    secret = password.encode()
    if len(secret) > _LONGEST_BCRYPT:
        raise UsageError(
            f"--user-password-file holds more than {_LONGEST_BCRYPT} bytes, which bcrypt cuts off",
            "write a shorter password",
        )
    # 16 random bytes in bcrypt's own alphabet; the last letter stands for two bits only.
    random = "".join(secrets.choice(_BCRYPT_LETTERS) for _ in range(21))
    salt = f"$2a$10${random}{secrets.choice('.Oeu')}"
    try:
        crypt = ctypes.CDLL(_LIBCRYPT).crypt
    except (OSError, AttributeError):
        crypt = None
    hashed = b""
    if crypt is not None:
        crypt.restype = ctypes.c_char_p
        hashed = crypt(secret, salt.encode()) or b""
    if not hashed.startswith(salt.encode()):
        raise UsageError(
            "this system has no libcrypt that makes bcrypt hashes, so no user can be made",
            "run init in the sidecar's image, or make the user in Backrest's settings",
        )
    return hashed.decode()


def render_document(
    uri: str, password: str, repo_id: str, instance: str, user: dict[str, str] | None = None
) -> bytes:
    """Render the document; raises UsageError naming the flag of a part that is not valid."""
    if not uri.strip():
        raise UsageError("--repo is empty", "write a restic URI, for example /backups")
    check_utf8("--repo", uri)
    engine = engine_of(uri.strip())
    if engine is EngineName.RESTIC and (form := restic_form(uri.strip())):
        raise UsageError("--repo is no URI that restic reads as it is meant", f"write {form}")
    for flag, text in (("--repo-id", repo_id), ("--instance", instance)):
        if not _ID.fullmatch(text):
            raise UsageError(
                f"{flag} {text!r} is no id", "write letters, digits, `_`, `.` and `-` only"
            )
    document = {
        "modno": 1,
        "version": VERSION,
        "instance": instance,
        "repos": [_repository(uri.strip(), password, repo_id, engine)],
        **({} if user is None else {"auth": {"users": [user]}}),
    }
    content = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    any_engine = engine is not EngineName.RESTIC
    if faults := check_document(parse_document(content).root, any_engine=any_engine):
        raise UsageError("; ".join(fault.message for fault in faults), faults[0].hint)
    return content


def _repository(uri: str, password: str, repo_id: str, engine: EngineName) -> dict[str, Any]:
    # Once a month each, at different times: space comes back, and rot is noticed while
    # there are older snapshots. Reading everything would cost as much as a restore.
    repository = {
        "id": repo_id,
        "uri": uri,
        **({"password": password} if password else {}),
        "autoInitialize": True,
    }
    check = {"schedule": _monthly(15), "readDataSubsetPercent": 1}
    if engine is not EngineName.RESTIC:
        # What is forgotten there is gone at once.
        return {**repository, "checkPolicy": check}
    prune = {"schedule": _monthly(1), "maxUnusedPercent": 10}
    return {**repository, "prunePolicy": prune, "checkPolicy": check}


def _monthly(day: int) -> dict[str, str]:
    return {"cron": f"0 5 {day} * *", "clock": "CLOCK_LOCAL"}
