"""A first document: valid, private, and never instead of another."""

import base64
import ctypes
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.document import parse_document
from sidecar.backrest.rules import check_document, check_version
from sidecar.lib.errors import StoreError, UsageError
from sidecar.reconciler import init
from sidecar.reconciler.init import (
    NewDocument,
    create_document,
    default_instance,
    read_password,
    render_document,
)

Create = Callable[..., list[str]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where the document shall be."""
    return tmp_path / "config.json"


@pytest.fixture
def create(config: Path) -> Create:
    """Create the document with the flags' defaults; keywords replace them."""

    def run(**flags: Any) -> list[str]:
        given: dict[str, Any] = {
            "config": config,
            "repo": "/backups",
            "password_file": None,
            "generate_password": True,
            "repo_id": "default",
            "instance": "host",
            "if_absent": False,
            "config_mode": "keep",
        }
        return list(create_document(NewDocument(**(given | flags))))

    return run


def test_document_is_valid_and_private(create: Create, config: Path) -> None:
    """Backrest would start with it, and nobody else can read it."""
    create()
    root = parse_document(config.read_bytes()).root
    assert ([], None) == (check_document(root), check_version(root))
    assert 0o600 == stat.S_IMODE(config.stat().st_mode)
    assert ("1", "6", "host") == (root["modno"], root["version"], root["instance"])
    (repo,) = root["repos"]
    assert ("default", "/backups", True) == (repo["id"], repo["uri"], repo["autoInitialize"])
    assert {"prunePolicy", "checkPolicy"} < repo.keys()
    assert "auth" not in root


def test_generated_password_is_strong_and_shown_nowhere(create: Create, config: Path) -> None:
    """It stands in the file alone; the user is told to keep a copy."""
    lines = create()
    password = json.loads(config.read_text())["repos"][0]["password"]
    assert 43 == len(password)
    assert password not in "\n".join(lines)
    assert "Keep a copy" in lines[-1]


def test_two_generated_passwords_differ(create: Create, tmp_path: Path) -> None:
    """Each document has a password of its own."""
    for name in ("a", "b"):
        create(config=tmp_path / name)
    one, other = (
        json.loads((tmp_path / name).read_text())["repos"][0]["password"] for name in "ab"
    )
    assert one != other


def test_password_comes_from_the_file(create: Create, config: Path, tmp_path: Path) -> None:
    """As restic does, without the line's end; nothing about copies is said."""
    file = tmp_path / "pw"
    file.write_text("päss word\n")
    lines = create(password_file=file, generate_password=False)
    assert "päss word" == json.loads(config.read_text())["repos"][0]["password"]
    assert not any("generated" in line for line in lines)


@pytest.mark.parametrize(("file", "generate"), [(Path("pw"), True), (None, False)])
def test_exactly_one_source_of_the_password(
    create: Create, config: Path, file: Path | None, generate: bool
) -> None:
    """Neither both nor none, also where a document is there already."""
    config.write_text("{}")
    with pytest.raises(UsageError) as error:
        create(password_file=file, generate_password=generate, if_absent=True)
    assert "exactly one source" in error.value.message


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b" \n", "is empty"),
        (b"a\nb\n", "is not one line of text"),
        (b"a\0b", "is not one line of text"),
        (b"\xff\xfe", "is not one line of text"),
        (b"x" * 70_000, "is too large for a password"),
    ],
)
def test_file_that_holds_no_password_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    """A wrong file must not become a password that nobody knows."""
    file = tmp_path / "pw"
    file.write_bytes(content)
    with pytest.raises(UsageError) as error:
        read_password(file)
    assert f"--password-file {file} {fault}" == error.value.message


def test_missing_password_file_is_named(tmp_path: Path) -> None:
    """The reason is the system's own."""
    with pytest.raises(UsageError) as error:
        read_password(tmp_path / "pw")
    assert error.value.message.endswith("cannot be read: No such file or directory")


def test_document_is_never_overwritten(create: Create, config: Path) -> None:
    """What is there stays, whatever it is."""
    config.write_text("mine")
    with pytest.raises(StoreError) as error:
        create()
    assert "is there already" in error.value.message
    assert "mine" == config.read_text()


def test_if_absent_leaves_a_document_alone(create: Create, config: Path) -> None:
    """A second start changes nothing, even when the password file is gone by then."""
    config.write_text("mine")
    lines = create(if_absent=True, generate_password=False, password_file=Path("/gone/pw"))
    assert [f"{config} is there already and stays as it is."] == lines
    assert "mine" == config.read_text()


def test_if_absent_is_no_excuse_for_a_directory(create: Create, config: Path) -> None:
    """Docker makes a directory of a missing file: that is no document."""
    config.mkdir()
    with pytest.raises(StoreError):
        create(if_absent=True)


def test_if_absent_creates_what_is_absent(create: Create, config: Path) -> None:
    """The first start makes the document."""
    create(if_absent=True, config_mode="0640")
    assert 0o640 == stat.S_IMODE(config.stat().st_mode)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"repo": " "}, "--repo"),
        ({"repo_id": "a,b"}, "--repo-id"),
        ({"repo_id": ""}, "--repo-id"),
        ({"instance": "my host"}, "--instance"),
        ({"instance": "x" * 51}, "instance"),
        ({"repo_id": "_a_"}, "_a_"),
        ({"config_mode": "rw"}, "--config-mode"),
    ],
)
def test_flags_that_make_no_document_are_refused(
    create: Create, config: Path, flags: dict[str, str], named: str
) -> None:
    """Nothing is written, and the message names the flag or the id."""
    with pytest.raises(UsageError) as error:
        create(**flags)
    assert named in error.value.message
    assert not config.exists()


def test_instance_defaults_to_this_host(create: Create, config: Path) -> None:
    """Without the flag the host's name stands there, made fit."""
    create(instance=None)
    name = json.loads(config.read_text())["instance"]
    assert name == default_instance(name)


def test_instance_defaults_to_that_of_the_other_document(create: Create, config: Path) -> None:
    """Snapshots are known by it: both documents have one."""
    runner = config.parent / "runner.json"
    create(instance="house")
    create(instance=None, repo="rsync:/nas", generate_password=False, repo_id="nas")
    known = json.loads(runner.read_text())["instance"]
    config.unlink()
    create(instance=None)

    assert ["house"] * 2 == [known, json.loads(config.read_text())["instance"]]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("nas", "nas"),
        ("my host.lan", "my-host.lan"),
        ("_über_", "ber"),
        ("", "backrest"),
        ("ö", "backrest"),
        ("x" * 60, "x" * 50),
    ],
)
def test_host_name_becomes_an_id(host: str, expected: str) -> None:
    """Letters, digits, `_`, `.` and `-`, at most 50, never `_..._`."""
    assert expected == default_instance(host)


def test_rendered_document_keeps_the_uri_as_given() -> None:
    """Variables in the URI are for Backrest to fill in."""
    content = render_document(" s3:${HOST}/b ", "pw", "default", "host")
    assert "s3:${HOST}/b" == json.loads(content)["repos"][0]["uri"]


@pytest.mark.parametrize(
    ("uri", "form"),
    [
        ("s3://bucket", "s3:s3.amazonaws.com/BUCKET"),
        ("s3://bucket/MARK/path", "s3:s3.amazonaws.com/BUCKET"),
        ("S3://bucket", "s3:s3.amazonaws.com/BUCKET"),
        ("b2://bucket/x", "b2:BUCKET"),
        ("gs://bucket/x", "gs:BUCKET"),
        ("azure://x/y", "azure:CONTAINER"),
        ("https://u:MARK@host/x", "rest:https://HOST"),
        ("ssh://u@host/x", "sftp:USER@HOST"),
        ("file:///backups", "the path alone"),
    ],
)
def test_a_uri_of_another_program_is_told_the_form_of_restic(
    create: Create, config: Path, uri: str, form: str
) -> None:
    """Restic would take a bucket for a server, or the whole for a folder; nothing is written."""
    with pytest.raises(UsageError) as caught:
        create(repo=uri)
    assert form in caught.value.hint
    assert "MARK" not in str(caught.value)
    assert not config.exists()


def test_a_repository_of_another_engine_makes_the_runners_document(
    create: Create, config: Path
) -> None:
    """Backrest would end over it; the document is as private."""
    lines = create(repo="rsync:/nas", generate_password=False, repo_id="nas")
    runner = config.parent / "runner.json"
    root = parse_document(runner.read_bytes()).root

    assert not config.exists()
    assert 0o600 == stat.S_IMODE(runner.stat().st_mode)
    assert [] == check_document(root, any_engine=True)
    (repo,) = root["repos"]
    assert {"id", "uri", "autoInitialize", "checkPolicy"} == repo.keys()
    assert "repository nas of rsync" in lines[0]
    assert [] == [line for line in lines if "Backrest" in line]


def test_the_runners_document_is_made_where_it_is_named(create: Create, tmp_path: Path) -> None:
    """As --runner-config says."""
    path = tmp_path / "other.json"
    create(repo="rsync:/x", generate_password=False, runner_config=path)
    kept = create(repo="rsync:/y", generate_password=False, runner_config=path, if_absent=True)

    assert [f"{path} is there already and stays as it is."] == kept
    with pytest.raises(StoreError, match="is there already"):
        create(repo="rsync:/y", generate_password=False, runner_config=path)


def test_an_address_whose_scheme_is_hidden_is_taken_for_restics(
    create: Create, config: Path
) -> None:
    """And that is told: variables are those of whoever runs it."""
    lines = create(repo="${PLACE}")

    assert "it is taken for one of restic's" in lines[2]
    assert "${PLACE}" == json.loads(config.read_bytes())["repos"][0]["uri"]


@pytest.mark.parametrize(
    ("repo", "fault", "hint"),
    [
        ("dar:/x", "this version has no engine dar yet", "it has restic and rsync"),
        ("duplicity+file:///x", "this version has no engine duplicity yet", "it has restic"),
        ("RSYNC:/x", "--repo begins with `RSYNC:`", "`rsync:`"),
        ("rsync+ssh://me@host/x", "--repo begins with `rsync+ssh:`", "rsync:USER@HOST:/PATH"),
        ("duplicity:file:///x", "--repo begins with `duplicity:`", "write duplicity+URL"),
    ],
)
def test_a_repository_that_nobody_can_run_is_refused(
    create: Create, config: Path, repo: str, fault: str, hint: str
) -> None:
    """It says what to write; no document is made of which nothing would be run."""
    with pytest.raises(UsageError, match=re.escape(fault)) as caught:
        create(repo=repo, generate_password=False)

    assert hint in caught.value.hint
    assert not config.exists()
    assert not config.with_name("runner.json").exists()


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ({"user": "me"}, "--user is one of Backrest, which does not run rsync"),
        ({"generate_password": True}, "a repository of rsync has no password"),
        ({"repo": "rsync://host/x"}, "--repo is that of an rsync daemon"),
    ],
)
def test_what_another_engine_has_not_is_refused(
    create: Create, config: Path, flags: dict[str, Any], fault: str
) -> None:
    """Nothing is made of it."""
    with pytest.raises(UsageError, match=fault):
        create(**({"repo": "rsync:/x", "generate_password": False} | flags))

    assert not (config.parent / "runner.json").exists()


@pytest.mark.parametrize(("first", "second"), [("/r", "rsync:/x"), ("rsync:/x", "/r")])
def test_a_repository_id_is_used_in_one_document_only(
    create: Create, config: Path, first: str, second: str
) -> None:
    """Whichever is made first; another id is free."""
    create(repo=first, generate_password=first == "/r")
    with pytest.raises(UsageError, match="--repo-id default is a repository in"):
        create(repo=second, generate_password=second == "/r")
    create(repo=second, generate_password=second == "/r", repo_id="other")

    assert {"config.json", "runner.json"} == {path.name for path in config.parent.iterdir()}


def test_a_runners_document_that_appears_meanwhile_stays(
    create: Create, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --if-absent that is no failure either."""
    runner = config.parent / "runner.json"
    monkeypatch.setattr(init, "_check_unused", lambda *_: runner.write_text("{}"))
    lines = create(repo="rsync:/x", generate_password=False, if_absent=True)

    assert [f"{runner} is there already and stays as it is."] == lines
    assert "{}" == runner.read_text()


@pytest.mark.parametrize("uri", ["/d\udce4", "https://u:MARK@h\udce4/x"])
def test_a_uri_that_is_no_text_is_refused(create: Create, config: Path, uri: str) -> None:
    """No document can hold its bytes; what may be a secret in it is not shown."""
    with pytest.raises(UsageError, match=r"--repo .* is no UTF-8") as caught:
        create(repo=uri)
    assert "MARK" not in str(caught.value)
    assert not config.exists()


@pytest.mark.parametrize(
    "uri",
    [
        "/backups",
        "relative",
        "s3:https://host/bucket",
        "s3:s3.amazonaws.com/bucket",
        "s3://minio.lan/bucket",
        "s3://minio:9000/bucket/x",
        "sftp://user@host//x",
        "sftp:user@host:/x",
        "rest:https://host/",
        "rclone:remote:x",
        "b2:bucket:x",
        "gs:bucket:/",
        "dark:/x",
    ],
)
def test_a_uri_of_restic_is_written_as_it_is(create: Create, config: Path, uri: str) -> None:
    """Whatever restic reads as it is meant."""
    create(repo=uri)
    assert uri == json.loads(config.read_text())["repos"][0]["uri"]


def test_a_user_closes_the_interface(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a hash that bcrypt itself makes again of the password, and no other."""
    (tmp_path / "ui").write_text("swordfish\n")
    config = tmp_path / "config.json"
    make = (config, "/r", None, True, "default", "nas", False, "keep", "admin", tmp_path / "ui")
    create_document(NewDocument(*make))
    (user,) = json.loads(config.read_text())["auth"]["users"]
    assert "admin" == user["name"]
    hashed = base64.b64decode(user["passwordBcrypt"])
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    assert hashed.startswith(b"$2a$10$")
    assert hashed == crypt(b"swordfish", hashed)
    assert hashed != crypt(b"Swordfish", hashed)
    assert "swordfish" not in config.read_text()
    assert [] == caplog.records


def test_a_password_that_is_not_there_is_made_in_its_file(tmp_path: Path) -> None:
    """For its owner alone; a second document goes by the same one."""
    file = tmp_path / "ui"

    def make(name: str) -> list[str]:
        return [
            *create_document(
                NewDocument(
                    tmp_path / name, "/r", None, True, "default", "n", False, "keep", "me", file
                )
            )
        ]

    lines = make("one.json")
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    password = file.read_text()
    assert len(password.strip()) > 20
    assert any(str(file) in line for line in lines)
    assert password.strip() not in "".join(lines)
    assert not any(str(file) in line for line in make("two.json"))
    assert password == file.read_text()
    other = tmp_path / "other"
    one = tmp_path / "one.json"
    create_document(NewDocument(one, "/r", None, True, "default", "n", True, "keep", "me", other))
    assert other.read_text() != password
    with pytest.raises(UsageError) as caught:
        init.make_password_file(tmp_path / "no" / "ui")
    assert "--user-password-file" in caught.value.message


@pytest.mark.parametrize(
    ("user", "password", "fault"),
    [
        ("admin", None, "a user of Backrest needs"),
        (None, "x", "a user of Backrest needs"),
        ("a b", "x", "--user 'a b'"),
        ("admin", "ü" * 37, "72 bytes"),
        ("admin", "", "--user-password-file"),
    ],
)
def test_a_user_that_cannot_be_made_is_refused(
    tmp_path: Path, user: str | None, password: str | None, fault: str
) -> None:
    """Before anything is written."""
    file = None
    if password is not None:
        file = tmp_path / "ui"
        file.write_text(password)
    config = tmp_path / "config.json"
    with pytest.raises(UsageError) as caught:
        create_document(
            NewDocument(config, "/r", None, True, "default", "nas", False, "keep", user, file)
        )
    assert fault in caught.value.message
    assert not config.exists()


def test_without_bcrypt_no_user_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another C library."""
    monkeypatch.setattr(init, "_LIBCRYPT", "libnothing.so.9")
    with pytest.raises(UsageError) as caught:
        init.bcrypt_hash("x")
    assert "libcrypt" in caught.value.message
