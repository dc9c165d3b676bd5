"""The client library's client of one endpoint, with what the library gets wrong put right."""

import json
from collections.abc import Mapping, MutableMapping
from typing import Any

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import APIError
from docker.tls import TLSConfig

from sidecar.docker.endpoint import UNIX, Endpoint

PING = "/_ping"
"""The call that tells the API's version in a header, also where `/version` fails."""

VERSION_HEADER = "Api-Version"


def as_version(header: str) -> bytes:
    """Write the version of that header as the answer to `/version` has it."""
    return json.dumps({"ApiVersion": header}).encode()


class ApiClient(docker.APIClient):  # type: ignore[misc]
    """A client that trusts the engine's own authority, and asks in two ways for the version."""

    def merge_environment_settings(
        self,
        url: str | bytes,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,
        verify: bool | str | None,
        cert: Any,
    ) -> dict[str, Any]:
        """Keep the certificates of the endpoint.

        REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE name authorities of public servers; left
        alone they take the place of the one that signed the engine's certificate.
        """
        own = self.verify if verify is None else verify
        merged: dict[str, Any] = super().merge_environment_settings(url, proxies, stream, own, cert)
        return merged

    def version(self, api_version: bool = True) -> Mapping[str, Any]:
        """Ask for the version; a rootless engine may fail to tell more than the API's."""
        try:
            found: Mapping[str, Any] = super().version(api_version=api_version)
        except APIError:
            answer = self.head(f"{self.base_url}{PING}", timeout=self.timeout)
            if answer.status_code != 200 or VERSION_HEADER not in answer.headers:
                raise
            return {"ApiVersion": answer.headers[VERSION_HEADER]}
        return found


def open_client(
    endpoint: Endpoint, *, version: str = DEFAULT_DOCKER_API_VERSION, timeout: float = 60
) -> ApiClient:
    """Return a client of an endpoint; `version` `auto` asks it at once.

    Raises InventoryError for certificates that are not there, and what the library raises.
    """
    options: dict[str, Any] = {}
    if endpoint.tls is not None:
        tls = endpoint.tls
        tls.require(endpoint.address)
        pair = (tls.cert, tls.key) if tls.cert else None
        options["tls"] = TLSConfig(client_cert=pair, ca_cert=tls.ca or None, verify=tls.verify)
    client = ApiClient(base_url=endpoint.address, version=version, timeout=timeout, **options)
    # No proxy stands before a socket: looking for one takes longer than a call.
    client.trust_env = not endpoint.address.startswith(UNIX)
    return client
