"""Find out what a plan leaves out: its patterns, its flags, and the files that these name."""

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.backrest.backup_flags import split_backup_flags
from sidecar.backrest.reading import RunPlan
from sidecar.engines.access import split_flag
from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.excludes.matcher import ExcludeMatcher
from sidecar.engines.excludes.walk import CACHE_TAG, Excludes
from sidecar.lib.read_file import read_file
from sidecar.lib.text import SpecInvalid, quoted

# What Go's `TrimSpace` takes off.
_BLANKS: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
# `$NAME`, `${NAME}`, and what Go's `Expand` reads besides: one sign, and a brace left open.
_VARIABLE: Final = re.compile(
    r"\$(?:\{([^}]*)\}|\{|([*#$@!?0-9-])|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII
)
# In bytes; it is read by the runner itself, whatever a plan names.
_LARGEST: Final = 1 << 24
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class PlanExcludes(NamedTuple):
    """What a plan leaves out, and in words which of its flags are restic's alone."""

    excludes: Excludes
    other_flags: tuple[str, ...] = ()


def read_excludes(plan: RunPlan, environ: Mapping[str, str]) -> PlanExcludes:
    """Return what a plan leaves out; variables in its files of patterns come from `environ`.

    Raises EngineError for what restic would refuse: patterns, values of flags, and files of
    patterns that cannot be read.
    """
    words = [word for entry in plan.backup_flags for word in split_flag(entry)]
    try:
        flags, others = split_backup_flags(words)
        excludes = _patterns(plan.excludes, flags.excludes, flags.exclude_files, environ)
        iexcludes = _patterns(plan.iexcludes, flags.iexcludes, flags.iexclude_files, environ)
        matcher = ExcludeMatcher(excludes, iexcludes)
    except SpecInvalid as error:
        raise EngineError(FailureClass.UNKNOWN, error.message, error.hint) from None
    tags = (*([CACHE_TAG] if flags.cache_tags else []), *flags.tags)
    return PlanExcludes(Excludes(matcher, tags, flags.largest, flags.one_file_system), others)


def _patterns(
    own: Sequence[str], flags: Sequence[str], files: Sequence[str], environ: Mapping[str, str]
) -> tuple[str, ...]:
    return (*own, *flags, *(line for file in files for line in _lines(Path(file), environ)))


def _lines(file: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the patterns of a file: one a line, without empty lines and those that begin `#`."""
    try:
        content = read_file(file, _LARGEST)
    except OSError as error:
        raise EngineError(
            FailureClass.UNKNOWN,
            f"the patterns in {quoted(str(file))} cannot be read: {error.strerror}",
            "mount it where the runner runs, or take the flag that names it out of the plan",
        ) from None
    if len(content) > _LARGEST:
        raise EngineError(FailureClass.UNKNOWN, f"the patterns in {quoted(str(file))} are too many")
    is_utf_16 = content.startswith(_UTF_16)
    if is_utf_16:
        text = content.decode("utf-16", "replace")
    else:
        text = content.decode("utf-8-sig", "surrogateescape")
    for line in text.split("\n"):
        pattern = line.strip(_BLANKS)
        if pattern and not pattern.startswith("#"):
            yield _VARIABLE.sub(lambda found: _value_of(found, environ), pattern)


def _value_of(found: re.Match[str], environ: Mapping[str, str]) -> str:
    name = found[1] or found[2] or found[3] or ""
    return "$" if name == "$" else environ.get(name, "")
