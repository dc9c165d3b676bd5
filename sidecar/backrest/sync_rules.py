"""Backrest's rules for `sync`: its own identity and the peers it knows."""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.backrest.ed25519 import public_key
from sidecar.backrest.fault import Fault
from sidecar.backrest.ids import check_id
from sidecar.backrest.messages import PEER, PERMISSION, SYNC
from sidecar.backrest.schedule_rules import value_of

_LONGEST_INSTANCE: Final = 50
# 32 bytes in base64 without padding; line ends are skipped as Backrest does.
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}\Z")
_SCOPE: Final = re.compile(r"\*\Z|!?(?:repo|plan):.", re.DOTALL)
_REMAKE: Final = "remove `identity`: Backrest makes a new one, and peers must pair again"


def check_instance(instance: str) -> str:
    """Say what is wrong with a non-empty instance id, or give the empty string."""
    return check_id(instance, _LONGEST_INSTANCE)


def check_sync(sync: Mapping[str, Any], instance: str, *, masked: bool = False) -> Iterator[Fault]:
    """List what Backrest refuses in `sync`, given the instance id of the document.

    Keys that are `masked` are not looked at.
    """
    _, identity = value_of(sync, SYNC, "identity")
    if identity is not None and not masked:
        yield from (fault.under("identity") for fault in _check_identity(identity))
    instances = {instance}
    keys = {_text(identity or {}, "keyId")} - {""}
    for name in ("authorizedClients", "knownHosts"):
        spelling, peers = value_of(sync, SYNC, name)
        for index, peer in enumerate(peers or ()):
            faults = [*_check_peer(peer, name == "knownHosts")]
            faults += _check_new(peer, "instanceId", instances)
            faults += _check_new(peer, "keyId", keys)
            yield from (fault.under(spelling, index) for fault in faults)


def _check_identity(identity: Mapping[str, Any]) -> Iterator[Fault]:
    seed, public = (_key(_text(identity, name)) for name in ("ed25519priv", "ed25519pub"))
    for name, key in (("ed25519priv", seed), ("ed25519pub", public)):
        if key is None:
            at = f"/{name}" if _text(identity, name) else ""
            yield Fault(at, f"{name} is no key of 32 bytes in base64", _REMAKE)
    if not _text(identity, "keyId"):
        yield Fault("", "the identity has no `keyId`", _REMAKE)
    elif public and _text(identity, "keyId") != _id_of_key(public):
        yield Fault("", "`keyId` is not that of `ed25519pub`", _REMAKE)
    if seed and public and public_key(seed) != public:
        yield Fault("", "`ed25519pub` does not belong to `ed25519priv`", _REMAKE)


def _key(text: str) -> bytes | None:
    unfolded = _unfold(text)
    return base64.b64decode(unfolded + "=") if _KEY.match(unfolded) else None


def _id_of_key(public: bytes) -> str:
    digest = hashlib.sha256(public).digest()
    return "ed25519." + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _unfold(text: str) -> str:
    return text.replace("\r", "").replace("\n", "")


def _check_peer(peer: Mapping[str, Any], is_host: bool) -> Iterator[Fault]:
    instance = _text(peer, "instanceId")
    reason = check_instance(instance) if instance else "is empty"
    if reason:
        yield Fault("", f"the peer's instanceId {reason}")
    if not _text(peer, "keyId"):
        yield Fault("", "the peer has no keyId")
    if is_host and not _text(peer, "instanceUrl"):
        yield Fault("", "a known host needs an instanceUrl")
    for index, permission in enumerate(value_of(peer, PEER, "permissions")[1] or ()):
        faults = _check_scopes(permission)
        yield from (fault.under("permissions", index, "scopes") for fault in faults)


def _check_scopes(permission: Mapping[str, Any]) -> Iterator[Fault]:
    for scope in value_of(permission, PERMISSION, "scopes")[1] or ():
        if not _SCOPE.match(scope):
            hint = "`*`, `repo:ID`, `plan:ID`, `!repo:ID` or `!plan:ID`"
            yield Fault("", f"{scope!r} is no scope", hint)


def _check_new(peer: Mapping[str, Any], name: str, seen: set[str]) -> list[Fault]:
    text = _text(peer, name)
    if text in seen:
        return [Fault("", f"the {name} {text!r} is used twice", "peers need their own")]
    seen.add(text)
    return []


def _text(holder: Mapping[str, Any], name: str) -> str:
    # Identity and peer spell these fields alike, so the peer's table serves both.
    spellings = PEER.fields[name].spellings if name in PEER.fields else (name,)
    return next((holder[key] for key in spellings if holder.get(key) is not None), "")
