"""SIGKILL at every system call of a write that changes the file system, and the start after it.

A child process makes one update under strace. A first run lists its system calls that
change something in the document's directory. Then it is run again once for each of them,
and strace kills it as it enters that call: all calls before have happened, this one and
the rest have not. Whatever it finds, the next update must put in order.

Saves by another program that fall into the one moment when they are displaced are made by
a second process, started from the child right before its exchange of names.
"""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.reconciler.store.replace import AlreadyThereError, Store
from tests.fakes.store_update import update

ROOT = Path(__file__).parents[2]
CHILD = ROOT / "tests" / "fakes" / "one_update.py"

BASE, FIRST, SECOND = b"base", b"first foreign", b"second foreign"

CHANGES = [
    "open",
    "openat",
    "creat",
    "write",
    "pwrite64",
    "writev",
    "truncate",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "chown",
    "lchown",
    "fchown",
    "fchownat",
    "chmod",
    "fchmod",
    "fchmodat",
    "setxattr",
    "fsetxattr",
    "removexattr",
    "fremovexattr",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "utimensat",
]


@dataclass(frozen=True)
class Call:
    """One system call: `number` is its place among the calls of that name, from 1."""

    name: str
    number: int
    text: str


@dataclass(frozen=True)
class Scene:
    """A fresh directory with the document, and the child that works on it."""

    path: Path
    action: str = "update"
    saves: tuple[Path, ...] = ()
    options: tuple[str, ...] = ()

    def run(self, *inject: str) -> tuple[int, list[Call]]:
        """Run the child under strace; return its exit code and its calls in our directory."""
        log = self.path.parent.parent / "strace"
        names = ",".join(f"?{name}" for name in CHANGES)
        command = ["strace", "-y", "-s", "9", "-o", str(log), "-e", f"trace={names}"]
        command += [*self.options, *inject, sys.executable, str(CHILD), self.action]
        command += [str(self.path), *map(str, self.saves)]
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }
        done = subprocess.run(command, env=environment, check=False, capture_output=True)
        return done.returncode, parse_calls(log.read_text(), self.path.parent)

    def names(self) -> list[str]:
        """Everything in the document's directory, sorted."""
        return sorted(entry.name for entry in self.path.parent.iterdir())

    def displaced(self) -> list[bytes]:
        """The contents of all saves that were kept aside."""
        return [file.read_bytes() for file in self.path.parent.glob("config.json.displaced-*")]


def parse_calls(log: str, directory: Path) -> list[Call]:
    """Pick from a log the calls that change `directory`, with random parts made equal."""
    seen: Counter[str] = Counter()
    calls = []
    for line in log.splitlines():
        if not (found := re.match(r"(\w+)\((.*)", line)):
            continue
        seen[found[1]] += 1
        opens = found[1] in ("open", "openat")
        if str(directory) in line and (not opens or "O_CREAT" in line):
            text = re.sub(r"[0-9a-f]{16}(?=\.)|\s*(\)|<unfinished).*$|^\d+", "", found[2])
            calls.append(Call(found[1], seen[found[1]], text.replace(str(directory), "")))
    return calls


def fresh(folder: Path, *, saves: int = 0, document: bool = True) -> tuple[Path, tuple[Path, ...]]:
    """Make a directory with the document, and beside it the saves yet to be made."""
    path = folder / "config" / "config.json"
    path.parent.mkdir(parents=True)
    if document:
        path.write_bytes(BASE)
    waiting = tuple(folder / f"save{number}" for number in range(saves))
    for file, content in zip(waiting, (FIRST, SECOND), strict=False):
        file.write_bytes(content)
    return path, waiting


def kill_everywhere(
    make: Callable[[Path], Scene], folder: Path, check: Callable[[Scene], None]
) -> Counter[str]:
    """Kill the child at each of its calls in turn, `check` what is left; count the calls."""
    code, calls = make(folder / "listed").run()
    assert code == 0
    for index, call in enumerate(calls):
        scene = make(folder / str(index))
        code, killed = scene.run("-e", f"inject={call.name}:signal=SIGKILL:when={call.number}")
        assert code in (-signal.SIGKILL, 128 + signal.SIGKILL), call
        assert killed == calls[: index + 1]
        check(scene)
    return Counter(call.name for call in calls)


def updated(scene: Scene) -> list[str]:
    """Run the next update, as after a restart; return its notices."""
    store = Store(scene.path)
    notices = store.recover()
    update(store, lambda content: None if b"+ours" in content else content + b"+ours")
    return notices


@pytest.mark.timeout(60)
def test_a_killed_update_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    """Killed at each call: one of the two, byte for byte, and the next update cleans up."""

    def check(scene: Scene) -> None:
        assert scene.path.read_bytes() in (BASE, BASE + b"+ours")
        assert updated(scene) == []
        assert (scene.path.read_bytes(), scene.names()) == (BASE + b"+ours", ["config.json"])

    calls = kill_everywhere(lambda folder: Scene(fresh(folder)[0]), tmp_path, check)
    assert {"openat", "write", "fsync", "renameat2"} <= calls.keys()


@pytest.mark.timeout(60)
def test_a_killed_update_without_exchange_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    """Nor does it matter where the kernel refuses the exchange and a plain rename does it."""
    refuse = ("-e", "inject=renameat2:error=EINVAL")
    path, _ = fresh(tmp_path / "listed")
    code, calls = Scene(path, options=refuse).run()
    assert code == 0
    for index, call in enumerate(calls):
        if call.name == "renameat2":
            continue
        scene = Scene(fresh(tmp_path / str(index))[0], options=refuse)
        scene.run("-e", f"inject={call.name}:signal=SIGKILL:when={call.number}")
        assert scene.path.read_bytes() in (BASE, BASE + b"+ours")
        assert updated(scene) == []
        assert (scene.path.read_bytes(), scene.names()) == (BASE + b"+ours", ["config.json"])


@pytest.mark.timeout(60)
def test_a_killed_update_never_loses_a_displaced_save(tmp_path: Path) -> None:
    """Killed at each call around a save that the exchange displaces: the save is merged."""
    outcomes: Counter[str] = Counter()

    def make(folder: Path) -> Scene:
        path, saves = fresh(folder, saves=1)
        return Scene(path, saves=saves)

    def check(scene: Scene) -> None:
        saved = not scene.saves[0].exists()
        content = scene.path.read_bytes()
        assert content in (BASE, BASE + b"+ours", FIRST, FIRST + b"+ours")
        notices = updated(scene)
        assert scene.path.read_bytes() == (FIRST if saved else BASE) + b"+ours"
        assert scene.names() == ["config.json"]
        outcomes[f"saved={saved} back={len(notices)}"] += 1

    kill_everywhere(make, tmp_path, check)
    assert set(outcomes) == {"saved=False back=0", "saved=True back=0", "saved=True back=1"}


@pytest.mark.timeout(60)
def test_a_killed_update_never_loses_the_second_of_two_displaced_saves(tmp_path: Path) -> None:
    """Killed anywhere while two saves are put right: the newest is merged or kept in sight."""

    def make(folder: Path) -> Scene:
        path, saves = fresh(folder, saves=2)
        return Scene(path, saves=saves)

    def check(scene: Scene) -> None:
        newest = [BASE, FIRST, SECOND][[file.exists() for file in scene.saves].count(False)]
        updated(scene)
        content, aside = scene.path.read_bytes(), scene.displaced()
        assert content == newest + b"+ours" or newest in aside
        assert content in [save + b"+ours" for save in (BASE, FIRST, SECOND)]
        assert len(scene.names()) == 1 + len(aside)

    kill_everywhere(make, tmp_path, check)


@pytest.mark.timeout(60)
def test_a_killed_recovery_is_taken_up_again(tmp_path: Path) -> None:
    """Killed while it puts a displaced save back, the next start does it after all."""

    def make(folder: Path) -> Scene:
        path, saves = fresh(folder, saves=1)
        # The second exchange is the one that would have put the save back.
        Scene(path, saves=saves).run("-e", "inject=renameat2:signal=SIGKILL:when=2")
        assert (path.read_bytes(), saves[0].exists()) == (BASE + b"+ours", False)
        assert len(list(path.parent.iterdir())) == 2
        return Scene(path)

    def check(scene: Scene) -> None:
        assert scene.path.read_bytes() in (BASE + b"+ours", FIRST, FIRST + b"+ours")
        updated(scene)
        assert (scene.path.read_bytes(), scene.names()) == (FIRST + b"+ours", ["config.json"])

    kill_everywhere(make, tmp_path, check)


@pytest.mark.timeout(60)
def test_a_killed_creation_leaves_nothing_or_the_whole_file(tmp_path: Path) -> None:
    """Killed at each call: no half document, and the next creation is not in its way."""

    def check(scene: Scene) -> None:
        made = scene.path.exists()
        if made:
            assert scene.path.read_bytes() == b"created"
            with pytest.raises(AlreadyThereError):
                Store(scene.path).create(b"again")
        else:
            Store(scene.path).create(b"again")
        assert scene.path.read_bytes() == (b"created" if made else b"again")
        assert scene.names() == ["config.json"]

    def make(folder: Path) -> Scene:
        return Scene(fresh(folder, document=False)[0], action="create")

    calls = kill_everywhere(make, tmp_path, check)
    assert {"openat", "write", "fsync"} <= calls.keys()
