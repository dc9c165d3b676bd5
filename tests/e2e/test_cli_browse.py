"""ls, find, cat, diff, stats, mount and an engine's own program, as people type them."""

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.backrest.workloads import MountRecord, WorkloadRecord, render_workloads
from tests.engines.bench import (
    INSTANCE,
    PASSWORD,
    Bench,
    ResticBench,
    RsyncBench,
    copy_of,
    empty_tree,
    quick_repo,
)

ROOT = Path(__file__).parents[2]


@dataclass
class Place:
    """A document, its repository, and a plan `web` with two snapshots, known as `shop/web`."""

    bench: Bench
    engine: str
    home: Path
    snapshots: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        """Backrest's document, also where there is only the runner's."""
        return self.home / "config.json"

    @property
    def environ(self) -> dict[str, str]:
        """What the process inherits; it has no password, and nobody asks Docker."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.bench.folder),
            "PYTHONPATH": str(ROOT),
            "TZ": "UTC",
            "DOCKER_HOST": f"unix://{self.home}/none.sock",
        }

    def command(self, *words: str) -> list[str]:
        """Return the command line."""
        own = ["--config", str(self.config)]
        at = words.index("--") if "--" in words else len(words)
        return [sys.executable, "-m", "sidecar.runner", *words[:at], *own, *words[at:]]

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command."""
        return subprocess.run(
            self.command(*words), env=self.environ, capture_output=True, check=False
        )

    def lines(self, *words: str) -> list[str]:
        """Run a command, which has to succeed; return the lines of its output."""
        done = self.run(*words)
        assert (0, b"") == (done.returncode, done.stderr), done.stderr.decode()
        return done.stdout.decode().splitlines()

    def objects(self, *words: str) -> list[dict[str, object]]:
        """Run a command, which has to succeed; return the objects that it writes."""
        found = json.loads("\n".join(self.lines(*words, "--output", "json")))
        assert isinstance(found, list)
        return found


@pytest.fixture(scope="module", params=["restic", "rsync"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Back up twice, and change something between; no test changes it."""
    folder = tmp_path_factory.mktemp("browse")
    bench: Bench
    if request.param == "restic":
        bench = ResticBench.at(folder / "bench")
        copy_of(quick_repo(folder / "template"), bench)
    else:
        bench = RsyncBench.at(folder / "bench")
        copy_of(empty_tree(folder / "template"), bench)
    bench.write("page", "first")
    bench.write("deep/er", "deeper")
    bench.write("title", "plain\x1b]0;owned\x07")
    bench.write(os.fsdecode(b"odd \xff\x1b[31m\n"), b"\0\xff")
    bench.backup()
    bench.write("page", "the second")
    bench.write("new", "new")
    (bench.source / "deep/er").unlink()
    bench.backup()
    made = Place(bench, request.param, folder / "config", bench.names(bench.plan()))
    write_documents(made)
    return made


def write_documents(place: Place) -> None:
    """Write the document, and the names of the sidecar."""
    repo = place.bench.repo()
    guid = place.bench.engine().probe()
    entry = {"id": "store", "uri": repo.uri, "password": repo.password, "guid": guid}
    source = str(place.bench.source)
    plan = {"id": "web", "repo": "store", "paths": [source], "schedule": {"disabled": True}}
    head = {"modno": 1, "version": 6, "instance": INSTANCE}
    name = "config.json" if place.engine == "restic" else "runner.json"
    (place.home / ".sidecar").mkdir(parents=True)
    (place.home / name).write_text(json.dumps(head | {"repos": [entry], "plans": [plan]}))
    mount = MountRecord("/data", ("shop-web-1",), host=source, seen=source, plan="web")
    record = WorkloadRecord(
        "shop/web", "web", "shop", plan="web", containers=("shop-web-1",), mounts=(mount,)
    )
    (place.home / ".sidecar" / "workloads.json").write_bytes(render_workloads([record]))


def short(place: Place, at: int) -> str:
    """Return a snapshot as people see it."""
    name = place.snapshots[at]
    return name[:8] if place.engine == "restic" else name


def test_a_folder_is_listed_as_the_container_sees_it(place: Place) -> None:
    """By the name of the service; odd names are harmless, and what is asked is what is shown."""
    head, *lines = place.lines("ls", "shop/web", "/data")
    [deep] = place.objects("ls", "web", "/data/deep", "--at", place.snapshots[0], "--recursive")[1:]

    assert head.startswith(f"snapshot {short(place, 1)} of 20")
    assert [
        "/data/",
        "/data/deep/",
        "/data/new",
        "/data/odd \ufffd\ufffd[31m\ufffd",
        "/data/page",
        "/data/title",
    ] == [line.partition(" UTC  ")[2] for line in lines]
    assert {
        "path": "/data/deep/er",
        "kind": "file",
        "size": 6,
        "mode": "0644",
    }.items() <= deep.items()
    assert f"{place.bench.source}/deep/er" == deep["path_in_snapshot"]


def test_without_a_path_all_that_is_saved_is_listed(place: Place) -> None:
    """And what the snapshot lacks is told, with a status."""
    absent = place.run("ls", "web", "/data/deep/er")

    assert place.lines("ls", "web") == place.lines("ls", "shop-web-1", "/data")
    assert 1 == absent.returncode
    assert b"does not hold /data/deep/er" in absent.stderr


def test_a_file_is_found_in_the_snapshots_that_hold_it(place: Place) -> None:
    """The newest first; by its name, or with a slash by its path; nothing found is a status."""
    by_name = place.objects("find", "web", "PAGE", "-i")
    by_path = place.lines("find", "web", "/data/*/er")
    none = place.run("find", "web", "absent*")

    assert [(place.snapshots[1], 10), (place.snapshots[0], 5)] == [
        (one["snapshot"], one["size"]) for one in by_name
    ]
    assert [f"snapshot {short(place, 0)}", "/data/deep/er"] == [
        by_path[0].partition(" of ")[0],
        by_path[1].partition(" UTC  ")[2],
    ]
    assert (3, b"nothing is called so in 2 snapshots\n") == (none.returncode, none.stdout)


def test_whoever_looks_leaves_the_journal_as_it_is(place: Place, tmp_path: Path) -> None:
    """Also one that is broken: its daemon mends it."""
    journal = tmp_path / "journal.sqlite"
    journal.write_bytes(b"no database, by its length" * 100)
    before = journal.read_bytes()
    done = place.run("ls", "web", "--state-dir", str(tmp_path))

    assert (0, b"") == (done.returncode, done.stderr)
    assert [journal] == list(tmp_path.iterdir())
    assert before == journal.read_bytes()


def test_a_content_is_written_byte_for_byte(place: Place) -> None:
    """Of an older snapshot too; what is no file is told."""
    done = place.run("cat", "web", "/data/page", "/data/page", "--at", place.snapshots[0])
    raw = subprocess.run(
        [*map(os.fsencode, place.command("cat", "web")), b"/data/odd \xff\x1b[31m\n"],
        env=place.environ,
        capture_output=True,
        check=False,
    )
    folder = place.run("cat", "web", "/data")

    assert (0, b"firstfirst") == (done.returncode, done.stdout)
    assert (0, b"\0\xff") == (raw.returncode, raw.stdout)
    assert (1, b"") == (folder.returncode, folder.stdout)
    assert b"is no file in the snapshot: it is a folder" in folder.stderr
    assert b"`backrest-runner ls` lists what is in it" in folder.stderr
    assert b"`backrest-runner ls` lists what it holds" in place.run("cat", "web", "/data/no").stderr


def test_a_terminal_is_given_text_only(place: Place) -> None:
    """Nothing of what it would obey."""
    text = on_a_terminal(place, "cat", "web", "/data/page")
    binary = on_a_terminal(place, "cat", "web", "/data/title")

    assert (0, b"the second") == text
    assert 1 == binary[0]
    assert b"owned" not in binary[1]


def on_a_terminal(place: Place, *words: str) -> tuple[int, bytes]:
    """Run a command whose output a terminal shows; return its status and that output."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        place.command(*words), env=place.environ, stdout=slave, stderr=subprocess.PIPE
    )
    _, errors = process.communicate()
    os.close(slave)
    output = b""
    try:
        output = os.read(master, 65_536)
    except OSError:
        assert errors
    os.close(master)
    return process.returncode, output


def test_what_differs_between_snapshots_is_shown(place: Place) -> None:
    """The latest against the one before it, or two that are named, in the order that is named."""
    lines = place.lines("diff", "web")
    back = place.objects("diff", "web", place.snapshots[1], place.snapshots[0])
    first = place.run("diff", "web", place.snapshots[0])

    assert [
        f"from snapshot {short(place, 0)}",
        f"to   snapshot {short(place, 1)}",
    ] == [line.partition(" of ")[0] for line in lines[:2]]
    assert [
        "-                    6 B  /data/deep/er",
        "+                    3 B  /data/new",
        "~             5 B → 10 B  /data/page",
        "1 added (+3 B), 1 removed (-6 B), 1 changed (±5 B)",
    ] == lines[2:]
    assert [("added", "/data/deep/er"), ("removed", "/data/new"), ("changed", "/data/page")] == [
        (one["change"], one["path"]) for one in back
    ]
    assert (1, True) == (first.returncode, b"has no snapshot before" in first.stderr)
    assert b"`backrest-runner snapshots web` lists those that can be compared" in first.stderr


def test_what_snapshots_take_is_counted(place: Place) -> None:
    """Of each plan, or of a whole repository; one that does not answer does not hide the others."""
    [plan] = place.objects("stats")
    [repo] = place.objects("stats", "store", "--no-size")
    head, row = place.lines("stats", "shop/web")
    (place.bench.folder / "repo").rename(place.bench.folder / "away")
    gone = place.run("stats")
    (place.bench.folder / "away").rename(place.bench.folder / "repo")

    assert ("shop/web", "store", True, 2) == tuple(
        plan[key] for key in ("name", "repo", "is_plan", "snapshots")
    )
    assert isinstance(plan["size_in_repository"], int)
    assert ("store", False, 2, None) == tuple(
        repo[key] for key in ("name", "is_plan", "snapshots", "size_in_repository")
    )
    assert head.split()[:3] == ["name", "repository", "snapshots"]
    assert row.split()[:3] == ["shop/web", "store", "2"]
    assert 1 == gone.returncode
    assert b"shop/web: " in gone.stderr


def test_looking_leaves_nothing_behind(place: Place) -> None:
    """No file beside the document, no lock and no folder in the repository."""
    before = sorted(map(str, (*place.home.rglob("*"), *(place.bench.folder / "repo").rglob("*"))))
    for words in (
        ("ls", "web"),
        ("find", "web", "page"),
        ("cat", "web", "/data/page"),
        ("diff", "web"),
        ("stats",),
    ):
        place.lines(*words)
    after = sorted(map(str, (*place.home.rglob("*"), *(place.bench.folder / "repo").rglob("*"))))

    assert before == after


def test_an_engine_s_own_program_has_the_repository(place: Place) -> None:
    """What it prints and its status are its own; the password is in its environment alone."""
    words = {
        "restic": ("snapshots", "--json"),
        "rsync": ("--list-only", "repo:/web/snapshots/"),
    }[place.engine]
    wrong = {"restic": ("dump", "latest", "/absent"), "rsync": ("--list-only", "repo:/absent/")}[
        place.engine
    ]
    other = {"restic": "rsync", "rsync": "restic"}[place.engine]
    lines = place.lines(place.engine, "store", "--", *words)
    failed = place.run(place.engine, "store", "--", *wrong)
    refused = place.run(other, "store", "--", "version")

    assert place.snapshots[1].rpartition("@")[2] in "\n".join(lines)
    assert failed.returncode not in {0, 3}
    assert b"absent" in failed.stderr
    assert 1 == refused.returncode
    assert f"not of {other}".encode() in refused.stderr


def test_mounting_is_the_engine_s(place: Place) -> None:
    """Restic gets the folder and the plan's tag; rsync has folders already."""
    stand_in = place.bench.folder / "restic"
    script = '#!/bin/sh\n[ "$1" = version ] && exec restic "$@"\necho "$@" "$RESTIC_PASSWORD"\n'
    stand_in.write_text(script)
    stand_in.chmod(0o755)
    target = place.bench.folder / "mnt"
    target.mkdir()
    done = place.run("mount", "shop/web", str(target), "--restic", str(stand_in))

    if place.engine == "rsync":
        assert (1, True) == (done.returncode, b"each is a folder already" in done.stderr)
        return
    tags = f"plan:web,created-by:{INSTANCE}"
    assert f"mount --no-lock --tag {tags} -- {target} {PASSWORD}\n" == done.stdout.decode()
