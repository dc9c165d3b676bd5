"""A container like another one, but which may write in some places: as a `docker run` line.

Secrets are named in it, never written: `--env NAME` takes the value from whoever runs the line.
"""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.docker.models import Container, Mount
from sidecar.docker.usage import on_host

CAPABILITIES = ("DAC_OVERRIDE", "CHOWN", "FOWNER", "FSETID", "SETFCAP")
"""What of root's rights a restore needs; see compose.runner-restore.yaml."""

_OF_THE_IMAGE = frozenset({"PATH", "HOME", "HOSTNAME", "LANG"})
_PLAIN = frozenset({"TZ", "BACKREST_CONFIG", "BACKREST_DATA", "BACKREST_PORT", "XDG_CACHE_HOME"})


@dataclass(frozen=True, slots=True)
class ContainerTemplate:
    """What a container is made of, as far as another one like it needs that.

    `networks` are those that it is in, or `host` or `none`; `variables` are the names of its
    environment, and `plain` the values of those that hold no secret. `command` is what it runs.
    """

    container: Container
    image: str
    hostname: str
    networks: tuple[str, ...]
    variables: tuple[str, ...]
    plain: Mapping[str, str]
    command: tuple[str, ...] = ()

    def runs(self, program: str) -> bool:
        """Return whether its command names a program."""
        return any(posixpath.basename(word) == program for word in self.command)


def template_of(entry: Mapping[str, Any]) -> ContainerTemplate:
    """Read Docker's description of a container, as `/containers/ID/json` gives it."""
    config, host = entry["Config"], entry["HostConfig"]
    pairs = [str(one).partition("=") for one in config.get("Env") or ()]
    mode = str(host.get("NetworkMode") or "default")
    networks = tuple((entry.get("NetworkSettings") or {}).get("Networks") or ())
    mounts = tuple(
        Mount(
            one.get("Type", ""),
            posixpath.normpath(one.get("Source") or "/"),
            posixpath.normpath(one["Destination"]),
            one.get("Name", ""),
            is_writable=bool(one.get("RW")),
        )
        for one in entry.get("Mounts") or ()
    )
    return ContainerTemplate(
        Container(entry["Id"], entry["Name"].removeprefix("/"), mounts=mounts),
        image=str(config["Image"]),
        hostname=str(config.get("Hostname") or ""),
        networks=(mode,) if mode in {"host", "none"} else networks,
        variables=tuple(name for name, _, _ in pairs if name not in _OF_THE_IMAGE),
        command=(str(entry.get("Path") or ""), *map(str, entry.get("Args") or ())),
        plain={name: value for name, _, value in pairs if name in _PLAIN},
    )


def render_run(
    template: ContainerTemplate,
    places: Iterable[str],
    words: Sequence[str],
    *,
    image: str = "",
    on_terminal: bool = False,
    more: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Return the command line of a container that may write in `places`, and runs `words`.

    Places are paths as the container of the template sees them. It has all mounts of that, its
    first network, its name of the host, and its variables by their names. `image` is another one
    than that of the template, `more` are further variables, which hold no secret. Raises
    ValueError for a place that cannot be written in such a line.
    """
    argv = ["docker", "run", "--rm", *(["--interactive", "--tty"] if on_terminal else [])]
    argv += ["--volumes-from", template.container.name]
    argv += ["--hostname", template.hostname] if template.hostname else []
    argv += ["--network", template.networks[0]] if template.networks else []
    argv += ["--read-only", "--tmpfs", "/tmp"]  # noqa: S108 - of the container
    argv += ["--cap-drop", "ALL", *(word for one in CAPABILITIES for word in ("--cap-add", one))]
    argv += ["--security-opt", "no-new-privileges:true"]
    plain = {**template.plain, **(more or {})}
    for name in dict.fromkeys((*template.variables, *plain)):
        argv += ["--env", f"{name}={plain[name]}" if name in plain else name]
    for place in sorted(set(places)):
        source = on_host(place, template.container)
        if ":" in source + place:
            raise ValueError(place)
        argv += ["--volume", f"{source}:{place}"]
    return (*argv, image or template.image, *words)
