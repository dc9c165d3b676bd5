"""The directory of a mount: its path on the host, and where the runner sees it."""

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidecar.docker.models import Mount, Volume
from sidecar.labels.policy import Policy

_ANONYMOUS = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ANONYMOUS_LENGTH = 64
# Where Podman mounts a `:O` bind; the number is another one at each start.
_OVERLAY = re.compile(r"/userdata/overlay/[^/]+/merge$")
_OVERLAY_TROUBLE = "it is an overlay of Podman, in a directory that changes at each start"
_SYSTEM_FILES = frozenset(
    {
        "/",
        "/etc/localtime",
        "/etc/timezone",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
        "/etc/machine-id",
    }
)
_SYSTEM_TREES = (
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/lib/modules",
    "/usr/lib/modules",
    "/tmp/.X11-unix",  # noqa: S108  # a name to compare with
    "/usr/share/zoneinfo",
    "/usr/lib/zoneinfo",
    "/var/db/timezone",
)
_BELOW_SYSTEM = tuple(f"{tree}/" for tree in _SYSTEM_TREES)
# Disks that desktops mount, and the host's disks as Docker Desktop shows them.
_DATA_TREES = ("/run/media", "/run/mnt", "/var/run/media", "/run/desktop/mnt/host")


def normal_path(path: str) -> str:
    """Resolve `.`, `..` and doubled slashes of an absolute path, lexically."""
    if path.startswith("/") and "//" not in path and "/." not in path and path[-1:] != "/":
        return path
    return "/" + posixpath.normpath(path).lstrip("/")


def is_under(path: str, root: str) -> bool:
    """Return whether a normal path is `root` itself or lies below it."""
    return path.startswith(root) and (
        len(path) == len(root) or path[len(root)] == "/" or root == "/"
    )


def move(path: str, root: str, new_root: str) -> str:
    """Take `path`, which lies under `root`, to the same place under `new_root`."""
    rest = path[len(root.rstrip("/")) :]
    return (new_root.rstrip("/") + rest) or "/"


def without_nested(paths: Iterable[str]) -> tuple[str, ...]:
    """Sort paths, drop repeated ones and those inside another."""
    ordered = sorted(set(paths))
    if ordered[:1] == ["/"]:
        return ("/",)
    roots = tuple([f"{path}/" for path in ordered])
    return tuple([path for path in ordered if not path.startswith(roots)])


def is_anonymous(volume: str) -> bool:
    """Return whether Docker made the volume's name up: 64 hex digits."""
    return len(volume) == _ANONYMOUS_LENGTH and bool(_ANONYMOUS.fullmatch(volume))


class MountLocation(NamedTuple):
    """A mount and its directory on the host; `trouble` says why there is none.

    `chosen`: a person named the directory (a bind mount); Docker did not make it for a volume.
    """

    host: str
    mount: Mount
    trouble: str = ""
    chosen: bool = False


class Locator:
    """Finds, for one pass, where mounts lie; built once from what was observed.

    `runner_mounts` are the mounts of the runner's container, None when they are
    not known.
    """

    def __init__(
        self,
        policy: Policy,
        volumes: Mapping[str, Volume],
        runner_mounts: tuple[Mount, ...] | None = None,
    ) -> None:
        self._volumes = volumes
        self._root = normal_path(policy.docker_root)
        self._skip_binds = policy.exclude_bind_mounts
        self._mapped = [(normal_path(host), normal_path(to)) for host, to in policy.path_map]
        self._volume_root = move("/volumes", "/", self._root)
        self._container_root = move("/containers", "/", self._root)
        self._volume_prefix = policy.volume_prefix and normal_path(policy.volume_prefix)
        self._mapped.sort(key=lambda pair: (-len(pair[0]), pair))
        self._runner = None if runner_mounts is None else self._runner_view(runner_mounts)

    def _runner_view(self, mounts: tuple[Mount, ...]) -> list[tuple[str, str]]:
        paths = [(self.locate(mount).host, normal_path(mount.destination)) for mount in mounts]
        return sorted(paths, key=lambda pair: (-len(pair[0]), pair))

    def locate(self, mount: Mount) -> MountLocation:
        """Find a mount's directory on the host, as it is also while no container runs."""
        root = self._locate_root(mount)
        if not mount.subpath or not root.host:
            return root
        inside = normal_path(f"{root.host}/{mount.subpath}")
        if not is_under(inside, root.host):
            return MountLocation("", mount, f"the subpath {mount.subpath} leaves its volume")
        return root._replace(host=inside)

    def _locate_root(self, mount: Mount) -> MountLocation:
        if mount.type == "bind" and mount.source:
            if mount.source.endswith("/merge") and _OVERLAY.search(mount.source):
                return MountLocation("", mount, _OVERLAY_TROUBLE)
            return MountLocation(normal_path(mount.source), mount, chosen=True)
        if mount.type != "volume":
            return _no_directory(mount)
        volume = self._volumes.get(mount.name)
        driver = mount.driver or (volume.driver if volume else "local")
        if driver not in ("", "local"):
            return MountLocation("", mount, f"the volume driver {driver} keeps its data elsewhere")
        if (
            volume is not None
            and volume.options
            and (location := _locate_by_options(mount, volume))
        ):
            return location
        return self._locate_plain_volume(mount)

    def locate_volume(self, name: str) -> MountLocation | None:
        """Find the directory of a volume, also one that the workload does not mount."""
        volume = self._volumes.get(name)
        if volume is None:
            return None
        return self.locate(Mount("volume", volume.mountpoint, "", name, volume.driver))

    def _locate_plain_volume(self, mount: Mount) -> MountLocation:
        if mount.source:
            return MountLocation(normal_path(mount.source), mount)
        if mount.name:
            return MountLocation(f"{self._volume_root}/{mount.name}/_data", mount)
        return MountLocation(
            "", mount, "the anonymous volume has no name before its container exists"
        )

    def why_not_data(self, location: MountLocation) -> str:
        """Return why a mount is not backed up by default; the empty string when it is."""
        mount, host = location.mount, location.host
        if not host:
            return location.trouble
        if host.endswith(".sock"):
            return "a socket holds no data"
        if mount.type == "bind" and self._skip_binds:
            return "bind mounts are left out (--exclude-bind-mounts)"
        if self.holds_data_root(location):
            return f"Docker's own data lies below {host}"
        if location.chosen and self._is_system(host):
            return f"{host} belongs to the host"
        return ""

    def holds_data_root(self, location: MountLocation) -> bool:
        """Return whether a mount is left out because Docker's data root lies below it."""
        host = location.host
        return location.chosen and host not in ("/", self._root) and is_under(self._root, host)

    def _is_system(self, host: str) -> bool:
        if host in _SYSTEM_FILES or host in _SYSTEM_TREES or is_under(self._root, host):
            return True
        if host in (self._volume_root, self._container_root):
            return True
        return host.startswith(_BELOW_SYSTEM) and not any(
            is_under(host, tree) for tree in _DATA_TREES
        )

    def runner_path(self, host: str) -> str | None:
        """Translate a host path to the runner's path of it; None when the runner cannot see it."""
        for root, target in self._mapped:
            if is_under(host, root):
                return move(host, root, target)
        if self._volume_prefix and is_under(host, self._volume_root):
            return move(host, self._volume_root, self._volume_prefix)
        if self._runner is None:
            return host
        return self._through_runner(host, self._runner)

    @staticmethod
    def _through_runner(host: str, view: list[tuple[str, str]]) -> str | None:
        for source, destination in view:
            if source and is_under(host, source):
                path = move(host, source, destination)
                # Another mount over that path would hide it.
                hidden = any(
                    len(other) > len(destination) and is_under(path, other) for _, other in view
                )
                if not hidden:
                    return path
        return None


def _no_directory(mount: Mount) -> MountLocation:
    return MountLocation("", mount, f"a {mount.type} mount has no directory of its own on the host")


def _locate_by_options(mount: Mount, volume: Volume) -> MountLocation | None:
    """Return where a local volume with driver options lies: it is a mount of something else.

    None where there is only a size limit, which leaves the directory what it was.
    """
    options = volume.options
    kind, device = options.get("type", ""), options.get("device", "")
    flags = options.get("o", "").split(",")
    if ("bind" in flags or "rbind" in flags) and device.startswith("/"):
        return MountLocation(normal_path(device), mount, chosen=True)
    if not kind and not device and all(flag.startswith("size=") or not flag for flag in flags):
        return None
    what = kind if kind not in ("", "none") else "with driver options"
    return MountLocation(
        "", mount, f"its directory is empty while no container runs ({what} volume)"
    )
