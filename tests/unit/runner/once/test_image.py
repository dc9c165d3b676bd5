"""What the containers of an image print, without its secrets."""

from sidecar.engines.masking import masking_of_variables
from sidecar.lib.text import MASK
from sidecar.runner.once.image import MaskedLines


def test_lines_are_handed_on_whole_and_without_secrets() -> None:
    """A secret may come in two pieces; switches, paths and the repository stay readable."""
    variables = (
        ("RESTIC_PASSWORD", "correct horse"),
        ("LOG_LEVEL", "info"),
        ("RESTIC_REPOSITORY", "rest:http://backup/"),
        ("DATA", "/srv/of-the-shop"),
        ("ACCOUNT_KEY", "0123456789"),
        ("TAG", "production"),
    )
    shown: list[str] = []
    lines = MaskedLines(masking_of_variables(variables), shown.append)
    for piece in (
        b"info: corr",
        b"ect horse\r\nto rest:http://backup/ from /srv/of-the-shop\n",
        b"",
        b"in production by 0123456789",
    ):
        lines.write(piece)
    lines.finish()
    lines.finish()
    assert [
        f"info: {MASK}",
        "to rest:http://backup/ from /srv/of-the-shop",
        f"in production by {MASK}",
    ] == shown


def test_a_line_without_end_is_handed_on_in_parts() -> None:
    """What is kept in memory has a bound."""
    shown: list[str] = []
    lines = MaskedLines(masking_of_variables(()), shown.append)
    lines.write(b"x" * 70_000)
    assert [70_000] == [len(line) for line in shown]
