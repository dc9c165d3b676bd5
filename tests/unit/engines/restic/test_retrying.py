"""When it is pointless that restic tries something again, by what it says of it."""

from dataclasses import dataclass

import pytest

from sidecar.engines.base import FailureClass
from sidecar.engines.masking import Masking
from sidecar.engines.restic.interpret import FinishedCommand, Verb, interpret
from sidecar.engines.restic.retrying import RetryWatch
from sidecar.lib.process import Completed

REFUSED = 'Head "http://127.0.0.1:9/config": dial tcp 127.0.0.1:9: connect: connection refused'
FORBIDDEN = "Stat: Access Denied."


def line(what: str, cause: str) -> bytes:
    """What restic says when it tries an operation again."""
    return f"{what} returned error, retrying after 1.5s: {cause}\n".encode()


@dataclass
class Watched:
    """A watch that waits five minutes, and the time."""

    now: float = 0.0
    given_up: int = 0

    def __post_init__(self) -> None:
        self.watch = RetryWatch(300.0, self.give_up, lambda: self.now)

    def give_up(self) -> None:
        """Count how often it gave up."""
        self.given_up += 1


@pytest.fixture
def watched() -> Watched:
    """Return one that has heard nothing."""
    return Watched()


@pytest.mark.parametrize(
    "cause",
    [
        FORBIDDEN,
        "server response unexpected: 403 Forbidden (403)",
        "The specified bucket does not exist",
        "write /srv/repo/data/00: no space left on device",
        "open /srv/repo/data/00: permission denied",
        'Get "https://host/": x509: certificate signed by unknown authority',
    ],
)
def test_a_cause_that_cannot_get_better_by_itself_is_enough(watched: Watched, cause: str) -> None:
    """At the first line; what follows changes nothing."""
    watched.watch.take(line("Stat(<config/>)", cause))
    watched.watch.take(line("Stat(<config/>)", FORBIDDEN))
    assert (1, cause) == (watched.given_up, watched.watch.cause.partition("1.5s: ")[2])


@pytest.mark.parametrize(
    "text",
    [
        line("Remove(<lock/0a1b2c3d4e>)", FORBIDDEN),
        line("Stat(<config/>)", REFUSED),
        b"subprocess ssh: permission denied\n",
        b"Fatal: unable to open config file: Stat: Access Denied.\n",
        b"\xff returned error, retrying after\n",
    ],
)
def test_one_line_about_anything_else_is_not(watched: Watched, text: bytes) -> None:
    """A lock that may not be removed is the last step of a backup that is whole by then."""
    watched.watch.take(text)
    assert (0, "") == (watched.given_up, watched.watch.cause)


def test_an_operation_that_goes_on_failing_is_waited_for_so_long(watched: Watched) -> None:
    """Counted from its first failure to the one that is too late."""
    given_up = []
    for watched.now in (0.0, 0.5, 30.0, 120.0, 200.0, 299.0, 300.0):
        watched.watch.take(line("Save(<data/0a1b2c3d4e>)", REFUSED))
        given_up.append(watched.given_up)
    assert [0, 0, 0, 0, 0, 0, 1] == given_up


def test_a_flaky_line_over_which_each_operation_comes_through_ends_nothing(
    watched: Watched,
) -> None:
    """However long: those that fail are others each time, or succeed in between."""
    for number in range(200):
        watched.now += 10.0
        watched.watch.take(line(f"Save(<data/{number:010x}>)", REFUSED))
        if number % 16 == 0:
            watched.watch.take(line("Load(<index/0a1b2c3d4e>, 0, 0)", REFUSED))
    assert watched.given_up == 0


def test_what_was_given_up_has_the_class_of_its_cause() -> None:
    """Not that of the words with which restic then ends."""
    ended = Completed(-15, b"", b"Fatal: wrong password\n", 1.0, timed_out=True)
    told = {}
    for cause in (REFUSED, FORBIDDEN, "something new"):
        text = line("Stat(<config/>)", cause).decode().strip()
        done = interpret(Verb.BACKUP, FinishedCommand(ended, Masking(""), 3600.0, text))
        told[done.failure] = done.reason
    assert {
        FailureClass.NETWORK: f"the repository cannot be reached: {REFUSED}",
        FailureClass.AUTH: f"the storage refused the credentials: {FORBIDDEN}",
        FailureClass.TIMEOUT: "it took too long: something new",
    } == told
