"""A process that stops a container as a restore does: one_stop.py ADDRESS JOURNAL CONTAINER."""

import sys
from pathlib import Path

from sidecar.docker.client import DockerClient
from sidecar.docker.one_shot import OneShotDocker
from sidecar.runner.journal import Journal
from sidecar.runner.quiesce import while_stopped

address, journal_path, container = sys.argv[1:]
with OneShotDocker(DockerClient(address)) as containers, Journal(Path(journal_path)) as journal:
    found = containers.find(container)
    assert found is not None
    with while_stopped(containers, [found], journal):
        pass
