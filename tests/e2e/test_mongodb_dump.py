"""The dump of MongoDB by a real shell, on a stand-in for its client: Debian has no MongoDB.

The stand-in knows the options that are used, refuses any other, and asks for a password as the
client does where there is no terminal: on its standard input, if a user is named without one.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.planner.dumps import render_dump

SECRET = """s3cret pa$$'word" \\ {{ x }}"""
_MONGODUMP = """#!/bin/sh
user= database= archive= realm=
printf '%s\\n' "$@" >"$0.arguments"
for option in "$@"; do
  case $option in
    --username=*) user=${option#*=} ;;
    --db=*) database=${option#*=} ;;
    --archive=*) archive=${option#*=} ;;
    --authenticationDatabase=*) realm=${option#*=} ;;
    *) echo "error parsing command line options: unknown option $option" >&2; exit 1 ;;
  esac
done
password=
if [ -n "$user" ]; then read -r password; fi
if [ "$user:$password:$realm" != "$EXPECTED" ]; then echo "Authentication failed" >&2; exit 1; fi
printf %s "${BYTES-archive of ${database:-all}}" >"$archive"
exit "${STATUS:-0}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Install the stand-in; return the folder in which it is and to which is dumped."""
    program = tmp_path / "mongodump"
    program.write_text(_MONGODUMP)
    program.chmod(0o755)
    return tmp_path


def dump(
    folder: Path, environ: Mapping[str, str], user: str = "", database: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command of the template."""
    script = render_dump("mongodb-dump", f"{folder}/all archive", user, database)
    shell = shutil.which("dash") or "sh"
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(
        [shell, "-c", script],
        env={"PATH": path, **environ},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


ROOT = {"MONGO_INITDB_ROOT_USERNAME": "root", "MONGO_INITDB_ROOT_PASSWORD": SECRET}


def test_the_root_of_the_image_dumps_all_databases(folder: Path) -> None:
    """The password is said to the client alone: no argument and no output has it."""
    done = dump(folder, {**ROOT, "EXPECTED": f"root:{SECRET}:admin"})

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert "archive of all" == (folder / "all archive").read_text()
    assert 0o600 == (folder / "all archive").stat().st_mode & 0o777
    assert SECRET not in (folder / "mongodump.arguments").read_text()


def test_a_user_a_database_and_files_of_secrets_are_taken_as_they_are(folder: Path) -> None:
    """Whatever signs they hold."""
    (folder / "password").write_text(SECRET)
    odd = """o'dd "$(id)" $HOME a=b"""
    environ = {"MONGO_INITDB_ROOT_PASSWORD_FILE": f"{folder}/password"}
    done = dump(folder, {**environ, "EXPECTED": f"{odd}:{SECRET}:admin"}, odd, odd)

    assert 0 == done.returncode, done.stderr
    assert f"archive of {odd}" == (folder / "all archive").read_text()


def test_a_server_without_users_is_asked_without_one(folder: Path) -> None:
    """The standard input is left alone then."""
    done = dump(folder, {"EXPECTED": "::"})

    assert 0 == done.returncode, done.stderr
    assert "archive of all" == (folder / "all archive").read_text()


@pytest.mark.parametrize(
    "wrong",
    [
        {"EXPECTED": "root:another:admin"},
        {"EXPECTED": f"root:{SECRET}:admin", "STATUS": "1"},
        {"EXPECTED": f"root:{SECRET}:admin", "BYTES": ""},
    ],
    ids=["password", "status", "empty"],
)
def test_what_fails_keeps_the_old_dump(folder: Path, wrong: dict[str, str]) -> None:
    """And leaves nothing beside it, nor a secret in what is said."""
    (folder / "all archive").write_text("an old dump")
    done = dump(folder, {**ROOT, **wrong})

    assert 0 != done.returncode
    assert SECRET not in done.stdout + done.stderr
    assert "an old dump" == (folder / "all archive").read_text()
    assert ["all archive", "mongodump", "mongodump.arguments"] == sorted(
        one.name for one in folder.iterdir()
    )
