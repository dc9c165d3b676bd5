"""Watching a file: changes of any kind, and a directory that comes and goes."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
import watchfiles

from sidecar.service import file_watcher
from sidecar.service.file_watcher import FileState, FileWatcher

SECONDS = 10.0


class Watched:
    """A document in a directory, and the hints about it."""

    def __init__(self, folder: Path) -> None:
        self.document = folder / "config.json"
        self.hints: SimpleQueue[FileState] = SimpleQueue()
        self.watcher: FileWatcher | None = None

    def begin(self, pause: float = 0.1) -> FileWatcher:
        """Watch from now on."""
        self.watcher = FileWatcher(self.document, self, pause=pause)
        self.watcher.start()
        return self.watcher

    def file_changed(self, state: FileState) -> None:
        """Take a hint."""
        self.hints.put(state)

    def is_hinted(self) -> bool:
        """Wait for a hint, and tell that there is no second."""
        self.hints.get(timeout=SECONDS)
        return self.hints.empty()

    def replace(self, text: str) -> None:
        """Replace the document as careful writers do."""
        beside = self.document.with_name("new")
        beside.write_text(text)
        beside.replace(self.document)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the step in which changes are told."""
    monkeypatch.setattr(file_watcher, "_STEP_MILLISECONDS", 20)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Return a directory with a document that nobody watches yet."""
    made = Watched(tmp_path / "config")
    made.document.parent.mkdir()
    made.document.write_text("{}")
    yield made
    if made.watcher is not None:
        made.watcher.close()


def write(watched: Watched) -> None:
    """Write in place."""
    watched.document.write_text('{"modno": 1}')


def remove(watched: Watched) -> None:
    """Remove the document."""
    watched.document.unlink()


def restrict(watched: Watched) -> None:
    """Change who may read it."""
    watched.document.chmod(0o600)


def replace(watched: Watched) -> None:
    """Put another file in its place, of the same size."""
    watched.replace("[]")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("change", [write, remove, restrict, replace])
def test_each_change_is_one_hint(watched: Watched, change: Callable[[Watched], None]) -> None:
    """However it is made."""
    watched.begin()
    change(watched)

    assert watched.is_hinted()


@pytest.mark.usefixtures("quick")
def test_change_is_told_by_the_directory(watched: Watched) -> None:
    """Not only by looking each pause, which would take a minute here."""
    watched.begin(pause=60)
    _when_watching(watched)
    write(watched)

    assert watched.is_hinted()


@pytest.mark.usefixtures("quick")
def test_other_files_are_not_the_document(watched: Watched) -> None:
    """The first hint is that of the document's own change."""
    watched.begin()
    (watched.document.parent / "config.json.lock").write_text("x")
    (watched.document.parent / ".sidecar").mkdir()
    replace(watched)

    assert watched.is_hinted()


@pytest.mark.usefixtures("quick")
def test_change_behind_a_link_is_one_of_the_document(watched: Watched) -> None:
    """The link leads to a file beside it."""
    real = watched.document.rename(watched.document.with_name("real.json"))
    watched.document.symlink_to("real.json")
    watched.begin(pause=60)
    _when_watching(watched)
    real.write_text('{"modno": 2}')

    assert watched.is_hinted()


@pytest.mark.usefixtures("quick")
def test_directory_may_come_go_and_be_another(watched: Watched) -> None:
    """It is looked for; each time the document is another, or gone, there is a hint."""
    folder = watched.document.parent
    shutil.rmtree(folder)
    watched.begin()
    folder.mkdir()
    write(watched)
    watched.hints.get(timeout=SECONDS)

    folder.rename(folder.with_name("old"))
    watched.hints.get(timeout=SECONDS)
    folder.mkdir()
    write(watched)
    watched.hints.get(timeout=SECONDS)


def test_directory_that_cannot_be_watched_is_looked_at(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the system has no more watches; it is told once."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "no space for another watch")

    monkeypatch.setattr(file_watcher, "watch", refuse)
    watched.begin(pause=0.01)
    write(watched)
    watched.hints.get(timeout=SECONDS)
    replace(watched)
    watched.hints.get(timeout=SECONDS)

    assert [record.message for record in caplog.records] == ["document.unwatched"]


@pytest.mark.usefixtures("quick")
def test_change_before_the_thread_ran_is_seen(watched: Watched) -> None:
    """From the moment of construction on, nothing is overlooked."""
    made = FileWatcher(watched.document, watched, pause=0.1)
    write(watched)
    with made:
        assert watched.is_hinted()


@pytest.mark.parametrize("there", [True, False])
def test_closing_takes_less_than_a_second(watched: Watched, there: bool) -> None:
    """While it watches, and while it waits for the directory."""
    if not there:
        shutil.rmtree(watched.document.parent)
    watching = watched.begin(pause=60)
    started = time.monotonic()
    watching.close()

    assert time.monotonic() - started < 1
    assert watched.hints.empty()


def _when_watching(watched: Watched) -> None:
    """Wait until the directory is watched: another watcher, begun later, sees its own change."""
    other = watched.document.with_name("other")
    for _ in watchfiles.watch(
        watched.document.parent, step=10, rust_timeout=10, yield_on_timeout=True
    ):
        other.write_text("x")
        if _inotify_watches() > 1:
            break


def _inotify_watches() -> int:
    """Count the directories that this process watches."""
    found = 0
    for entry in os.listdir("/proc/self/fdinfo"):
        try:
            text = Path("/proc/self/fdinfo", entry).read_text()
        except OSError:
            continue
        found += text.count("inotify wd:")
    return found


@pytest.mark.usefixtures("quick")
def test_a_change_comes_with_the_state_of_the_file(watched: Watched) -> None:
    """By which a listener knows its own last write."""
    made = FileWatcher(watched.document, watched, pause=0.1)
    watched.replace("ours")
    after = watched.document.stat()
    times = (after.st_mtime_ns, after.st_ctime_ns)
    with made:
        state = watched.hints.get(timeout=SECONDS)
    assert (after.st_dev, after.st_ino, after.st_size, *times) == state
