"""A container like another one, as a line of `docker run`."""

from typing import Any

import pytest

from sidecar.docker.run_line import render_run, template_of

ENTRY: dict[str, Any] = {
    "Id": "0123",
    "Name": "/backrest-runner",
    "Path": "tini",
    "Args": ["--", "/usr/bin/backrest-runner", "daemon"],
    "Config": {
        "Image": "runner:1",
        "Hostname": "backrest",
        "Env": ["PATH=/bin", "TZ=Europe/Berlin", "AWS_SECRET_ACCESS_KEY=s3cret", "EMPTY="],
    },
    "HostConfig": {"NetworkMode": "backup_default"},
    "NetworkSettings": {"Networks": {"backup_default": {}, "other": {}}},
    "Mounts": [
        {"Type": "bind", "Source": "/opt/config", "Destination": "/etc/backrest", "RW": True},
        {"Type": "bind", "Source": "/mnt/docker/volumes", "Destination": "/v", "RW": False},
        {"Type": "tmpfs", "Source": "", "Destination": "/tmp"},
    ],
}


def test_a_description_is_read() -> None:
    """Values only of what holds no secret."""
    found = template_of(ENTRY)

    assert ("backrest-runner", "runner:1") == (found.container.name, found.image)
    assert ("backup_default", "other") == found.networks
    assert ("TZ", "AWS_SECRET_ACCESS_KEY", "EMPTY") == found.variables
    assert {"TZ": "Europe/Berlin"} == found.plain
    assert found.runs("backrest-runner")
    assert not found.runs("backrest")
    assert [True, False, False] == [one.is_writable for one in found.container.mounts]


def test_the_line_has_what_the_container_has_and_no_secret() -> None:
    """And mounts the places by which they can be written, from where they lie on the host."""
    found = render_run(template_of(ENTRY), ["/v/www/_data"], ["restore", "web"], more={"X": "1"})

    line = " ".join(found)
    assert line.startswith("docker run --rm --volumes-from backrest-runner --hostname backrest ")
    assert "--network backup_default --read-only" in line
    assert "--env TZ=Europe/Berlin --env AWS_SECRET_ACCESS_KEY --env EMPTY --env X=1" in line
    assert line.endswith("--volume /mnt/docker/volumes/www/_data:/v/www/_data runner:1 restore web")
    assert "s3cret" not in line


@pytest.mark.parametrize(("mode", "network"), [("host", "host"), ("none", "none")])
def test_a_network_that_is_none_is_kept(mode: str, network: str) -> None:
    """As is that of the host."""
    entry = {**ENTRY, "HostConfig": {"NetworkMode": mode}}
    line = render_run(template_of(entry), [], ["x"], image="other:2", on_terminal=True)

    assert ("docker", "run", "--rm", "--interactive", "--tty") == line[:5]
    assert network == line[line.index("--network") + 1]
    assert ("other:2", "x") == line[-2:]


def test_little_is_needed() -> None:
    """A container without a network, a name of its own, mounts or variables."""
    entry = {"Id": "1", "Name": "/a", "Config": {"Image": "i"}, "HostConfig": {}}
    line = render_run(template_of(entry), [], ["x"])

    assert not {"--network", "--hostname", "--env", "--volume"} & set(line)


def test_a_place_that_the_line_cannot_hold_is_refused() -> None:
    """A colon would end it."""
    with pytest.raises(ValueError, match="a:b"):
        render_run(template_of(ENTRY), ["/v/a:b"], [])
