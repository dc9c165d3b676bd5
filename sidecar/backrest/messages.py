"""The messages of the document: which fields Backrest reads, and what they hold.

These tables drive the checks of the shape (`backrest.shape`), the reading
(`backrest.reading`) and the normal form (`backrest.normal`). Backrest takes each
field under two spellings, its JSON name and the name in its protocol definition;
a table of fields is keyed by both.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, Final


class FieldKind(Enum):
    """What one value of a field is."""

    STRING = auto()
    BOOL = auto()
    INT32 = auto()
    INT64 = auto()
    DOUBLE = auto()
    ENUM = auto()
    MESSAGE = auto()


@dataclass(frozen=True, slots=True)
class MessageType:
    """One kind of object; `fields` is keyed by every accepted spelling."""

    name: str
    fields: Mapping[str, "MessageField"]


@dataclass(frozen=True, slots=True)
class MessageField:
    """One field: `name` is its JSON name, `spellings` all names it may have.

    `oneof` names the group of which at most one member may be set; a member of a
    group is written even if it is zero. `names` gives an enum's name by number.
    """

    name: str
    kind: FieldKind
    repeated: bool = False
    oneof: str = ""
    names: Mapping[int, str] = field(default_factory=dict)
    message: MessageType | None = None
    spellings: tuple[str, ...] = ()


def value_of(holder: Mapping[str, Any], message: MessageType, name: str) -> tuple[str, Any]:
    """Return the field `name` as (the spelling used, its value); None for unset or null."""
    for spelling in message.fields[name].spellings:
        if holder.get(spelling) is not None:
            return spelling, holder[spelling]
    return name, None


# Fields whose second spelling does not follow from the first.
_OTHER_SPELLING: Final[Mapping[str, str]] = {"sync": "multihost", "keyId": "keyid"}
# Fields that have one spelling only, though it looks as if they had two.
_ONE_SPELLING: Final = frozenset({"maxFrequencyDays", "maxFrequencyHours"})


def _spellings(name: str) -> tuple[str, ...]:
    if name in _ONE_SPELLING:
        return (name,)
    other = _OTHER_SPELLING.get(name) or re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", name)
    return (name,) if other == name else (name, other)


def _message(name: str, *groups: tuple[MessageField, ...]) -> MessageType:
    fields = {spelling: item for group in groups for item in group for spelling in item.spellings}
    return MessageType(name, MappingProxyType(fields))


def _scalars(kind: FieldKind, names: str, oneof: str = "") -> tuple[MessageField, ...]:
    return tuple(
        MessageField(name, kind, oneof=oneof, spellings=_spellings(name)) for name in names.split()
    )


def _strings(names: str) -> tuple[MessageField, ...]:
    return _scalars(FieldKind.STRING, names)


def _lists_of_strings(names: str) -> tuple[MessageField, ...]:
    return tuple(
        MessageField(name, FieldKind.STRING, repeated=True, spellings=_spellings(name))
        for name in names.split()
    )


def _enum(name: str, names: Mapping[int, str], repeated: bool = False) -> tuple[MessageField, ...]:
    return (MessageField(name, FieldKind.ENUM, repeated, names=names, spellings=_spellings(name)),)


def _nested(name: str, message: MessageType, oneof: str = "") -> tuple[MessageField, ...]:
    spellings = _spellings(name)
    return (
        MessageField(name, FieldKind.MESSAGE, oneof=oneof, message=message, spellings=spellings),
    )


def _list_of(name: str, message: MessageType) -> tuple[MessageField, ...]:
    return (
        MessageField(name, FieldKind.MESSAGE, True, message=message, spellings=_spellings(name)),
    )


def _numbered(prefix: str, names: str, start: int = 0) -> dict[int, str]:
    return {start + number: prefix + name for number, name in enumerate(names.split())}


CLOCKS: Final = _numbered("CLOCK_", "DEFAULT LOCAL UTC LAST_RUN_TIME")
CONDITIONS: Final = {
    **_numbered("CONDITION_", "UNKNOWN ANY_ERROR"),
    **_numbered("CONDITION_SNAPSHOT_", "START END ERROR WARNING SUCCESS SKIPPED", 2),
    **_numbered("CONDITION_PRUNE_", "START ERROR SUCCESS", 100),
    **_numbered("CONDITION_CHECK_", "START ERROR SUCCESS", 200),
    **_numbered("CONDITION_FORGET_", "START ERROR SUCCESS", 300),
}
ON_ERRORS: Final = {
    **_numbered("ON_ERROR_", "IGNORE CANCEL FATAL"),
    **_numbered("ON_ERROR_RETRY_", "1MINUTE 10MINUTES", 100),
    103: "ON_ERROR_RETRY_EXPONENTIAL_BACKOFF",
}
METHODS: Final = _numbered("", "UNKNOWN GET POST")
IO_NICE: Final = _numbered("IO_", "DEFAULT BEST_EFFORT_LOW BEST_EFFORT_HIGH IDLE")
CPU_NICE: Final = _numbered("CPU_", "DEFAULT HIGH LOW")
PERMISSIONS: Final = _numbered(
    "PERMISSION_", "UNKNOWN READ_OPERATIONS READ_CONFIG READ_WRITE_CONFIG RECEIVE_SHARED_REPOS"
)

SCHEDULE: Final = _message(
    "Schedule",
    _scalars(FieldKind.BOOL, "disabled", "schedule"),
    _scalars(FieldKind.STRING, "cron", "schedule"),
    _scalars(FieldKind.INT32, "maxFrequencyDays maxFrequencyHours", "schedule"),
    _enum("clock", CLOCKS),
)
BUCKETS: Final = _message(
    "TimeBucketedCounts",
    _scalars(FieldKind.INT32, "hourly daily weekly monthly yearly keepLastN"),
)
RETENTION: Final = _message(
    "RetentionPolicy",
    _scalars(FieldKind.INT32, "policyKeepLastN", "policy"),
    _nested("policyTimeBucketed", BUCKETS, "policy"),
    _scalars(FieldKind.BOOL, "policyKeepAll", "policy"),
)
_POSTED: Final = _strings("webhookUrl template")
HOOK: Final = _message(
    "Hook",
    _enum("conditions", CONDITIONS, repeated=True),
    _enum("onError", ON_ERRORS),
    _nested("actionCommand", _message("Command", _strings("command")), "action"),
    _nested("actionWebhook", _message("Webhook", _POSTED, _enum("method", METHODS)), "action"),
    _nested("actionDiscord", _message("Discord", _POSTED), "action"),
    _nested(
        "actionGotify",
        _message(
            "Gotify",
            _strings("baseUrl token template titleTemplate"),
            _scalars(FieldKind.INT32, "priority"),
        ),
        "action",
    ),
    _nested("actionSlack", _message("Slack", _POSTED), "action"),
    _nested("actionShoutrrr", _message("Shoutrrr", _strings("shoutrrrUrl template")), "action"),
    _nested("actionHealthchecks", _message("Healthchecks", _POSTED), "action"),
    _nested("actionTelegram", _message("Telegram", _strings("botToken chatId template")), "action"),
)
PLAN: Final = _message(
    "Plan",
    _strings("id repo"),
    _lists_of_strings("paths excludes iexcludes"),
    _nested("schedule", SCHEDULE),
    _nested("retention", RETENTION),
    _list_of("hooks", HOOK),
    _lists_of_strings("backup_flags"),
    _scalars(FieldKind.BOOL, "skipIfUnchanged"),
)
PRUNE: Final = _message(
    "PrunePolicy",
    _nested("schedule", SCHEDULE),
    _scalars(FieldKind.INT64, "maxUnusedBytes"),
    _scalars(FieldKind.DOUBLE, "maxUnusedPercent"),
)
CHECK: Final = _message(
    "CheckPolicy",
    _nested("schedule", SCHEDULE),
    _scalars(FieldKind.BOOL, "structureOnly", "mode"),
    _scalars(FieldKind.DOUBLE, "readDataSubsetPercent", "mode"),
)
FORGET: Final = _message(
    "ForgetPolicy", _nested("schedule", SCHEDULE), _nested("retention", RETENTION)
)
_PREFIX: Final = _message("CommandPrefix", _enum("ioNice", IO_NICE), _enum("cpuNice", CPU_NICE))
REPO: Final = _message(
    "Repo",
    _strings("id uri guid password"),
    _lists_of_strings("env flags"),
    _nested("prunePolicy", PRUNE),
    _nested("checkPolicy", CHECK),
    _list_of("hooks", HOOK),
    _scalars(FieldKind.BOOL, "autoUnlock autoInitialize"),
    _nested("commandPrefix", _PREFIX),
    _scalars(FieldKind.BOOL, "shared"),
    _strings("originInstanceId"),
    _nested("forgetPolicy", FORGET),
)
USER: Final = _message(
    "User", _strings("name"), _scalars(FieldKind.STRING, "passwordBcrypt", "password")
)
AUTH: Final = _message("Auth", _scalars(FieldKind.BOOL, "disabled"), _list_of("users", USER))
PERMISSION: Final = _message("Permission", _enum("type", PERMISSIONS), _lists_of_strings("scopes"))
PEER: Final = _message(
    "Peer",
    _strings("instanceId keyId instanceUrl initialPairingSecret"),
    _list_of("permissions", PERMISSION),
)
_TOKEN: Final = _message(
    "PairingToken",
    _strings("secret label"),
    _scalars(FieldKind.INT64, "createdAtUnix expiresAtUnix"),
    _scalars(FieldKind.INT32, "maxUses uses"),
    _list_of("permissions", PERMISSION),
)
SYNC: Final = _message(
    "Multihost",
    _nested("identity", _message("PrivateKey", _strings("keyId ed25519priv ed25519pub"))),
    _list_of("knownHosts", PEER),
    _list_of("authorizedClients", PEER),
    _list_of("pairingTokens", _TOKEN),
)
CONFIG: Final = _message(
    "Config",
    _scalars(FieldKind.INT32, "modno version"),
    _strings("instance"),
    _list_of("repos", REPO),
    _list_of("plans", PLAN),
    _nested("auth", AUTH),
    _nested("sync", SYNC),
)
