"""Flags of a command line: each has a variable, a default and one line of help.

What is read beside the flags and their own variables: the reference tells of it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import click

from sidecar.lib.log import LEVELS

Command: TypeAlias = Callable[..., Any]
Decorator: TypeAlias = Callable[[Command], Command]


class Flag(click.Option):
    """A flag that knows what it is about, and the variable that says its negation.

    `topic` is that of the group in which several commands share it, empty for one of a
    single command; `negation` is read where the flag's own variable is not set.
    """

    topic = ""

    def __init__(self, *args: Any, negation: str = "", **kwargs: Any) -> None:
        self.negation = negation
        super().__init__(*args, **kwargs)


def option(
    prefix: str, flag: str, *names: str, variables: tuple[str, ...] = (), **kwargs: Any
) -> Decorator:
    """Declare a flag with its variable <PREFIX><FLAG>, before any older `variables`."""
    own = flag.partition("/")[0].removeprefix("--").upper().replace("-", "_")
    kwargs.setdefault("show_default", kwargs.get("default") not in (None, "", (), False))
    variables = (f"{prefix}{own}", *variables)
    return click.option(flag, *names, cls=Flag, envvar=variables, show_envvar=True, **kwargs)


def unless(variable: str) -> dict[str, Any]:
    """The default of a flag whose negation has a variable of its own."""

    def default() -> bool:
        said = os.environ.get(variable)
        return not (said and click.BOOL.convert(said, None, None))

    return {"default": default, "negation": variable}


def about(topic: str, *options: Decorator) -> Decorator:
    """Stack flags that several commands share; the reference tells of them once."""

    def decorate(function: Command) -> Command:
        before = len(getattr(function, "__click_params__", ()))
        for one in reversed(options):
            function = one(function)
        for parameter in getattr(function, "__click_params__", ())[before:]:
            if isinstance(parameter, Flag) and not parameter.topic:
                parameter.topic = topic
        return function

    return decorate


def log_options_at(prefix: str, level: str) -> Decorator:
    """Declare the flags about the log, which tells what has this severity or more."""
    return about(
        "the log",
        option(
            prefix,
            "--log-format",
            type=click.Choice(["json", "text"]),
            default="text",
            help="Form of the log lines on standard error.",
        ),
        option(
            prefix,
            "--log-level",
            type=click.Choice(list(LEVELS)),
            default=level,
            help="Least severity that is logged.",
        ),
    )


@dataclass(frozen=True, slots=True)
class VariableSource:
    """A variable or a secret file, and in words what it is read for."""

    name: str
    purpose: str


VARIABLES = (
    VariableSource(
        "BACKREST_SIDECAR_BACKREST_PASSWORD",
        "the password of `--backrest-user`, where `--backrest-password-file` names no file",
    ),
    VariableSource(
        "BACKREST_SECRET_*",
        "what `env:BACKREST_SECRET_NAME` in the label `notify` refers to; no other is read for it",
    ),
    VariableSource(
        "TZ", "the time zone of the sidecar, and so of what it shows; the runner has its own"
    ),
    VariableSource(
        "DOCKER_TLS_VERIFY", "whether the certificate of an engine at `tcp://` is checked"
    ),
    VariableSource("DOCKER_CERT_PATH", "directory of the certificates for that engine"),
    VariableSource(
        "REQUESTS_CA_BUNDLE",
        "certificates of the authorities that are trusted, by engines at `https://` and by the API",
    ),
    VariableSource("CURL_CA_BUNDLE", "the same for engines, where the one above is not set"),
    VariableSource("SSL_CERT_FILE", "the same for the API, where the one above is not set"),
    VariableSource(
        "COMPOSE_PROJECT_NAME", "with `--compose`: the project's name, as Compose takes it"
    ),
    VariableSource("COMPOSE_PROFILES", "with `--compose`: the profiles whose services count"),
    VariableSource("HOME", "with `--compose`: what `~` stands for in a bind mount"),
    VariableSource("HOSTNAME", "to find out which container is our own; Docker sets it"),
    VariableSource(
        "GITHUB_WORKSPACE", "with `lint --format github`: what file names are relative to"
    ),
    VariableSource("_BACKREST_SIDECAR_COMPLETE", "shell completion, see `backrest-sidecar --help`"),
)
"""Variables that belong to no flag; those that Compose resolves in a file are its own."""

OF_THE_RUNNER = (
    VariableSource(
        "BACKREST_CONFIG",
        "where the document is there: stop, pause and scale templates leave their markers "
        "beside it, and refuse to stop anything where it is not set",
    ),
    VariableSource(
        "DOCKER_HOST", "the engine that hooks speak to; without it `/var/run/docker.sock`"
    ),
    VariableSource("TZ", "the time zone in which schedules are meant"),
)
"""Variables of the runner's container, which `doctor` looks at."""

SECRET_FILES = (
    VariableSource(
        "--backrest-password-file",
        "the password of `--backrest-user`, on the first line",
    ),
    VariableSource("init --password-file", "the repository's password, which `init` writes"),
    VariableSource(
        "--secrets-dir",
        "the one directory below which `file:PATH` in the label `notify` is read: an absolute "
        "path, a regular file of text, of at most 64 KiB",
    ),
)
"""Files that hold a secret, by the flag that leads to them."""
