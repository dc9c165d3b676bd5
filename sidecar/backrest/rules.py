"""What Backrest refuses in a document: any fault here keeps Backrest from starting.

The shape is checked first (`backrest.shape`) and the meaning only if the shape is right,
since Backrest too validates only what it could parse. `docs/explanation/backrest.md` says
how these rules were compared with Backrest itself.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any, Final

from sidecar.backrest.cron import CronError, check_cron
from sidecar.backrest.engine_name import (
    RUNNABLE,
    EngineName,
    check_scheme,
    engine_of,
    is_hidden,
)
from sidecar.backrest.engine_options import parse_options
from sidecar.backrest.flag_words import split_entry
from sidecar.backrest.jsontext import Object, parse_integer
from sidecar.backrest.messages import (
    AUTH,
    BUCKETS,
    CONFIG,
    PEER,
    PERMISSION,
    REPO,
    RETENTION,
    SYNC,
    USER,
    value_of,
)
from sidecar.backrest.shape import DocumentFault, check_shape
from sidecar.lib.text import SpecInvalid, quoted

VERSION: Final = 6
"""The version of the document that we know and write."""

# Backrest migrates documents of this version and of later ones.
_FIRST_MIGRATED: Final = 2
_GUID_BYTES: Final = 64
_MAX_INSTANCE_BYTES: Final = 50
_FREQUENCIES: Final = ("maxFrequencyDays", "maxFrequencyHours")
# 32 bytes in base64 without padding; line ends are skipped as Backrest does.
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}\Z")
_SCOPE: Final = re.compile(r"\*\Z|!?(?:repo|plan):.", re.DOTALL)
_NO_INSTANCE: Final = (
    "the document has no instance id, and with any schedule Backrest then ends at its start"
)
_NAME_INSTANCE: Final = 'set the Instance ID in Backrest\'s settings, or write "instance": "NAME"'
_POLICIES: Final = ("prunePolicy", "checkPolicy", "forgetPolicy")
_NEW_IDENTITY: Final = "remove `identity`: Backrest makes a new one, and peers must pair again"

_RESTIC_URI: Final = (
    "move it to runner.json, which backrest-runner reads, or write a restic URI, such as /backups"
)

_RUNNABLE_HINT: Final = f"it has {' and '.join(sorted(RUNNABLE))}"

_Holder = Mapping[str, Any]


class CheckedPlans:
    """Plans without a fault, by identity, and what else of the document that depends on.

    A document that shares most of its plans with one that was checked before is then
    checked in the rest only.
    """

    __slots__ = ("context", "plans")

    def __init__(self) -> None:
        self.context: tuple[object, ...] = ()
        self.plans: dict[int, Any] = {}

    def without_known(self, document: _Holder, context: tuple[object, ...]) -> _Holder | None:
        """Return the document without the known plans; None where the whole is to be checked."""
        plans = document.get("plans")
        if self.context != context or type(plans) is not list:
            return None
        # Ids must differ as well, which is no property of a single plan.
        ids = [plan.get("id") for plan in plans if isinstance(plan, dict)]
        if not all(type(plan_id) is str for plan_id in ids) or len({*ids}) != len(plans):
            return None
        rest = [plan for plan in plans if id(plan) not in self.plans]
        return Object([*((k, v) for k, v in document.items() if k != "plans"), ("plans", rest)])

    def remember(self, document: _Holder, context: tuple[object, ...]) -> None:
        """Remember the plans of a document without a fault."""
        self.context = context
        # Holding the plans keeps Python from giving their `id()` to another object.
        self.plans = {id(plan): plan for plan in document.get("plans") or ()}


def check_document(
    document: Mapping[str, Any],
    today: date | None = None,
    *,
    served: bool = False,
    any_engine: bool = False,
    checked: CheckedPlans | None = None,
) -> list[DocumentFault]:
    """Return why Backrest would not start with a decoded document; empty if it would.

    The document is the result of `jsontext.decode`. With `today` a cron that has no
    fire in the next five years is refused, as Backrest does; without it only one
    that never fires. The version is left to `check_version`. `served` means that the
    document comes from Backrest's API, where the keys of the identity are masked.
    `any_engine`: repositories of other programs than restic are no faults, because
    another than Backrest uses the document.
    `checked` carries the plans without a fault from call to call. Never raises.
    """
    if checked is None or not isinstance(document, dict):
        return _check(document, today, served, any_engine)
    repos = document.get("repos")
    listed = repos if isinstance(repos, list) else ()
    ids = [repo.get("id") for repo in listed if isinstance(repo, dict)]
    context = (ids, bool(document.get("instance")), today)
    rest = None if getattr(document, "repeated", ()) else checked.without_known(document, context)
    if rest is None or _check(rest, today, served, any_engine):
        # With a fault everything is checked, since the index in a pointer counts all plans.
        faults = _check(document, today, served, any_engine)
        if not faults:
            checked.remember(document, context)
        return faults
    checked.remember(document, context)
    return []


def _check(
    document: _Holder, today: date | None, served: bool, any_engine: bool
) -> list[DocumentFault]:
    if faults := check_shape(document):
        return faults
    unusable = () if any_engine else _check_initialised(document)
    return [*_check_meaning(document, today, served), *unusable]


def _check_initialised(document: _Holder) -> Iterator[DocumentFault]:
    """Yield the repositories that no restic can initialise: Backrest would end over them."""
    for index, repo in enumerate(document.get("repos") or ()):
        fault = check_engine(repo.get("uri"))
        if fault is not None and value_of(repo, REPO, "autoInitialize")[1]:
            yield fault.under("repos", index)


def check_engines(document: Mapping[str, Any]) -> list[DocumentFault]:
    """Return the repositories of a decoded document that no restic can use, nor Backrest.

    Without `autoInitialize` Backrest starts with them, stops containers for each of their backups,
    and these fail: hence not all of them are faults of `check_document`.
    """
    repos = document.get("repos")
    return [
        fault.under("repos", index)
        for index, repo in enumerate(repos if isinstance(repos, list) else ())
        if isinstance(repo, dict) and (fault := check_engine(repo.get("uri"))) is not None
    ]


def check_runner_repos(document: Mapping[str, Any]) -> list[DocumentFault]:
    """Return why repositories of the runner's document are of no use.

    That is a scheme that is none, an engine that this version cannot run, or flags that an engine
    does not know.
    """
    repos = document.get("repos")
    found = (
        (index, _repo_fault(repo))
        for index, repo in enumerate(repos if isinstance(repos, list) else ())
        if isinstance(repo, dict)
    )
    return [fault.under("repos", index) for index, fault in found if fault is not None]


def check_hidden(document: Mapping[str, Any]) -> list[DocumentFault]:
    """Return the repositories of the runner's document whose scheme only the runner knows."""
    repos = document.get("repos")
    return [
        DocumentFault(
            f"/repos/{index}/uri",
            "a variable hides the scheme, so neither the engine nor its flags can be checked",
            "write the scheme before the variable, as in rsync:${PLACE}",
        )
        for index, repo in enumerate(repos if isinstance(repos, list) else ())
        if isinstance(repo, dict) and type(uri := repo.get("uri")) is str and is_hidden(uri)
    ]


def _repo_fault(repo: _Holder) -> DocumentFault | None:
    uri, flags = repo.get("uri"), repo.get("flags")
    if type(uri) is str and (found := check_scheme(uri)) is not None:
        return DocumentFault("/uri", f"the URI {found.message}", found.hint)
    engine = engine_of(uri) if type(uri) is str else EngineName.RESTIC
    if engine not in RUNNABLE:
        text = f"this version has no engine {engine} yet"
        return DocumentFault("/uri", text, _RUNNABLE_HINT)
    entries = [entry for entry in flags if type(entry) is str] if isinstance(flags, list) else []
    if engine is EngineName.RESTIC:
        return None
    words = [split_entry(entry) for entry in entries]
    if None in words:
        return DocumentFault("/flags", "a flag has an open quote or a last backslash")
    try:
        parse_options(engine, [word for one in words for word in one or ()])
    except SpecInvalid as error:
        return DocumentFault("/flags", error.message, error.hint)
    return None


def check_engine(uri: object) -> DocumentFault | None:
    """Return why a repository of Backrest's cannot have this URI; it is not shown itself."""
    if type(uri) is not str:
        return None
    if (found := check_scheme(uri)) is not None:
        text = f"repo.not-restic: the URI {found.message}"
        return DocumentFault("/uri", text, f"{found.hint}, in runner.json")
    if engine_of(uri) is EngineName.RESTIC:
        return None
    scheme = uri[: min(uri.find(end) for end in ":+" if end in uri) + 1]
    text = f"repo.not-restic: the URI begins with `{scheme}`, which is none of restic's"
    return DocumentFault("/uri", text, _RESTIC_URI)


def check_version(document: Mapping[str, Any], accept: int | None = None) -> DocumentFault | None:
    """Return why this version must not be written, if so; `accept` allows one above ours."""
    version = document.get("version")
    number = parse_integer(version, 32) if isinstance(version, str) else None
    if number in (VERSION, accept if accept is not None and accept > VERSION else VERSION):
        return None
    if number is None or number < 1:
        text = "the document has no `version`" if version is None else "`version` is no version"
        return DocumentFault("/version", text, "start Backrest with a new document, or run `init`")
    if number < _FIRST_MIGRATED:
        hint = "start Backrest 1.4.0 once and then a current one, so that they migrate it"
        return DocumentFault("/version", f"version {number} is too old for Backrest", hint)
    if number < VERSION:
        hint = "start Backrest once so that it migrates the document"
        return DocumentFault("/version", f"version {number} is older than {VERSION}", hint)
    hint = f"update the sidecar, or allow it with --accept-version {number}"
    return DocumentFault("/version", f"version {number} is newer than {VERSION}", hint)


def is_active(schedule: Mapping[str, Any] | None) -> bool:
    """Return whether a schedule sets a cron or a maximum frequency."""
    held = schedule or {}
    return any(held.get(name) is not None for name in ("cron", *_FREQUENCIES))


def _check_meaning(document: _Holder, today: date | None, served: bool) -> Iterator[DocumentFault]:
    instance = document.get("instance") or ""
    if reason := _id_problem(instance, _MAX_INSTANCE_BYTES):
        yield DocumentFault("/instance", f"the instance id {reason}")
    if not instance and _has_schedule(document):
        # A pointer leads to what is there.
        pointer = "/instance" if "instance" in document else ""
        yield DocumentFault(pointer, _NO_INSTANCE, _NAME_INSTANCE)
    if (auth := document.get("auth")) is not None:
        yield from (fault.under("auth") for fault in _check_auth(auth))
    name, sync = value_of(document, CONFIG, "sync")
    yield from (fault.under(name) for fault in _check_sync(sync or {}, instance, masked=served))
    yield from _check_stored(document, today)


def _has_schedule(document: _Holder) -> bool:
    """Return whether anything is to run by itself, also in what Backrest would drop unread."""
    policies = (
        value_of(repo, REPO, name)[1] or {}
        for repo in document.get("repos") or ()
        for name in _POLICIES
    )
    holders = (*(document.get("plans") or ()), *policies)
    return any(is_active(holder.get("schedule")) for holder in holders)


def _check_auth(auth: _Holder) -> Iterator[DocumentFault]:
    if auth.get("disabled"):
        return
    name, users = value_of(auth, AUTH, "users")
    if not users:
        hint = 'add a user, or write {"disabled": true}'
        yield DocumentFault("", "authentication is on but there are no users", hint)
    for index, user in enumerate(users or ()):
        yield from (fault.under(name, index) for fault in _check_user(user))


def _check_user(user: _Holder) -> Iterator[DocumentFault]:
    yield from _check_id(user, "name")
    if not value_of(user, USER, "passwordBcrypt")[1]:
        yield DocumentFault("", "the user has no passwordBcrypt")


def _check_stored(document: _Holder, today: date | None) -> Iterator[DocumentFault]:
    """Check repositories and plans, also those of former peers, which Backrest drops unread."""
    repos, plans = document.get("repos") or (), document.get("plans") or ()
    for index, repo in enumerate(repos):
        yield from (fault.under("repos", index) for fault in _check_repo(repo, today))
    yield from _check_unique("repos", repos)
    known = {_id(repo) for repo in repos}
    for index, plan in enumerate(plans):
        yield from (fault.under("plans", index) for fault in _check_plan(plan, known, today))
    yield from _check_unique("plans", plans)


def _id(holder: _Holder) -> str:
    return holder.get("id") or ""


def _check_unique(name: str, items: Iterable[_Holder]) -> Iterator[DocumentFault]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if _id(item) in seen:
            text = f"the id {_id(item)!r} is used twice"
            yield DocumentFault("/id", text, "give each its own").under(name, index)
        # An absent id is a fault of its own.
        seen.update({_id(item)} - {""})


def _check_id(holder: _Holder, name: str = "id") -> Iterator[DocumentFault]:
    text = holder.get(name) or ""
    if not text:
        yield DocumentFault("", f"there is no {name}, or it is empty")
    elif reason := _id_problem(text):
        yield DocumentFault(f"/{name}", f"the {name} {reason}")


def _id_problem(text: str, max_bytes: int = 0) -> str:
    """Return what is wrong with a non-empty id; empty if nothing is.

    `max_bytes` is its longest UTF-8 form, 0 for no limit. Backrest checks no characters:
    ids with commas load, though restic then splits the tag at them.
    """
    if text.startswith("_") and text.endswith("_"):
        return f"{text!r} starts and ends with `_`, which Backrest keeps for itself"
    if max_bytes and len(text.encode("utf-8", "replace")) > max_bytes:
        return f"{text!r} is longer than {max_bytes} bytes"
    return ""


def _check_repo(repo: _Holder, today: date | None) -> Iterator[DocumentFault]:
    yield from _check_id(repo)
    if not repo.get("uri"):
        yield DocumentFault("", "the repository has no uri")
    yield from _check_guid(repo.get("guid") or "", value_of(repo, REPO, "autoInitialize")[1])
    for index, entry in enumerate(repo.get("env") or ()):
        if "=" not in entry:
            # The entry itself may be a secret.
            yield DocumentFault(f"/env/{index}", "the entry has no `=`", "write KEY=VALUE")
    for name in _POLICIES:
        spelling, policy = value_of(repo, REPO, name)
        if policy is not None:
            yield from (fault.under(spelling) for fault in _check_policy(policy, today))
    spelling, forget = value_of(repo, REPO, "forgetPolicy")
    if is_active((forget or {}).get("schedule")):
        # An absent retention is as wrong as one without a policy.
        retention = forget.get("retention") or {}
        yield from (fault.under(spelling, "retention") for fault in _check_retention(retention))


def _check_guid(guid: str, initialize: bool | None) -> Iterator[DocumentFault]:
    if guid and initialize:
        yield DocumentFault(
            "", "guid and autoInitialize exclude each other", "remove autoInitialize"
        )
    if guid and len(guid.encode()) != _GUID_BYTES:
        yield DocumentFault("/guid", f"the guid is not {_GUID_BYTES} characters long")
    if not guid and not initialize:
        yield DocumentFault(
            "", "there is neither a guid nor autoInitialize", "set autoInitialize to true"
        )


def _check_policy(policy: _Holder, today: date | None) -> Iterator[DocumentFault]:
    schedule = policy.get("schedule") or {}
    yield from (fault.under("schedule") for fault in _check_schedule(schedule, today))


def _check_plan(plan: _Holder, repos: set[str], today: date | None) -> Iterator[DocumentFault]:
    yield from _check_id(plan)
    repo = plan.get("repo") or ""
    if repo not in repos or not repo:
        yield DocumentFault("/repo" if repo else "", f"there is no repository {quoted(repo)}")
    yield from _check_paths(plan)
    schedule, retention = plan.get("schedule"), plan.get("retention")
    if schedule is not None:
        yield from (fault.under("schedule") for fault in _check_schedule(schedule, today))
    if retention is not None:
        yield from (fault.under("retention") for fault in _check_retention(retention))


def _check_paths(plan: _Holder) -> Iterator[DocumentFault]:
    paths = plan.get("paths") or ()
    if not paths and not plan.get("backup_flags"):
        yield DocumentFault(
            "", "the plan has no paths", "set a path, or backup_flags that bring some"
        )
    for index, path in enumerate(paths):
        if not path:
            yield DocumentFault(f"/paths/{index}", "the path is empty")


def _check_schedule(schedule: Mapping[str, Any], today: date | None) -> Iterator[DocumentFault]:
    """Yield what Backrest refuses in a schedule of the right shape."""
    if schedule.get("disabled") is False:
        yield DocumentFault("/disabled", "`disabled` may only be true", "remove it, or write true")
    for name in _FREQUENCIES:
        frequency = schedule.get(name)
        if frequency is not None and _number(frequency) < 1:
            yield DocumentFault(f"/{name}", f"{name} is less than 1", "write 1 or more")
    if schedule.get("cron") is not None:
        yield from _check_cron(schedule["cron"], today)


def _check_cron(expression: str, today: date | None) -> Iterator[DocumentFault]:
    try:
        check_cron(expression, today)
    except CronError as error:
        yield DocumentFault("/cron", error.message, error.hint)


def _check_retention(retention: Mapping[str, Any]) -> Iterator[DocumentFault]:
    """Yield what Backrest refuses in a retention of the right shape."""
    members = [key for key, field in RETENTION.fields.items() if retention.get(key) is not None]
    if not members:
        yield DocumentFault("", "the retention names no policy", "set one, or remove `retention`")
    for key in members:
        if RETENTION.fields[key].message is BUCKETS and _is_empty(retention[key]):
            yield DocumentFault(f"/{key}", "all counts are zero", "keep at least one snapshot")


def _is_empty(buckets: Mapping[str, Any]) -> bool:
    counts = [buckets.get(key) for key in BUCKETS.fields]
    return all(count is None or _number(count) == 0 for count in counts)


def _number(text: str) -> int:
    # The shape was checked, so there always is a number.
    return parse_integer(text, 32) or 0


def _check_sync(
    sync: Mapping[str, Any], instance: str, *, masked: bool = False
) -> Iterator[DocumentFault]:
    """Yield what Backrest refuses in `sync`, given the instance id of the document.

    The keys of the identity are not checked where they are `masked`.
    """
    _, identity = value_of(sync, SYNC, "identity")
    if identity is not None and not masked:
        yield from (fault.under("identity") for fault in _check_identity(identity))
    seen = (("instanceId", {instance}), ("keyId", {_text(identity or {}, "keyId")} - {""}))
    for name in ("authorizedClients", "knownHosts"):
        spelling, peers = value_of(sync, SYNC, name)
        for index, peer in enumerate(peers or ()):
            faults = [*_check_peer(peer, name == "knownHosts")]
            for key, known in seen:
                text = _text(peer, key)
                if text in known:
                    message = f"the {key} {text!r} is used twice"
                    faults.append(DocumentFault("", message, "peers need their own"))
                known.add(text)
            yield from (fault.under(spelling, index) for fault in faults)


def _check_identity(identity: Mapping[str, Any]) -> Iterator[DocumentFault]:
    """Check the form of the keys and the `keyId`.

    Whether the private key belongs to the public one is not computed: that needs the
    arithmetic of Ed25519, and the sidecar never writes an identity of its own.
    """
    private, public = (_decode_key(_text(identity, name)) for name in ("ed25519priv", "ed25519pub"))
    for name, key in (("ed25519priv", private), ("ed25519pub", public)):
        if key is None:
            at = f"/{name}" if _text(identity, name) else ""
            yield DocumentFault(at, f"{name} is no key of 32 bytes in base64", _NEW_IDENTITY)
    if not _text(identity, "keyId"):
        yield DocumentFault("", "the identity has no `keyId`", _NEW_IDENTITY)
    elif public and _text(identity, "keyId") != _key_id(public):
        yield DocumentFault("", "`keyId` is not that of `ed25519pub`", _NEW_IDENTITY)


def _decode_key(text: str) -> bytes | None:
    unfolded = text.replace("\r", "").replace("\n", "")
    return base64.b64decode(unfolded + "=") if _KEY.match(unfolded) else None


def _key_id(public: bytes) -> str:
    digest = hashlib.sha256(public).digest()
    return "ed25519." + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _check_peer(peer: Mapping[str, Any], is_host: bool) -> Iterator[DocumentFault]:
    instance = _text(peer, "instanceId")
    reason = _id_problem(instance, _MAX_INSTANCE_BYTES) if instance else "is empty"
    if reason:
        yield DocumentFault("", f"the peer's instanceId {reason}")
    if not _text(peer, "keyId"):
        yield DocumentFault("", "the peer has no keyId")
    if is_host and not _text(peer, "instanceUrl"):
        yield DocumentFault("", "a known host needs an instanceUrl")
    for index, permission in enumerate(value_of(peer, PEER, "permissions")[1] or ()):
        faults = _check_scopes(permission)
        yield from (fault.under("permissions", index, "scopes") for fault in faults)


def _check_scopes(permission: Mapping[str, Any]) -> Iterator[DocumentFault]:
    for scope in value_of(permission, PERMISSION, "scopes")[1] or ():
        if not _SCOPE.match(scope):
            hint = "`*`, `repo:ID`, `plan:ID`, `!repo:ID` or `!plan:ID`"
            yield DocumentFault("", f"{scope!r} is no scope", hint)


def _text(holder: Mapping[str, Any], name: str) -> str:
    # Identity and peer spell these fields alike, so the peer's table serves both.
    spellings = PEER.fields[name].spellings if name in PEER.fields else (name,)
    return next((holder[key] for key in spellings if holder.get(key) is not None), "")
