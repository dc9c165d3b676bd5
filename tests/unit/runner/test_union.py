"""The two documents as one: what is executed, what waits, what is refused, and what is told."""

import pytest

from sidecar.backrest.engine_name import EngineName
from sidecar.backrest.reading import Config, Repo, RunPlan
from sidecar.lib.errors import UsageError
from sidecar.runner.due import Job, JobKind
from sidecar.runner.union import DocumentChoice, DocumentName, Documents, NoticeReason, unite

NAS = Repo("nas", "/backups")
DISK = Repo("disk", "rsync:/disk")
BACKREST = Config("here", (NAS,), (RunPlan("web", "nas"),))
OURS = Config("here", (DISK,), (RunPlan("mail", "disk"),))
BOTH = frozenset({EngineName.RESTIC, EngineName.RSYNC})


def united(
    config: Config | None,
    runner: Config | None,
    choice: DocumentChoice = DocumentChoice.ALL,
    engines: frozenset[EngineName] = BOTH,
) -> Documents:
    """Put two documents together, for a runner that has these engines."""
    return unite(config, runner, choice, lambda repo: repo.uri, engines)


def told(documents: Documents) -> list[tuple[NoticeReason, str]]:
    """Return what is told, and of what."""
    return [(notice.reason, notice.about) for notice in documents.notices]


def backup(plan: str, repo: str) -> Job:
    """Return the backup of a plan."""
    return Job(JobKind.BACKUP, plan, repo)


def test_everything_of_both_is_executed() -> None:
    """Each plan is known by the document that it stands in."""
    found = united(BACKREST, OURS)
    assert (NAS, DISK) == found.executed.repos
    assert ["web", "mail"] == [plan.id for plan in found.executed.plans]
    names = [found.name_of_plan(plan) for plan in ("web", "mail")]
    assert [DocumentName.CONFIG, DocumentName.RUNNER] == names
    assert [] == told(found)


@pytest.mark.parametrize(("config", "runner"), [(BACKREST, None), (None, OURS)])
def test_either_may_be_absent(config: Config | None, runner: Config | None) -> None:
    """The other is executed as it is, under its own name of the instance."""
    assert (config or runner) == united(config, runner).executed


def test_the_instance_is_that_of_backrests_document() -> None:
    """By it the snapshots of both are found."""
    assert "there" == united(Config("there"), OURS).config.instance


def test_a_companion_executes_the_runners_document_alone() -> None:
    """What Backrest executes can be named, for a restore, and is refused by name for a backup."""
    found = united(BACKREST, OURS, DocumentChoice.RUNNER)
    assert OURS == found.executed
    assert (NAS, DISK) == found.config.repos
    assert "--documents runner" in found.refusal(backup("web", "nas"))
    for kind in (JobKind.FORGET, JobKind.PRUNE, JobKind.CHECK):
        assert "Backrest executes" in found.refusal(Job(kind, "nas", "nas"))
        assert "" == found.refusal(Job(kind, "disk", "disk"))
    assert "" == found.refusal(backup("mail", "disk"))


@pytest.mark.parametrize("choice", DocumentChoice)
def test_a_plan_in_both_is_executed_by_backrests_document_and_waits_in_ours(
    choice: DocumentChoice,
) -> None:
    """So it runs once, to the old place, until it is gone from there."""
    found = united(BACKREST, Config("here", (DISK,), (RunPlan("web", "disk"),)), choice)
    assert [(NoticeReason.MOVING, "web")] == told(found)
    assert "nas" == getattr(found.config.plan("web"), "repo", "")
    assert (RunPlan("web", "disk"),) == found.moving
    is_ours = choice is DocumentChoice.ALL
    assert is_ours is (found.executed.plan("web") is not None)
    assert is_ours is (found.refusal(backup("web", "nas")) == "")
    assert DocumentName.CONFIG is found.name_of_plan("web")


def test_a_repository_in_both_is_that_of_backrests_document() -> None:
    """What goes to the other is not run: it would go to a place that nobody meant."""
    twice = Config("here", (Repo("nas", "rsync:/nas"), DISK), OURS.plans)
    found = united(BACKREST, Config("here", twice.repos, (RunPlan("db", "nas"), *OURS.plans)))
    assert [(NoticeReason.TWICE, "nas")] == told(found)
    assert "1 plan" in found.notices[0].message
    assert (NAS, DISK) == found.executed.repos
    assert ["web", "mail"] == [plan.id for plan in found.executed.plans]
    assert "run" not in united(BACKREST, Config("", (NAS,))).notices[0].message.split("used")[1]


def test_a_repository_of_backrests_document_that_is_not_for_restic_is_refused_by_name() -> None:
    """Backrest would run restic for it; the others go on."""
    wrong = Config("here", (NAS, DISK), (*BACKREST.plans, *OURS.plans))
    found = united(wrong, None)
    assert [(NoticeReason.NOT_RESTIC, "disk")] == told(found)
    assert "repo.not-restic" in found.refusal(backup("mail", "disk"))
    assert "move it to runner.json" in found.refusal(Job(JobKind.CHECK, "disk", "disk"))
    assert "" == found.refusal(backup("web", "nas"))
    assert (NAS,) == found.usable_repos


def test_an_engine_that_the_runner_does_not_have_is_told() -> None:
    """Nothing of such a repository is run."""
    found = united(BACKREST, OURS, engines=frozenset({EngineName.RESTIC}))
    assert [(NoticeReason.NO_ENGINE, "disk")] == told(found)
    assert "is for rsync" in found.refusal(backup("mail", "disk"))
    assert "it has restic" in str(found.notices[0])


def test_a_scheme_that_is_none_is_told_with_what_to_write() -> None:
    """In both documents; nothing of such a repository is given to restic."""
    runner = Config("here", (Repo("far", "rsync+ssh://me@host/x"),))
    found = united(Config("here", (Repo("near", "RSYNC:/x"),)), runner)

    assert [(NoticeReason.NOT_RESTIC, "near"), (NoticeReason.NO_ENGINE, "far")] == told(found)
    assert "`rsync:`, in runner.json" in found.notices[0].hint
    assert "rsync:USER@HOST:/PATH" in found.notices[1].hint
    assert {"near", "far"} == found.refused.keys()


def test_a_repository_is_found_by_its_name_unless_it_is_refused() -> None:
    """Whatever is wrong is told."""
    found = united(BACKREST, OURS, engines=frozenset({EngineName.RESTIC}))
    assert NAS is found.find_repo("nas")
    with pytest.raises(UsageError, match=r"repo\.no-engine"):
        found.find_repo("disk")
    with pytest.raises(UsageError) as unknown:
        found.find_repo("x")
    assert "there are: disk, nas" == unknown.value.hint


def test_a_job_that_has_waited_sees_the_plan_as_it_was() -> None:
    """One that has moved is due anew where it is now, but not where Backrest executes it."""
    moving = Config("here", (DISK,), (RunPlan("web", "disk"),))
    there, here = backup("web", "nas"), backup("web", "disk")
    both = united(BACKREST, moving)
    assert both.config is both.config_of(there)
    assert both.config_of(here) is None
    beside = united(BACKREST, moving, DocumentChoice.RUNNER)
    seen = beside.config_of(here)
    assert seen is not None
    assert "disk" == getattr(seen.plan("web"), "repo", "")
    assert "" == beside.refusal(here)
    assert "Backrest executes" in beside.refusal(there)
    assert beside.config is beside.config_of(Job(JobKind.CHECK, "disk", "disk"))
