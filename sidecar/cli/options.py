"""Flags of a command line: each has a variable, a default and one line of help."""

import os
from collections.abc import Callable
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
