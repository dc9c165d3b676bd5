"""How large a run is: the whole one, or a small one that shows that it works."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts, bytes and seconds."""

    files: int = 20_000
    file_bytes: int = 100_000
    pairs: int = 5
    plans: int = 2_000
    looks: int = 200
    rest_seconds: float = 30.0
    idle_seconds: float = 180.0
    journal_plans: int = 1_000
    runs_of_plan: int = 1_000
    commands: int = 9
    loop_plans: int = 10
    few_files: int = 100
    small_bytes: int = 1_000
    loops: int = 5
    loops_of_many: int = 3
    look_plans: int = 10_000
    sample: int = 200
    verifications: int = 5


QUICK = Scale(30, 1_000, 1, 20, 5, 1.0, 2.0, 10, 10, 1, 2, 5, 100, 1, 1, 20, 3, 1)
