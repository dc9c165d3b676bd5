"""Backrest's acceptance rules: any fault here keeps Backrest from starting.

First the shape (`model.shape`), then, if that is right, the meaning, since
Backrest too validates only what it could parse.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any, Final

from sidecar.backrest.fault import Fault
from sidecar.backrest.ids import check_id
from sidecar.backrest.jsontext import Object
from sidecar.backrest.messages import AUTH, CONFIG, REPO, USER
from sidecar.backrest.numerals import parse_integer
from sidecar.backrest.schedule_rules import check_retention, check_schedule, is_active, value_of
from sidecar.backrest.shape import check_shape
from sidecar.backrest.sync_rules import check_instance, check_sync
from sidecar.lib.text import quoted

__all__ = ["VERSION", "Fault", "check_document", "check_version"]

VERSION: Final = 6
_FIRST_MIGRATED: Final = 2
_GUID_BYTES: Final = 64
_Holder = Mapping[str, Any]


class Checked:
    """Plans that were found faultless, as objects, and what that depended on.

    A document that shares most of its plans with one that was checked before is then
    checked in the rest only.
    """

    __slots__ = ("context", "plans")

    def __init__(self) -> None:
        self.context: tuple[object, ...] = ()
        self.plans: dict[int, Any] = {}

    def without_known(self, document: _Holder, context: tuple[object, ...]) -> _Holder | None:
        """Give the document without the plans that are known; None if that says nothing."""
        plans = document.get("plans")
        if self.context != context or type(plans) is not list:
            return None
        # Their ids must differ as well, which no plan alone can tell.
        ids = [plan.get("id") for plan in plans if isinstance(plan, dict)]
        if not all(type(plan_id) is str for plan_id in ids) or len({*ids}) != len(plans):
            return None
        rest = [plan for plan in plans if id(plan) not in self.plans]
        return Object([*((k, v) for k, v in document.items() if k != "plans"), ("plans", rest)])

    def remember(self, document: _Holder, context: tuple[object, ...]) -> None:
        """Know the plans of a faultless document; holding them keeps their identity theirs."""
        self.context = context
        self.plans = {id(plan): plan for plan in document.get("plans") or ()}


def check_document(
    document: Mapping[str, Any],
    today: date | None = None,
    *,
    served: bool = False,
    checked: Checked | None = None,
) -> list[Fault]:
    """List why Backrest would not start with a decoded document; empty if it would.

    The document is what `jsontext.decode` gives. With `today` a cron that has no
    fire in the next five years is refused, as Backrest does; without it only one
    that never fires. The version is `check_version`'s. `served` says that Backrest
    itself gave it out, with the keys of its identity masked. `checked` remembers what
    was faultless from call to call. Never raises.
    """
    if checked is None or not isinstance(document, dict):
        return _check(document, today, served)
    repos = document.get("repos")
    listed = repos if isinstance(repos, list) else ()
    context = ([repo.get("id") for repo in listed if isinstance(repo, dict)], today)
    rest = None if getattr(document, "repeated", ()) else checked.without_known(document, context)
    if rest is None or _check(rest, today, served):
        # With a fault everything is looked at, for a pointer counts all plans.
        faults = _check(document, today, served)
        if not faults:
            checked.remember(document, context)
        return faults
    checked.remember(document, context)
    return []


def _check(document: _Holder, today: date | None, served: bool) -> list[Fault]:
    return check_shape(document) or list(_check_meaning(document, today, served))


def check_version(document: Mapping[str, Any], accept: int | None = None) -> Fault | None:
    """Say why we must not write this version; `accept` allows one above ours."""
    version = document.get("version")
    number = parse_integer(version, 32) if isinstance(version, str) else None
    if number in (VERSION, accept if accept is not None and accept > VERSION else VERSION):
        return None
    if number is None or number < 1:
        text = "the document has no `version`" if version is None else "`version` is no version"
        return Fault("/version", text, "start Backrest with a new document, or run `init`")
    if number < _FIRST_MIGRATED:
        hint = "start Backrest 1.4.0 once and then a current one, so that they migrate it"
        return Fault("/version", f"version {number} is too old for Backrest", hint)
    if number < VERSION:
        hint = "start Backrest once so that it migrates the document"
        return Fault("/version", f"version {number} is older than {VERSION}", hint)
    hint = f"update the sidecar, or allow it with --accept-version {number}"
    return Fault("/version", f"version {number} is newer than {VERSION}", hint)


def _check_meaning(document: _Holder, today: date | None, served: bool) -> Iterator[Fault]:
    instance = document.get("instance") or ""
    if reason := check_instance(instance):
        yield Fault("/instance", f"the instance id {reason}")
    if (auth := document.get("auth")) is not None:
        yield from (fault.under("auth") for fault in _check_auth(auth))
    name, sync = value_of(document, CONFIG, "sync")
    yield from (fault.under(name) for fault in check_sync(sync or {}, instance, masked=served))
    yield from _check_stored(document, today)


def _check_auth(auth: _Holder) -> Iterator[Fault]:
    if auth.get("disabled"):
        return
    name, users = value_of(auth, AUTH, "users")
    if not users:
        hint = 'add a user, or write {"disabled": true}'
        yield Fault("", "authentication is on but there are no users", hint)
    for index, user in enumerate(users or ()):
        yield from (fault.under(name, index) for fault in _check_user(user))


def _check_user(user: _Holder) -> Iterator[Fault]:
    yield from _check_id(user, "name")
    if not value_of(user, USER, "passwordBcrypt")[1]:
        yield Fault("", "the user has no passwordBcrypt")


def _check_stored(document: _Holder, today: date | None) -> Iterator[Fault]:
    """Check repositories and plans, also those from instances that are no peers.

    Backrest drops these last unread; they must be right here all the same.
    """
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


def _check_unique(name: str, items: Iterable[_Holder]) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if _id(item) in seen:
            text = f"the id {_id(item)!r} is used twice"
            yield Fault("/id", text, "give each its own").under(name, index)
        # An absent id is a fault of its own.
        seen.update({_id(item)} - {""})


def _check_id(holder: _Holder, name: str = "id") -> Iterator[Fault]:
    text = holder.get(name) or ""
    if not text:
        yield Fault("", f"there is no {name}, or it is empty")
    elif reason := check_id(text):
        yield Fault(f"/{name}", f"the {name} {reason}")


def _check_repo(repo: _Holder, today: date | None) -> Iterator[Fault]:
    yield from _check_id(repo)
    if not repo.get("uri"):
        yield Fault("", "the repository has no uri")
    yield from _check_guid(repo.get("guid") or "", value_of(repo, REPO, "autoInitialize")[1])
    for index, entry in enumerate(repo.get("env") or ()):
        if "=" not in entry:
            # The entry itself may be a secret.
            yield Fault(f"/env/{index}", "the entry has no `=`", "write KEY=VALUE")
    for name in ("prunePolicy", "checkPolicy", "forgetPolicy"):
        spelling, policy = value_of(repo, REPO, name)
        if policy is not None:
            yield from (fault.under(spelling) for fault in _check_policy(policy, today))
    spelling, forget = value_of(repo, REPO, "forgetPolicy")
    if is_active((forget or {}).get("schedule")):
        # An absent retention is as wrong as one without a policy.
        retention = forget.get("retention") or {}
        yield from (fault.under(spelling, "retention") for fault in check_retention(retention))


def _check_guid(guid: str, initialize: bool | None) -> Iterator[Fault]:
    if guid and initialize:
        yield Fault("", "guid and autoInitialize exclude each other", "remove autoInitialize")
    if guid and len(guid.encode()) != _GUID_BYTES:
        yield Fault("/guid", f"the guid is not {_GUID_BYTES} characters long")
    if not guid and not initialize:
        yield Fault("", "there is neither a guid nor autoInitialize", "set autoInitialize to true")


def _check_policy(policy: _Holder, today: date | None) -> Iterator[Fault]:
    schedule = policy.get("schedule") or {}
    yield from (fault.under("schedule") for fault in check_schedule(schedule, today))


def _check_plan(plan: _Holder, repos: set[str], today: date | None) -> Iterator[Fault]:
    yield from _check_id(plan)
    repo = plan.get("repo") or ""
    if repo not in repos or not repo:
        yield Fault("/repo" if repo else "", f"there is no repository {quoted(repo)}")
    yield from _check_paths(plan)
    schedule, retention = plan.get("schedule"), plan.get("retention")
    if schedule is not None:
        yield from (fault.under("schedule") for fault in check_schedule(schedule, today))
    if retention is not None:
        yield from (fault.under("retention") for fault in check_retention(retention))


def _check_paths(plan: _Holder) -> Iterator[Fault]:
    paths = plan.get("paths") or ()
    if not paths and not plan.get("backup_flags"):
        yield Fault("", "the plan has no paths", "set a path, or backup_flags that bring some")
    for index, path in enumerate(paths):
        if not path:
            yield Fault(f"/paths/{index}", "the path is empty")
