"""What restic keeps of generated histories, asked by `forget --dry-run`, and written down as facts.

As root or not, from the top of the repository:

    python -m tests.engines.retention_facts PATH_OF_RESTIC

writes `testdata/retention/restic.jsonl` anew; the same program writes the same again. It takes some
minutes. With `--check` it only says where this restic keeps anything else.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sidecar.backrest.plan import Retention
from tests.fakes.cheap_key import replace_key

FACTS = Path(__file__).parents[2] / "testdata" / "retention" / "restic.jsonl"
PASSWORD = "correct horse"
RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
SEED = 20261129
# Only some offsets can be given to restic: by zones that never change their clocks.
_ODD_OFFSETS = {
    (5, 30): "Asia/Kolkata",
    (5, 45): "Asia/Kathmandu",
    (9, 30): "Australia/Darwin",
    (-9, -30): "Pacific/Marquesas",
}

Kept = dict[datetime, frozenset[str]]
"""The times that are kept, and by which rules: `frozenset({"last", "daily"})`."""


@dataclass(frozen=True, slots=True)
class History:
    """The times of snapshots, in whole seconds, each with a fixed offset, in the order of making."""

    name: str
    times: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """What a restic keeps of a history by one retention."""

    restic: str
    history: History
    retention: Retention
    kept: Kept


def retention_of(counts: Mapping[str, int]) -> Retention:
    """Return the retention with these counts by the names of its rules; the others are none."""
    last, hourly, daily, weekly, monthly, yearly = (counts.get(rule, 0) for rule in RULES)
    return Retention(last, hourly, daily, weekly, monthly, yearly)


def histories(seed: int, size: int) -> Iterator[History]:
    """Yield histories of up to `size` snapshots; the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - the same again, which is no secret
    for zone, day in (
        ("Europe/Berlin", "2026-03-29"),
        ("Europe/Berlin", "2026-10-25"),
        ("America/New_York", "2026-11-01"),
        ("Pacific/Auckland", "2026-04-04"),
    ):
        changes = datetime.fromisoformat(f"{day}T02:00:00+00:00").timestamp()
        near = (changes + 1200 * chance.randint(-90, 90) for _ in range(size))
        yield _history(f"clocks change in {zone} on {day}", near, zone)
    yield _history(
        "daily runs over a change of the clocks", _daily("2026-10-18", size), "Europe/Berlin"
    )
    yield _history("29 February", _daily("2024-02-20", size // 2), "UTC")
    new_years = (f"{year}-12-{day}" for year in (2019, 2020, 2024, 2025) for day in (26, 31))
    yield _history(
        "ISO weeks around New Year",
        (at for day in new_years for at in _daily(day, max(1, size // 8))),
        "UTC",
    )
    yield _history(
        "years", (chance.randint(1_000_000_000, 1_900_000_000) for _ in range(size)), "Europe/Paris"
    )
    yield _travels(chance, size)
    pairs = [1_790_000_000 + 1800 * chance.randint(0, 400) for _ in range(size // 2)]
    yield _history("two in one second", (*pairs, *pairs), "Europe/Berlin")
    yield _history("two", (1_790_000_000, 1_790_000_060), "UTC")
    yield _history("one", (1_790_000_000,), "UTC")


def retentions(seed: int, count: int) -> Iterator[Retention]:
    """Yield retentions: usual ones, then generated ones."""
    usual = (
        Retention(last=1),
        Retention(last=5),
        Retention(hourly=24),
        Retention(daily=7),
        Retention(weekly=4),
        Retention(monthly=6),
        Retention(yearly=10),
        Retention(daily=7, weekly=4, monthly=6),
        Retention(last=3, hourly=12, daily=7, weekly=5, monthly=12, yearly=75),
    )
    yield from usual[:count]
    chance = random.Random(seed)  # noqa: S311 - the same again, which is no secret
    for _ in range(count - len(usual)):
        rules = chance.sample(RULES, chance.randint(1, 4))
        yield retention_of({rule: chance.choice((1, 2, 3, 5, 8, 13, 40)) for rule in rules})


class Repository:
    """A repository of restic with one tag for each history."""

    def __init__(self, restic: str, folder: Path) -> None:
        self._restic = restic
        self._folder = folder
        (folder / "file").write_text("content")
        self._run("init")
        replace_key(folder / "repo", PASSWORD)

    @property
    def version(self) -> str:
        """The version of this restic, for example 0.18.1."""
        return self._run("version").split()[1]

    def make(self, tag: str, history: History) -> None:
        """Make the snapshots."""
        for time in history.times:
            wall = time.strftime("%Y-%m-%d %H:%M:%S")
            words = ("--time", wall, "--tag", tag, str(self._folder / "file"))
            self._run("backup", *words, zone=_zone_of(time))

    def kept(self, tag: str, retention: Retention) -> Kept:
        """Ask what would be kept."""
        counts = ((rule, getattr(retention, rule)) for rule in RULES)
        keep = [f"--keep-{rule}={count}" for rule, count in counts if count]
        said = self._run(
            *("forget", "--dry-run", "--json", "--no-lock", "--group-by", "", "--tag", tag), *keep
        )
        [group] = json.loads(said.splitlines()[0])
        kept: Kept = {}
        for reason in group["reasons"] or ():
            time = datetime.fromisoformat(reason["snapshot"]["time"])
            # For example "daily snapshot", or "oldest daily snapshot" while there are too few.
            rules = {match.split()[-2] for match in reason["matches"]}
            kept[time] = kept.get(time, frozenset()) | rules
        assert {datetime.fromisoformat(one["time"]) for one in group["keep"] or ()} == set(kept)
        return kept

    def _run(self, *words: str, zone: str = "UTC") -> str:
        own = {"RESTIC_REPOSITORY": str(self._folder / "repo"), "RESTIC_PASSWORD": PASSWORD}
        cache = {"RESTIC_CACHE_DIR": str(self._folder / "cache")}
        env = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "TZ": zone, **own, **cache}
        command = [self._restic, *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def ask(restic: str, asked: Sequence[History], wanted: Sequence[Retention]) -> Iterator[Fact]:
    """Yield what this restic keeps of each history by each retention."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(restic, Path(folder))
        version = repository.version
        for number, history in enumerate(asked):
            repository.make(f"h{number}", history)
            for retention in wanted:
                yield Fact(version, history, retention, repository.kept(f"h{number}", retention))


def recorded() -> tuple[Fact, ...]:
    """Return the facts that were written down."""
    return tuple(fact for line in FACTS.read_text().splitlines() for fact in _parse(line))


def _parse(line: str) -> Iterator[Fact]:
    held = json.loads(line)
    times = tuple(map(datetime.fromisoformat, held["times"]))
    for one in held["facts"]:
        kept = {times[int(number)]: frozenset(rules) for number, rules in one["kept"].items()}
        history = History(held["history"], times)
        yield Fact(held["restic"], history, retention_of(one["retention"]), kept)


def _render(facts: Sequence[Fact]) -> str:
    """Return the facts of one history as a line; what is kept by the places of its times."""
    history = facts[0].history
    told = [
        {
            "retention": {rule: count for rule, count in asdict(fact.retention).items() if count},
            "kept": {
                history.times.index(time): [rule for rule in RULES if rule in rules]
                for time, rules in sorted(fact.kept.items(), reverse=True)
            },
        }
        for fact in facts
    ]
    times = [time.isoformat() for time in history.times]
    plain = {"history": history.name, "restic": facts[0].restic, "times": times, "facts": told}
    return f"{json.dumps(plain)}\n"


def _history(name: str, moments: Sequence[float] | Iterator[float], zone: str) -> History:
    """Return the history of unix seconds, by the clocks of one zone."""
    return History(name, tuple(_fixed(moment, ZoneInfo(zone)) for moment in moments))


def _fixed(moment: float, zone: ZoneInfo) -> datetime:
    there = datetime.fromtimestamp(moment, zone)
    return datetime.fromisoformat(there.isoformat())


def _daily(first: str, days: int) -> list[float]:
    """Return unix seconds of a run each day, 22:50 UTC: shortly before or after midnight."""
    start = datetime.fromisoformat(f"{first}T22:50:00").replace(tzinfo=UTC).timestamp()
    return [start + 86400 * day for day in range(days)]


def _travels(chance: random.Random, size: int) -> History:
    """Return a history of a machine that is now here, now there; no moment twice."""
    zones = ("Etc/GMT+12", "Pacific/Marquesas", "UTC", "Asia/Kolkata", "Asia/Kathmandu")
    moments = chance.sample(range(1_790_000_000, 1_790_000_000 + 86400 * 6, 1800), size)
    all_zones = [ZoneInfo(zone) for zone in (*zones, "Etc/GMT-14", "Australia/Darwin")]
    return History("travels", tuple(_fixed(at, chance.choice(all_zones)) for at in moments))


def _zone_of(time: datetime) -> str:
    """Return a zone that always has the offset of a time."""
    offset = time.utcoffset()
    assert offset is not None
    minutes = offset // timedelta(minutes=1)
    hours, rest = int(minutes / 60), int(abs(minutes) % 60) * (1 if minutes > 0 else -1)
    # Their signs are those of POSIX.
    return _ODD_OFFSETS[hours, rest] if rest else f"Etc/GMT{-hours:+d}"


def main() -> int:
    """Write the facts, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("restic", help="the program, 0.16 or later")
    parser.add_argument("--check", action="store_true", help="write nothing, say what differs")
    chosen = parser.parse_args()
    wanted = tuple(retentions(SEED, 20))
    facts = list(ask(chosen.restic, tuple(histories(SEED, 32)), wanted))
    if not chosen.check:
        by_history = itertools.groupby(facts, lambda fact: fact.history)
        FACTS.write_text("".join(_render(list(told)) for _, told in by_history))
        return 0
    known = {(fact.history, fact.retention): fact.kept for fact in recorded()}
    differing = [fact for fact in facts if known.get((fact.history, fact.retention)) != fact.kept]
    for fact in differing:
        sys.stdout.write(f"{fact.history.name}: {fact.retention} keeps {fact.kept}\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
