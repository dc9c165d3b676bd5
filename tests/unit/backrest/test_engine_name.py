"""The engine of a repository, by its URI."""

import pytest

from sidecar.backrest.engine_name import EngineName, engine_of


@pytest.mark.parametrize(
    ("uri", "engine"),
    [
        ("rsync:/backup", EngineName.RSYNC),
        ("rsync:user@host:/backup", EngineName.RSYNC),
        ("dar:/backups", EngineName.DAR),
        ("duplicity+file:///backup", EngineName.DUPLICITY),
        ("/rsync:/backup", EngineName.RESTIC),
        ("darling:x", EngineName.RESTIC),
        ("duplicity:x", EngineName.RESTIC),
        ("rclone:rsync:x", EngineName.RESTIC),
        ("rsyncd:x", EngineName.RESTIC),
        ("", EngineName.RESTIC),
    ],
)
def test_the_scheme_names_the_engine(uri: str, engine: EngineName) -> None:
    """What has no scheme of ours is restic's."""
    assert engine == engine_of(uri)
