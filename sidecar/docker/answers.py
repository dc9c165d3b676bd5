"""What every answer of the engine has in common: how it is checked, and its mounts."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Required, TypeVar

from pydantic import TypeAdapter, ValidationError

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict

from sidecar.lib.errors import InventoryError
from sidecar.planner.workload import Mount

T = TypeVar("T")

_NO_ENGINE = "something else than a Docker engine may listen at that address"
_DESTINATION = attrgetter("destination")


class WireMount(TypedDict, total=False):
    """A mount as lists and inspections spell it."""

    Type: str | None
    Name: str | None
    Source: str | None
    Destination: Required[str]
    Driver: str | None


def validated(adapter: TypeAdapter[T], data: bytes, source: str, hint: str = _NO_ENGINE) -> T:
    """Parse an answer of the engine; raises InventoryError without a value of it."""
    try:
        return adapter.validate_json(data, strict=True)
    except ValidationError as error:
        raise InventoryError(f"{source} is no answer of an engine: {_fault(error)}", hint) from None


def _fault(error: ValidationError) -> str:
    """Say where the answer is wrong, without its values: labels may hold secrets."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return _place(first["loc"]) + first["msg"].removeprefix("Input ")


def _place(location: Sequence[int | str]) -> str:
    """Name the entry and the field at a location such as (3, "Labels", "a.b")."""
    words: list[str] = []
    fields: list[str] = []
    for part in location:
        if isinstance(part, int):
            words.append(f"{'.'.join(fields)} entry {part}".strip())
            fields.clear()
        else:
            fields.append(part)
    if fields:
        words.append(f"field {'.'.join(fields)}")
    return f"{', '.join(words)}: " if words else ""


def parse_mounts(entries: Sequence[WireMount] | None) -> tuple[Mount, ...]:
    """Read mounts, sorted by destination."""
    if not entries:
        return ()
    mounts = [_mount(entry) for entry in entries]
    if len(mounts) > 1:
        # The engine's order differs from call to call.
        mounts.sort(key=_DESTINATION)
    return tuple(mounts)


def _mount(entry: WireMount) -> Mount:
    name = entry.get("Name") or ""
    return Mount(
        entry.get("Type") or ("volume" if name else "bind"),
        entry.get("Source") or "",
        entry["Destination"],
        name,
        entry.get("Driver") or "",
    )
