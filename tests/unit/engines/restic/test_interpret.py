"""Exit codes and output of restic, of 0.14 and of current versions, as results."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engines.base import (
    CommandResult,
    FailureClass,
    ResultKind,
    Stats,
)
from sidecar.engines.masking import Masking
from sidecar.engines.restic.failures import classify, render_reason
from sidecar.engines.restic.interpret import FinishedCommand, Verb, interpret
from sidecar.engines.restic.listing import parse_entry
from sidecar.engines.restic.messages import ProgressParser
from sidecar.lib.process import Completed
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

    stats = Stats(1, 2, 3, 6, 4, 7, 0.5, dirs_new=8, data_blobs=0, tree_blobs=9)
    assert CommandResult(ResultKind.SUCCESS, snapshot="3f6d16f7", stats=stats) == done


def test_nothing_new_is_success_without_a_snapshot() -> None:
    """That is how --skip-if-unchanged answers, with an end before the begin."""
    summary = SUMMARY.replace(b"3f6d16f7", b"").replace(b":0.5", b":-9223372036.854776")
    done = meaning(0, out=summary)

    assert (ResultKind.SUCCESS, "") == (done.kind, done.snapshot)
    assert done.stats == Stats(1, 2, 3, 6, 4, 7, 0.0, dirs_new=8, data_blobs=0, tree_blobs=9)


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


@pytest.mark.parametrize(
    "message",
    [
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        "The Access Key Id you provided does not exist in our records.",
        "SignatureDoesNotMatch",
    ],
)  # fmt: skip
def test_keys_that_s3_refuses_are_told(message: str) -> None:
    """In the words of the servers, and in those of their error codes."""
    err = f"Fatal: unable to open config file: Stat: {message}\n".encode()

    assert FailureClass.AUTH is meaning(1, err).failure


KEEP_ALL = "the storage lets nothing be deleted (append-only?): set the retention to keep all"


@pytest.mark.parametrize(
    ("verb", "status", "err"),
    [
        (Verb.FORGET, 1, b"Remove(<snapshot/0da6ac9426>) returned error, retrying after 552.3ms: blob not removed, server response: 403 Forbidden (403)\nblob not removed, server response: 403 Forbidden (403)\n"),
        (Verb.FORGET, 0, b"Remove(<snapshot/080a8645ec>) failed: unexpected HTTP response (403): 403 Forbidden\nunable to remove snapshot/080a8645 from the repository\n"),
        (Verb.OTHER, 1, b"Remove(<data/0da6ac9426>) failed: unexpected HTTP response (403): 403 Forbidden\nFatal: unexpected HTTP response (403): 403 Forbidden\n"),
        (Verb.OTHER, 1, b"Remove(<index/0da6ac9426>) returned error, retrying after 1s: client.RemoveObject: Access Denied\n"),
    ],
)  # fmt: skip
def test_a_storage_that_lets_nothing_be_deleted_is_told(
    verb: Verb, status: int, err: bytes
) -> None:
    """It took everything else: the credentials are as good as before, and nothing was done."""
    done = meaning(status, err, verb=verb)

    assert (ResultKind.FAILED, FailureClass.PERMISSION) == (done.kind, done.failure)
    assert KEEP_ALL == done.reason


def test_a_lock_that_cannot_be_removed_is_another_matter() -> None:
    """Nobody can choose by a retention that locks stay."""
    err = b"Remove(<lock/0da6ac9426>) failed: unexpected HTTP response (403): 403 Forbidden\n"

    assert FailureClass.AUTH is meaning(1, err).failure


def test_exit_code_3_is_a_failure_elsewhere() -> None:
    """A forget that could not remove, or a backup that has no summary."""
    err = exit_error(3, "Fatal: failed to remove snapshots: permission denied")
    forget = meaning(3, err, verb=Verb.OTHER)

    assert (ResultKind.FAILED, FailureClass.PERMISSION) == (forget.kind, forget.failure)
    assert ResultKind.FAILED is meaning(3, UNREAD_NEW).kind


REPAIR = (
    "next: keep a copy of the repository as it is, then follow "
    "https://restic.readthedocs.io/en/stable/077_troubleshooting.html"
)
NOT_FOUND = "unable to open config file: stat /r/config: no such file or directory"
WHERE = "\nIs there a repository at the following location?\n/r"


@pytest.mark.parametrize(
    ("status", "err", "failure", "reason"),
    [
        (1, b"Fatal: wrong password or no key found\n", FailureClass.WRONG_PASSWORD, "the password is wrong, or the repository has no key for it"),
        (12, exit_error(12, "Fatal: wrong password or no key found"), FailureClass.WRONG_PASSWORD, "the password is wrong, or the repository has no key for it"),
        (12, b"", FailureClass.WRONG_PASSWORD, "the password is wrong, or the repository has no key for it"),
        (1, b"Fatal: an empty password is not a password", FailureClass.WRONG_PASSWORD, "the password is wrong, or the repository has no key for it"),
        (1, f"Fatal: {NOT_FOUND}{WHERE}".encode(), FailureClass.REPO_NOT_FOUND, f"there is no repository at this address: {NOT_FOUND}; is its disk not mounted?"),
        (10, exit_error(10, f"Fatal: repository does not exist: {NOT_FOUND}{WHERE}"), FailureClass.REPO_NOT_FOUND, f"there is no repository at this address: repository does not exist: {NOT_FOUND}; is its disk not mounted?"),
        (1, b"Fatal: unable to open config file: unexpected HTTP response (404): 404 Not Found\n", FailureClass.REPO_NOT_FOUND, "there is no repository at this address: unable to open config file: unexpected HTTP response (404): 404 Not Found"),
        (1, b"Fatal: unable to open config file: Stat: The specified key does not exist.", FailureClass.REPO_NOT_FOUND, "there is no repository at this address: unable to open config file: Stat: The specified key does not exist."),
        (1, b'Fatal: unable to open config file: Head "http://h/config": dial tcp 127.0.0.1:1: connect: connection refused\nIs there a repository at the following location?\n', FailureClass.NETWORK, 'the repository cannot be reached: unable to open config file: Head "http://h/config": dial tcp 127.0.0.1:1: connect: connection refused'),
        (1, b"Fatal: unable to open config file: unexpected HTTP response (503): 503 Service Unavailable", FailureClass.NETWORK, "the repository cannot be reached: unable to open config file: unexpected HTTP response (503): 503 Service Unavailable"),
        (1, b"subprocess ssh: ssh: connect to host h port 22: Connection refused\nFatal: unable to open repository at sftp:h:/x: unable to start the sftp session, error: EOF", FailureClass.NETWORK, "the repository cannot be reached: ssh: connect to host h port 22: Connection refused"),
        (1, b"Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized", FailureClass.AUTH, "the storage refused the credentials: unable to open config file: unexpected HTTP response (401): 401 Unauthorized"),
        (1, b"Fatal: create repository at s3:h/b failed: client.BucketExists: Access Denied.", FailureClass.AUTH, "the storage refused the credentials: create repository at s3:h/b failed: client.BucketExists: Access Denied."),
        (1, b"subprocess ssh: u@h: Permission denied (publickey).\n", FailureClass.AUTH, "the storage refused the credentials: subprocess ssh: u@h: Permission denied (publickey)."),
        (1, b"Fatal: unable to save snapshot: write /r/data/x: no space left on device", FailureClass.DISK_FULL, "there is no space left: unable to save snapshot: write /r/data/x: no space left on device"),
        (1, b"Fatal: unexpected HTTP response (507): 507 Insufficient Storage", FailureClass.DISK_FULL, "there is no space left: unexpected HTTP response (507): 507 Insufficient Storage"),
        (1, b"Fatal: server response 429: slow", FailureClass.RATE_LIMIT, "the storage asks for fewer requests: server response 429: slow"),
        (1, b"Fatal: b2_upload: 503: SlowDown", FailureClass.RATE_LIMIT, "the storage asks for fewer requests: b2_upload: 503: SlowDown"),
        (1, b"Fatal: Get: net/http: TLS handshake timeout", FailureClass.TIMEOUT, "it took too long: Get: net/http: TLS handshake timeout"),
        (1, b"Fatal: read tcp 1.2.3.4: i/o timeout", FailureClass.TIMEOUT, "it took too long: read tcp 1.2.3.4: i/o timeout"),
        (1, b"Fatal: repository contains errors", FailureClass.DAMAGED, f"the repository is damaged: repository contains errors; {REPAIR}"),
        (1, b"Fatal: config cannot be loaded: trying to decrypt invalid data: ciphertext too small", FailureClass.DAMAGED, f"the repository is damaged: config cannot be loaded: trying to decrypt invalid data: ciphertext too small; {REPAIR}"),
        (1, b"config file has zero size, invalid repository?\nmain.open\n\tglobal.go:760\n", FailureClass.DAMAGED, f"the repository is damaged: config file has zero size, invalid repository?; {REPAIR}"),
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


PACK = "c227b0ba348df1dde8bf30d20ffea06a52df19efb2ac146f7004f26ebeafcc88"
MISSING = f"""The index references 1 needed pack files which are missing from the repository:
  {PACK}
"""
ANGRY = "The repository is damaged and must be repaired. Please follow the guide .\n\n"


@pytest.mark.parametrize(
    ("err", "told"),
    [
        (f"pack {PACK}: does not exist\nFatal: repository contains errors\n", f"pack {PACK}: does not exist"),
        (f"pack {PACK}: does not exist\n\n{ANGRY}Fatal: repository contains errors\n", f"pack {PACK}: does not exist"),
        (f"{MISSING}Fatal: packs from index missing in repo\n", f"The index references 1 needed pack files which are missing from the repository: {PACK}"),
        (f"Pack ID does not match, want {PACK}, got 6c3e\nFatal: repository contains errors\n", f"Pack ID does not match, want {PACK}, got 6c3e"),
        (f"pack {PACK} contains 2 errors: [blob c9af: decrypting blob <data/c9af> from c227 failed]\nFatal: repository contains errors", f"pack {PACK} contains 2 errors: [blob c9af: decrypting blob <data/c9af> from c227 failed]"),
        ("error for tree a1a2928c:\n  decrypting blob a1a2928c failed: ciphertext verification failed\nFatal: repository contains errors\n", "error for tree a1a2928c: decrypting blob a1a2928c failed: ciphertext verification failed"),
        (f"error for tree a1a2928c:\n  decrypting blob a1a2928c failed: ciphertext verification failed\nPack ID does not match, want {PACK}, got 6c3e\nFatal: repository contains errors\n", f"Pack ID does not match, want {PACK}, got 6c3e"),
        ("error loading index 7980b6af: load <index/7980b6af>: invalid data returned\nFatal: LoadIndex returned errors\n", "error loading index 7980b6af: load <index/7980b6af>: invalid data returned"),
        (f"Load(<data/c2>, 44, 0) returned error, retrying after 1s: dial tcp 1.2.3.4:1: connect: connection refused\npack {PACK}: does not exist\nFatal: repository contains errors", f"pack {PACK}: does not exist"),
    ],
)  # fmt: skip
def test_damage_is_told_with_what_is_damaged_and_what_comes_next(err: str, told: str) -> None:
    """As restic 0.14 and 0.18 tell it; their last line alone helps nobody."""
    done = meaning(1, err.encode(), verb=Verb.OTHER)

    assert FailureClass.DAMAGED is done.failure
    assert f"the repository is damaged: {told}; {REPAIR}" == done.reason


def test_a_check_that_could_not_read_has_found_no_damage() -> None:
    """Its last line says so though, as for every error."""
    err = b"pack 51afd010: download error: dial tcp 1.2.3.4:1: connect: connection refused\nFatal: repository contains errors\n"

    assert FailureClass.NETWORK is meaning(1, err, verb=Verb.OTHER).failure


def test_a_parent_that_is_damaged_is_no_file_that_could_not_be_read() -> None:
    """The files are in the new snapshot: it is the repository that somebody has to look at."""
    err = b'{"message_type":"error","error":{"message":"tree f8 could not be loaded; the repository could be damaged: ciphertext verification failed"},"during":"archival","item":"/d"}\n'
    done = meaning(3, err, SUMMARY)

    assert (ResultKind.WARNING, FailureClass.DAMAGED) == (done.kind, done.failure)
    assert done.reason.startswith("the repository is damaged: /d: tree f8 could not be loaded")
    assert done.reason.endswith(REPAIR)


@pytest.mark.parametrize(
    "line",
    [
        "Fatal: unable to open config file: context canceled\nIs there a repository at the following location?\ns3:http://127.0.0.1:1/corrupt-bucket",
        "Fatal: unable to open repository at s3:corrupt.example.org/throttled: something",
        'Fatal: Head "https://no-space-left.example.org/corrupt/": something',
        "Fatal: unable to open repository at b2:corrupt:repository-is-damaged: something",
    ],
)
def test_a_name_says_nothing_about_what_went_wrong(line: str) -> None:
    """Neither that of a bucket nor that of a server."""
    assert FailureClass.UNKNOWN is meaning(1, line.encode()).failure


SFTP = "unable to open repository at sftp:u@h:/x: unable to start the sftp session, error:"
NO_CONFIG = 'rclone: 2026/11/30 08:37:13 NOTICE: Config file "/c" not found - using defaults\n'
GREETING = "subprocess ssh: Unauthorized access is forbidden and throttled\n"
PREALLOCATE = "data/09: Post request put error: preallocate: file too big for remaining disk space"


@pytest.mark.parametrize(
    ("err", "failure", "reason"),
    [
        (f"subprocess ssh: ssh: connect to host h port 1: Connection refused\nFatal: {SFTP} read |0: file already closed", FailureClass.NETWORK, "the repository cannot be reached: ssh: connect to host h port 1: Connection refused"),
        (f"subprocess ssh: ssh: Could not resolve hostname h: Name or service not known\nFatal: {SFTP} error receiving version packet from server: unexpected EOF", FailureClass.NETWORK, "the repository cannot be reached: ssh: Could not resolve hostname h: Name or service not known"),
        (f"{GREETING}subprocess ssh: u@h: Permission denied (publickey).\nFatal: {SFTP} EOF", FailureClass.AUTH, "the storage refused the credentials: u@h: Permission denied (publickey)."),
        (f"{GREETING}Fatal: {SFTP} read |0: file already closed", FailureClass.NETWORK, f"the repository cannot be reached: {SFTP} read |0: file already closed"),
        (f"{GREETING}Fatal: wrong password or no key found", FailureClass.WRONG_PASSWORD, "the password is wrong, or the repository has no key for it"),
        (f"subprocess ssh: @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nsubprocess ssh: Host key verification failed.\nFatal: {SFTP} unexpected EOF", FailureClass.AUTH, "the host key of the server is not one that is known: Host key verification failed."),
        (f"{NO_CONFIG}rclone: 2026/11/30 08:37:13 Failed to create file system for \"nas:b\": didn't find section in config file\nFatal: unable to open repository at rclone:nas:b: error talking HTTP to rclone: exit status 1", FailureClass.UNKNOWN, "restic failed: rclone: Failed to create file system for \"nas:b\": didn't find section in config file"),
        (f"{NO_CONFIG}rclone: 2026/11/30 08:46:10 ERROR : {PREALLOCATE}\nSave(<data/09>) returned error, retrying after 720ms: server response unexpected: 500 Internal Server Error (500)\nFatal: unable to save snapshot: server response unexpected: 500 Internal Server Error (500)", FailureClass.DISK_FULL, f"there is no space left: rclone: {PREALLOCATE}"),
        (f"{NO_CONFIG}rclone: 2026/11/30 08:46:01 ERROR : : Create repo failed to Mkdir: mkdir /proc/x: no such file or directory\nFatal: create repository at rclone:/proc/x failed: Fatal: server response unexpected: 500 Internal Server Error (500)", FailureClass.NETWORK, "the repository cannot be reached: rclone: Create repo failed to Mkdir: mkdir /proc/x: no such file or directory"),
        (f"{NO_CONFIG}Fatal: unable to open config file: <config/> does not exist\nIs there a repository at the following location?\nrclone:/r", FailureClass.REPO_NOT_FOUND, "there is no repository at this address: unable to open config file: <config/> does not exist"),
    ],
)  # fmt: skip
def test_what_ssh_and_rclone_said_counts_for_more_than_that_they_ended(
    err: str, failure: FailureClass, reason: str
) -> None:
    """As both restics pass it on; greetings and notices of theirs count for nothing."""
    done = meaning(1, err.encode())

    assert (failure, reason) == (done.failure, done.reason)


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


@pytest.mark.parametrize(
    ("status", "err", "reason"),
    [
        (1, "Fatal: dial tcp: the repository: connection refused", f"the repository cannot be reached: dial tcp: the {MASK}: connection refused"),
        (1, "Fatal: repository is already locked by PID 5 on repository", f"the repository is locked by PID 5 on {MASK}"),
        (2, "", "restic failed: exit code 2"),
        (1, f"Fatal: {'x' * 295} repository", f"restic failed: {'x' * 295} ****"),
    ],
)  # fmt: skip
def test_our_own_words_are_never_masked(status: int, err: str, reason: str) -> None:
    """Only those of the program, and before they are cut: the password may be any word."""
    completed = Completed(status, b"", err.encode())
    done = interpret(Verb.OTHER, FinishedCommand(completed, Masking("repository"), 60.0))

    assert reason == done.reason


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
    parser = ProgressParser(lambda _: None, None, lambda: 0.0, 0.0)
    for line in out.splitlines():
        parser.take(line)
        parse_entry(line)

    assert (done.kind is ResultKind.SUCCESS) == (done.failure is None)
    assert bool(done.reason) == (done.kind is not ResultKind.SUCCESS)
