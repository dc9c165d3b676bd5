"""When a restore that ended with errors has all contents, and what entries lack then."""

import json

import pytest

from sidecar.engines.base import FailureClass, ResultKind, Unrestored
from sidecar.engines.masking import Masking
from sidecar.engines.restic.interpret import FinishedCommand, Verb, interpret
from sidecar.engines.restic.unrestored import parse_unrestored
from sidecar.lib.process import Completed

LCHOWN = "lchown /t/data/acl: operation not permitted"
CAPABILITY = "xattr.LSet /t/data/cap security.capability: operation not permitted"


def lines(*errors: str, number: int | None = None) -> bytes:
    """Write errors as restic before 0.16 does."""
    told = "".join(f"ignoring error for {one}\n" for one in errors)
    return f"{told}Fatal: There were {len(errors) if number is None else number} errors\n".encode()


def messages(*errors: tuple[str, str]) -> bytes:
    """Write errors, each an item and its message, as a current restic does."""
    told = [
        {"message_type": "error", "error": {"message": words}, "during": "restore", "item": item}
        for item, words in errors
    ]
    end = {
        "message_type": "exit_error",
        "code": 1,
        "message": f"Fatal: There were {len(told)} errors\n",
    }
    return "".join(f"{json.dumps(one)}\n" for one in (*told, end)).encode()


def test_lines_tell_what_entries_lack() -> None:
    """Names may hold what stands between them and the words, and a line's end too."""
    found = parse_unrestored(
        lines(
            "/data/acl: Lchown: lchown /t/data/acl: operation not permitted",
            "/data/a: b\nc: Lchown: lchown /t/data/a: b\nc: operation not permitted",
            "/data/cap: xattr.Set /t/data/cap security.capability: operation not permitted",
            "/data/null: operation not permitted",
        )
    )

    assert [
        ("/data/acl", ""),
        ("/data/a: b\nc", ""),
        ("/data/cap", "security.capability"),
        ("/data/null", ""),
    ] == [(one.path, one.attribute) for one in found]


def test_messages_tell_what_entries_lack() -> None:
    """One each, of a restic that writes JSON."""
    time = 'failed to restore timestamp of "/t/data/x": operation not permitted'
    mknod = "mknod /t/data/null: operation not permitted"
    errors = [("/acl", LCHOWN), ("/cap", CAPABILITY), ("/x", time), ("/null", mknod)]

    assert (
        Unrestored("/acl", LCHOWN),
        Unrestored("/cap", CAPABILITY, "security.capability"),
        Unrestored("/x", time),
        Unrestored("/null", mknod),
    ) == parse_unrestored(messages(*errors))


@pytest.mark.parametrize(
    "err",
    [
        b"",
        b"Fatal: repository is already locked\n",
        lines("/a: Lchown: lchown /t/a: operation not permitted", number=2),
        lines("/a: write /t/a: no space left on device"),
        lines("/a: Lchown: lchown /t/a: operation not permitted", "/b: open /t/b: is a directory"),
        messages(("/acl", LCHOWN), ("/a", "write /t/a: no space left on device")),
        messages(("/acl", LCHOWN), ("/a", "Load(<data/0123>) failed: ciphertext")),
        b'{"message_type":"error","item":"/a"}\nFatal: There were 1 errors\n',
    ],
)
def test_what_may_lack_its_content_is_no_warning(err: bytes) -> None:
    """Also if not all errors are told, or one of them is not known."""
    assert () == parse_unrestored(err)


@pytest.mark.parametrize(
    ("verb", "kind"), [(Verb.RESTORE, ResultKind.WARNING), (Verb.OTHER, ResultKind.FAILED)]
)
def test_only_a_restore_ends_with_such_a_warning(verb: Verb, kind: ResultKind) -> None:
    """With how many entries there are, and the words of the first."""
    done = interpret(verb, FinishedCommand(Completed(1, err=messages(("/acl", LCHOWN))), Masking()))

    assert (kind, FailureClass.PERMISSION) == (done.kind, done.failure)
    if verb is Verb.RESTORE:
        assert (f"1 entry not as saved: {LCHOWN}", 1) == (done.reason, len(done.unrestored))
