"""The workers: fair, one writer a repository, and nothing that is poisoned takes one away."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from sidecar.engines.base import BackupType
from sidecar.runner.due import Job, JobKind
from sidecar.runner.journal import RunCause
from sidecar.runner.pool import Admission, Pool, QueueRules

SECONDS = 20.0


def backup(plan: str, repo: str) -> Job:
    """The backup of a plan."""
    return Job(JobKind.BACKUP, plan, repo)


class GivenRules(QueueRules):
    """Rules by functions; what is not given is as always."""

    def __init__(
        self,
        lock_keys: Callable[[Job], frozenset[str]] | None = None,
        containers: Callable[[Job], frozenset[str]] | None = None,
        is_away: Callable[[Job], bool] | None = None,
        has_resumed: Callable[[Job], bool] | None = None,
        is_held: Callable[[Job], bool] | None = None,
    ) -> None:
        self._given = lock_keys, containers, is_away, has_resumed
        self._is_held = is_held

    def is_held(self, job: Job) -> bool:
        """Return it."""
        return super().is_held(job) if self._is_held is None else self._is_held(job)

    def lock_keys(self, job: Job) -> frozenset[str]:
        """Return them."""
        given = self._given[0]
        return super().lock_keys(job) if given is None else given(job)

    def containers(self, job: Job) -> frozenset[str]:
        """Return them."""
        given = self._given[1]
        return super().containers(job) if given is None else given(job)

    def has_resumed(self, job: Job) -> bool:
        """Return it."""
        given = self._given[3]
        return super().has_resumed(job) if given is None else given(job)

    def is_away(self, job: Job) -> bool:
        """Return it."""
        given = self._given[2]
        return super().is_away(job) if given is None else given(job)


@dataclass
class Stage:
    """Runs work until the test lets it end."""

    workers: int
    begun: list[Job] = field(default_factory=list)
    done: list[Job] = field(default_factory=list)
    broken: list[tuple[Job, BaseException]] = field(default_factory=list)
    triggers: list[RunCause] = field(default_factory=list)
    wanted: list[BackupType | None] = field(default_factory=list)
    poison: BaseException | None = None
    change: threading.Condition = field(default_factory=threading.Condition)
    released: set[Job] = field(default_factory=set)
    is_open: bool = False
    rules: QueueRules = field(default_factory=QueueRules)

    def __post_init__(self) -> None:
        self.pool = Pool(self, self.workers, self.rules)

    def run(self, job: Job, trigger: RunCause, wanted: BackupType | None) -> None:
        """Be at work until it is released."""
        with self.change:
            self.begun.append(job)
            self.triggers.append(trigger)
            self.wanted.append(wanted)
            self.change.notify_all()
            assert self.change.wait_for(lambda: job in self.released or self.is_open, SECONDS)
        if self.poison is not None:
            raise self.poison

    def finish(self, job: Job) -> None:
        """Note that a worker is free again."""
        with self.change:
            self.done.append(job)
            self.change.notify_all()

    def failed(self, job: Job, error: BaseException) -> None:
        """Hear that it broke down."""
        self.broken.append((job, error))

    def release(self, *jobs: Job) -> None:
        """Let work end, and wait until it has."""
        with self.change:
            self.released |= set(jobs)
            self.change.notify_all()
        self.wait(lambda: set(jobs) <= set(self.done))

    def wait(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        with self.change:
            assert self.change.wait_for(holds, SECONDS), (self.begun, self.done)


@contextmanager
def staged(workers: int, rules: QueueRules | None = None) -> Iterator[Stage]:
    """Return a stage whose work ends when the test does."""
    stage = Stage(workers, rules=rules or QueueRules())
    stage.pool.start()
    try:
        yield stage
    finally:
        with stage.change:
            stage.is_open = True
            stage.change.notify_all()
        assert stage.pool.close(SECONDS)


A1, A2, A3 = (backup(f"a{number}", "a") for number in (1, 2, 3))
B1, C1, D1 = (backup(f"{repo}1", repo) for repo in "bcd")


def test_what_somebody_restores_keeps_nobody_waiting() -> None:
    """It is begun when that has ended."""
    held = {A1}
    rules = GivenRules(is_held=held.__contains__)
    with staged(1, rules) as stage:
        for job in (A1, A2, B1):
            stage.pool.submit(job)
        stage.wait(lambda: stage.begun == [A2])
        held.clear()
        stage.release(A2)
        stage.wait(lambda: stage.begun == [A2, A1])
        stage.release(A1)
        stage.wait(lambda: stage.begun == [A2, A1, B1])


def test_a_repository_has_one_writer() -> None:
    """What has to wait for it holds no worker: others pass."""
    with staged(2) as stage:
        for job in (A1, A2, B1):
            assert stage.pool.submit(job) is Admission.QUEUED
        stage.wait(lambda: len(stage.begun) == 2)
        assert {A1, B1} == stage.pool.running
        assert {A1, A2, B1} == stage.pool.busy
        stage.release(A1)
        stage.wait(lambda: A2 in stage.begun)


def test_a_job_is_queued_anew_only_when_its_end_has_been_told() -> None:
    """Who asks for it meanwhile would take that end for the one of the run that is to come."""
    order: list[str] = []
    asked, told = threading.Event(), threading.Event()

    class Slow(Stage):
        """Takes its time to publish the end of a job."""

        def finish(self, job: Job) -> None:
            asked.set()
            # It goes on at once if nothing holds it, and as good as never before this has ended.
            submitter.join(0.05)
            order.append("told")
            told.set()
            super().finish(job)

    def submit() -> None:
        assert asked.wait(SECONDS)
        order.append(pool.submit(A1))

    pool = Slow(1, is_open=True).pool
    submitter = threading.Thread(target=submit)
    submitter.start()
    pool.submit(A1)
    pool.start()
    submitter.join(SECONDS)
    assert told.wait(SECONDS)
    assert pool.close(SECONDS)
    assert ["told", Admission.QUEUED] == order[:2]


def test_a_repository_that_is_renamed_during_a_run_has_one_writer() -> None:
    """Jobs under its new name wait for the run that began under the old one."""
    keys = {"a": frozenset({"at /srv/a"})}
    with staged(3, GivenRules(lambda job: keys.get(job.repo, frozenset({job.repo})))) as stage:
        stage.pool.submit(A1)
        stage.wait(lambda: stage.begun == [A1])
        keys["b"] = keys.pop("a") | {"id 0123"}
        stage.pool.submit(B1)
        stage.pool.submit(C1)
        stage.wait(lambda: len(stage.begun) == 2)
        assert [A1, C1] == stage.begun
        stage.release(A1)
        stage.wait(lambda: stage.begun == [A1, C1, B1])


def test_a_container_is_stopped_for_one_job_at_a_time() -> None:
    """The run that ends first would start it while the other still saves; others pass."""
    stopped = {A1: frozenset({"web", "db"}), B1: frozenset({"web"})}
    rules = GivenRules(containers=lambda job: stopped.get(job, frozenset()))
    with staged(3, rules) as stage:
        for job in (A1, B1, C1):
            stage.pool.submit(job)
        stage.wait(lambda: len(stage.begun) == 2)
        assert {A1, C1} == stage.pool.running
        stage.release(A1)
        stage.wait(lambda: B1 in stage.begun)


def test_a_container_that_was_started_again_is_waited_for_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever stopped it may work for hours on what it has read."""
    monkeypatch.setattr("sidecar.runner.pool._LOOK_SECONDS", 0.01)
    resumed = set[Job]()
    web = frozenset({"web"})
    with staged(2, GivenRules(containers=lambda _: web, has_resumed=resumed.__contains__)) as stage:
        stage.pool.submit(A1)
        stage.pool.submit(B1)
        stage.wait(lambda: stage.begun == [A1])
        assert {A1} == stage.pool.running
        resumed.add(A1)
        stage.wait(lambda: stage.begun == [A1, B1])
        assert {A1, B1} == stage.pool.running


def test_a_job_that_waits_for_its_repository_keeps_its_containers_from_later_jobs() -> None:
    """Else two others could take turns with its repository and its container for ever."""
    web = frozenset({"web"})
    rules = GivenRules(containers=lambda job: web if job in {A2, B1} else frozenset())
    with staged(3, rules) as stage:
        for job in (A1, A2, B1, C1):
            stage.pool.submit(job)
        stage.wait(lambda: len(stage.begun) == 2)
        assert {A1, C1} == stage.pool.running
        stage.release(A1)
        stage.wait(lambda: A2 in stage.begun)
        assert B1 not in stage.begun
        stage.release(A2)
        stage.wait(lambda: B1 in stage.begun)


def test_repositories_out_of_reach_let_all_others_pass() -> None:
    """They get a worker when nobody else wants it, in their order."""
    away = {"a", "b"}
    with staged(1, GivenRules(is_away=lambda job: job.repo in away)) as stage:
        stage.pool.submit(D1)
        stage.wait(lambda: stage.begun == [D1])
        for job in (A1, B1, C1):
            stage.pool.submit(job)
        for job in (D1, C1, A1, B1):
            stage.wait(lambda job=job: stage.begun[-1:] == [job])  # type: ignore[misc]
            stage.release(job)


def test_there_are_no_more_runs_than_workers() -> None:
    """The others come in the order in which they were submitted."""
    with staged(2) as stage:
        for job in (A1, B1, C1, D1):
            stage.pool.submit(job)
        stage.wait(lambda: len(stage.begun) == 2)
        assert {A1, B1} == set(stage.begun)
        stage.release(B1)
        stage.wait(lambda: len(stage.begun) == 3)
        stage.release(C1)
        stage.wait(lambda: len(stage.begun) == 4)
        assert [C1, D1] == stage.begun[2:]


def test_who_waits_first_for_a_repository_gets_it_first() -> None:
    """Nobody is passed by a later one of the same repository."""
    with staged(3) as stage:
        for job in (A1, A2, A3):
            stage.pool.submit(job)
        stage.wait(lambda: stage.begun == [A1])
        stage.release(A1)
        stage.wait(lambda: len(stage.begun) == 2)
        stage.release(A2)
        stage.wait(lambda: stage.begun == [A1, A2, A3])


def test_one_repository_with_much_work_starves_no_other() -> None:
    """Each time a worker is free, the other repository gets it before the next of the first."""
    with staged(1) as stage:
        for job in (A1, A2, B1, A3):
            stage.pool.submit(job)
        for job in (A1, A2, B1, A3):
            stage.wait(lambda job=job: stage.begun[-1:] == [job])  # type: ignore[misc]
            stage.release(job)


def test_work_is_never_run_twice_at_a_time() -> None:
    """Submitted again it is joined, while it waits and while it runs; later it is run again."""
    with staged(1) as stage:
        stage.pool.submit(A1)
        stage.wait(lambda: stage.begun == [A1])
        assert stage.pool.submit(A1) is Admission.JOINED
        assert stage.pool.submit(B1) is Admission.QUEUED
        assert stage.pool.submit(B1) is Admission.JOINED
        stage.release(A1, B1)
        assert stage.pool.submit(A1) is Admission.QUEUED
        stage.wait(lambda: stage.begun == [A1, B1, A1])


def test_why_it_is_run_and_of_what_type_is_told() -> None:
    """By the one who submitted it first; a schedule asks for no type."""
    with staged(1) as stage:
        stage.pool.submit(A1, RunCause.MANUAL, BackupType.FULL)
        stage.pool.submit(A1, RunCause.SCHEDULE)
        stage.release(A1)
        stage.pool.submit(A2)
        stage.release(A2)
        assert [RunCause.MANUAL, RunCause.SCHEDULE] == stage.triggers
        assert [BackupType.FULL, None] == stage.wanted


@pytest.mark.parametrize("poison", [RuntimeError("MARK"), OSError(28, "full"), ValueError()])
def test_poisoned_work_does_not_end_its_worker(poison: Exception) -> None:
    """It is told, and the next one is run by that worker."""
    with staged(1) as stage:
        stage.poison = poison
        stage.pool.submit(A1)
        stage.release(A1)
        stage.poison = None
        stage.pool.submit(A2)
        stage.release(A2)
        assert [(A1, poison)] == stage.broken
        assert [A1, A2] == stage.done


def test_a_closing_pool_admits_nothing_and_drops_what_waits() -> None:
    """What runs is waited for as long as one has patience."""
    with staged(1) as stage:
        stage.pool.submit(A1)
        stage.pool.submit(A2)
        stage.wait(lambda: stage.begun == [A1])
        assert not stage.pool.close(0.01)
        assert stage.pool.submit(B1) is Admission.REFUSED
        stage.release(A1)
        assert stage.pool.close(SECONDS)
        assert [A1] == stage.begun
        assert frozenset() == stage.pool.busy


def test_a_pool_that_was_not_started_can_be_closed() -> None:
    """Its start may have failed."""
    stage = Stage(2)
    stage.pool.submit(A1)
    assert stage.pool.close(0.0)
