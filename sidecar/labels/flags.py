"""`backup-flags` → canonical items, which Backrest, backrest-runner and restic read alike.

In: the items of the label, written as in a shell. Out: one item for each flag, `--flag` or
`--flag=value`, and what is refused. Words that are no flag of a backup are refused, because
programs that split a flag differently could read another flag in them; so are flags that the
hook policy does not allow, and tags that would claim the snapshot for another plan.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sidecar.backrest.backup_flags import BackupFlag, NoBackupFlag, read_flags
from sidecar.labels.policy import HookPolicy
from sidecar.labels.values import parse_patterns
from sidecar.lib.text import SpecInvalid

# More than any system takes as arguments.
_LONGEST = 16_384
_PIECE = re.compile(
    r"""(?P<blank>[ \t\r\n]+)|\\(?P<escaped>.)|'(?P<single>[^']*)'|"""
    r""""(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>[^ \t\r\n\\'"]+)""",
    re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# What a backslash escapes within double quotes; before others it stands for itself.
_ESCAPED = re.compile(r'\\(["\\$`])')
_OUR_TAGS = ("plan:", "created-by:")

_PATTERNS = frozenset({"--exclude", "--iexclude"})
_HARMLESS = frozenset(
    {
        "--compression",
        "--exclude-caches",
        "--exclude-if-present",
        "--exclude-larger-than",
        "--limit-download",
        "--limit-upload",
        "--one-file-system",
        "--read-concurrency",
        "--skip-if-unchanged",
        "--tag",
    }
)


class JudgedFlags(NamedTuple):
    """`items` are the allowed flags in canonical form; `refused` says in words what else stood.

    `needs_all`: the policy `all` would allow some of the refused.
    """

    items: tuple[str, ...]
    refused: tuple[str, ...] = ()
    needs_all: bool = False


def parse_flag_list(items: tuple[str, ...]) -> tuple[str, ...]:
    """Check the items of `backup-flags`; returns them.

    Raises SpecInvalid for one that cannot be split into words, and for a pattern in them with
    which restic refuses to back up.
    """
    for flag in read_flags(word for item in items for word in split_words(item)):
        if isinstance(flag, BackupFlag) and flag.name in _PATTERNS and flag.value:
            parse_patterns((flag.value,))
    return items


@lru_cache(maxsize=1024)
def judge_flags(items: tuple[str, ...], policy: HookPolicy) -> JudgedFlags:
    """Bring flags into canonical form, and refuse what `policy` does not allow.

    A flag and its value may stand in one item or in two that follow each other. Raises
    SpecInvalid for an item that cannot be split into words.
    """
    words = [word for item in items for word in split_words(item)]
    kept: list[str] = []
    refused: list[str] = []
    needs_all = False
    for flag in read_flags(words):
        why = flag.why if isinstance(flag, NoBackupFlag) else _forged_tag(flag)
        if not why and isinstance(flag, BackupFlag) and not _is_harmless(flag, policy):
            why, needs_all = flag.name, True
        if why:
            refused.append(why)
        else:
            kept.append(str(flag))
    return JudgedFlags(tuple(kept), tuple(dict.fromkeys(refused)), needs_all)


def _is_harmless(flag: BackupFlag, policy: HookPolicy) -> bool:
    if policy is HookPolicy.ALL:
        return True
    return flag.name in _HARMLESS and "{{" not in (flag.value or "")


def _forged_tag(flag: BackupFlag) -> str:
    """Return what is wrong with a tag by which restic finds the snapshots of plans."""
    if flag.name == "--tag":
        # restic cuts white space off the parts, Unicode's too, as `strip` does.
        for part in (flag.value or "").split(","):
            if part.strip().startswith(_OUR_TAGS):
                return "a tag that begins plan: or created-by:"
    return ""


def split_words(item: str) -> Sequence[str]:
    """Split one item as a shell does, but `#` begins no comment and `$` means nothing.

    Raises SpecInvalid for an unclosed quote, a backslash at the end and characters that no
    argument should hold.
    """
    if len(item) > _LONGEST:
        raise SpecInvalid(f"a flag is longer than {_LONGEST} characters", "shorten it")
    if _CONTROL.search(item.translate(_WITHOUT_BLANKS)) or _SURROGATE.search(item):
        raise _unprintable()
    words: list[str] = []
    word: str | None = None
    position = 0
    while position < len(item):
        piece = _PIECE.match(item, position)
        if piece is None:
            raise SpecInvalid(
                "a flag has an unclosed quote, or a backslash at its end", "close it, or escape it"
            )
        position = piece.end()
        if piece["blank"] is None:
            word = (word or "") + _text_of(piece)
        elif word is not None:
            words.append(word)
            word = None
    if word is not None:
        words.append(word)
    if any(map(_CONTROL.search, words)):
        raise _unprintable()
    return words


def _text_of(piece: re.Match[str]) -> str:
    if piece["double"] is not None:
        return _ESCAPED.sub(r"\1", piece["double"])
    return next(filter(None, piece.group("escaped", "single", "plain")), "")


_WITHOUT_BLANKS = str.maketrans(dict.fromkeys(" \t\r\n"))


def _unprintable() -> SpecInvalid:
    return SpecInvalid("a flag holds a control character", "write it without")
