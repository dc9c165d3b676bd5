"""A repository behind a real S3 server: that of a current rclone, which Debian's does not have."""

from collections.abc import Iterator

import pytest

from sidecar.backrest.reading import Repo
from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.options import CommandTimeouts
from tests.engines.bench import ResticBench
from tests.engines.storages import SECRET, USER, s3_server

pytestmark = [pytest.mark.engine, pytest.mark.current_engine]


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
    restic.use(remote(restic, bucket))


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
