"""The containers of this machine, as far as no Docker is needed."""

import pytest

from sidecar.docker.lifecycle import ContainersError, OneShotDocker


def test_an_engine_that_is_not_there_is_told_in_words() -> None:
    """Whatever it is asked."""
    with OneShotDocker("/nowhere/docker.sock") as engine:
        for ask in (engine.providers, engine.now, lambda: engine.pull("x")):
            with pytest.raises(ContainersError, match="no Docker engine at"):
                ask()
