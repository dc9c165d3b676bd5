"""The command `version` of both programs."""

import click

from sidecar import __version__
from sidecar.cli.output.text import echo


@click.command()
def version() -> None:
    """Print the version.

    \b
    Examples:
      backrest-sidecar version
      backrest-runner version
    """
    echo(__version__)
