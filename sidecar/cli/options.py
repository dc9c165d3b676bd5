"""How both programs declare flags: each has a variable, a default and one line of help."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import click

from sidecar.lib.address import ADDRESSES, is_literal, normal_host, parse_host, parse_listen_address
from sidecar.lib.errors import UsageError
from sidecar.lib.log import LEVELS

Command: TypeAlias = Callable[..., Any]
Decorator: TypeAlias = Callable[[Command], Command]


class Flag(click.Option):
    """A flag with its topic, and the variable that negates it.

    `topic` is that of the group in which several commands share it, empty for a flag of one
    command. `negation` is read if the flag's own variable is not set.
    """

    topic = ""

    def __init__(self, *args: Any, negation: str = "", **kwargs: Any) -> None:
        self.negation = negation
        super().__init__(*args, **kwargs)


lines_option = click.option(
    "--output",
    cls=Flag,
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Form of the result on standard output; json: an object a line.",
)

"""The form of what a command did; without a variable: one set for tables must not end a backup."""

all_checks_option = click.option(
    "--all", "is_all", cls=Flag, is_flag=True, help="Show every check, also what is well."
)
"""For doctor; without a variable: that of `--all` names the plans of another command."""


def option(
    prefix: str, flag: str, *names: str, variables: tuple[str, ...] = (), **kwargs: Any
) -> Decorator:
    """Declare a flag with its variable, PREFIX before the flag's name, before older `variables`.

    For example `--state-dir` of the runner has BACKREST_RUNNER_STATE_DIR.
    """
    own = flag.partition("/")[0].removeprefix("--").upper().replace("-", "_")
    kwargs.setdefault("show_default", kwargs.get("default") not in (None, "", (), False))
    variables = (f"{prefix}{own}", *variables)
    return click.option(flag, *names, cls=Flag, envvar=variables, show_envvar=True, **kwargs)


def unless(variable: str) -> dict[str, Any]:
    """Return the default of a flag that is on unless `variable` is true."""

    def default() -> bool:
        value = os.environ.get(variable)
        return not (value and click.BOOL.convert(value, None, None))

    return {"default": default, "negation": variable}


def about(topic: str, *options: Decorator) -> Decorator:
    """Stack flags that several commands share; the reference has them once, under `topic`."""

    def decorate(function: Command) -> Command:
        before = len(getattr(function, "__click_params__", ()))
        for one in reversed(options):
            function = one(function)
        for parameter in getattr(function, "__click_params__", ())[before:]:
            if isinstance(parameter, Flag) and not parameter.topic:
                parameter.topic = topic
        return function

    return decorate


def log_options_at(prefix: str, level: str, form: str | None = None) -> Decorator:
    """Declare the flags about the log, with `level` as the least severity by default.

    A daemon logs in a `form` by default; any other command tells people what goes wrong.
    """
    default: dict[str, Any] = {"default": form}
    if form is None:
        default = {"show_default": "in words, from info on as text"}
    return about(
        "the log",
        option(
            prefix,
            "--log-format",
            type=click.Choice(["json", "text"]),
            help="Form of the log lines on standard error.",
            **default,
        ),
        option(
            prefix,
            "--log-level",
            type=click.Choice(list(LEVELS)),
            default=level,
            help="Least severity that is logged.",
        ),
    )


def config_flag(option: Callable[..., Decorator]) -> Decorator:
    """Return the flag of the document; `option` is that of the program."""
    return option(
        "--config",
        variables=("BACKREST_CONFIG",),
        # Whether it is readable is checked when it is read, with a hint; a daemon waits for it.
        type=click.Path(path_type=Path, readable=False),
        default="backrest.config.json",
        help="Backrest's config.json.",
    )


def runner_config_flag(option: Callable[..., Decorator]) -> Decorator:
    """Return the flag of the runner's document; `option` is that of the program."""
    return option(
        "--runner-config",
        type=click.Path(path_type=Path, readable=False),
        help="Document of the repositories that Backrest does not run, used if it is there.  "
        "[default: runner.json beside the document]",
    )


def state_dir_flag(option: Callable[..., Decorator], name: str) -> Decorator:
    """Return the flag of the state directory, `name` beside the document by default."""
    return option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help=f"Where to remember things.  [default: {name} beside the document]",
    )


def wide_flag(option: Callable[..., Decorator], more: str = "") -> Decorator:
    """Return the flag that shows ids; `more` are further things whose ids it shows."""
    help_text = f"Show the ids of plans{more} beside their names."
    return option("--wide", "is_wide", is_flag=True, help=help_text)


def table_flag(option: Callable[..., Decorator]) -> Decorator:
    """Return the flag that chooses between a table and JSON."""
    return option(
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        help="Form of the result on standard output.",
    )


def watch_flag(option: Callable[..., Decorator]) -> Decorator:
    """Return the flag of what is shown by `watch.show_answer`."""
    help_text = "Show it anew every ten seconds, until Ctrl-C."
    return option("--watch", "is_watched", is_flag=True, help=help_text)


def sidecar_dir_flag(option: Callable[..., Decorator]) -> Decorator:
    """Return the runner's flag of the sidecar's state directory."""
    return option(
        "--sidecar-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Where backrest-sidecar remembers things, its --state-dir: there are the names of "
        "workloads.  [default: .sidecar beside the document]",
    )


def docker_flag(option: Callable[..., Decorator], more: str = "") -> Decorator:
    """Return the flag of the engine's address; empty where nobody gave it.

    `more` is a further sentence for its help.
    """
    sentences = " ".join(filter(None, ("Engine address: a socket path or a URL.", more)))
    return option(
        "--docker-sock",
        variables=("DOCKER_HOST",),
        default="",
        help=f"{sentences}  [default: that of the docker context, else /var/run/docker.sock]",
    )


def access_options(option: Callable[..., Decorator], prefix: str) -> Decorator:
    """Return the flags of Backrest's API; `option` is that of the program.

    `prefix` is what the names of its variables begin with.
    """
    return about(
        "Backrest's API",
        option(
            "--backrest-url", default="", help="Backrest's address, as in http://backrest:9898."
        ),
        option("--backrest-user", default="", help="User there; none where authentication is off."),
        option(
            "--backrest-password-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="File that holds that user's password; else the variable "
            f"{prefix}BACKREST_PASSWORD has it.",
        ),
    )


def page_options(option: Callable[..., Decorator]) -> tuple[Decorator, ...]:
    """Return the flags about the pages of a daemon; `option` is that of the program."""
    return (
        option(
            "--listen", metavar="HOST:PORT", help="Serve /healthz, /readyz, /metrics and /status."
        ),
        option(
            "--allowed-host",
            "allowed_hosts",
            multiple=True,
            metavar="NAME",
            help="Answer clients of the pages that call this host so; may be repeated.",
        ),
    )


def parse_listen(text: str) -> tuple[str, int]:
    """Parse the value of --listen, `HOST:PORT`; an empty host means all addresses.

    Raises UsageError.
    """
    try:
        return parse_listen_address(text)
    except ValueError as error:
        raise UsageError(f"--listen {error}", ADDRESSES) from None


def parse_allowed_hosts(names: Iterable[str]) -> tuple[str, ...]:
    """Parse the values of --allowed-host: names or addresses without a port. Raises UsageError."""
    for name in names:
        host = normal_host(name)
        if not host or (parse_host(name) != host and not is_literal(host)):
            raise UsageError(
                f"--allowed-host {name!r} is no name of a host",
                "write the name as it stands in the address that is called, without a port",
            )
    return tuple(map(normal_host, names))
