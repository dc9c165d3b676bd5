"""How large a run is: the whole one, or a small one that shows that it works."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts, and pauses in seconds.

    `pause` comes between two created containers, `paces` are what is measured beside
    `looping` containers that crash every two seconds. `checks` of the `running` containers
    check their health each second, ten for each core: each check starts processes, and an
    engine that has too little of the machine for them just makes fewer.
    """

    others: tuple[int, ...] = (10, 100, 1_000)
    samples: int = 15
    pause: float = 6.5
    paces: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0)
    looping: tuple[int, ...] = (0, 1, 20)
    running: int = 200
    checks: int = min(200, 10 * (os.cpu_count() or 1))
    idle_seconds: float = 180.0
    rest_seconds: float = 10.0
    storm: int = 1_000
    calm_seconds: float = 15.0
    apply_settle: str = "10s"
    events: int = 100_000
    batches: int = 10


QUICK = Scale((2, 4), 2, 2.0, (1.0,), (0, 2), 3, 2, 3.0, 0.5, 8, 1.0, "1s", 1_000, 2)
