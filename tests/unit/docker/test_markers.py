"""Markers of what hook scripts stopped: read with suspicion, removed without losing a new one."""

import os
from pathlib import Path

import pytest

from sidecar.docker.markers import Marker, read_markers, remove_marker
from sidecar.docker.stopped import NotedStop, StopVerb
from sidecar.lib import files as atomic
from sidecar.lib.errors import StoreError

ID = "ab" * 32
FULL = f"plan=p\ncontainer={ID}\nstate=running\nfinished=2026-01-02T03:04:05.6Z\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The place of the markers."""
    made = tmp_path / ".quiesced"
    made.mkdir()
    return made


def only(directory: Path) -> Marker:
    """Read the one marker that is there."""
    [marker] = read_markers(directory)
    return marker


def test_no_directory_is_no_marker(tmp_path: Path) -> None:
    """No hook has ever stopped anything."""
    assert [] == read_markers(tmp_path / ".quiesced")


def test_markers_tell_what_was_stopped(directory: Path) -> None:
    """Sorted by name; the time is that of the file."""
    (directory / "web-1").write_text(FULL)
    os.utime(directory / "web-1", (1000, 1000))
    (directory / "svc").write_text(f"plan=q\ncontainer={ID[:25]}\nstate=scaled\nreplicas=3\n")
    service, web = read_markers(directory)
    assert ("svc", "q", ID[:25], 3, True) == (
        service.name,
        service.plan,
        service.container,
        service.stop.replicas,
        service.is_of_service,
    )
    assert ("web-1", "p", ID, "running", "2026-01-02T03:04:05.6Z", 1000.0) == (
        web.name,
        web.plan,
        web.container,
        web.state,
        web.stop.finished,
        web.written_at,
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("verb=stop\nat=1772625000\ntimeout=4\n", NotedStop(StopVerb.STOP, 1772625000.0, 4)),
        ("verb=pause\nat=9\ntimeout=-1\nfinished=f\n", NotedStop(StopVerb.PAUSE, 9.0, -1, "f")),
        ("verb=scale\nat=9\ntimeout=0\n", NotedStop(StopVerb.SCALE, 9.0, 0)),
        ("", NotedStop(StopVerb.UNKNOWN, 1000.0, 10)),
        ("verb=reboot\nat=-1\ntimeout=-2\n", NotedStop(StopVerb.UNKNOWN, 1000.0, 10)),
        (f"at={'9' * 12}\ntimeout={'9' * 10}\n", NotedStop(StopVerb.UNKNOWN, 1000.0, 10)),
    ],
)
def test_markers_tell_when_and_how_it_was_stopped(
    directory: Path, lines: str, expected: NotedStop
) -> None:
    """Without the time, which an older version did not write, the file's own counts."""
    (directory / "web").write_text(f"plan=p\ncontainer={ID}\nstate=running\n{lines}")
    os.utime(directory / "web", (1000, 1000))
    assert expected == only(directory).stop


@pytest.mark.parametrize(
    ("content", "container", "finished"),
    [
        ("", "", ""),
        (f"plan=p\ncontainer={ID}", "", ""),
        (f"plan=p\ncontainer={ID}\nfinished=2026-", ID, ""),
        ("container=../../images/x\n", "", ""),
        ("container=$(reboot)\n", "", ""),
        ("\udcff\udcfe no marker\n\n===\n", "", ""),
        (f"container={ID}\nreplicas=-1\nreplicas=99999999999\n", ID, ""),
    ],
)
def test_what_is_torn_or_forged_names_nothing(
    directory: Path, content: str, container: str, finished: str
) -> None:
    """A line without its end does not count, nor does what is no id."""
    (directory / "web").write_bytes(content.encode(errors="surrogateescape"))
    marker = only(directory)
    assert (container, finished, 0) == (
        marker.container,
        marker.stop.finished,
        marker.stop.replicas,
    )


def test_only_plain_small_files_with_a_containers_name_count(directory: Path) -> None:
    """Links are not followed, devices and pipes not opened."""
    (directory / "target").write_text(FULL)
    (directory / "link").symlink_to(directory / "target")
    (directory / "folder").mkdir()
    os.mkfifo(directory / "pipe")
    (directory / ".hidden").write_text(FULL)
    (directory / "a b").write_text(FULL)
    (directory / "large").write_text(FULL * 100)
    assert ["target"] == [marker.name for marker in read_markers(directory)]


def test_a_linked_directory_is_refused(tmp_path: Path) -> None:
    """It could lead anywhere."""
    (tmp_path / "other").mkdir()
    (tmp_path / ".quiesced").symlink_to(tmp_path / "other")
    with pytest.raises(StoreError) as caught:
        read_markers(tmp_path / ".quiesced")
    assert str(tmp_path) in caught.value.message


def test_a_marker_is_removed(directory: Path) -> None:
    """Nothing is left behind; removing it again is no failure."""
    (directory / "web").write_text(FULL)
    marker = only(directory)
    assert remove_marker(directory, marker)
    assert [] == list(directory.iterdir())
    assert not remove_marker(directory, marker)


def test_the_marker_of_a_new_run_is_not_removed(directory: Path) -> None:
    """A new run has replaced it since it was read."""
    (directory / "web").write_text(FULL)
    marker = only(directory)
    (directory / "web.new").write_text(FULL)
    (directory / "web.new").replace(directory / "web")
    assert not remove_marker(directory, marker)
    assert ID == only(directory).container


def test_a_marker_that_is_replaced_while_it_is_removed_comes_back(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new run's rename falls between our last look and our own rename."""
    (directory / "web").write_text(FULL)
    marker = only(directory)
    replace = atomic.replace

    def late(descriptor: int, old: str, new: str) -> None:
        (directory / "x").write_text(FULL + "new=1\n")
        (directory / "x").rename(directory / old)
        replace(descriptor, old, new)

    monkeypatch.setattr(atomic, "replace", late)
    assert not remove_marker(directory, marker)
    assert ["web"] == [path.name for path in directory.iterdir()]
    assert (directory / "web").read_text().endswith("new=1\n")


def test_an_interrupted_removal_is_judged_once_more(directory: Path) -> None:
    """Killed between taking it and removing it: it is a marker again, unless a new one is there."""
    (directory / ".web.taken").write_text(FULL)
    assert "web" == only(directory).name
    (directory / ".web.taken").write_text("")
    assert ID == only(directory).container
    assert ["web"] == [path.name for path in directory.iterdir()]


def test_a_directory_that_is_gone_has_no_marker_left(tmp_path: Path) -> None:
    """There is nothing to remove any more."""
    assert remove_marker(tmp_path / "gone", Marker("web"))


NEW_SERVICE = f"plan=q\ncontainer={ID[:25]}\nstate=scaled\nreplicas=3\n"


def test_both_kinds_of_names_are_read(directory: Path) -> None:
    """Markers of services, and what was being written, now and by an older version."""
    (directory / "web").write_text(FULL)
    (directory / ".service@web").write_text(NEW_SERVICE)
    (directory / ".new@web").write_text(FULL)
    (directory / ".new.service@svc").write_text("")
    (directory / "old").write_text(NEW_SERVICE)
    (directory / "web.new").write_text(FULL)
    found = [
        (m.name, m.file, m.is_of_service, m.was_never_used("web")) for m in read_markers(directory)
    ]
    assert found == [
        ("old", "old", True, False),
        ("svc", ".new.service@svc", True, True),
        ("web", ".new@web", False, True),
        ("web", ".service@web", True, False),
        ("web", "web", False, False),
        ("web.new", "web.new", False, True),
    ]


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        (".taken@web.taken", "web.taken"),
        (".taken.service@x.taken", ".service@x.taken"),
        (".taken.new@web", ".new@web"),
        (".taken.taken", "taken"),
        (".web.taken", "web"),
    ],
)
def test_what_was_taken_gets_its_own_name_back(directory: Path, taken: str, name: str) -> None:
    """Whatever the container or service is called, and whichever version took it."""
    (directory / taken).write_text(FULL)
    assert name == only(directory).file
    assert [name] == [path.name for path in directory.iterdir()]


@pytest.mark.parametrize("name", ["web", ".service@web.taken", ".new@web", ".new.service@web"])
def test_markers_of_every_kind_are_removed(directory: Path, name: str) -> None:
    """Nothing is left behind."""
    (directory / name).write_text(FULL)
    assert remove_marker(directory, only(directory))
    assert [] == list(directory.iterdir())
