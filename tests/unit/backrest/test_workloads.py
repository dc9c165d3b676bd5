"""workloads.json: what is written is read again, and nothing else is believed."""

import json
from typing import Any

import pytest

from sidecar.backrest.workloads import (
    LARGEST,
    DumpRecord,
    MountRecord,
    PathRecord,
    ProblemRecord,
    WorkloadRecord,
    WorkloadsInvalid,
    parse_workloads,
    render_workloads,
)

DB = WorkloadRecord(
    "media/db",
    "db",
    "media",
    containers=("media-db-1",),
    plan="auto_media_db",
    document="config.json",
    repository="store",
    mounts=(
        MountRecord("/data", ("media-db-1",), "/v/db", "/mnt/db", "volume", "db", "auto_media_db"),
        MountRecord("/data/cache", why="left out by the exclude /data/cache", is_chosen=True),
        MountRecord("/log", host="/srv/log", seen="/srv/log", kind="bind", why="not labelled"),
    ),
    paths=(PathRecord("/data", "/v/db", "/mnt/db"),),
    problems=(ProblemRecord("keep.invalid", "error", "keep: no", "write days=7", "backrest.keep"),),
)
DUMP = DumpRecord("postgres-dump", "/dumps/all.sql", "shop-web-1", "shop", "app", "postgres")
GONE = WorkloadRecord("shop/web", "web", "shop", "web", ("shop/a", "a"), is_gone=True, dump=DUMP)


def content_of(*workloads: Any, version: Any = 1) -> bytes:
    """Return the content of a file with these workloads."""
    return json.dumps({"version": version, "workloads": workloads}).encode()


def test_what_is_written_is_read_again() -> None:
    """Sorted by name, whatever the order was."""
    content = render_workloads([GONE, DB])

    assert (DB, GONE) == parse_workloads(content)
    assert content == render_workloads([DB, GONE])
    assert b'"service": "web", "project": "shop"' in content.splitlines()[2]


@pytest.mark.parametrize(
    ("path", "around"),
    [
        ("/mnt/db/base", "/mnt/db"),
        ("/mnt/db", "/mnt/db"),
        ("/mnt/db/wal/1", "/mnt/db"),
        ("/mnt/dbx", "/mnt/dbx"),
    ],
)
def test_the_outermost_mount_around_a_path_is_found(path: str, around: str) -> None:
    """The root is none: whoever names it would have everything."""
    seen = ("/mnt/db/wal", "/mnt/db", "/", "")
    mounts = tuple(MountRecord("/data", seen=one) for one in seen)

    assert around == WorkloadRecord("media/db", "db", mounts=mounts).around(path)


def test_no_workload_is_a_file_too() -> None:
    """Where nothing is labelled."""
    assert () == parse_workloads(render_workloads([]))


def test_keys_that_are_not_known_are_ignored() -> None:
    """A later version may write more."""
    content = content_of({"name": "a", "service": "a", "colour": "red"})

    assert (WorkloadRecord("a", "a"),) == parse_workloads(content)


def test_no_text_holds_what_a_terminal_would_obey() -> None:
    """Escape sequences, directions of writing and halves of characters are masked."""
    content = content_of({"name": "a\x1b[31m\n", "service": "\ud800\u202e", "plan": "ü"})

    assert (WorkloadRecord("a\ufffd[31m\ufffd", "\ufffd\ufffd", plan="ü"),) == parse_workloads(
        content
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 5000,
        b"[]",
        b" " * (LARGEST + 1),
        content_of(version=2),
        content_of(version="1"),
        b'{"version": 1}',
        b'{"version": 1, "workloads": {}}',
        content_of("media/db"),
        content_of({"name": "a"}),
        content_of({"name": "", "service": "a"}),
        content_of({"name": "a", "service": ["a"]}),
        content_of({"name": "a", "service": "a", "containers": "a"}),
        content_of({"name": "a", "service": "a", "containers": [1]}),
        content_of({"name": "a", "service": "a", "is_gone": 1}),
        content_of({"name": "a", "service": "a", "mounts": [{"host": "/a"}]}),
        content_of({"name": "a", "service": "a", "paths": [None]}),
        content_of({"name": "a", "service": "a", "problems": [{"reason": "x"}]}),
    ],
    ids=lambda content: content[:40].decode(errors="replace"),
)
def test_what_the_sidecar_would_not_write_is_not_believed(content: bytes) -> None:
    """Nothing of it, for nobody knows who wrote it."""
    with pytest.raises(WorkloadsInvalid):
        parse_workloads(content)


def test_the_data_that_is_in_no_plan_by_mistake_is_known() -> None:
    """What a label leaves out is no mistake."""
    assert ["/log"] == [one.path for one in DB.unsaved]


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/data", "/mnt/db"),
        ("/data/a/b", "/mnt/db/a/b"),
        ("/data/cache/a", ""),
        ("/database", ""),
        ("/log/a", "/srv/log/a"),
        ("/", ""),
    ],
)
def test_a_container_path_is_found_as_the_runner_sees_it(path: str, seen: str) -> None:
    """Through the innermost mount; in none it is nowhere."""
    assert seen == DB.seen(path)


def test_a_container_path_is_found_through_a_mount_at_the_root() -> None:
    """Slashes are neither lost nor doubled."""
    whole = WorkloadRecord("a", "a", mounts=(MountRecord("/", seen="/"),))

    assert ("/", "/etc/x") == (whole.seen("/"), whole.seen("/etc/x"))
