"""notify: whether notifications arrive."""

import os
from typing import Any

import click

from sidecar.cli.exits import FAILED
from sidecar.cli.output.text import echo
from sidecar.cli.runner.options import document_options, log_options, notify_options, option
from sidecar.cli.runner.settings import build_settings
from sidecar.lib.errors import UsageError


@click.command()
@option("--test", is_flag=True, help="Send a message that says that it is a test.")
@notify_options
@document_options
@log_options
def notify(test: bool, **flags: Any) -> None:
    """Send a test message to each address of --notify-url, and say whether it was taken.

    Exit status: 0 all were; 1 one was not.

    \b
    Examples:
      backrest-runner notify --test
      docker compose exec runner backrest-runner notify --test
    """
    from sidecar.runner.notify.trial import send_tests

    settings = build_settings(flags)
    if not test:
        raise UsageError("nothing is to be sent", "give --test")
    if not settings.notifying.urls:
        raise UsageError("there is no address to send to", "give --notify-url-file")
    results = send_tests(settings.notifying.urls, dict(os.environ))
    for name, reason in results:
        echo(f"{name}: {f'not sent: {reason}' if reason else 'sent'}")
    if any(reason for _, reason in results):
        raise click.exceptions.Exit(FAILED)
