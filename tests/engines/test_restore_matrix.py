"""What a restore gives back with the rights of the Compose files, by each restic that is here.

Each restore runs as a process of root with exactly these rights. `RESTIC_CURRENT=/path/to/restic`
adds a second restic to that of the machine.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.engines.bench import INSTANCE, PASSWORD, RESTIC, ResticBench

ROOT = Path(__file__).parents[2]
PROGRAMS = tuple(filter(None, (RESTIC, os.environ.get("RESTIC_CURRENT"))))
_SERVICES = yaml.safe_load((ROOT / "compose.runner-restore.yaml").read_text())["services"]
GRANTED: tuple[str, ...] = tuple(_SERVICES["runner"]["cap_add"])
# Others are needed to open files, not to give them back what they were.
NEEDED = tuple(one for one in GRANTED if one != "DAC_OVERRIDE")
USER, GROUP = 1234, 5678
NET_BIND = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
# The owner, another user, the group, the mask, all others.
_ENTRIES = ((1, 6, -1), (2, 4, 4321), (4, 4, -1), (0x10, 4, -1), (0x20, 0, -1))
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *one) for one in _ENTRIES)
HOLE = 1 << 22
ODD_NAMES = (b"new\nline", b"-dash", b"a: b", b"no utf8 \xff\xfe", b"\xe2\x80", b"long" * 63, b" ")


@dataclass
class Saved:
    """A folder of all that a file system can hold, backed up by one restic."""

    bench: ResticBench
    program: str
    config: Path

    def make(self, name: str | bytes, mode: int = 0o644, content: str = "content") -> Path:
        """Make a file of another user."""
        path = self.bench.source / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        os.chown(path, USER, GROUP)
        path.chmod(mode)
        return path

    def back_up(self) -> None:
        """Back up what is there."""
        self.bench.backup()

    def run(
        self, command: str, *arguments: str, rights: tuple[str, ...] = GRANTED
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as root with these rights, and no other."""
        bounding = ",".join(("-all", *(f"+{one.lower()}" for one in rights)))
        return subprocess.run(
            [
                *("setpriv", f"--bounding-set={bounding}", "--inh-caps=-all", "--no-new-privs"),
                *(sys.executable, "-m", "sidecar.runner", command, "web", *arguments),
                *("--config", str(self.config), "--restic", self.program),
            ],
            env={**self.bench.environ, "PYTHONPATH": str(ROOT), "DOCKER_HOST": "none", "TZ": "UTC"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def has_sparse(self) -> bool:
        """Whether this restic restores holes."""
        return self.bench.restic().features().version >= (0, 15, 0)


@pytest.fixture(params=PROGRAMS, ids=range(len(PROGRAMS)))
def saved(request: pytest.FixtureRequest, restic: ResticBench, tmp_path: Path) -> Saved:
    """Make a document of one plan, and a folder of one file of another user."""
    restic.program = request.param
    repo = {"id": "store", "uri": str(restic.folder / "repo"), "password": PASSWORD}
    plan = {"id": "web", "repo": "store", "paths": [str(restic.source)]}
    document = {
        "modno": 1,
        "version": 6,
        "instance": INSTANCE,
        "repos": [{**repo, "guid": restic.engine().probe()}],
        "plans": [{**plan, "schedule": {"disabled": True}}],
    }
    config = tmp_path / "config" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(document))
    found = Saved(restic, request.param, config)
    found.make("theirs")
    return found


def fill(saved: Saved) -> None:
    """Make one of each kind."""
    folder = saved.bench.source
    for mode in (0o000, 0o400, 0o640, 0o777, 0o1644, 0o2755, 0o4755, 0o6711):
        saved.make(f"mode {mode:04o}", mode)
    for name in ODD_NAMES:
        saved.make(name)
    os.setxattr(saved.make("colour"), "user.colour", b"blue")
    os.setxattr(saved.make("acl"), "system.posix_acl_access", ACL)
    os.setxattr(saved.make("program", 0o755), "security.capability", NET_BIND)
    os.link(saved.make("first name"), folder / "second name")
    with saved.make("sparse").open("r+b") as file:
        file.seek(HOLE)
        file.write(b"end")
    (folder / "link").symlink_to("/nowhere")
    os.lchown(folder / "link", USER, GROUP)
    os.mkfifo(folder / "fifo")
    shared = saved.make("shared/file").parent
    os.chown(shared, USER, GROUP)
    shared.chmod(0o3770)
    os.setxattr(shared, "system.posix_acl_default", ACL)
    os.utime(folder / "theirs", ns=(10**18, 10**18 + 123_456_789))


def properties(folder: Path) -> dict[str, object]:
    """Return all that can be seen of a folder and what is in it, but for what is sparse."""
    found: dict[str, object] = {}
    for entry in (folder, *sorted(folder.rglob("*"))):
        held = entry.lstat()
        names = os.listxattr(entry, follow_symlinks=False)
        attributes = {one: os.getxattr(entry, one, follow_symlinks=False) for one in names}
        links = 0 if entry.is_dir() and not entry.is_symlink() else held.st_nlink
        found[str(entry.relative_to(folder))] = (
            *(held.st_mode, held.st_uid, held.st_gid, held.st_mtime_ns, links),
            *(attributes, entry.read_bytes() if entry.is_file() else b""),
        )
    return found


def without(capability: str) -> tuple[str, ...]:
    """Return the rights of the Compose files but one."""
    return tuple(one for one in GRANTED if one != capability)


def test_all_is_as_it_was_with_the_rights_of_the_compose_files(
    saved: Saved, tmp_path: Path
) -> None:
    """In place and elsewhere; only holes take a restic of at least 0.15."""
    fill(saved)
    saved.back_up()
    source, before = saved.bench.source, properties(saved.bench.source)
    shutil.rmtree(source)
    source.mkdir()
    target = tmp_path / "target"

    done = saved.run("restore", "--in-place")
    aside = saved.run("restore", "--target", str(target))

    assert [(0, ""), (0, "")] == [(one.returncode, one.stderr) for one in (done, aside)]
    assert before == properties(source) == properties(target)
    blocks = {(folder / "sparse").stat().st_blocks * 512 < HOLE for folder in (source, target)}
    assert {saved.has_sparse} == blocks


_LOST: Mapping[str, str] = {
    "CHOWN": "owners of",
    "FOWNER": "permissions of",
    "FSETID": "setuid or setgid bits of",
    "SETFCAP": "extended attribute security.capability of 1 entry",
}


@pytest.mark.parametrize("capability", NEEDED)
def test_without_one_of_these_rights_nothing_is_touched(saved: Saved, capability: str) -> None:
    """It is named, and what it would be needed for; with --force that is a warning."""
    fill(saved)
    saved.back_up()
    live = saved.make("theirs", content="live")

    refused = saved.run("restore", "--in-place", rights=without(capability))

    assert 1 == refused.returncode
    assert f"this process lacks {capability}, which these need" in refused.stderr
    assert _LOST[capability] in refused.stderr
    assert f"grant it (cap_add: [{capability}])" in refused.stderr
    assert "live" == live.read_text()
    forced = saved.run("restore", "--in-place", "--force", rights=without(capability))
    assert (3, False) == (forced.returncode, _LOST[capability] in forced.stderr)
    assert _LOST[capability] in forced.stdout
    assert f"this process lacks {capability}\n" in forced.stdout
    assert "content" == live.read_text()


def test_a_root_that_may_not_open_what_belongs_to_others_is_told_so(saved: Saved) -> None:
    """Nothing is touched; a verification fails, for nothing was compared."""
    live = saved.make("shared/theirs", content="live").parent
    os.chown(live, USER, GROUP)
    live.chmod(0o750)
    saved.back_up()
    rights = without("DAC_OVERRIDE")

    refused = saved.run("restore", "--in-place", "--path", str(live), rights=rights)
    verified = saved.run("verify", rights=rights)

    assert (1, True) == (refused.returncode, "lacks DAC_OVERRIDE" in refused.stderr), refused
    assert (1, True) == (verified.returncode, "lacks DAC_OVERRIDE" in verified.stdout), verified
    assert "live" == (live / "theirs").read_text()


def test_a_restore_elsewhere_tells_what_is_not_as_it_was(saved: Saved, tmp_path: Path) -> None:
    """It is there, and harms nobody."""
    saved.back_up()
    target = tmp_path / "target"

    done = saved.run("restore", "--target", str(target), rights=("DAC_OVERRIDE",))

    assert 3 == done.returncode, done.stderr
    assert f"{saved.bench.source}/theirs: 0:0 instead of {USER}:{GROUP}" in done.stdout
    assert "content" == (target / "theirs").read_text()


def test_attributes_that_nobody_should_be_let_set_are_a_warning(saved: Saved) -> None:
    """They take nearly all of root's rights."""
    os.setxattr(saved.make("marked"), "trusted.mark", b"1")
    saved.back_up()

    done = saved.run("restore", "--in-place")

    assert (3, False) == (done.returncode, "trusted.mark" in done.stderr)
    lost = f"extended attribute trusted.mark of 1 entry ({saved.bench.source}/marked)"
    assert f"not as in the snapshot: {lost}; this process lacks SYS_ADMIN\n" in done.stdout
    assert [] == os.listxattr(saved.bench.source / "marked")


def test_a_device_node_needs_a_right_of_its_own(saved: Saved) -> None:
    """Which the Compose files do not grant."""
    null = saved.bench.source / "null"
    os.mknod(null, 0o020600, os.makedev(1, 3))
    saved.back_up()
    null.unlink()

    refused = saved.run("restore", "--in-place")
    forced = saved.run("restore", "--in-place", "--force")

    assert (1, True) == (refused.returncode, "lacks MKNOD, which these need" in refused.stderr)
    assert 3 == forced.returncode
    assert f"device nodes of 1 entry ({null}); this process lacks MKNOD\n" in forced.stdout
    assert 0 == saved.run("restore", "--in-place", rights=(*GRANTED, "MKNOD")).returncode
    assert os.makedev(1, 3) == null.stat().st_rdev


def test_verify_needs_the_same_rights(saved: Saved) -> None:
    """Without one the sample is good, and the verification a warning."""
    os.setxattr(saved.make("program", 0o2755), "security.capability", NET_BIND)
    os.chown(saved.make("shared/file").parent, USER, GROUP)
    saved.back_up()

    assert 0 == saved.run("verify").returncode
    for capability, lost in _LOST.items():
        done = saved.run("verify", rights=without(capability))
        assert (3, True) == (done.returncode, lost in done.stdout), (capability, done)
        assert f"this process lacks {capability}" in done.stdout
