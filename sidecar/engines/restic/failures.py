"""Classify why restic failed, by exit code and by words, with a sentence for each class."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from sidecar.engines.base import FailureClass

_BY_STATUS = {
    10: FailureClass.REPO_NOT_FOUND,
    11: FailureClass.LOCKED,
    12: FailureClass.WRONG_PASSWORD,
    126: FailureClass.NO_PROGRAM,
    127: FailureClass.NO_PROGRAM,
    130: FailureClass.INTERRUPTED,
}

# The words before an HTTP status: a bare number may count anything.
_HTTP = r"(?:http|response|status|code|error)\W+(?:\w+\W+){0,2}"

# The first class whose words are in a line wins: hints that restic adds, such as whether there
# is a repository at all, come after the message of the storage.
_WORDS: Mapping[FailureClass, Sequence[str]] = {
    FailureClass.WRONG_PASSWORD: (
        "wrong password",
        "empty password",
        "resolving password failed",
        "password is empty",
    ),
    FailureClass.LOCKED: ("repository is already locked", "unable to refresh lock"),
    FailureClass.DISK_FULL: (
        "no space left on device",
        "disk quota exceeded",
        "quota ?exceeded",
        "file too large",
        "insufficient storage",
        "not enough space",
        "storage ?full",
        "storage_cap_exceeded",
        "remaining disk space",
    ),
    FailureClass.RATE_LIMIT: (
        "too many requests",
        rf"{_HTTP}429\b",
        "rate.?limit",
        "slow ?down",
        "throttl",
        "transaction_cap_exceeded",
    ),
    FailureClass.AUTH: (
        rf"{_HTTP}40[13]\b",
        "unauthorized",
        "forbidden",
        "access.?denied",
        "invalid ?access ?key",
        "signature ?(?:we calculated )?does ?not ?match",
        "access key id you provided does not exist",
        "(?:invalid|no|missing) credentials",
        "bad_auth_token",
        "authentication failed",
        "authorization ?failed",
        "expired.?token",
        "invalid_grant",
        r"permission denied \((?:publickey|password|keyboard)",
        "host key verification failed",
    ),
    FailureClass.TIMEOUT: ("timed? ?out", "deadline exceeded"),
    FailureClass.NETWORK: (
        "connection (?:refused|reset|closed|lost)",
        "closed (?:network )?connection",
        "no such host",
        "no route to host",
        "unreachable",
        "network is down",
        "broken pipe",
        r"\bdial (?:tcp|udp)",
        "server misbehaving",
        "x509:",
        r"\btls:",
        "unable to start the sftp session",
        "could not resolve",
        "temporary failure in name",
        rf"{_HTTP}50[0234]\b",
        "bad gateway",
        "service ?unavailable",
    ),
    FailureClass.PERMISSION: (
        "permission denied",
        "operation not permitted",
        "read-only file system",
    ),
    FailureClass.REPO_NOT_FOUND: (
        "repository does not exist",
        "bucket does not exist",
        "no ?such ?bucket",
        r"unable to open config file: .*(?:no such file|not exist|n't exist|not found|\b404\b)",
    ),
    FailureClass.DAMAGED: (
        "repository contains errors",
        "repository (?:index )?(?:is|could be) damaged",
        "packs? .*missing",
        r"\bpack (?:id )?[0-9a-f]{8,64}\b",
        "pack id does not match",
        "loadindex returned errors",
        "not found in (?:repository|index)",
        "ciphertext",
        "config cannot be loaded",
        "config file has zero size",
        "hash mismatch",
        "invalid data",
        "pack size does not match",
        "unexpected file size",
        "is too short",
        "does not match id",
        r"\bcorrupt",
        "wrong hash",
        r"readfull\(<data",
        r"load\(<(?:data|index|snapshot)",
    ),
    FailureClass.SOURCE_MISSING: ("all (?:target|source) directories/files do not exist",),
    FailureClass.NO_PROGRAM: ("exec: .* not found",),
}
_PATTERNS = tuple(
    (failure, re.compile("|".join(words), re.IGNORECASE)) for failure, words in _WORDS.items()
)
# What may bear any name: addresses, what is quoted, paths of files. Of an address restic names the
# kind, `s3:host/bucket`, or the scheme.
_NAMES = re.compile(
    r"""\b(?:azure|b2|gs|local|rclone|rest|s3|sftp|swift):\S+|\b[a-z][a-z0-9+.-]*://\S+"""
    r"""|"[^"]*"|(?<![\w.>/])/[^\s:"']+"""
)
# Behind it stands an address alone.
_LOCATION = "Is there a repository at the following location?"
# What restic says at the end, when it has told each fault.
_IN_GENERAL = re.compile(
    r"^(?:Fatal: )?(?:repository contains errors|packs from index missing in repo"
    r"|loadindex returned errors|the repository (?:index )?is damaged and must be repaired)",
    re.IGNORECASE,
)
# What is to be repaired is a pack: the trees and blobs in it are but what is missed.
_PACK = re.compile(r"\bpack\b.{0,200}?\b[0-9a-f]{8,64}\b", re.IGNORECASE)
# A line of the program that restic reaches the storage by; what rclone says begins with the time.
_TRANSPORT = re.compile(
    r"^(?:subprocess [^:]+|rclone): (?:[\d/]+ [\d:.]+ )?(?:ERROR *: *(?:: *)?)?"
)
_TRANSPORT_NOISE = re.compile(r"\b(?:NOTICE|INFO|DEBUG) *:")
# A server greets people with such words: ssh itself has others.
_GREETING = re.compile("unauthori[sz]ed|forbidden|throttl", re.IGNORECASE)
# What restic knows of a failure of that program is that it has ended.
_BY_TRANSPORT = {FailureClass.UNKNOWN, FailureClass.NETWORK, FailureClass.TIMEOUT}
_ABOUT_TRANSPORT = re.compile("sftp session|to rclone|rclone:|ssh command|connection lost|\\bEOF")

_SENTENCES = {
    FailureClass.AUTH: "the storage refused the credentials",
    FailureClass.NETWORK: "the repository cannot be reached",
    FailureClass.DISK_FULL: "there is no space left",
    FailureClass.REPO_NOT_FOUND: "there is no repository at this address",
    FailureClass.WRONG_PASSWORD: "the password is wrong, or the repository has no key for it",
    FailureClass.LOCKED: "the repository is locked",
    FailureClass.PERMISSION: "something may not be read or written",
    FailureClass.RATE_LIMIT: "the storage asks for fewer requests",
    FailureClass.TIMEOUT: "it took too long",
    FailureClass.SOURCE_MISSING: "none of the plan's paths exists",
    FailureClass.SOURCE_CHANGED: "something vanished while it was read",
    FailureClass.DAMAGED: "the repository is damaged",
    FailureClass.INTERRUPTED: "restic was interrupted",
    FailureClass.NO_PROGRAM: "restic cannot be started",
    FailureClass.UNKNOWN: "restic failed",
}
# Classes whose output adds nothing to the sentence.
_WITHOUT_DETAIL = {FailureClass.WRONG_PASSWORD, FailureClass.SOURCE_MISSING}
_HOLDER = re.compile(r"already locked (?:exclusively )?by (.*?)(?: \(UID.*)?$")
_HOST_KEY = re.compile("host key verification", re.IGNORECASE)
_RETRYING = re.compile(
    r"^\w+\(.*?\) returned error, retrying after [^:]+: |^\w+\(<.*?>.*?\) failed: "
)
# A server that takes everything else refuses this: it is append-only, or the objects are locked.
_UNDELETABLE = re.compile(
    r"^Remove\(<(?!lock/).*(?:\b40[35]\b|forbidden|access.?denied)|blob not removed.*\b403\b",
    re.IGNORECASE,
)
_KEEP_ALL = "the storage lets nothing be deleted (append-only?): set the retention to keep all"
# What forget says of a snapshot that stays; before restic 0.19 it ends with 0 all the same.
_NOT_REMOVED = re.compile(r"^unable to remove snapshot/", re.MULTILINE)
_LONGEST = 300
_LOCAL = re.compile(r"\b(?:l?stat|open) /.*: no such file or directory$")
_NO_PARENT = ("no matching ID found", "multiple IDs with prefix")
_REPAIR = (
    "next: keep a copy of the repository as it is, then follow "
    "https://restic.readthedocs.io/en/stable/077_troubleshooting.html"
)


def classify(status: int, texts: Iterable[str]) -> tuple[FailureClass, str]:
    """Return the class of a failure, and the line that shows it; empty if none does.

    `texts` is the output, the most important first. Its words count for more than an exit code
    that only says that something failed.
    """
    lines = _lines_of(texts)
    failure, line = _by_status_or_words(status, lines)
    if failure is FailureClass.AUTH and (kept := next(filter(_UNDELETABLE.search, lines), "")):
        return FailureClass.PERMISSION, kept
    if failure is FailureClass.DAMAGED and _IN_GENERAL.match(line):
        return _told_in_general(line, lines)
    if failure in _BY_TRANSPORT and (told := _told_by_transport(line, lines)) is not None:
        by_transport = _by_words(told)
        return by_transport or failure, told
    return failure, line


def _lines_of(texts: Iterable[str]) -> list[str]:
    """Return the lines that are not empty; one that goes on in the next is joined with it."""
    lines: list[str] = []
    for text in texts:
        for line in text.partition(_LOCATION)[0].splitlines():
            if lines and lines[-1].endswith(":") and line.startswith("  "):
                lines[-1] += f" {line.strip()}"
            elif line.strip():
                lines.append(line)
    return lines


def _by_status_or_words(status: int, lines: Sequence[str]) -> tuple[FailureClass, str]:
    by_status = _BY_STATUS.get(status, FailureClass.UNKNOWN)
    for line in lines:
        failure = _by_words(line)
        if failure and by_status in (FailureClass.UNKNOWN, FailureClass.LOCKED, failure):
            return failure, line
    return by_status, lines[0] if lines else ""


def _told_in_general(general: str, lines: Sequence[str]) -> tuple[FailureClass, str]:
    """Return what was told before the end: what is damaged, else why it could not be read."""
    told = [one for one in lines if not _IN_GENERAL.match(one) and not _RETRYING.match(one)]
    found = [(failure, one) for one in told if (failure := _by_words(one))]
    damaged = [one for one in found if one[0] is FailureClass.DAMAGED]
    packs = (one for one in damaged if _PACK.search(one[1]))
    return next(packs, None) or next(iter(damaged or found), (FailureClass.DAMAGED, general))


def _told_by_transport(line: str, lines: Sequence[str]) -> str | None:
    """Return the last error of ssh or rclone, without what begins its lines; None if none is told.

    One that no class has words for counts only if restic says that this program has failed.
    """
    told = [
        _TRANSPORT.sub("rclone: " if one.startswith("rclone:") else "", one)
        for one in lines
        if _TRANSPORT.match(one) and not _TRANSPORT_NOISE.search(one) and not _GREETING.search(one)
    ]
    known = [one for one in told if _by_words(one)]
    if not known and not _ABOUT_TRANSPORT.search(line):
        return None
    return next(reversed(known or told), None)


def _by_words(line: str) -> FailureClass | None:
    """Return the class that the last of a chain of causes shows, or else the whole line.

    Names are left out: a file may be called `forbidden`, and a bucket `corrupt`.
    """
    if _UNDELETABLE.search(line):
        return FailureClass.PERMISSION
    whole = _NAMES.sub("/", line)
    texts = (whole.rpartition(": ")[2], whole)
    found = (failure for text in texts for failure, words in _PATTERNS if words.search(text))
    return next(found, None)


def is_not_removed(lines: Iterable[str]) -> bool:
    """Return whether forget tells of a snapshot that it could not remove."""
    return any(map(_NOT_REMOVED.search, lines))


def is_without_parent(reason: str) -> bool:
    """Return whether a backup failed because restic found no such parent, or more than one."""
    return any(words in reason for words in _NO_PARENT)


def render_reason(
    failure: FailureClass, line: str, mask: Callable[[str], str] = lambda text: text
) -> str:
    """Return one sentence on why restic failed; `line` is its own message, or empty.

    Of that `mask` hides the secrets before it is cut: half of one would not be found. Our own
    words it never sees: the password may be one of them.
    """
    if failure is FailureClass.LOCKED and (holder := _HOLDER.search(line)):
        return f"the repository is locked by {mask(holder[1])}"
    if failure is FailureClass.PERMISSION and _UNDELETABLE.search(line):
        return _KEEP_ALL
    sentence = _SENTENCES[failure]
    if failure is FailureClass.AUTH and _HOST_KEY.search(line):
        sentence = "the host key of the server is not one that is known"
    detail = mask(_RETRYING.sub("", line.removeprefix("Fatal: ")).strip())[:_LONGEST]
    if failure is FailureClass.REPO_NOT_FOUND and _LOCAL.search(detail):
        detail += "; is its disk not mounted?"
    reason = f"{sentence}: {detail}" if detail and failure not in _WITHOUT_DETAIL else sentence
    return f"{reason}; {_REPAIR}" if failure is FailureClass.DAMAGED else reason
