"""Choose the engine of a repository, by the scheme of its address."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.backrest.engine_name import EngineName, engine_of
from sidecar.backrest.reading import Repo
from sidecar.engines.access import resolve_address
from sidecar.engines.base import Engine, EngineError, Engines, FailureClass, OnStart
from sidecar.lib.process import ProcessRunner
from sidecar.lib.zones import local_zone

if TYPE_CHECKING:
    from sidecar.engines.restic import ResticOptions


@dataclass(frozen=True, slots=True)
class EngineRegistry:
    """Makes the engine that the address of a repository asks for; see `base.Engines`.

    `environ` is where `${NAME}` in addresses comes from. An engine that is not among `engines` is
    told as such: its address is never given to another one.
    """

    engines: Mapping[EngineName, Engines]
    environ: Mapping[str, str]

    def make(self, repo: Repo, on_start: OnStart | None = None) -> Engine:
        """Return the engine of a repository.

        Raises EngineError if its address has a variable that is not set, or if there is no such
        engine.
        """
        name = engine_of(resolve_address(repo, self.environ))
        found = self.engines.get(name)
        if found is None:
            message = f"repository {repo.id} is one of {name.value}, which this version cannot run"
            raise EngineError(FailureClass.NO_PROGRAM, message, "use a version that can")
        return found.make(repo, on_start)


def all_engines(runner: ProcessRunner, options: "ResticOptions") -> EngineRegistry:
    """Return the registry of every engine there is; `runner` starts their programs.

    What all engines have in common is that of the options of restic.
    """
    # Imported where one is to run: a look at a document needs the names of engines only.
    from sidecar.engines.restic import ResticEngines  # noqa: PLC0415
    from sidecar.engines.rsync import RsyncEngines, RsyncOptions  # noqa: PLC0415

    zone, _ = local_zone(options.environ)
    of_rsync = RsyncOptions(
        options.environ, options.on_missing, options.limits, options.locking, zone=zone
    )
    engines: dict[EngineName, Engines] = {
        EngineName.RESTIC: ResticEngines(runner, options),
        EngineName.RSYNC: RsyncEngines(runner, of_rsync),
    }
    return EngineRegistry(engines, options.environ)
