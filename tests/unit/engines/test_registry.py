"""Which engine a repository gets."""

from typing import Any

import pytest

from sidecar.backrest.engine_name import RUNNABLE, EngineName
from sidecar.backrest.reading import Repo
from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.registry import EngineRegistry, all_engines
from sidecar.engines.restic import ResticEngine, ResticOptions
from sidecar.lib.process import ProcessRunner
from tests.fakes.made_engines import MadeEngines

ENVIRON = {"PLACE": "rsync:/backup", "FOLDER": "/srv", "EMPTY": ""}


def registry(*names: EngineName) -> EngineRegistry:
    """Return one of these engines; each made engine is its name and the repository's address."""

    def made(name: EngineName) -> Any:
        return MadeEngines(lambda repo: (name, repo.uri))

    return EngineRegistry({name: made(name) for name in names}, ENVIRON)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/srv/repo", EngineName.RESTIC),
        ("s3:host/bucket", EngineName.RESTIC),
        ("${FOLDER}/repo", EngineName.RESTIC),
        ("rsync:/backup", EngineName.RSYNC),
        ("${PLACE}", EngineName.RSYNC),
    ],
)
def test_the_scheme_names_the_engine(uri: str, name: EngineName) -> None:
    """Variables are replaced before; the engine gets the repository as it is described."""
    known = registry(EngineName.RESTIC, EngineName.RSYNC)

    made: object = known.make(Repo("store", uri))

    assert (name, uri) == made


def test_an_address_of_another_engine_never_goes_to_restic() -> None:
    """Restic would say that the backend is invalid, or make a folder of that name."""
    with pytest.raises(EngineError) as caught:
        registry(EngineName.RESTIC).make(Repo("store", "rsync:/backup"))

    assert FailureClass.NO_PROGRAM is caught.value.failure
    assert "store" in caught.value.message
    assert "rsync" in caught.value.message
    assert "/backup" not in str(caught.value)


@pytest.mark.parametrize("name", ["EMPTY", "UNSET"])
def test_a_variable_of_an_address_must_be_set(name: str) -> None:
    """Without it another place is meant: `${PLACE}/web` would be `/web`."""
    with pytest.raises(EngineError) as caught:
        registry(EngineName.RESTIC).make(Repo("store", f"${{{name}}}/repo"))

    assert f"${{{name}}}" in caught.value.message


def test_restic_is_among_all_engines() -> None:
    """It is what makes a repository without a scheme of its own."""
    known = all_engines(ProcessRunner({}), ResticOptions({}))

    assert isinstance(known.make(Repo("store", "/repo")), ResticEngine)


def test_the_engines_that_are_known_are_those_that_there_are() -> None:
    """The documents are judged by their names, before any engine is made."""
    assert RUNNABLE == all_engines(ProcessRunner({}), ResticOptions({})).engines.keys()
