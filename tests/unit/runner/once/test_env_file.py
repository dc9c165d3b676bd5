"""A file of variables for a container."""

from pathlib import Path

import pytest

from sidecar.lib.errors import UsageError
from sidecar.runner.once.env_file import parse_env_file, read_env_file


def test_a_file_of_variables_is_read_as_docker_reads_it() -> None:
    """Nothing is unquoted or trimmed behind the equals sign; a bare name is ours to give."""
    text = "# comment\n\n  A=1 # two \nB='quoted'\r\nC=x=y\nGIVEN\nABSENT\nEMPTY=\n\t#no\n"
    found = tuple(parse_env_file(text, {"GIVEN": "from us"}, "f"))
    expected = (
        ("A", "1 # two "),
        ("B", "'quoted'"),
        ("C", "x=y"),
        ("GIVEN", "from us"),
        ("EMPTY", ""),
    )
    assert expected == found


@pytest.mark.parametrize("line", ["=secret", "A B=secret", "A\t=secret"])
def test_a_line_that_is_no_variable_is_named_and_not_shown(line: str) -> None:
    """What stands there may be a password."""
    with pytest.raises(UsageError) as raised:
        tuple(parse_env_file(f"OK=1\n{line}\n", {}, "f"))
    assert "f, line 2" in raised.value.message
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"\xff=1", "UTF-8"), (b"A=1\n" * 300_000, "larger")],
)
def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    """The flag and the file are named."""
    file = tmp_path / "env"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_env_file(file, {})


def test_a_mark_at_the_beginning_of_a_file_is_no_part_of_a_name(tmp_path: Path) -> None:
    """Editors on other systems write one."""
    (tmp_path / "env").write_bytes(b"\xef\xbb\xbfA=1\n")
    assert (("A", "1"),) == read_env_file(tmp_path / "env", {})
