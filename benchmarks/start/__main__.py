"""What a command costs before it does anything: short ones beside a Python that does nothing.

    python -m benchmarks.start             best of 15
    python -m benchmarks.start --quick     of two: does it work?

Run it in the project's folder; it takes half a minute. Processor time, with the modules compiled,
as those of an installed program are. No container engine is asked for anything.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.measure import compiled, run_child
from benchmarks.reconcile.stack import document, saved_list
from benchmarks.table import Row, machine_row, render_table

_BARE = ("-c", "pass")
_ROUNDS, _FEW = 15, 10
_LITTLE, _MUCH = 80, 150


@dataclass(frozen=True, slots=True)
class _Command:
    """A command with its arguments, and how many milliseconds above bare Python it may take."""

    name: str
    arguments: tuple[str, ...]
    most: int


def _commands(folder: Path) -> tuple[_Command, ...]:
    config, listed = folder / "config.json", folder / "list.json"
    config.write_text(document())
    listed.write_bytes(saved_list(_FEW))
    # The same document with plans, for who reads them.
    planned = folder / "planned" / "config.json"
    planned.parent.mkdir()
    planned.write_text(document())
    source = ("--inventory", str(listed))
    run_child(("-m", "sidecar", "reconcile", *source, "--config", str(planned)))
    sidecar, runner = ("-m", "sidecar"), ("-m", "sidecar.runner")
    dry = ("reconcile", "--dry-run", *source, "--config", str(config))
    plans = ("plans", "--config", str(planned))
    return (
        _Command("backrest-sidecar --help", (*sidecar, "--help"), _LITTLE),
        _Command("backrest-sidecar version", (*sidecar, "version"), _LITTLE),
        _Command("backrest-runner --help", (*runner, "--help"), _LITTLE),
        _Command("backrest-runner version", (*runner, "version"), _LITTLE),
        _Command(f"reconcile --dry-run, {_FEW} containers of a list", (*sidecar, *dry), _MUCH),
        _Command(f"backrest-runner plans, {_FEW} plans", (*runner, *plans), _MUCH),
    )


def _row(command: _Command, rounds: int, environ: Mapping[str, str]) -> Row:
    """Measure a command and bare Python in turns; the best of each counts."""
    # Compiles what it imports.
    run_child(command.arguments, environ)
    pairs = [
        (run_child(command.arguments, environ).cpu, run_child(_BARE, environ).cpu)
        for _ in range(rounds)
    ]
    ours, bare = (min(figures) * 1000 for figures in zip(*pairs, strict=True))
    return Row(
        command.name,
        0,
        f"{ours - bare:.0f} ms above",
        f"{bare:.0f} ms (python that does nothing)",
        None,
        f"≤ {command.most} ms above",
        ours - bare <= command.most,
    )


def main() -> None:
    """Measure everything and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start")
    parser.add_argument("--quick", action="store_true", help="two rounds: does it work?")
    given = parser.parse_args()
    rounds = 2 if given.quick else _ROUNDS
    rows = [machine_row()]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        environ = compiled(folder / "compiled")
        kept = {key: value for key, value in environ.items() if not key.startswith("BACKREST")}
        rows += [_row(command, rounds, kept) for command in _commands(folder)]
    rows.append(machine_row())
    if given.quick:
        # The goals are for the best of many.
        rows = [replace(row, goal="", met=None) for row in rows]
    print(render_table(rows))


if __name__ == "__main__":
    main()
