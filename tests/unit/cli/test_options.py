"""What the flags of both programs have in common."""

import click
import pytest

from sidecar.cli.commands.main import cli as sidecar
from sidecar.cli.options import parse_allowed_hosts, parse_listen
from sidecar.cli.runner.main import cli as runner
from sidecar.lib.errors import UsageError

ANY = "0.0.0.0"  # noqa: S104 - on purpose


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9099", ("", 9099)),
        ("0.0.0.0:9099", (ANY, 9099)),
        (" localhost:1 ", ("localhost", 1)),
        ("[::1]:9099", ("::1", 9099)),
        ("[::]:65535", ("::", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, expected: tuple[str, int]) -> None:
    """As people write it elsewhere."""
    assert expected == parse_listen(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "9099",
        "host",
        "host:",
        ":0",
        ":65536",
        "::1:9099",
        "[::1]",
        "[::1]:",
        "[1]:1",
        "[::1%eth0]:1",
        "http://h:1",
        "h:x",
        "h:-1",
        "h: 1",
        "h:١",
        "a b:1",
        "[:1",
        "h:1:1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """With an example of what is one."""
    with pytest.raises(UsageError, match="--listen") as caught:
        parse_listen(text)
    assert "127.0.0.1:9099" in caught.value.hint


def test_an_allowed_host_is_a_name_in_one_spelling() -> None:
    """Or an address; clients write it in any case."""
    given = ("NAS.local", "nas.", "192.0.2.7", "FD00:0::1", "[::1]")
    assert ("nas.local", "nas", "192.0.2.7", "fd00::1", "::1") == parse_allowed_hosts(given)


@pytest.mark.parametrize(
    "text", ["", "nas:9099", "http://nas", "*", "a b", "nas/x", "a,b", "::1]:1"]
)
def test_what_is_no_name_of_a_host_is_refused(text: str) -> None:
    """A port is none of it, and there is no name that means all."""
    with pytest.raises(UsageError, match="--allowed-host") as caught:
        parse_allowed_hosts([text])
    assert "without a port" in caught.value.hint


@pytest.mark.parametrize("group", [sidecar, runner], ids=["sidecar", "runner"])
def test_a_variable_means_the_same_for_every_command(group: click.Group) -> None:
    """Else who sets it for one command changes what another does."""
    names: dict[str, set[str | None]] = {}
    for command in group.commands.values():
        for parameter in command.params:
            for variable in parameter.envvar or ():
                names.setdefault(variable, set()).add(parameter.name)
    assert len(names) > 20
    assert {} == {variable: found for variable, found in names.items() if len(found) > 1}


def test_a_restore_that_is_printed_has_the_flags_that_it_goes_by() -> None:
    """And none that would change nothing, as the defaults of plans."""
    names = {one.name for one in sidecar.commands["restore"].params}
    places = {"config", "runner_config", "state_dir", "docker_sock", "backrest_container"}

    assert {"words", "at", "to", "yes", "dry_run", "force"} | places == {
        name for name in names if name and not name.startswith("log_")
    }
