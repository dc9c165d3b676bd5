"""Addresses of Docker, and the contexts of its client."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.docker.endpoint import TlsFiles, find_endpoint, parse_address
from sidecar.lib.errors import InventoryError, UsageError


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("/run/user/1000/docker.sock", "unix:///run/user/1000/docker.sock"),
        ("unix:///x.sock", "unix:///x.sock"),
        (" tcp://127.0.0.1:2375 ", "tcp://127.0.0.1:2375"),
        ("https://engine:2376", "https://engine:2376"),
        (None, "unix:///from/variable"),
        ("", "unix:///from/variable"),
    ],
)
def test_addresses(monkeypatch: pytest.MonkeyPatch, written: str | None, address: str) -> None:
    """A bare path is a socket, and nothing is DOCKER_HOST."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///from/variable")

    assert parse_address(written) == address


def test_default_address_is_the_usual_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As the docker client does it; an empty variable is none."""
    monkeypatch.setenv("DOCKER_HOST", "")
    monkeypatch.setenv("DOCKER_CONTEXT", "")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    assert parse_address(None) == "unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    "written",
    [
        "npipe:////./pipe/docker_engine",
        "ssh://host",
        "docker.sock",
        "tcp://",
        "fd://",
        "http://ann:hunter2@127.0.0.1",
    ],
)
def test_addresses_that_cannot_be_used_are_usage_errors(written: str) -> None:
    """Said at once, before anything is observed, and without a password."""
    with pytest.raises(UsageError, match="no address of a Docker engine") as caught:
        parse_address(written)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("tcp://127.0.0.1:port", "port"),
        ("tcp://127.0.0.1:99999", "port"),
        ("tcp://127.0.0.1:2375?x=1", "no meaning there"),
        ("https://host:2376#x", "no meaning there"),
        ("tcp://exa mple:2375", "its host is no name"),
        ("tcp://*:2375", "its host is no name"),
        ("tcp://a..b:2375", "its host is no name"),
        (f"tcp://{'a' * 64}:2375", "its host is no name"),
        (f"unix://{'/x' * 54}", "longer than the 107 bytes"),
        ("tcp://127.0.0.1:-1", "port"),
        ("tcp://[::1", "host"),
        ("tcp://engine", "tcp://engine:PORT"),
        ("tcp://engine:", "tcp://engine:PORT"),
        ("tcp://engine:0", "tcp://engine:PORT"),
        ("https://[::1]/docker", "https://[::1]:PORT/docker"),
        ("tcp://:2375", "tcp://host:port"),
    ],
)
def test_host_and_port_are_checked_with_a_hint(written: str, told: str) -> None:
    """No port is guessed, and none ends in a failure of a library."""
    with pytest.raises(UsageError) as caught:
        find_endpoint(written, {})
    assert written in caught.value.message
    assert told in caught.value.hint or told in caught.value.message
    assert caught.value.hint


def keep_context(folder: Path, name: str, host: str, *, skip: bool = False) -> Path:
    """Write a context as the docker client keeps it; return the folder of its certificates."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / digest
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": skip}}
    content = {"Name": name, "Metadata": {}, "Endpoints": endpoints}
    (meta / "meta.json").write_text(json.dumps(content))
    return folder / "contexts" / "tls" / digest / "docker"


def use_context(folder: Path, name: str) -> None:
    """Do what `docker context use` does."""
    (folder / "config.json").write_text(json.dumps({"auths": {}, "currentContext": name}))


@pytest.mark.parametrize(
    ("url", "variables", "address", "context"),
    [
        (None, {}, "unix:///of/used.sock", "used"),
        ("", {}, "unix:///of/used.sock", "used"),
        (None, {"DOCKER_CONTEXT": "named"}, "unix:///of/named.sock", "named"),
        (None, {"DOCKER_CONTEXT": "default"}, "unix:///var/run/docker.sock", ""),
        (None, {"DOCKER_HOST": "tcp://h:1", "DOCKER_CONTEXT": "named"}, "tcp://h:1", ""),
        ("/flag.sock", {"DOCKER_CONTEXT": "named"}, "unix:///flag.sock", ""),
        ("/flag.sock", {"DOCKER_CONTEXT": "missing"}, "unix:///flag.sock", ""),
    ],
)
def test_the_context_in_use_is_obeyed_as_hooks_obey_it(
    tmp_path: Path, url: str | None, variables: Mapping[str, str], address: str, context: str
) -> None:
    """A flag is stronger, then DOCKER_HOST, DOCKER_CONTEXT, and `docker context use`."""
    keep_context(tmp_path, "used", "unix:///of/used.sock")
    keep_context(tmp_path, "named", "unix:///of/named.sock")
    use_context(tmp_path, "used")

    found = find_endpoint(url, {"DOCKER_CONFIG": str(tmp_path), **variables})

    assert (found.address, found.context) == (address, context)


def test_contexts_are_below_the_home_folder(tmp_path: Path) -> None:
    """Where no variable names another."""
    keep_context(tmp_path / ".docker", "used", "unix:///of/used.sock")
    use_context(tmp_path / ".docker", "used")

    assert find_endpoint(None, {"HOME": str(tmp_path)}).address == "unix:///of/used.sock"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[" * 100_000, '{"currentContext": 7}', '{"auths": {}}']
)
def test_configuration_of_the_client_that_names_no_context(tmp_path: Path, content: str) -> None:
    """The client itself goes on with its usual socket too."""
    (tmp_path / "config.json").write_text(content)

    found = find_endpoint(None, {"DOCKER_CONFIG": str(tmp_path)})

    assert (found.address, found.context) == ("unix:///var/run/docker.sock", "")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "cannot be read"),
        ('{"Endpoints": {}}', "cannot be read"),
        ('{"Endpoints": {"docker": {"Host": 7}}}', "cannot be read"),
        ('{"Endpoints": {"docker": {"Host": "ssh://ann@host"}}}', "cannot be used"),
        ('{"Endpoints": {"docker": {"Host": "tcp://host"}}}', "cannot be used"),
    ],
)
def test_context_that_cannot_be_used_is_told_by_name(
    tmp_path: Path, content: str | None, told: str
) -> None:
    """Never another engine than the one that hooks speak to."""
    keep_context(tmp_path, "desktop", "unix:///x.sock")
    [kept] = tmp_path.rglob("meta.json")
    kept.unlink() if content is None else kept.write_text(content)

    with pytest.raises(UsageError, match=told) as caught:
        find_endpoint(None, {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "desktop"})
    assert "desktop" in caught.value.message
    assert "DOCKER_CONTEXT" in caught.value.message
    assert "--docker-sock" in caught.value.hint


@pytest.mark.parametrize(
    ("files", "skip", "expected"),
    [
        ((), False, None),
        ((), True, ("", "", "", False)),
        (("ca.pem",), False, ("ca.pem", "", "", True)),
        (("ca.pem", "cert.pem"), False, ("ca.pem", "", "", True)),
        (("ca.pem", "cert.pem", "key.pem"), False, ("ca.pem", "cert.pem", "key.pem", True)),
    ],
)
def test_certificates_of_a_context(
    tmp_path: Path, files: tuple[str, ...], skip: bool, expected: tuple[object, ...] | None
) -> None:
    """Those that it has; the variables for certificates are not asked."""
    folder = keep_context(tmp_path, "far", "tcp://host:2376", skip=skip)
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("")
    variables = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "far", "DOCKER_TLS_VERIFY": "1"}

    tls = find_endpoint(None, variables).tls

    if tls is None:
        assert expected is None
    else:
        assert (*(Path(one).name for one in (tls.ca, tls.cert, tls.key)), tls.verify) == expected


@pytest.mark.parametrize(
    ("address", "variables", "verify"),
    [
        ("tcp://h:1", {}, None),
        ("tcp://h:1", {"DOCKER_TLS_VERIFY": ""}, None),
        ("tcp://h:1", {"DOCKER_TLS_VERIFY": "1"}, True),
        ("https://h:1", {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"}, True),
        ("tcp://h:1", {"DOCKER_CERT_PATH": "/c"}, False),
        ("http://h:1", {"DOCKER_TLS_VERIFY": "1"}, None),
        ("/x.sock", {"DOCKER_TLS_VERIFY": "1"}, None),
    ],
)
def test_certificates_of_the_variables(
    address: str, variables: Mapping[str, str], verify: bool | None
) -> None:
    """As the client library reads them; a socket and `http` are plain text."""
    tls = find_endpoint(address, {"HOME": "/h", **variables}).tls

    assert verify is (tls and tls.verify)
    if tls:
        folder = variables.get("DOCKER_CERT_PATH", "/h/.docker")
        assert (tls.cert, tls.key) == (f"{folder}/cert.pem", f"{folder}/key.pem")
        assert tls.ca == (f"{folder}/ca.pem" if verify else "")


def test_certificates_that_are_not_there_are_told_with_the_file(tmp_path: Path) -> None:
    """And with the variables that ask for them."""
    (tmp_path / "ca.pem").write_text("")
    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    tls = TlsFiles(ca, cert, key, verify=True, named_by="DOCKER_TLS_VERIFY")

    with pytest.raises(InventoryError, match=r"cert\.pem") as caught:
        tls.require("tcp://h:1")
    assert "DOCKER_CERT_PATH" in caught.value.hint
