"""Secret references: what may be read, and that everything else is simply absent."""

import os
from pathlib import Path

import pytest

from sidecar.reconciler.secrets import MAX_BYTES, read_secrets


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """A folder of secrets, with a file beside it that is none of them."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "token").write_bytes(b"s3cret\n")
    (tmp_path / "outside").write_text("not yours")
    return folder


def test_file_below_the_folder_loses_one_newline(vault: Path) -> None:
    """Editors and `echo` end a file with a newline that is no part of the secret."""
    (vault / "two").write_bytes(b"a\n\n")
    (vault / "dos").write_bytes(b"a\r\n")
    names = ("token", "two", "dos")
    references = [f"file:{vault}/{name}" for name in names]

    found = read_secrets(references, vault, {})

    assert found == dict(zip(references, ("s3cret", "a\n", "a"), strict=True))


def test_links_count_by_where_they_lead(vault: Path, tmp_path: Path) -> None:
    """A link within the folder is read, as orchestrators make them; one that leaves is not."""
    (vault / "..data").mkdir()
    (vault / "..data" / "key").write_text("inner")
    (vault / "key").symlink_to("..data/key")
    (vault / "leak").symlink_to(tmp_path / "outside")
    (vault / "loop").symlink_to("loop")
    inner = f"file:{vault}/key"

    found = read_secrets([inner, f"file:{vault}/leak", f"file:{vault}/loop"], vault, {})

    assert found == {inner: "inner"}


def test_folder_that_is_a_link_itself_is_followed(vault: Path, tmp_path: Path) -> None:
    """/run/secrets may be a link, and either of its names is good."""
    alias = tmp_path / "alias"
    alias.symlink_to(vault)
    references = [f"file:{alias}/token", f"file:{vault}/token"]

    assert read_secrets(references, alias, {}) == dict.fromkeys(references, "s3cret")


@pytest.mark.parametrize(
    "reference",
    [
        "file:{vault}/../outside",
        "file:{vault}-other/x",
        "file:{vault}",
        "file:{vault}/missing",
        "file:{vault}/empty",
        "file:{vault}/newline",
        "file:{vault}/big",
        "file:{vault}/latin1",
        "file:{vault}/pipe",
        "file:{vault}/token/below",
        "file:{vault}/nul\0",
        "file:{vault}/\ud800",
        "file:{vault}/" + "x" * 5000,
        "file:token",
        "file:",
        "token",
        "",
        "https://user:password@example.org/",
    ],
)
def test_anything_else_is_absent(vault: Path, reference: str) -> None:
    """No reference makes the reader raise, wait, or look elsewhere."""
    (vault / "empty").touch()
    (vault / "newline").write_text("\n")
    (vault / "big").write_bytes(b"x" * (MAX_BYTES + 1))
    (vault / "latin1").write_bytes("é".encode("latin-1"))
    os.mkfifo(vault / "pipe")

    assert read_secrets([reference.replace("{vault}", str(vault))], vault, {}) == {}


def test_the_largest_file_is_still_read(vault: Path) -> None:
    """The limit itself is allowed."""
    (vault / "big").write_bytes(b"x" * MAX_BYTES)
    reference = f"file:{vault}/big"

    assert len(read_secrets([reference], vault, {})[reference]) == MAX_BYTES


def test_missing_folder_gives_nothing(tmp_path: Path) -> None:
    """Without a secrets folder no file reference can be read."""
    assert read_secrets([f"file:{tmp_path}/none/x"], tmp_path / "none", {}) == {}


def test_only_variables_made_for_it_are_read(tmp_path: Path) -> None:
    """A label cannot name the sidecar's other variables, nor an empty one."""
    environment = {
        "BACKREST_SECRET_HOOK": "https://example.org/x",
        "BACKREST_SECRET_EMPTY": "",
        "BACKREST_SECRET_BYTES": "\udcff",
        "BACKREST_SECRET_": "nameless",
        "HOME": "/root",
    }

    found = read_secrets([f"env:{name}" for name in (*environment, "UNSET")], tmp_path, environment)

    assert found == {"env:BACKREST_SECRET_HOOK": "https://example.org/x"}
