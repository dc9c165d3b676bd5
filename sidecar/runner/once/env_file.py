"""A file of variables for a container, read as `docker run --env-file` reads it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecar.lib.errors import UsageError
from sidecar.lib.read_file import read_file

_MOST_BYTES = 1 << 20
_FLAG = "--rcb-env-file"


def read_env_file(path: Path, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Read the variables of a file; a name without `=` is taken from `environ`, if it is there.

    Raises UsageError, which names the file and the line and never shows a value.
    """
    try:
        content = read_file(path, _MOST_BYTES)
    except OSError as error:
        raise UsageError(
            f"{_FLAG} {path} cannot be read: {error.strerror}", "name a file of NAME=VALUE lines"
        ) from None
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{_FLAG} {path} is larger than 1 MiB", "name a file of variables")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{_FLAG} {path} is no UTF-8 text", "save it as UTF-8") from None
    return tuple(parse_env_file(text, environ, str(path)))


def parse_env_file(text: str, environ: Mapping[str, str], name: str) -> Iterator[tuple[str, str]]:
    """Parse the lines; a value is all that follows the first `=`, quotes and blanks included."""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        variable, equals, value = line.partition("=")
        _check_variable(variable, f"{_FLAG} {name}, line {number}")
        if equals:
            yield variable, value
        elif variable in environ:
            yield variable, environ[variable]


def _check_variable(variable: str, where: str) -> None:
    if not variable:
        raise UsageError(f"{where} has no name before the =", "write NAME=VALUE")
    if any(character.isspace() for character in variable) or "\0" in variable:
        raise UsageError(f"{where}: there is a blank in the name", "write NAME=VALUE")
