"""Which entries of a document are one repository, whatever they are called."""

from pathlib import Path

import pytest

from sidecar.backrest.reading import Repo
from sidecar.runner.addresses import is_at_hand, lock_keys

GUID, OTHER = "a" * 64, "b" * 64


def are_same(one: Repo, other: Repo, *guids: str) -> bool:
    """Whether two entries share something; `guids` are those that they were seen to have."""
    first, second = (*guids, "", "")[:2]
    environ = {"BUCKET": "s3:host/bucket"}
    return not lock_keys(one, first, environ).isdisjoint(lock_keys(other, second, environ))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/srv/repo", "/srv//repo/"),
        ("/srv/repo", "//srv/repo"),
        ("/srv/repo", "local:/srv/x/../repo"),
        ("rest:https://host/x/", "rest:https://host/x"),
        ("s3:host/bucket", "${BUCKET}"),
    ],
)
def test_spellings_of_one_address_are_one_repository(one: str, other: str) -> None:
    """Also where the names and the ids differ."""
    assert are_same(Repo("a", one), Repo("b", other, GUID), OTHER)


def test_one_id_is_one_repository_at_whatever_address() -> None:
    """Whether the document holds it or the runner has seen it."""
    assert are_same(Repo("a", "/mnt/a", GUID), Repo("b", "sftp:host:/a", GUID))
    assert are_same(Repo("a", "/mnt/a", GUID), Repo("b", "sftp:host:/a"), "", GUID)


def test_others_are_others() -> None:
    """Without an address the name counts."""
    assert not are_same(Repo("a", "/srv/a", GUID), Repo("b", "/srv/b", OTHER))
    assert not are_same(Repo("a", "/srv/a"), Repo("a", "/srv/b"))
    assert not are_same(Repo("a"), Repo("b"))
    assert are_same(Repo("a"), Repo("a"))


def test_only_a_folder_with_a_repository_is_at_hand(tmp_path: Path) -> None:
    """Elsewhere, or without one, a program has to be asked."""
    repo = Repo("a", "local:${BASE}/repo")
    environ = {"BASE": str(tmp_path)}
    assert not is_at_hand(repo, environ)
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "config").write_text("x")
    assert is_at_hand(repo, environ)
    assert not is_at_hand(Repo("a", "sftp:host:/backup"), environ)
