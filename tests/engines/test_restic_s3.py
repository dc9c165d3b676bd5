"""A repository behind a real S3 server: that of a current rclone, which Debian's does not have."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy, Repo
from sidecar.engines.base import EngineError, FailureClass, ResultKind
from sidecar.engines.restic import CommandTimeouts
from tests.engines.bench import INSTANCE, ResticBench, quick_repo
from tests.engines.storages import SECRET, USER, s3_server

pytestmark = [pytest.mark.engine, pytest.mark.current_engine]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make one empty repository that is quickly opened."""
    repo = quick_repo(tmp_path_factory.mktemp("template"))
    return lambda _: repo


@pytest.fixture
def bucket(restic: ResticBench) -> Iterator[str]:
    """Serve a bucket that holds the repository; give the address of that."""
    folder = restic.folder / "buckets" / "backups"
    folder.mkdir(parents=True)
    (restic.folder / "repo").rename(folder / "repo")
    with s3_server(folder.parent) as address:
        yield f"{address}/backups/repo"


def remote(bench: ResticBench, uri: str, user: str = USER, secret: str = SECRET) -> Repo:
    """Return the repository at this address, with the keys in its environment."""
    env = (("AWS_ACCESS_KEY_ID", user), ("AWS_SECRET_ACCESS_KEY", secret))
    return bench.repo(uri=uri, env=env)


def test_a_repository_in_a_bucket_works(restic: ResticBench, bucket: str) -> None:
    """From the first snapshot to the last."""
    restic.write("file", "hello")
    engine = restic.restic(remote(restic, bucket))
    done = [engine.backup(restic.plan(), INSTANCE, restic.reported.append) for _ in range(2)]
    done.append(engine.forget(restic.plan(), INSTANCE, Retention(last=1)))
    done += [engine.prune(PrunePolicy()), engine.check(CheckPolicy()), engine.unlock()]
    [snapshot] = engine.snapshots(restic.plan(), INSTANCE)
    target = restic.folder / "target"
    done.append(engine.restore(snapshot, (), target, restic.reported.append))

    assert {(ResultKind.SUCCESS, "")} == {(one.kind, one.reason) for one in done}
    assert "hello" == (target / f"{restic.source}/file".lstrip("/")).read_text()


def test_a_repository_in_a_bucket_is_made(restic: ResticBench, bucket: str) -> None:
    """Beside another one."""
    engine = restic.restic(remote(restic, f"{bucket}-of-another"))

    assert engine.initialise() == engine.probe()


@pytest.mark.parametrize(("user", "secret"), [(USER, f"other-{SECRET}"), ("nobody", SECRET)])
def test_refused_keys_are_told(restic: ResticBench, bucket: str, user: str, secret: str) -> None:
    """In bounded time, and without the secret."""
    restic.limits = CommandTimeouts(probe=20.0)
    with pytest.raises(EngineError) as caught:
        restic.restic(remote(restic, bucket, user, secret)).probe()

    assert FailureClass.AUTH is caught.value.failure
    assert SECRET not in str(caught.value)
