"""What restic says, and what it means: words of 0.14 and of current versions."""

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import (
    CommandResult,
    EngineError,
    FailureClass,
    Progress,
    ResultKind,
    Stats,
)
from sidecar.engines.restic.access import resolve_access
from sidecar.engines.restic.failures import classify, render_reason
from sidecar.engines.restic.interpret import FinishedCommand, Verb, interpret
from sidecar.engines.restic.listing import parse_entry, parse_snapshots
from sidecar.engines.restic.locks import Host, Lock, is_in_danger, parse_lock
from sidecar.engines.restic.masking import Masking, masking_of
from sidecar.engines.restic.messages import ProgressParser, parse_output
from sidecar.lib.process import Completed, SilenceTimeout
from sidecar.lib.text import MASK

SUMMARY = (
    b'{"message_type":"summary","files_new":1,"files_changed":2,"files_unmodified":3,'
    b'"dirs_new":8,"tree_blobs":9,"data_added":4,"total_files_processed":6,"total_bytes_processed":7,"total_duration":0.5,'
    b'"snapshot_id":"3f6d16f7"}\n'
)
LOCKED_OLD = (
    b"unable to create lock in backend: repository is already locked exclusively by PID 5 on vm"
    b" by root (UID 0, GID 0)\nlock was created at 2026-11-21 10:19:58 (3.7s ago)\n"
    b"storage ID 2f498e3b\nthe `unlock` command can be used to remove stale locks\n"
)


def meaning(
    status: int, err: bytes = b"", out: bytes = b"", verb: Verb = Verb.BACKUP, **how: bool
) -> CommandResult:
    """Interpret a restic that ended so."""
    completed = Completed(status, out, err, 1.0, **how)
    return interpret(verb, FinishedCommand(completed, Masking("geheim"), 60.0))


def exit_error(code: int, message: str) -> bytes:
    """Say why restic ends, as JSON."""
    return json.dumps({"message_type": "exit_error", "code": code, "message": message}).encode()


def test_success_has_a_snapshot_and_counts() -> None:
    """Of the last line; status lines before it do not matter."""
    done = meaning(0, out=b'{"message_type":"status","percent_done":0}\n' + SUMMARY)

    stats = Stats(1, 2, 3, 6, 4, 7, 0.5, dirs_new=8, tree_blobs=9)
    assert CommandResult(ResultKind.SUCCESS, snapshot="3f6d16f7", stats=stats) == done


def test_nothing_new_is_success_without_a_snapshot() -> None:
    """That is how --skip-if-unchanged answers."""
    done = meaning(0, out=SUMMARY.replace(b"3f6d16f7", b""))

    assert (ResultKind.SUCCESS, "") == (done.kind, done.snapshot)
    assert done.stats is not None


UNREAD_OLD = (
    b'{"message_type":"error","error":{},"during":"scan","item":"/s/d"}\n'
    b'{"message_type":"error","error":{},"during":"archival","item":"/s/d"}\n'
    b'{"message_type":"error","error":{"Op":"open","Path":"/s/no","Err":13},'
    b'"during":"archival","item":"/s/no"}\nWarning: at least one source file could not be read\n'
)
UNREAD_NEW = (
    b'{"message_type":"error","error":{"message":"open /s/no: permission denied"},"item":"/s/no"}\n'
)
GONE_OLD = b'{"message_type":"error","error":{"Op":"lstat","Path":"/s/x","Err":2},"item":"/s/x"}\n'
SKIPPED = b"/s/gone does not exist, skipping\n"


@pytest.mark.parametrize(
    ("status", "err", "failure", "reason"),
    [
        (3, UNREAD_OLD, FailureClass.PERMISSION, "2 files or folders could not be read: /s/d: could not be read"),
        (3, UNREAD_NEW, FailureClass.PERMISSION, "one file or folder could not be read: open /s/no: permission denied"),
        (3, GONE_OLD, FailureClass.SOURCE_CHANGED, "one file or folder could not be read: /s/x: no such file or directory"),
        (0, SKIPPED, FailureClass.SOURCE_MISSING, "one file or folder could not be read: /s/gone: does not exist"),
        (3, SKIPPED, FailureClass.SOURCE_MISSING, "one file or folder could not be read: /s/gone: does not exist"),
        (3, b"", FailureClass.UNKNOWN, "not all files could be read"),
    ],
)  # fmt: skip
def test_partial_backup_is_a_warning(
    status: int, err: bytes, failure: FailureClass, reason: str
) -> None:
    """There is a snapshot; what is not in it is named, once."""
    done = meaning(status, err, SUMMARY)

    assert (ResultKind.WARNING, failure, reason) == (done.kind, done.failure, done.reason)
    assert "3f6d16f7" == done.snapshot


def test_exit_code_3_is_a_failure_elsewhere() -> None:
    """A forget that could not remove, or a backup that has no summary."""
    err = exit_error(3, "Fatal: failed to remove snapshots: permission denied")
    forget = meaning(3, err, verb=Verb.OTHER)

    assert (ResultKind.FAILED, FailureClass.PERMISSION) == (forget.kind, forget.failure)
    assert ResultKind.FAILED is meaning(3, UNREAD_NEW).kind


NOT_FOUND = "unable to open config file: stat /r/config: no such file or directory"
WHERE = "\nIs there a repository at the following location?\n/r"


@pytest.mark.parametrize(
    ("status", "err", "failure", "reason"),
    [
        (1, b"Fatal: wrong password or no key found\n", FailureClass.WRONG_PASSWORD, "the password is wrong, or the repository has no key for it"),
        (12, exit_error(12, "Fatal: wrong password or no key found"), FailureClass.WRONG_PASSWORD, "the password is wrong, or the repository has no key for it"),
        (12, b"", FailureClass.WRONG_PASSWORD, "the password is wrong, or the repository has no key for it"),
        (1, b"Fatal: an empty password is not a password", FailureClass.WRONG_PASSWORD, "the password is wrong, or the repository has no key for it"),
        (1, f"Fatal: {NOT_FOUND}{WHERE}".encode(), FailureClass.REPO_NOT_FOUND, f"there is no repository at this address: {NOT_FOUND}"),
        (10, exit_error(10, f"Fatal: repository does not exist: {NOT_FOUND}{WHERE}"), FailureClass.REPO_NOT_FOUND, f"there is no repository at this address: repository does not exist: {NOT_FOUND}"),
        (1, b"Fatal: unable to open config file: unexpected HTTP response (404): 404 Not Found\n", FailureClass.REPO_NOT_FOUND, "there is no repository at this address: unable to open config file: unexpected HTTP response (404): 404 Not Found"),
        (1, b"Fatal: unable to open config file: Stat: The specified key does not exist.", FailureClass.REPO_NOT_FOUND, "there is no repository at this address: unable to open config file: Stat: The specified key does not exist."),
        (1, b'Fatal: unable to open config file: Head "http://h/config": dial tcp 127.0.0.1:1: connect: connection refused\nIs there a repository at the following location?\n', FailureClass.NETWORK, 'the repository cannot be reached: unable to open config file: Head "http://h/config": dial tcp 127.0.0.1:1: connect: connection refused'),
        (1, b"Fatal: unable to open config file: unexpected HTTP response (503): 503 Service Unavailable", FailureClass.NETWORK, "the repository cannot be reached: unable to open config file: unexpected HTTP response (503): 503 Service Unavailable"),
        (1, b"subprocess ssh: ssh: connect to host h port 22: Connection refused\nFatal: unable to open repository at sftp:h:/x: unable to start the sftp session, error: EOF", FailureClass.NETWORK, "the repository cannot be reached: unable to open repository at sftp:h:/x: unable to start the sftp session, error: EOF"),
        (1, b"Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized", FailureClass.AUTH, "the storage refused the credentials: unable to open config file: unexpected HTTP response (401): 401 Unauthorized"),
        (1, b"Fatal: create repository at s3:h/b failed: client.BucketExists: Access Denied.", FailureClass.AUTH, "the storage refused the credentials: create repository at s3:h/b failed: client.BucketExists: Access Denied."),
        (1, b"subprocess ssh: u@h: Permission denied (publickey).\n", FailureClass.AUTH, "the storage refused the credentials: subprocess ssh: u@h: Permission denied (publickey)."),
        (1, b"Fatal: unable to save snapshot: write /r/data/x: no space left on device", FailureClass.DISK_FULL, "there is no space left: unable to save snapshot: write /r/data/x: no space left on device"),
        (1, b"Fatal: unexpected HTTP response (507): 507 Insufficient Storage", FailureClass.DISK_FULL, "there is no space left: unexpected HTTP response (507): 507 Insufficient Storage"),
        (1, b"Fatal: server response 429: slow", FailureClass.RATE_LIMIT, "the storage asks for fewer requests: server response 429: slow"),
        (1, b"Fatal: b2_upload: 503: SlowDown", FailureClass.RATE_LIMIT, "the storage asks for fewer requests: b2_upload: 503: SlowDown"),
        (1, b"Fatal: Get: net/http: TLS handshake timeout", FailureClass.TIMEOUT, "it took too long: Get: net/http: TLS handshake timeout"),
        (1, b"Fatal: read tcp 1.2.3.4: i/o timeout", FailureClass.TIMEOUT, "it took too long: read tcp 1.2.3.4: i/o timeout"),
        (1, b"Fatal: repository contains errors", FailureClass.DAMAGED, "the repository is damaged: repository contains errors"),
        (1, b"Fatal: config cannot be loaded: trying to decrypt invalid data: ciphertext too small", FailureClass.DAMAGED, "the repository is damaged: config cannot be loaded: trying to decrypt invalid data: ciphertext too small"),
        (1, b"config file has zero size, invalid repository?\nmain.open\n\tglobal.go:760\n", FailureClass.DAMAGED, "the repository is damaged: config file has zero size, invalid repository?"),
        (1, SKIPPED + b"Fatal: all target directories/files do not exist", FailureClass.SOURCE_MISSING, "none of the plan's paths exists"),
        (1, b"Load(<config/0>, 0, 0) failed: open /r/config: permission denied\n" + exit_error(1, "Fatal: config cannot be loaded: open /r/config: permission denied"), FailureClass.PERMISSION, "something may not be read or written: config cannot be loaded: open /r/config: permission denied"),
        (1, b"ignoring error for /x: mkdir /x: permission denied\nignoring error for /x: UtimesNano: no such file or directory\nFatal: There were 2 errors\n", FailureClass.PERMISSION, "something may not be read or written: ignoring error for /x: mkdir /x: permission denied"),
        (1, b"Fatal: open /data/forbidden/429/timeout: permission denied", FailureClass.PERMISSION, "something may not be read or written: open /data/forbidden/429/timeout: permission denied"),
        (1, b"unknown flag: --bogus", FailureClass.UNKNOWN, "restic failed: unknown flag: --bogus"),
        (1, b"Fatal: Fatal: something", FailureClass.UNKNOWN, "restic failed: something"),
        (2, b"", FailureClass.UNKNOWN, "restic failed: exit code 2"),
        (127, b"nice: 'restic': No such file or directory", FailureClass.NO_PROGRAM, "restic cannot be started: nice: 'restic': No such file or directory"),
        (130, b"signal terminated received, cleaning up\n" + exit_error(130, "Fatal: context canceled"), FailureClass.INTERRUPTED, "restic was interrupted: context canceled"),
        (-9, b"", FailureClass.INTERRUPTED, "restic was ended by signal 9"),
    ],
)  # fmt: skip
def test_failures_have_a_class_and_words(
    status: int, err: bytes, failure: FailureClass, reason: str
) -> None:
    """By the exit code where it says something, else by the words."""
    done = meaning(status, err)

    assert (ResultKind.FAILED, failure, reason) == (done.kind, done.failure, done.reason)


@pytest.mark.parametrize(
    ("status", "err"), [(1, LOCKED_OLD), (11, exit_error(11, LOCKED_OLD.decode()))]
)
def test_a_lock_is_worth_a_retry(status: int, err: bytes) -> None:
    """Who holds it is what people want to know."""
    done = meaning(status, err, verb=Verb.OTHER)

    assert (ResultKind.RETRY, FailureClass.LOCKED) == (done.kind, done.failure)
    assert "the repository is locked by PID 5 on vm by root" == done.reason
    assert "the repository is locked: exit code 11" == render_reason(
        *classify(11, ["exit code 11"])
    )


def test_a_lock_that_cannot_be_made_is_not_one_that_is_held() -> None:
    """Exit code 11 alone does not say which."""
    err = exit_error(11, "unable to create lock in backend: open /r/locks/x: permission denied")

    assert FailureClass.PERMISSION is meaning(11, err).failure


def test_one_that_was_stopped_was_interrupted() -> None:
    """Whatever it said at its end; but one that was finished is finished."""
    err = exit_error(130, "Fatal: unable to open config file: context canceled")

    done = meaning(130, err, stopped=True)
    assert (ResultKind.FAILED, FailureClass.INTERRUPTED) == (done.kind, done.failure)
    assert "restic was interrupted: the runner stops" == done.reason
    assert ResultKind.SUCCESS is meaning(0, out=SUMMARY, stopped=True).kind
    assert ResultKind.SUCCESS is meaning(0, verb=Verb.OTHER, timed_out=True).kind


def test_one_that_hung_is_told_by_what_it_tried() -> None:
    """The last that it said is the cause; if it said nothing it took too long."""
    retry = b'Stat(<config/>) returned error, retrying after 1.3s: Head "http://h/": dial tcp 1.2.3.4:1: connect: connection refused\n'
    told = meaning(-15, retry * 3, timed_out=True)
    silent = meaning(-15, b"\nsignal terminated received, cleaning up\n", timed_out=True)

    assert FailureClass.NETWORK is told.failure
    assert (
        'the repository cannot be reached: Head "http://h/": dial tcp 1.2.3.4:1: connect:'
        " connection refused; nothing moved for 60 seconds"
    ) == told.reason
    assert FailureClass.TIMEOUT is silent.failure
    assert "it took too long; nothing moved for 60 seconds" == silent.reason


def test_excerpt_holds_the_last_words_without_secrets() -> None:
    """Of what it does and of what goes wrong; no status lines, no JSON."""
    out = b'{"message_type":"status"}\n[{"id":"x"}]\nload indexes\n' + SUMMARY
    err = b"%b\nopen http://u:geheim@h/: geheim\n" % b"\n".join(b"line %d" % n for n in range(30))
    lines = meaning(1, err, out, Verb.OTHER).excerpt.splitlines()

    assert 20 == len(lines)
    assert ["line 29", f"open http://{MASK}@h/: {MASK}"] == lines[-2:]
    assert "load indexes" == meaning(0, b"", out, Verb.OTHER).excerpt


KEYS = st.sampled_from(["message_type", "message", "item", "error", "Err", "Op", "code", "files_new", "snapshot_id", "total_duration", "percent_done", "seconds_remaining", "path", "mode", "mtime", "struct_type"])  # fmt: skip
TYPES = st.sampled_from(["summary", "status", "error", "exit_error", "node"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | TYPES,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)
MESSAGES = st.dictionaries(KEYS, VALUES).map(lambda held: json.dumps(held).encode())
STREAMS = st.lists(MESSAGES | st.binary()).map(b"\n".join)


@given(STREAMS, STREAMS, st.integers(-64, 255), st.booleans(), st.sampled_from(Verb))
def test_no_output_is_too_odd(out: bytes, err: bytes, status: int, odd: bool, verb: Verb) -> None:
    """Whatever a program says, there is a judgement, and a reason unless all is well."""
    done = meaning(status, err, out, verb, timed_out=odd)
    signs = ProgressParser(lambda _: None, None, Clock(), 0.0)
    for line in out.splitlines():
        signs.take(line)
        parse_entry(line)

    assert (done.kind is ResultKind.SUCCESS) == (done.failure is None)
    assert bool(done.reason) == (done.kind is not ResultKind.SUCCESS)


@pytest.mark.parametrize(
    "line", [b"{", b"[1]", b'{"message_type":"error"}', b'{"item":1,"error":2}']
)
def test_messages_without_what_they_should_have(line: bytes) -> None:
    """They are shown, not stumbled over."""
    said = parse_output(line, line)

    assert said.lines
    assert said.summary is None


# What may never be shown, whatever restic says.


def test_secrets_are_masked_in_every_spelling() -> None:
    """As they stand, in an address, in JSON and in quotes; long ones before their parts."""
    masking = Masking('p@ss/"w', ["secret", "secret-long", "first line\nsecond line", "abc"])
    texts = ['p@ss/"w', "p%40ss%2F%22w", 'p@ss/\\"w', "secret-long", "second line"]

    assert [MASK] * len(texts) == [masking.mask(text) for text in texts]
    assert "abc" == masking.mask("abc")


def test_short_password_is_masked_as_a_word() -> None:
    """Anything else would make holes in every text."""
    assert f"a {MASK}, backup" == Masking("a").mask("a a, backup").replace(
        f"{MASK} {MASK}", f"a {MASK}"
    )
    assert "backup" == Masking("a").mask("backup")
    assert "backup" == Masking("").mask("backup")


def test_all_of_a_repository_that_is_secret_is_masked() -> None:
    """Password, environment, flags, the user of the address; the plan's secret flags."""
    repo = Repo(
        "r",
        uri="rest:https://user:uri-secret@host/path",
        password="the-password",
        env=(("KEY", "env-secret"), ("REF", "${GIVEN}")),
        flags=("-o s3.key=flag-secret --header 'flag word'",),
    )
    plan = RunPlan("p", "r", backup_flags=("--password-command=plan-secret", "--tag visible"))
    access = resolve_access(repo, {"GIVEN": "given-secret"}, "restic")
    text = (
        "the-password env-secret given-secret flag-secret flag word uri-secret plan-secret"
        " visible host --header s3.key"
    )
    expected = f"{MASK} {MASK} {MASK} {MASK} {MASK} {MASK} {MASK} visible host --header s3.key"

    assert expected == masking_of(repo, access, plan).mask(text)
    assert f"{MASK} {MASK} g" == masking_of(repo, None).mask("the-password env-secret g")


def test_an_address_that_is_none_is_no_obstacle() -> None:
    """Masking never fails."""
    assert "x" == masking_of(Repo("r", uri="rest:http://[::1"), None).mask("x")


# Progress.


class Clock:
    """Time that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def status(**counts: object) -> bytes:
    """Say how far it is."""
    return json.dumps({"message_type": "status", **counts}).encode()


def test_progress_is_read_from_backup_and_restore() -> None:
    """What is zero is left out by restic; a fraction is one."""
    reports: list[Progress] = []
    signs = ProgressParser(reports.append, None, Clock(), every=0.0)
    signs.take(
        status(
            percent_done=0.25,
            files_done=1,
            total_files=4,
            bytes_done=10,
            total_bytes=40,
            seconds_remaining=9,
        )
    )
    signs.take(
        status(percent_done=1.5, files_restored=2, total_files=2, bytes_restored=8, total_bytes=8)
    )
    signs.take(status())
    signs.take(SUMMARY)
    signs.take(b"plain words")

    assert [
        Progress(0.25, 1, 4, 10, 40, 9.0),
        Progress(1.0, 2, 2, 8, 8),
        Progress(0.0, 0, 0, 0, 0),
        Progress(1.0, 6, 6, 7, 7),
    ] == reports


def test_reports_are_throttled() -> None:
    """The first at once, then one a second at most; the end in any case."""
    clock, reports = Clock(), list[Progress]()
    signs = ProgressParser(reports.append, None, clock, every=1.0)
    for tenth in range(31):
        clock.now = tenth / 10
        signs.take(status(files_done=tenth))
    signs.take(SUMMARY)

    assert [0, 10, 20, 30, 6] == [report.files for report in reports]


def test_only_what_moves_renews_the_patience() -> None:
    """Seconds that go by are no movement; counts, errors and other words are."""
    clock = Clock()
    patience = SilenceTimeout(10.0, clock)
    signs = ProgressParser(None, patience, clock)
    moved = []
    for line in (
        status(seconds_elapsed=1, files_done=1),
        status(seconds_elapsed=2, files_done=1),
        status(seconds_elapsed=3, files_done=1, error_count=1),
        b"[0:01] 10.00%  1 / 10 packs",
        b"[0:11] 10.00%  1 / 10 packs",
        b"[0:21] 20.00%  2 / 10 packs",
    ):
        clock.now += 1
        before = patience.ends
        signs.take(line)
        moved.append(patience.ends != before)

    assert [True, False, True, True, False, True] == moved


# Locks.

LOCK = (
    b'{\n "time": "2026-11-21T10:00:00Z",\n "exclusive": false,\n "hostname": "vm",\n "pid": 9\n}'
)
MADE = datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp()


def test_lock_is_read() -> None:
    """What cannot be read is none."""
    assert Lock("vm", 9, MADE) == parse_lock(LOCK)
    assert [None] * 3 == [parse_lock(said) for said in (b"", b"{}", b'{"time":"x","pid":1}')]
    assert "PID 9 on vm" == str(parse_lock(LOCK))


@pytest.mark.parametrize(
    ("age", "name", "started", "expected"),
    [
        (3600, "vm", MADE - 100, True),
        (3600, "vm", MADE + 1, True),
        (3600, "vm", MADE + 100, False),
        (3600, "vm", None, False),
        (3600, "other", MADE - 100, False),
        (60, "vm", MADE - 100, False),
    ],
)
def test_lock_is_in_danger_if_restic_would_take_it_from_a_living_process(
    age: float, name: str, started: float | None, expected: bool
) -> None:
    """Old, of this host, and of a process that ran already when it was made."""
    host = Host(name, lambda: MADE + age, lambda pid: started if pid == 9 else None)

    assert expected == is_in_danger(Lock("vm", 9, MADE), host)


# Lists.


def test_snapshots_are_read_oldest_first() -> None:
    """With a size where the version tells one; warnings above the list are passed over."""
    said = (
        b"warning\n"
        b'[{"id":"b","time":"2026-01-02T00:00:00.123456789+01:00","paths":["/x"],"tags":["t"],'
        b'"summary":{"total_bytes_processed":7,"total_files_processed":1}},'
        b'{"id":"a","time":"2026-01-01T00:00:00Z","paths":null}]'
    )
    first, second = parse_snapshots(said)

    assert ("a", (), (), None) == (first.id, first.paths, first.tags, first.bytes_processed)
    assert ("b", ("/x",), ("t",), 7, 1) == (
        second.id,
        second.paths,
        second.tags,
        second.bytes_processed,
        second.files_processed,
    )
    assert datetime(2026, 1, 1, 23, 0, 0, 123456, tzinfo=UTC) == second.time
    assert () == parse_snapshots(b"null") == parse_snapshots(b"[]")


@pytest.mark.parametrize("said", [b"", b"[", b"[{}]", b'[{"id":"a","time":"x"}]', b"[1]"])
def test_a_list_that_cannot_be_read_is_told(said: bytes) -> None:
    """It is not the same as an empty one."""
    with pytest.raises(EngineError, match=re.escape("restic's list of snapshots cannot be read")):
        parse_snapshots(said)


def test_entries_are_read() -> None:
    """Unix permissions; a time that nobody has is the beginning of time."""
    line = b'{"struct_type":"node","path":"/a","type":"file","size":3,"mode":8389101,"mtime":"2026-01-01T00:00:00Z"}'
    entry = parse_entry(line)

    assert entry is not None
    assert ("/a", "file", 3, 0o4755) == (entry.path, entry.kind, entry.size, entry.mode)
    assert datetime(2026, 1, 1, tzinfo=UTC).timestamp() == entry.mtime
    odd = parse_entry(b'{"message_type":"node","path":"/a","type":"dir","mtime":"99999-01-01T"}')
    assert odd is not None
    assert 0.0 == odd.mtime
    assert None is parse_entry(b'{"struct_type":"snapshot"}')
    assert None is parse_entry(b"words")
