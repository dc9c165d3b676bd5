"""Engines that a test gives: made of a function, as `engines.base.Engines`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sidecar.backrest.reading import Repo
from sidecar.engines.base import OnStart


@dataclass
class MadeEngines:
    """Returns what `give` returns for a repository; no program is reported."""

    give: Callable[[Repo], Any]

    def make(self, repo: Repo, on_start: OnStart | None = None) -> Any:
        """Return it."""
        del on_start
        return self.give(repo)
