"""The options of the engines beside restic, as they stand in `flags` of a repository.

restic's own flags are not listed here: they go to restic as they are.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.backrest.engine_name import EngineName
from sidecar.lib.text import SpecInvalid, closest

_ANY: Final = re.compile(r"(?s).+")
_RATE: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[kmgtp](?:i?b)?|b)?", re.IGNORECASE | re.ASCII)
_NAME: Final = re.compile(r"--[a-z][a-z-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class EngineOption:
    """One option: `value` is what its value is called, empty for one that takes none.

    `form` is what the whole value has to match, `example` a value that does.
    """

    name: str
    purpose: str
    value: str = ""
    form: re.Pattern[str] = _ANY
    example: str = ""


ENGINE_OPTIONS: Final[Mapping[EngineName, tuple[EngineOption, ...]]] = {
    EngineName.RSYNC: (
        EngineOption("--flat", "keep the tree `daily`, `weekly`, `monthly` of one plan"),
        EngineOption("--full-copies", "allow a destination without hard links"),
        EngineOption("--no-owner", "do not save owners and groups"),
        EngineOption("--bwlimit", "limit the rate, as rsync writes it", "RATE", _RATE, "2m"),
        EngineOption("--ssh", "the command that connects", "COMMAND", _ANY, "'ssh -p 22'"),
    ),
    EngineName.DAR: (),
    EngineName.DUPLICITY: (),
}
"""All options by engine; restic has none here."""


def parse_options(engine: EngineName, words: Sequence[str]) -> Mapping[str, str]:
    """Return the options that the words of `flags` set: name to value, empty for a switch.

    For example `["--flat", "--bwlimit", "2m"]` or `["--flat", "--bwlimit=2m"]` gives
    `{"--flat": "", "--bwlimit": "2m"}`. Of one that stands twice the last counts.

    Raises SpecInvalid, which names the known options and never shows a value: it may be secret.
    """
    known = {option.name: option for option in ENGINE_OPTIONS[engine]}
    found: dict[str, str] = {}
    option = None
    rest = list(reversed(words))
    while rest:
        name, equals, value = rest.pop().partition("=")
        if option is not None and not name.startswith("--"):
            raise _stray(option)
        option = known.get(name)
        if option is None:
            raise _unknown(engine, name, known)
        if not option.value and equals:
            raise SpecInvalid(f"{name} takes no value", f"write {name} alone")
        if option.value and not equals:
            value = rest.pop() if rest else ""
        if option.value and not option.form.fullmatch(value):
            what = "has no value" if not value else f"has a value that is no {option.value}"
            raise SpecInvalid(f"{name} {what}", f"write {name} {option.example}")
        found[name] = value
    return found


def _stray(option: EngineOption) -> SpecInvalid:
    """Return what is wrong with a word that stands behind a whole option."""
    if not option.value:
        return SpecInvalid(f"{option.name} takes no value", f"write {option.name} alone")
    message = f"{option.name} has a value of more than one word"
    return SpecInvalid(message, f"quote it, as in {option.name} {option.example}")


def _unknown(engine: EngineName, name: str, known: Iterable[str]) -> SpecInvalid:
    shown = f"{name} is" if _NAME.fullmatch(name) else "a word of the flags is"
    names = ", ".join(known)
    hint = f"write of these: {names}" if names else "leave it out"
    if meant := closest(name, known):
        hint = f"did you mean {meant}? Else {hint}"
    return SpecInvalid(f"{shown} no option of {engine}", hint)
