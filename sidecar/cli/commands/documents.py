"""init and schema: what needs no Docker."""

from pathlib import Path
from typing import Any

import click

from sidecar.cli.commands.options import documents_option, log_options, option
from sidecar.cli.output.text import echo


@click.command()
@documents_option
@option(
    "--repo",
    required=True,
    help="URI of the repository: restic's, for example /backups, or rsync:/backups.",
)
@option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that holds the repository's password.",
)
@option("--generate-password", is_flag=True, help="Make a password; it stands in the document.")
@option("--user", help="User of Backrest's interface, so that it is closed from the first start.")
@option(
    "--user-password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that holds that user's password; made with one if it is not there.",
)
@option("--repo-id", default="default", help="Id of the repository in the document.")
@option(
    "--instance",
    help="Name of this Backrest.  [default: that of the other document, else this host's name]",
)
@option("--if-absent", is_flag=True, help="Succeed without a change when the file exists.")
@option("--config-mode", default="keep", help="Permission bits of the new file.  [default: 0600]")
@log_options
def init(log_level: str, log_format: str, **flags: Any) -> None:
    """Create a document with one repository, made when Backrest or the runner starts.

    A repository rsync:PATH is not for Backrest: it goes into the document of backrest-runner,
    and needs no password.

    \b
    Examples:
      backrest-sidecar init --repo /backups --generate-password
      backrest-sidecar init --repo /b --generate-password \\
        --user me --user-password-file ui
      backrest-sidecar init --repo s3:https://host/bucket --password-file pw
      backrest-sidecar init --repo rsync:/backups --repo-id nas
    """
    from sidecar.cli.output.warnings import start_messages
    from sidecar.reconciler.init import NewDocument, create_document

    start_messages(log_level, log_format)
    for line in create_document(NewDocument(**flags)):
        echo(line)


@click.command()
@click.argument("kind", type=click.Choice(["document", "labels"]), default="document")
@option("--label-prefix", default="backrest.", help="What our labels begin with.")
def schema(kind: str, label_prefix: str) -> None:
    """Print the JSON Schema of the document or of the labels, for editors.

    \b
    Examples:
      backrest-sidecar schema document > config.schema.json
      backrest-sidecar schema labels > labels.schema.json
    """
    from sidecar.cli.commands.schema import render_schema

    echo(render_schema(kind, label_prefix), form="json")
