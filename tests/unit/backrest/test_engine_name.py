"""The engine of a repository, by its URI."""

import pytest

from sidecar.backrest.engine_name import EngineName, check_scheme, engine_of


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


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("rsync+ssh://secret@host/x", "write rsync:USER@HOST:/PATH, which goes over ssh"),
        ("rsync+ssh:secret@host:/x", "write rsync:USER@HOST:/PATH, which goes over ssh"),
        ("Rsync://secret", "write rsync:USER@HOST:/PATH, which goes over ssh"),
        ("RSYNC:/secret", "write it in small letters: `rsync:`"),
        ("Dar:/secret", "write it in small letters: `dar:`"),
        ("Duplicity+file:///secret", "write it in small letters: `duplicity+`"),
        ("duplicity:secret", "write duplicity+URL"),
    ],
)
def test_a_scheme_that_is_nearly_ours_is_told(uri: str, hint: str) -> None:
    """With what to write; nothing else of the address is shown."""
    fault = check_scheme(uri)

    assert fault is not None
    assert hint in fault.hint
    assert "secret" not in f"{fault.message}{fault.hint}"


@pytest.mark.parametrize("uri", ["", "/x", "rsync:/x", "dar:/x", "duplicity+x", "sftp:rsync+ssh:x"])
def test_other_schemes_are_left_alone(uri: str) -> None:
    """Those of ours, and those of restic."""
    assert check_scheme(uri) is None
