"""Saves of other programs at the worst moment, and what a killed process leaves behind."""

import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from sidecar.lib import files as atomic
from sidecar.lib.errors import StoreError
from sidecar.reconciler.store.replace import Store
from tests.fakes.store_update import update

BASE = b"base"
NEW = b"base+ours"
FOREIGN = b"foreign"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Make a document in a directory of its own."""
    path = tmp_path / "config.json"
    path.write_bytes(BASE)
    return path


def add_ours(content: bytes) -> bytes | None:
    """Do what a reconciler does: put ours in unless it is there."""
    return None if b"+ours" in content else content + b"+ours"


def save(path: Path, content: bytes) -> None:
    """Save like a program that knows no locks: a new file, renamed over the old one."""
    (path.parent / "foreign.tmp").write_bytes(content)
    (path.parent / "foreign.tmp").replace(path)


def texts(path: Path) -> dict[str, bytes]:
    """Read all files beside the document, and itself, by name."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def swap_name(base: bytes, new: bytes, random: str = "0123456789abcdef") -> str:
    """Name a file that takes part in an exchange, as a killed process left it."""
    digests = ".".join(
        hashlib.blake2b(content, digest_size=32).hexdigest()[:32] for content in (base, new)
    )
    return f".config.json.sidecar-{random}.{digests}.swap"


def around_exchange(
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[int], None] = lambda _: None,
    after: Callable[[int], None] = lambda _: None,
) -> None:
    """Run `before` and `after` just before and after each exchange, with its number from 1."""
    exchange = atomic.exchange
    numbers: Iterator[int] = count(1)

    def exchange_with_company(directory: int, one: str, other: str) -> bool:
        number = next(numbers)
        before(number)
        done = exchange(directory, one, other)
        after(number)
        return done

    monkeypatch.setattr(atomic, "exchange", exchange_with_company)


def test_a_save_just_before_the_exchange_is_merged(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found in what was displaced, put back, and changed in its turn."""
    around_exchange(monkeypatch, before=lambda n: save(config, FOREIGN) if n == 1 else None)
    assert update(Store(config), add_ours)
    assert texts(config) == {"config.json": b"foreign+ours"}


def test_a_save_with_the_same_length_is_told_apart(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and time may be the same: the bytes are not."""
    before = config.stat()

    def save_alike(number: int) -> None:
        if number == 1:
            save(config, b"esab")
            os.utime(config, ns=(before.st_atime_ns, before.st_mtime_ns))

    around_exchange(monkeypatch, before=save_alike)
    assert update(Store(config), add_ours)
    assert texts(config) == {"config.json": b"esab+ours"}


def test_a_second_save_during_the_putting_back_wins(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest save is the one that is changed; the one it replaced is gone by its own will."""
    around_exchange(
        monkeypatch, before=lambda n: save(config, b"foreign%d" % n) if n in (1, 2) else None
    )
    assert update(Store(config), add_ours)
    assert texts(config) == {"config.json": b"foreign2+ours"}


def test_a_second_save_before_the_putting_back_wins(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is if our content was saved over before anything could be put back."""
    around_exchange(
        monkeypatch,
        before=lambda n: save(config, b"foreign1") if n == 1 else None,
        after=lambda n: save(config, b"foreign2") if n == 1 else None,
    )
    assert update(Store(config), add_ours)
    assert texts(config) == {"config.json": b"foreign2+ours"}


def test_a_save_whose_file_then_vanishes_is_kept_aside(
    config: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What nothing came in place of is not thrown away."""
    around_exchange(
        monkeypatch,
        before=lambda n: save(config, FOREIGN) if n == 1 else None,
        after=lambda _: config.unlink(),
    )
    with pytest.raises(StoreError, match="does not exist"):
        update(Store(config), add_ours)
    assert list(texts(config).values()) == [FOREIGN]
    assert next(iter(texts(config))).startswith("config.json.displaced-")
    assert next(iter(texts(config))) in caplog.messages[0]


def test_a_file_removed_just_before_the_exchange_is_missing(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not brought to life again, and no litter stays."""
    around_exchange(monkeypatch, before=lambda _: config.unlink())
    with pytest.raises(StoreError, match="does not exist"):
        update(Store(config), add_ours)
    assert texts(config) == {}


def test_something_else_put_there_just_before_the_exchange_goes_back(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO is neither read nor replaced."""

    def put_fifo(_: int) -> None:
        if config.is_file():
            config.unlink()
            os.mkfifo(config)

    around_exchange(monkeypatch, before=lambda n: put_fifo(n) if n == 1 else None)
    with pytest.raises(StoreError, match="is a FIFO"):
        update(Store(config), add_ours)
    assert [entry.name for entry in config.parent.iterdir()] == ["config.json"]
    assert config.is_fifo()


def test_saves_without_a_pause_end_the_attempt_and_lose_nothing(
    config: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a bounded number of turns the last save still exists, and is reported later."""
    saves: list[bytes] = []

    def save_always(number: int) -> None:
        saves.append(b"foreign%d" % number)
        save(config, saves[-1])

    with monkeypatch.context() as patch:
        around_exchange(patch, before=save_always)
        with pytest.raises(StoreError, match="without a pause"):
            update(Store(config), add_ours)
    assert update(Store(config), add_ours)
    assert texts(config).pop("config.json") == saves[-2] + b"+ours"
    kept = {name: content for name, content in texts(config).items() if name != "config.json"}
    assert list(kept.values()) == [saves[-1]]
    assert [name in caplog.messages[0] for name in kept] == [True]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".config.json.sidecar-0123456789abcdef.part", b"half of it"),
        (swap_name(BASE, NEW), NEW),
        (swap_name(BASE, NEW), BASE),
    ],
)
def test_what_stands_for_nothing_any_more_is_removed(
    config: Path, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Half-written content, content never exchanged, and the displaced original, silently."""
    (config.parent / name).write_bytes(content)
    assert not update(Store(config), lambda _: None)
    assert (texts(config), caplog.messages) == ({"config.json": BASE}, [])


def test_a_displaced_save_goes_back_if_ours_still_stands(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed between the exchange and the look: the save is the document again, and merged."""
    config.write_bytes(NEW)
    (config.parent / swap_name(BASE, NEW)).write_bytes(FOREIGN)
    assert update(Store(config), add_ours)
    assert texts(config) == {"config.json": b"foreign+ours"}
    assert caplog.messages == [f"an interrupted write had displaced a save of {config}: it is back"]


@pytest.mark.parametrize("document", [b"saved since", None])
def test_a_displaced_save_is_kept_aside_if_ours_does_not_stand(
    config: Path, document: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Which of the two is newer cannot be known any more, so people are asked."""
    (config.parent / swap_name(BASE, NEW)).write_bytes(FOREIGN)
    config.unlink()
    if document is not None:
        config.write_bytes(document)
    store = Store(config)
    if document is None:
        store.create(b"saved since")
    else:
        assert not update(store, lambda _: None)
    kept = "config.json.displaced-0123456789abcdef"
    assert texts(config) == {"config.json": b"saved since", kept: FOREIGN}
    assert [str(config.parent / kept) in notice for notice in caplog.messages] == [True]


def test_a_displaced_save_is_kept_aside_if_a_newer_one_comes_during_recovery(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer one is the document; the older one is not thrown away."""
    config.write_bytes(NEW)
    (config.parent / swap_name(BASE, NEW)).write_bytes(FOREIGN)
    around_exchange(monkeypatch, before=lambda n: save(config, b"newer") if n == 1 else None)
    assert not update(Store(config), lambda _: None)
    kept = "config.json.displaced-0123456789abcdef"
    assert texts(config) == {"config.json": b"newer", kept: FOREIGN}


def test_what_is_not_ours_is_let_be(config: Path) -> None:
    """Names that only look alike, and things that are no files."""
    alike = [
        ".config.json.part",
        ".config.json.sidecar-0123.part",
        ".other.json.sidecar-0123456789abcdef.part",
        ".configXjson.sidecar-0123456789abcdef.part",
        swap_name(BASE, NEW) + "~",
        "config.json.bak.2024-01-01-00-00-00",
    ]
    for name in alike:
        (config.parent / name).write_bytes(b"kept")
    (config.parent / ".config.json.sidecar-0123456789abcdef.part").mkdir()
    assert update(Store(config), add_ours)
    assert sorted(entry.name for entry in config.parent.iterdir()) == sorted(
        [*alike, ".config.json.sidecar-0123456789abcdef.part", "config.json"]
    )


def test_reading_lets_litter_be(config: Path) -> None:
    """A dry run shows the document as it stands and puts nothing in order."""
    (config.parent / swap_name(BASE, BASE + b"x")).write_bytes(FOREIGN)
    before = texts(config)
    assert Store(config).read().content == BASE
    assert texts(config) == before


def test_notices_reach_the_log(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A kept save is not passed over in silence by default."""
    (config.parent / swap_name(BASE, NEW)).write_bytes(FOREIGN)
    update(Store(config), lambda _: None)
    assert "its content is kept in" in caplog.text
