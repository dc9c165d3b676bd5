"""Images for an engine that can pull none: a small Debian with packages, made here.

    python debian_root.py ADDRESS NAME:TAG [PACKAGE...]

The root file system is made by debootstrap from the mirrors that this machine's apt uses,
and kept as a tar below `.cache/debian`: the same packages are not installed twice. Needs
root, debootstrap and a Debian machine.
"""

import fcntl
import hashlib
import io
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

_CACHE = Path(__file__).parents[2] / ".cache" / "debian"
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
_SECONDS = 600
# Packages may run what needs /proc, and shall start no service on this machine.
_INSTALL = """
set -e
mount -t proc proc "$ROOT/proc"
printf '#!/bin/sh\\nexit 101\\n' >"$ROOT/usr/sbin/policy-rc.d"
chmod 755 "$ROOT/usr/sbin/policy-rc.d"
chroot "$ROOT" apt-get -q update
chroot "$ROOT" apt-get -q install -y --no-install-recommends $PACKAGES
chroot "$ROOT" apt-get clean
rm -rf "$ROOT"/var/lib/apt/lists/* "$ROOT/usr/sbin/policy-rc.d"
"""


class DebianRootError(RuntimeError):
    """The root could not be made; the message ends with what the program said."""


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Where this machine's apt finds Debian: the release, and lines of a sources.list."""

    release: str
    main: str
    lines: tuple[str, ...]


def import_debian(
    client: docker.APIClient,
    tag: str,
    packages: Sequence[str] = (),
    *,
    release: str = "",
    files: Mapping[str, bytes] | None = None,
    changes: Sequence[str] = (),
) -> None:
    """Make the image `tag` (NAME:TAG) of a minimal Debian with `packages`.

    `release` is its code name, by default that of this machine.
    `files` are further files, path → content; one below a `bin` folder becomes executable.
    `changes` are Dockerfile instructions (`CMD [...]`). The machine's CA bundle is in it.
    Raises DebianRootError.
    """
    name, _, version = tag.rpartition(":")
    with tempfile.TemporaryDirectory(prefix="debian-") as scratch:
        packed = Path(scratch) / "root.tar"
        shutil.copyfile(debian_tar(packages, release), packed)
        _add_files(packed, files or {})
        client.import_image(src=str(packed), repository=name, tag=version, changes=list(changes))


def debian_tar(packages: Sequence[str] = (), release: str = "") -> Path:
    """Return the uncompressed tar of a root with `packages`, made now or found in the cache."""
    mirrors = find_mirrors(release)
    named = " ".join([mirrors.release, *sorted(packages)])
    kept = _CACHE / f"{hashlib.sha256(named.encode()).hexdigest()[:16]}.tar"
    with _locked():
        if not kept.exists():
            _make(kept, mirrors, packages)
    return kept


def find_mirrors(wanted: str = "") -> Mirrors:
    """Ask apt where it finds the release that this machine runs.

    Another release that is `wanted` is in the same archive, without its updates.
    """
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    shown = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", shown, "Identifier: Packages"]
    rows = sorted({line for line in _said_by(command).splitlines() if line.endswith(" main")})
    lines = [line for line in rows if line.split()[1].partition("-")[0] == release]
    exact = [line.split()[0] for line in lines if line.split()[1] == release]
    if not exact:
        raise DebianRootError(f"apt has no source of Debian {release or 'on this machine'}")
    if wanted not in ("", release):
        return Mirrors(wanted, exact[0], (f"deb {exact[0]} {wanted} main",))
    return Mirrors(release, exact[0], tuple(f"deb {line}" for line in lines))


def _make(kept: Path, mirrors: Mirrors, packages: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="root-", dir=_CACHE) as scratch:
        root = Path(scratch) / "root"
        if packages:
            _unpack(_bare_tar(mirrors), root)
            _install(root, mirrors, packages)
        else:
            command = ["debootstrap", "--variant=minbase", "--include=ca-certificates"]
            _said_by([*command, mirrors.release, str(root), mirrors.main])
        _trust_what_this_machine_trusts(root)
        part = Path(scratch) / "root.tar"
        left_out = ("--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*")
        _said_by(["tar", "--numeric-owner", "-C", str(root), *left_out, "-cf", str(part), "."])
        part.rename(kept)


def _bare_tar(mirrors: Mirrors) -> Path:
    kept = _CACHE / f"{hashlib.sha256(mirrors.release.encode()).hexdigest()[:16]}.tar"
    if not kept.exists():
        _make(kept, mirrors, ())
    return kept


def _unpack(packed: Path, root: Path) -> None:
    root.mkdir()
    _said_by(["tar", "--numeric-owner", "-C", str(root), "-xpf", str(packed)])
    for device, numbers in {
        "null": (1, 3),
        "zero": (1, 5),
        "random": (1, 8),
        "urandom": (1, 9),
    }.items():
        os.mknod(root / "dev" / device, 0o020666, os.makedev(*numbers))
        (root / "dev" / device).chmod(0o666)


def _install(root: Path, mirrors: Mirrors, packages: Sequence[str]) -> None:
    (root / "etc/apt/sources.list").write_text("\n".join(mirrors.lines) + "\n")
    for name in ("etc/resolv.conf", "etc/hosts"):
        shutil.copyfile(f"/{name}", root / name)
    script = (
        f"ROOT={shlex.quote(str(root))}\nPACKAGES={shlex.quote(' '.join(packages))}\n{_INSTALL}"
    )
    # In a process namespace of its own: whatever a package starts ends with it.
    _said_by(["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script])


def _trust_what_this_machine_trusts(root: Path) -> None:
    bundle = Path(os.environ.get("SSL_CERT_FILE", f"/{_BUNDLE}"))
    if bundle.is_file():
        (root / _BUNDLE).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle, root / _BUNDLE)


def _add_files(packed: Path, files: Mapping[str, bytes]) -> None:
    names = {path: f"./{path.lstrip('/')}" for path in files}
    with tarfile.open(packed) as tar:
        replaced = set(names.values()).intersection(tar.getnames())
    if replaced:
        # The engine refuses a tar that names a file twice.
        _said_by(["tar", "--delete", "-f", str(packed), *sorted(replaced)])
    with tarfile.open(packed, "a") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(names[path])
            entry.size = len(content)
            entry.mode = 0o755 if Path(path).parent.name in {"bin", "sbin"} else 0o644
            tar.addfile(entry, io.BytesIO(content))


@contextmanager
def _locked() -> Iterator[None]:
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _said_by(command: Sequence[str]) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=_SECONDS,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        raise DebianRootError(f"{command[0]} is not installed") from None
    if done.returncode:
        raise DebianRootError(f"{command[0]} failed:\n{done.stdout[-3000:]}")
    return done.stdout


def main() -> None:
    """Read the address, the tag and the packages from the command line."""
    address, tag, *packages = sys.argv[1:]
    client = docker.APIClient(base_url=address, version="auto")
    import_debian(client, tag, packages)


if __name__ == "__main__":
    main()
