"""A repository behind a real REST server, also one that lets nothing be deleted."""

import time
from collections.abc import Iterator

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy
from sidecar.engines.base import EngineError, FailureClass, ResultKind
from tests.engines.bench import INSTANCE, ResticBench
from tests.engines.storages import SECRET, USER, rest_server

KEEP_ALL = "the storage lets nothing be deleted (append-only?): set the retention to keep all"
# Restic would try the same for a quarter of an hour, or ten times at least.
AT_ONCE = 15.0


@pytest.fixture
def server(restic: ResticBench) -> Iterator[str]:
    """Serve the repository; give its address."""
    with rest_server(restic.folder) as address:
        yield address


@pytest.fixture
def append_only(restic: ResticBench) -> Iterator[str]:
    """Serve the repository by a server that lets nothing but locks be deleted."""
    with rest_server(restic.folder, "--append-only") as address:
        yield address


def test_a_repository_behind_a_server_works(restic: ResticBench, server: str) -> None:
    """From the first snapshot to the last."""
    restic.use(restic.repo(uri=server))


def test_refused_credentials_are_told(restic: ResticBench, server: str) -> None:
    """Not those that were given, nor that there would be no repository."""
    wrong = server.replace(SECRET, f"other-{SECRET}")
    with pytest.raises(EngineError) as caught:
        restic.restic(restic.repo(uri=wrong)).probe()

    assert FailureClass.AUTH is caught.value.failure
    assert caught.value.message.startswith("the storage refused the credentials")
    assert SECRET not in str(caught.value)
    assert USER in wrong


def test_a_server_without_the_repository_is_told(restic: ResticBench, server: str) -> None:
    """Nothing is made there by a look."""
    with pytest.raises(EngineError) as caught:
        restic.restic(restic.repo(uri=f"{server}elsewhere/")).probe()

    assert FailureClass.REPO_NOT_FOUND is caught.value.failure
    assert not (restic.folder / "repo" / "elsewhere").exists()


def test_what_deletes_nothing_works_where_nothing_can_be_deleted(
    restic: ResticBench, append_only: str
) -> None:
    """Retention too, as long as it keeps what there is."""
    restic.write("file", "hello")
    engine = restic.restic(restic.repo(uri=append_only))
    done = [engine.capture(restic.plan(), INSTANCE, restic.reported.append) for _ in range(2)]
    done.append(engine.forget(restic.plan(), INSTANCE, Retention(last=5)))
    done.append(engine.forget(restic.plan(), INSTANCE, Retention(keep_all=True)))
    done += [engine.check(CheckPolicy()), engine.unlock()]

    assert {(ResultKind.SUCCESS, "")} == {(one.kind, one.reason) for one in done}
    assert 2 == len(restic.names())


def test_retention_that_deletes_says_what_to_set_where_nothing_can_be_deleted(
    restic: ResticBench, append_only: str
) -> None:
    """At once, and not as a success; the credentials are as good as before."""
    restic.write("file", "hello")
    engine = restic.restic(restic.repo(uri=append_only))
    for _ in range(2):
        engine.capture(restic.plan(), INSTANCE, restic.reported.append)
    began = time.monotonic()
    done = engine.forget(restic.plan(), INSTANCE, Retention(last=1))

    assert time.monotonic() - began < AT_ONCE
    assert (ResultKind.FAILED, FailureClass.PERMISSION) == (done.kind, done.failure)
    assert KEEP_ALL == done.reason
    assert 2 == len(restic.names())


def test_a_prune_says_so_too(restic: ResticBench, append_only: str) -> None:
    """What it would have freed stays."""
    restic.write("file", "hello")
    restic.backup()
    restic.write("file", "other")
    restic.backup()
    restic.engine().forget(restic.plan(), INSTANCE, Retention(last=1))
    done = restic.restic(restic.repo(uri=append_only)).prune(PrunePolicy(max_unused_bytes=1))

    assert (ResultKind.FAILED, KEEP_ALL) == (done.kind, done.reason)
