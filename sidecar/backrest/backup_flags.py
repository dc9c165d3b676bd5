"""The flags of `restic backup`: words read as restic reads its arguments, and those that exclude.

A plan's `backup_flags` are restic's, whatever the engine of its repository. What they leave out of
a backup means the same for every engine; no other engine knows the rest.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sidecar.lib.text import SpecInvalid, quoted

MOST_ANY_DEPTH: Final = 16
"""The most parts of an exclude pattern that are `**`."""

_NAME: Final = re.compile(r"--[A-Za-z0-9][A-Za-z0-9_.-]*")
_PLAIN: Final = re.compile(r"[A-Za-z0-9@%+=:,./_-]*")
_SIZE: Final = re.compile(r"\+?([0-9]+)([bBkKmMgGtT]?)", re.ASCII)
_UNITS: Final = "bkmgt"
_NO_SIZE: Final = 1 << 63
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})

# The flags of `restic backup` that take a value, to version 0.18; global ones are among them.
_WITH_VALUE: Final = frozenset(
    f"--{name}"
    for name in (
        "cacert",
        "cache-dir",
        "compression",
        "exclude",
        "exclude-file",
        "exclude-if-present",
        "exclude-larger-than",
        "files-from",
        "files-from-raw",
        "files-from-verbatim",
        "group-by",
        "host",
        "http-user-agent",
        "iexclude",
        "iexclude-file",
        "key-hint",
        "limit-download",
        "limit-upload",
        "option",
        "pack-size",
        "parent",
        "password-command",
        "password-file",
        "read-concurrency",
        "repo",
        "repository-file",
        "retry-lock",
        "stdin-filename",
        "stuck-request-timeout",
        "tag",
        "time",
        "tls-client-cert",
    )
)
_EXCLUDING: Final = (
    "--exclude",
    "--iexclude",
    "--exclude-file",
    "--iexclude-file",
    "--exclude-if-present",
    "--exclude-caches",
    "--exclude-larger-than",
    "--one-file-system",
)
_COUNTED: Final = "--verbose"
_SHORT: Final = dict(
    zip(
        "efgHnopqrvx",
        (
            "--exclude",
            "--force",
            "--group-by",
            "--host",
            "--dry-run",
            "--option",
            "--password-file",
            "--quiet",
            "--repo",
            _COUNTED,
            "--one-file-system",
        ),
        strict=True,
    )
)


@dataclass(frozen=True, slots=True)
class BackupFlag:
    """A long flag; `value` is None where none is written."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        if self.value is None:
            return self.name
        plain = _PLAIN.fullmatch(self.value)
        return f"{self.name}={self.value if plain else shlex.quote(self.value)}"


class NoBackupFlag(NamedTuple):
    """What is no flag; `why` for people, without values: they may be secret."""

    why: str


@dataclass(frozen=True, slots=True)
class FolderTag:
    """A file that says of its folder that nothing else in it is backed up.

    `header` is how its content has to begin; empty: it may be anything, not only a file.
    """

    name: str
    header: bytes = b""


@dataclass(frozen=True, slots=True)
class ExcludeFlags:
    """What flags leave out of a backup, without what they say twice.

    Attributes:
        excludes: patterns.
        iexcludes: patterns that ignore case.
        exclude_files: files of patterns.
        iexclude_files: files of patterns that ignore case.
        tags: files that exclude their folder.
        cache_tags: whether the tag of cache folders does so too.
        largest: how large a file may be, in bytes; None: it does not matter.
        one_file_system: whether what is mounted below a path is left out.
    """

    excludes: tuple[str, ...] = ()
    iexcludes: tuple[str, ...] = ()
    exclude_files: tuple[str, ...] = ()
    iexclude_files: tuple[str, ...] = ()
    tags: tuple[FolderTag, ...] = ()
    cache_tags: bool = True
    largest: int | None = None
    one_file_system: bool = False


class SplitFlags(NamedTuple):
    """The flags that exclude, and in words which others there are: those are restic's alone."""

    excluding: ExcludeFlags
    others: tuple[str, ...] = ()


def split_backup_flags(words: Iterable[str]) -> SplitFlags:
    """Return what flags of a backup, split into words as in a shell, mean for other engines.

    Folders with a cache tag are left out if no flag says otherwise: so is restic run.
    Raises SpecInvalid for a value that restic refuses; patterns are not looked at.
    """
    values: dict[str, list[str]] = {name: [] for name in _EXCLUDING}
    others: list[str] = []
    for flag in read_flags(words):
        if isinstance(flag, NoBackupFlag):
            others.append(flag.why)
        elif flag.name in values:
            values[flag.name].append("true" if flag.value is None else flag.value)
        else:
            others.append(flag.name)
    excluding = ExcludeFlags(
        excludes=tuple(values["--exclude"]),
        iexcludes=tuple(values["--iexclude"]),
        exclude_files=tuple(values["--exclude-file"]),
        iexclude_files=tuple(values["--iexclude-file"]),
        tags=tuple(dict.fromkeys(map(_parse_tag, values["--exclude-if-present"]))),
        cache_tags=_is_set("--exclude-caches", values["--exclude-caches"], usual=True),
        largest=_parse_size(values["--exclude-larger-than"]),
        one_file_system=_is_set("--one-file-system", values["--one-file-system"], usual=False),
    )
    return SplitFlags(excluding, tuple(dict.fromkeys(others)))


def _parse_tag(text: str) -> FolderTag:
    name, _, header = text.partition(":")
    if not name:
        hint = "write --exclude-if-present=NAME or --exclude-if-present=NAME:HEADER"
        raise SpecInvalid("--exclude-if-present has no name of a file", hint)
    return FolderTag(name, header.encode(errors="surrogateescape"))


def _parse_size(texts: Sequence[str]) -> int | None:
    """Return the last size in bytes: `10`, `10b`, `10k`, `10M`; units are powers of 1024."""
    if not texts or not texts[-1]:
        return None
    found = _SIZE.fullmatch(texts[-1])
    size = int(found[1]) << 10 * max(0, _UNITS.find(found[2].lower())) if found else _NO_SIZE
    if size >= _NO_SIZE:
        raise SpecInvalid(
            f"--exclude-larger-than has a value that is no size: {quoted(texts[-1])}",
            "write a whole number of bytes, or one with k, M, G or T behind it",
        )
    return size


def _is_set(name: str, texts: Sequence[str], *, usual: bool) -> bool:
    if any(text not in _TRUE | _FALSE for text in texts):
        raise SpecInvalid(f"{name} is no switch that can be set to this", f"write {name} alone")
    return texts[-1] in _TRUE if texts else usual


def read_flags(words: Iterable[str]) -> Iterator[BackupFlag | NoBackupFlag]:
    """Read words as restic reads its arguments, and tell what is no flag.

    For example `-xe`, `*.tmp` gives `--one-file-system` and `--exclude` with its value.
    """
    waiting = ""
    for word in words:
        if waiting and not word.startswith("-"):
            yield BackupFlag(waiting, word)
            waiting = ""
            continue
        if waiting:
            yield NoBackupFlag(f"{waiting} without its value")
        found = list(_flags_in(word))
        last = found[-1]
        waiting = last.name if isinstance(last, BackupFlag) and _lacks_value(last) else ""
        yield from found[:-1] if waiting else found
    if waiting:
        yield NoBackupFlag(f"{waiting} without its value")


def _lacks_value(flag: BackupFlag) -> bool:
    return flag.value is None and flag.name in _WITH_VALUE


def _flags_in(word: str) -> Iterator[BackupFlag | NoBackupFlag]:
    """Yield the flags of one word, at least one: `-xv` holds two."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        if _NAME.fullmatch(name):
            yield BackupFlag(name, value if equals else None)
        else:
            yield NoBackupFlag("a word that is no flag")
    elif word.startswith("-") and len(word) > 1:
        yield from _shorthands(word[1:])
    else:
        yield NoBackupFlag("a word that is no flag")


def _shorthands(letters: str) -> Iterator[BackupFlag | NoBackupFlag]:
    """Yield the long flags of `vv`, `xv`, `Hname`, `H=name` and the like."""
    while letters:
        letter, rest = letters[0], letters[1:]
        name = _SHORT.get(letter)
        if name is None:
            yield NoBackupFlag(f"the shorthand {quoted(f'-{letter}')}, which is none of a backup")
            return
        if rest.startswith("=") and len(rest) > 1:
            yield BackupFlag(name, rest[1:])
            return
        if name in _WITH_VALUE:
            yield BackupFlag(name, rest or None)
            return
        letters = rest
        if name == _COUNTED:
            letters = rest.lstrip(letter)
            count = 1 + len(rest) - len(letters)
            if letters.startswith("=") and len(letters) > 1:
                # The value is the last one's, and it counts alone.
                yield BackupFlag(name, letters[1:])
                return
            yield BackupFlag(name, str(count) if count > 1 else None)
        else:
            yield BackupFlag(name)
