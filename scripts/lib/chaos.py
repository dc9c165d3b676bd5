"""Kill what takes part in a backup at random moments; count the containers that differ then.

    python chaos.py [--moments N] [--only POLICY] [--victim VICTIM] [--seed S] [--first N]

For each policy a site is made: an engine of its own, one workload that stops at once and one
that takes four seconds. A moment is one kill: both are backed up, the victim is killed, and what
recovers is started: the runner again, or in its place the sidecar's guard, or the engine. Within
three minutes both workloads have to be as they were, and to stay so.

A container that the engine will not start by hand either is lost by the engine, and counted
apart: Debian's, when it is killed while it starts one, says for ever that its task exists.
"""

import argparse
import math
import random
import secrets
import shutil
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from chaos_site import ROOT, SPEEDS, Cancelled, Clock, Policy, Site, Victim, run_site, victims_of
from orphans import adopted_orphans
from private_docker import EngineError

Key = tuple[Policy, Victim]

_SAYS = "Kill what takes part in a backup at random moments; count the containers that differ."

LOGS = ROOT / ".cache" / "chaos"

_MOMENTS = 300
# What the engine was asked to do before the kill is over by then, also a stop of four seconds.
_QUIET_SECONDS = 6.0
# A stop is waited for at most ten seconds and fifteen more, and the runner looks each minute.
_PATIENCE_SECONDS = 180.0
_LOOK_SECONDS = 0.1
# By then the runs of the two are over, on a machine that is not busy.
_SPANS = {
    Policy.STOP: (2.5, 7.0),
    Policy.PAUSE: (2.0,),
    Policy.SCALE: (6.5, 10.5),
    Policy.ONCE: (7.5,),
}
_DOWNTIMES = (2.0, 2.0, 2.0, 40.0)


@dataclass(frozen=True, slots=True)
class Moment:
    """One kill; `number` counts those of a victim at a policy, from 0."""

    seed: int
    policy: Policy
    victim: Victim
    number: int

    @property
    def again(self) -> str:
        """The command that repeats it."""
        where = f"--only {self.policy} --victim {self.victim}"
        return f"scripts/chaos --seed {self.seed} {where} --first {self.number} --moments 1"

    @property
    def can_be_guards(self) -> bool:
        """Whether the sidecar's guard may recover: hooks have stopped, and the runner is dead."""
        return self.victim is Victim.RUNNER and self.policy is not Policy.ONCE


@dataclass(frozen=True, slots=True)
class Difference:
    """A workload that is not as it was; `what` is told of it."""

    moment: Moment
    name: str
    what: str


@dataclass
class Counts:
    """What was done and found, by policy and victim."""

    moments: Counter[Key] = field(default_factory=Counter)
    missed: Counter[Key] = field(default_factory=Counter)
    differing: Counter[Key] = field(default_factory=Counter)
    refused: Counter[Key] = field(default_factory=Counter)
    rest: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, moment: Moment, found: Sequence[Difference] | None) -> None:
        """Count one moment, and show what differs; None: there was nothing to kill."""
        key = moment.policy, moment.victim
        with self._lock:
            self.moments[key] += found is not None
            self.missed[key] += found is None
            self.differing[key] += len(found or ())
            for one in found or ():
                print(f"DIFFERS {one.what}\n  again: {one.moment.again}", flush=True)

    def add_refused(self, moment: Moment, refused: Mapping[str, str]) -> None:
        """Count and show the containers that the engine has lost: it starts them for nobody."""
        with self._lock:
            self.refused[moment.policy, moment.victim] += len(refused)
            for name, reason in refused.items():
                print(f"LOST by the engine: {name}: {reason}\n  again: {moment.again}", flush=True)

    def add_rest(self, policy: Policy, left: Sequence[str]) -> None:
        """Count and show what is still to be done at the end, though nothing goes on."""
        with self._lock:
            self.rest += len(left)
            print(f"LEFT of {policy}: {', '.join(left)}", flush=True)

    @property
    def differences(self) -> int:
        """How much is not as it was before, of all moments together."""
        return self.differing.total() + self.rest

    def table(self) -> str:
        """Return the counts as a table."""
        keys = sorted({*self.moments, *self.missed})
        counters = (self.moments, self.missed, self.differing, self.refused)
        rows = [
            ("policy", "killed", "moments", "missed", "containers", "differ", "lost by the engine"),
            *(_row(*key, *(counter[key] for counter in counters)) for key in keys),
            _row("all", "", *(counter.total() for counter in counters)),
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if index < 2 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )


def _row(
    policy: str, victim: str, moments: int, missed: int, differing: int, refused: int
) -> tuple[str, ...]:
    numbers = (moments, missed, moments * len(SPEEDS), differing, refused)
    return policy, victim, *map(str, numbers)


def moments_of(
    seed: int, policies: Sequence[Policy], victims: Sequence[Victim], count: int, first: int = 0
) -> dict[Policy, list[Moment]]:
    """Return the moments of each policy: `count` a victim, in equal parts to its policies."""
    found: dict[Policy, list[Moment]] = {policy: [] for policy in policies}
    for victim in victims:
        fitting = [policy for policy in policies if victim in victims_of(policy)]
        for policy in fitting:
            numbers = range(first, first + math.ceil(count / len(fitting)))
            found[policy] += (Moment(seed, policy, victim, number) for number in numbers)
    for moments in found.values():
        # Each victim in turn, so that a loop that is broken off has seen them all.
        moments.sort(key=lambda one: one.number)
    return found


def make_moments(policy: Policy, moments: Sequence[Moment], counts: Counts, clock: Clock) -> None:
    """Make the moments of a policy, one after another, at a site of its own."""
    waiting = deque(moments)
    while waiting:
        with run_site(policy, clock) as site:
            make_moments_at(site, waiting, counts)


def make_moments_at(site: Site, waiting: deque[Moment], counts: Counts) -> None:
    """Make moments at a site, until there are none, or the engine has lost a container."""
    usual = site.states()
    while waiting:
        moment = waiting.popleft()
        differences = make_moment(site, moment, usual)
        if not differences:
            counts.add(moment, differences)
            continue
        refused = site.heal()
        counts.add(moment, [one for one in differences if one.name not in refused])
        counts.add_refused(moment, refused)
        keep_log(site, moment)
        if refused or not site.clock.until(lambda: site.states() == usual, _PATIENCE_SECONDS):
            return
    site.start_runner()
    if not site.clock.until(lambda: not site.unfinished, _PATIENCE_SECONDS, _LOOK_SECONDS):
        counts.add_rest(site.policy, site.unfinished)


def keep_log(site: Site, moment: Moment) -> None:
    """Keep what was said during a moment, and show where."""
    LOGS.mkdir(parents=True, exist_ok=True)
    kept = LOGS / f"{moment.seed}-{moment.policy}-{moment.victim}-{moment.number}.log"
    shutil.copy(site.log, kept)
    print(f"  log: {kept}", flush=True)


def make_moment(site: Site, moment: Moment, usual: Mapping[str, str]) -> list[Difference] | None:
    """Kill and recover; return what differs then, or None if there was nothing to kill."""
    rng = random.Random(f"{moment.seed}/{moment.policy}/{moment.victim}/{moment.number}")  # noqa: S311
    which = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
    delay = rng.uniform(0.0, rng.choice(_SPANS[moment.policy]))
    downtime = rng.uniform(0.0, rng.choice(_DOWNTIMES))
    is_guards = rng.random() < 1 / 3 and moment.can_be_guards and which is signal.SIGKILL
    site.forget_log()
    site.begin_runs(rng)
    site.clock.pause(delay)
    if not site.strike(moment.victim, which, rng):
        site.end_runs()
        return None
    if moment.victim is Victim.ENGINE:
        site.clock.pause(downtime)
        site.restart_engine()
    if is_guards:
        site.end_programs()
    site.end_runs()
    with site.guarded() if is_guards else site.recovering():
        states = settle(site, usual)
    told = f"{site.policy}, {moment.victim} by {which.name} after {delay:.2f} s"
    recovered = "the guard" if is_guards else "the runner"
    left = ", ".join(site.unfinished) or "nothing"
    return [
        Difference(
            moment,
            name,
            f"{told}, then {recovered}: {name} is {state}, not {usual[name]}; left to do: {left}",
        )
        for name, state in states.items()
        if state != usual[name]
    ]


def settle(site: Site, usual: Mapping[str, str]) -> Mapping[str, str]:
    """Wait until all is as usual and stays so for a while; return how it is then."""
    end, since = time.monotonic() + _PATIENCE_SECONDS, math.inf
    while (now := time.monotonic()) < end:
        since = min(since, now) if site.states() == usual else math.inf
        if now - since >= _QUIET_SECONDS:
            break
        site.clock.pause(_LOOK_SECONDS)
    return site.states()


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=_SAYS)
    parser.add_argument("--moments", type=int, default=_MOMENTS, help="kills of each victim")
    parser.add_argument("--only", action="append", type=Policy, choices=list(Policy), default=[])
    parser.add_argument("--victim", action="append", type=Victim, choices=list(Victim), default=[])
    parser.add_argument("--seed", type=int, default=None, help="repeats the moments of a run")
    parser.add_argument("--first", type=int, default=0, help="number of the first moment")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Make the moments; return 1 if something differed, 2 if not all of them were made."""
    given = parse_arguments(words)
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    policies, victims = given.only or list(Policy), given.victim or list(Victim)
    wanted = moments_of(seed, policies, victims, given.moments, given.first)
    counts, clock = Counts(), Clock(threading.Event())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: clock.is_over.set())
    print(f"seed {seed}", flush=True)
    failures: list[str] = []
    with adopted_orphans(), ThreadPoolExecutor(len(wanted)) as lanes:
        made = [lanes.submit(make_moments, *one, counts, clock) for one in wanted.items() if one[1]]
        for one in made:
            try:
                one.result()
            except Cancelled:
                failures.append("ended early")
            except EngineError as error:
                failures.append(str(error))
    print(counts.table())
    for failure in failures:
        print(failure, file=sys.stderr)
    if counts.differences:
        return 1
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
