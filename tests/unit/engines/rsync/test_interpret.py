"""What an exit code and messages of rsync mean; the messages are those of rsync 3.5.0."""

import pytest

from sidecar.engines.base import FailureClass, ResultKind
from sidecar.engines.rsync.interpret import (
    CopyKind,
    class_of_errno,
    interpret,
    interpret_remote,
    parse_messages,
)
from sidecar.lib.process import Completed

DENIED = b'rsync: [sender] send_files failed to open "/data/a\\#012b": Permission denied (13)\n'
CLOSED = b'rsync: [sender] opendir "/data/d" failed: Permission denied (13)\n'
VANISHED = b'file has vanished: "/data/gone"\n'
PARTIAL = b"rsync error: some files/attrs were not transferred (code 23) at main.c [sender=3.5.0]\n"
OWNER = b'rsync: [generator] chown "/out/x" failed: Operation not permitted (1)\n'
ATTRIBUTE = (
    b'rsync: [receiver] rsync_xal_set: lsetxattr("/out/x","user.y") failed: '
    b"Operation not supported (95)\n"
)


def judge(verb: CopyKind, status: int, err: bytes = b"", **more: object):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """Interpret an rsync of the paths `/data` and `/more`."""
    completed = Completed(status, err=err, **more)  # type: ignore[arg-type]
    return interpret(verb, completed, lambda text: text, sources=["/data", "/more"], patience=60.0)


def test_all_is_well_that_ends_with_zero() -> None:
    """For each verb."""
    assert {ResultKind.SUCCESS} == {judge(verb, 0).kind for verb in CopyKind}


def test_what_could_not_be_read_is_a_warning_that_names_it() -> None:
    """A snapshot exists; names are shown as they are."""
    done = judge(CopyKind.BACKUP, 23, DENIED + CLOSED + PARTIAL)

    assert (ResultKind.WARNING, FailureClass.PERMISSION) == (done.kind, done.failure)
    assert "2 files or folders could not be read: /data/a\nb: Permission denied" in done.reason
    assert "/data/d: Permission denied" in done.reason
    assert "code 23" in done.excerpt


def test_of_many_names_the_first_are_shown() -> None:
    """The excerpt has more."""
    done = judge(CopyKind.BACKUP, 23, DENIED * 5)

    assert done.reason.startswith("5 files or folders")
    assert done.reason.endswith(", ...")


def test_what_vanished_meanwhile_is_a_warning() -> None:
    """That it vanished is of less weight than that something could not be read."""
    done, both = judge(CopyKind.BACKUP, 24, VANISHED), judge(CopyKind.BACKUP, 23, VANISHED + DENIED)

    assert (ResultKind.WARNING, FailureClass.SOURCE_CHANGED) == (done.kind, done.failure)
    assert "/data/gone: vanished" in done.reason
    assert FailureClass.PERMISSION is both.failure


def test_a_source_that_is_gone_is_no_warning() -> None:
    """It was there when the run began; something deeper may vanish."""
    lost = b'rsync: [sender] link_stat "%s" failed: No such file or directory (2)\n'
    done = judge(CopyKind.BACKUP, 23, lost % b"/more")

    assert (ResultKind.FAILED, FailureClass.SOURCE_MISSING) == (done.kind, done.failure)
    assert ResultKind.WARNING is judge(CopyKind.BACKUP, 23, lost % b"/more/x").kind


@pytest.mark.parametrize(
    ("status", "err", "failure"),
    [
        (
            23,
            b'rsync: [receiver] mkstemp "/b/.x" failed: No space left on device (28)\n',
            FailureClass.DISK_FULL,
        ),
        (
            11,
            b'rsync: [receiver] write failed on "/b/x": No space left on device (28)\n',
            FailureClass.DISK_FULL,
        ),
        (
            23,
            b'rsync: [receiver] mkstemp "/b/.x" failed: Read-only file system (30)\n',
            FailureClass.PERMISSION,
        ),
        (
            23,
            b'rsync: [generator] link_stat "/b/x" failed: Input/output error (5)\n',
            FailureClass.DAMAGED,
        ),
        (12, b"rsync: connection unexpectedly closed\n", FailureClass.NETWORK),
        (255, b"ssh: connect to host nas port 22: Connection refused\n", FailureClass.NETWORK),
        (255, b"me@nas: Permission denied (publickey).\n", FailureClass.AUTH),
        (127, b"bash: line 1: rsync: command not found\n", FailureClass.NO_PROGRAM),
        (30, b"", FailureClass.TIMEOUT),
        (20, b"rsync error: received SIGINT (code 20)\n", FailureClass.INTERRUPTED),
        (1, b"rsync: --x: unknown option\n", FailureClass.UNKNOWN),
    ],
)
def test_what_leaves_no_snapshot_is_a_failure(
    status: int, err: bytes, failure: FailureClass
) -> None:
    """The words of the cause count for more than the exit code."""
    done = judge(CopyKind.BACKUP, status, err)

    assert (ResultKind.FAILED, failure) == (done.kind, done.failure)
    assert done.reason


def test_a_host_key_that_is_not_known_is_told_in_words() -> None:
    """Somebody else may answer at that address."""
    completed = Completed(255, err=b"Host key verification failed.\r\n")

    assert "host key of the server is not one that is known" in str(interpret_remote(completed, ""))


def test_properties_that_cannot_be_saved_are_a_warning() -> None:
    """The contents are there."""
    done = judge(CopyKind.BACKUP, 23, OWNER)

    assert ResultKind.WARNING is done.kind
    assert "1 property could not be saved: /out/x: Operation not permitted" in done.reason
    assert ResultKind.WARNING is judge(CopyKind.BACKUP, 23, PARTIAL).kind


def test_a_restore_without_properties_is_a_warning_and_without_contents_a_failure() -> None:
    """What is lacking is told, an entry at a time."""
    done = judge(CopyKind.RESTORE, 23, OWNER + ATTRIBUTE + PARTIAL)
    lost = judge(CopyKind.RESTORE, 23, OWNER + DENIED)

    assert (ResultKind.WARNING, FailureClass.PERMISSION) == (done.kind, done.failure)
    assert [("/out/x", ""), ("/out/x", "user.y")] == [
        (one.path, one.attribute) for one in done.unrestored
    ]
    assert ResultKind.FAILED is lost.kind
    assert ResultKind.FAILED is judge(CopyKind.RESTORE, 23, PARTIAL).kind


def test_who_ended_it_is_told() -> None:
    """We did as the runner stops, or as nothing moved; or a signal did."""
    stopped = judge(CopyKind.BACKUP, 20, stopped=True, timed_out=True)
    slow = judge(CopyKind.BACKUP, -15, timed_out=True)
    killed = judge(CopyKind.OTHER, -9)

    assert FailureClass.INTERRUPTED is stopped.failure is killed.failure
    assert FailureClass.TIMEOUT is slow.failure
    assert "60 seconds" in slow.reason
    assert "signal 9" in killed.reason


def test_secrets_are_masked_everywhere() -> None:
    """In the reason, the excerpt and what could not be restored."""
    completed = Completed(23, err=OWNER.replace(b"/out/x", b"/out/hunter2"))
    done = interpret(CopyKind.RESTORE, completed, lambda text: text.replace("hunter2", "***"))

    assert "hunter2" not in done.reason + done.excerpt + done.unrestored[0].message


def test_messages_of_an_older_rsync_are_read_too() -> None:
    """They do not say which side it was."""
    [message] = parse_messages(b'rsync: send_files failed to open "/a": Permission denied (13)\n')

    assert ("", b"/a", 13) == (message.side, message.path, message.errno)


@pytest.mark.parametrize(
    ("completed", "failure"),
    [
        (Completed(1, stopped=True), FailureClass.INTERRUPTED),
        (Completed(1, timed_out=True), FailureClass.TIMEOUT),
        (Completed(1, err=b"rm: x: Read-only file system"), FailureClass.PERMISSION),
        (Completed(1), FailureClass.UNKNOWN),
    ],
)
def test_a_command_on_the_other_machine_fails_with_a_class(
    completed: Completed, failure: FailureClass
) -> None:
    """And with a sentence of what it was for."""
    error = interpret_remote(completed, "it could not be done")

    assert failure is error.failure
    assert error.message


def test_what_is_not_there_is_no_repository() -> None:
    """An error of the C library has a class, too."""
    assert FailureClass.REPO_NOT_FOUND is class_of_errno(2)
    assert FailureClass.DISK_FULL is class_of_errno(28)
    assert FailureClass.UNKNOWN is class_of_errno(None)
