"""What a command prints that ends with an error."""

import click
import pytest

from sidecar.cli.exits import FAILED, run_group
from sidecar.engines.base import EngineError, FailureClass
from sidecar.lib.errors import SidecarError


def printed(error: SidecarError, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on standard error of a command that raises the error."""

    @click.group()
    def group() -> None:
        """Has one command."""

    @group.command()
    def ls() -> None:
        raise error

    assert FAILED == run_group(group, "program", ["ls"])
    out, err = capsys.readouterr()
    assert "" == out
    return err.splitlines()


def test_a_repository_that_cannot_be_used_is_told_with_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As by the doctor; a hint of the engine itself is better."""
    failure = FailureClass.WRONG_PASSWORD
    assert [
        "Error: the password is wrong",
        "  → correct the repository's password in the document",
    ] == printed(EngineError(failure, "the password is wrong"), capsys)
    assert ["Error: the password is wrong", "  → try another"] == printed(
        EngineError(failure, "the password is wrong", "try another"), capsys
    )


def test_what_nobody_has_advice_for_is_told_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """No line stands there without words."""
    assert ["Error: odd"] == printed(EngineError(FailureClass.UNKNOWN, "odd"), capsys)
    assert ["Error: odd"] == printed(SidecarError("odd"), capsys)
