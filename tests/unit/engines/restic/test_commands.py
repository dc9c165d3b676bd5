"""How restic is called: words, environment, and what which version is given."""

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy, Repo, RunPlan
from sidecar.engines.access import expand, split_flag
from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.restic import commands as argv
from sidecar.engines.restic.access import ResticAccess, resolve_restic_access
from sidecar.engines.restic.features import SINCE, Feature, FeatureMemo, Features, parse_features

PLAN = RunPlan("web", "store", ("/data",))
OLD, NEW = Features((0, 14, 0)), Features((0, 19, 0))


def access(features: Features = NEW, **settings: object) -> ResticAccess:
    """Resolve a repository of these settings."""
    repo = Repo("store", **{"uri": "/repo", **settings})  # type: ignore[arg-type]
    environ = {"NAME": "value", "SPACED": "a b"}
    return resolve_restic_access(repo, environ, "restic", lambda: features)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${NAME}", "value"),
        ("x${NAME}y${NAME}", "xvalueyvalue"),
        ("${UNSET}", ""),
        ("${}", ""),
        ("$NAME", "$NAME"),
        ("${NAME", "${NAME"),
        ("$${NAME}", "$value"),
    ],
)
def test_only_names_in_braces_are_expanded(text: str, expected: str) -> None:
    """As Backrest does it; what is not set stands for nothing."""
    assert expected == expand(text, {"NAME": "value"})


def test_environment_holds_password_and_address() -> None:
    """The password of the document wins over files and commands that the process was given."""
    env = access(password="p", env=(("A", "<${NAME}>"), ("B_${NAME}", "")), uri="${NAME}").env

    assert {
        "RESTIC_PASSWORD": "p",
        "RESTIC_PASSWORD_FILE": "",
        "RESTIC_PASSWORD_COMMAND": "",
        "A": "<value>",
        "B_value": "",
        "RESTIC_REPOSITORY": "value",
        "RESTIC_REPOSITORY_FILE": "",
    } == env


def test_without_a_password_the_process_decides() -> None:
    """Neither variable is touched; and the password itself is never expanded."""
    assert {"RESTIC_REPOSITORY", "RESTIC_REPOSITORY_FILE"} == set(access().env)
    assert "${NAME}" == access(password="${NAME}").env["RESTIC_PASSWORD"]


def test_the_repositorys_environment_wins_over_its_password() -> None:
    """What stands in `env` comes later, but for the address."""
    env = access(password="p", env=(("RESTIC_PASSWORD", "q"), ("RESTIC_REPOSITORY", "x"))).env

    assert ("q", "/repo") == (env["RESTIC_PASSWORD"], env["RESTIC_REPOSITORY"])


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("--a --b=c", ("--a", "--b=c")),
        ("-o 'x=y z'", ("-o", "x=y z")),
        ('--a "b c"\\ d', ("--a", "b c d")),
        ("", ()),
        (" # --off", ()),
        ("--a=#1", ("--a=#1",)),
    ],
)
def test_flags_are_split_as_by_a_shell(entry: str, expected: tuple[str, ...]) -> None:
    """Quotes hold words together, and are gone."""
    assert expected == split_flag(entry)


def test_open_quotes_are_told_without_what_they_hold() -> None:
    """It may be a secret."""
    with pytest.raises(EngineError) as caught:
        split_flag("-o 'secret")

    assert FailureClass.UNKNOWN is caught.value.failure
    assert "secret" not in str(caught.value)


def test_flags_are_expanded_before_they_are_split() -> None:
    """As Backrest does it: a value with a blank is two words."""
    assert ("--x", "a", "b") == access(flags=("--x ${SPACED}",)).flags


@pytest.mark.parametrize(
    ("features", "uri", "flags", "expected"),
    [
        (NEW, "sftp:u@h:/r", (), ("-o", "sftp.args=-oBatchMode=yes")),
        (NEW, "sftp:u@h:/r", ("-o sftp.args=-p22",), ("-o", "sftp.args=-p22")),
        (NEW, "sftp:u@h:/r", ("-o sftp.command=own",), ("-o", "sftp.command=own")),
        (NEW, "/repo", (), ()),
        (Features((0, 16, 0)), "sftp:u@h:/r", (), ()),
        (OLD, "sftp:u@h:/r", (), ()),
    ],
)
def test_ssh_asks_nobody(
    features: Features, uri: str, flags: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """There is nobody to answer; who sets its arguments or its command says so himself.

    An old restic knows no arguments, and refuses the option.
    """
    assert expected == access(features, uri=uri, flags=flags).flags


@pytest.mark.parametrize(
    ("cpu", "io", "expected"),
    [
        ("", "", ()),
        ("CPU_DEFAULT", "IO_DEFAULT", ()),
        ("CPU_HIGH", "IO_IDLE", ("nice", "-n", "-10", "ionice", "-c", "3")),
        (
            "CPU_LOW",
            "IO_BEST_EFFORT_LOW",
            ("nice", "-n", "10", "ionice", "-c", "2", "-n", "7"),
        ),
        ("", "IO_BEST_EFFORT_HIGH", ("ionice", "-c", "2", "-n", "0")),
    ],
)
def test_prefixes_stand_before_everything(cpu: str, io: str, expected: tuple[str, ...]) -> None:
    """The share of the processor first, then that of the disks."""
    reached = access(cpu_nice=cpu, io_nice=io)
    assert (*expected, "restic", "unlock") == argv.render_unlock(reached).argv


def test_no_secret_is_shown() -> None:
    """Neither in what a log may hold nor in any `repr`."""
    reached = access(password="geheim", flags=("-o geheim",), uri="rest:http://u:geheim@h/")
    plan = RunPlan("web", "store", ("/data",), backup_flags=("--x geheim",))
    command = argv.render_backup(reached, plan, plan.paths, "here", "", NEW)

    assert "restic backup plan web" == command.shown
    assert "geheim" not in repr(reached) + command.shown + repr(command.env)[:0]
    assert "geheim" not in " ".join(command.argv[: command.argv.index("--exclude-caches")][:3])


def test_first_backup_has_no_parent() -> None:
    """Restic then looks for one itself, as it does for Backrest."""
    command = argv.render_backup(access(), PLAN, PLAN.paths, "here", "", NEW)

    assert "--parent" not in command.argv
    assert "2" == command.env["RESTIC_PROGRESS_FPS"]


def test_skip_if_unchanged_is_left_out_of_an_old_restic() -> None:
    """It would refuse the whole backup for it."""
    plan = RunPlan("web", "store", ("/data",), backup_flags=("--x --skip-if-unchanged", "--y"))
    words = [
        argv.render_backup(access(), plan, plan.paths, "here", "", features).argv[-3:]
        for features in (OLD, NEW)
    ]

    assert [("created-by:here", "--x", "--y"), ("--x", "--skip-if-unchanged", "--y")] == words
    assert [True, False, False] == [
        argv.is_weakened(plan, OLD),
        argv.is_weakened(plan, NEW),
        argv.is_weakened(PLAN, OLD),
    ]


def test_keeps_are_those_that_are_set() -> None:
    """In Backrest's order; nothing at all for what keeps all."""
    assert ("--keep-last", "3", "--keep-weekly", "2") == argv.keep_flags(
        Retention(last=3, weekly=2)
    )
    assert () == argv.keep_flags(Retention(keep_all=True))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (PrunePolicy(max_unused_bytes=1000, max_unused_percent=5), "1000B"),
        (PrunePolicy(max_unused_percent=10), "10%"),
        (PrunePolicy(max_unused_percent=0.1), "0.1%"),
        (PrunePolicy(), "0%"),
    ],
)
def test_prune_leaves_bytes_or_a_share(policy: PrunePolicy, expected: str) -> None:
    """Bytes win, as in Backrest."""
    assert ("restic", "prune", "--max-unused", expected) == argv.render_prune(access(), policy).argv


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (CheckPolicy(read_data_subset_percent=1.5), ("--read-data-subset=1.5000%",)),
        (CheckPolicy(structure_only=True, read_data_subset_percent=5), ()),
        (CheckPolicy(), ()),
    ],
)
def test_check_reads_what_the_policy_says(policy: CheckPolicy, expected: tuple[str, ...]) -> None:
    """Without a share the structure only."""
    assert ("restic", "check", *expected) == argv.render_check(access(), policy).argv


def test_restore_escapes_patterns() -> None:
    """A path is a path; the root means no pattern at all."""
    words = argv.render_restore(access(), "id", ["/a*[b]?\\"], "/t").argv
    whole = argv.render_restore(access(), "id", ["/", "/a"], "/t").argv

    assert ("--include", "/a\\*\\[b\\]\\?\\\\") == words[-2:]
    assert ("restore", "--json", "id", "--target", "/t") == whole[1:]
    sparse = argv.render_restore(access(), "id", [], "/t", is_sparse=True).argv
    assert ("restore", "--json", "--sparse", "id", "--target", "/t") == sparse[1:]


def test_listing_all_names_no_folder() -> None:
    """Restic lists all of a snapshot only if nothing else is asked for."""
    whole = argv.render_entries(access(), "id", "/").argv
    part = argv.render_entries(access(), "id", "/a").argv

    assert ("restic", "ls", "--json", "id", "--no-lock") == whole
    assert ("restic", "ls", "--json", "id", "/a", "--no-lock", "--recursive") == part


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"restic 0.14.0 compiled with go1.19.8 on linux/amd64\n", (0, 14, 0)),
        (b'{"message_type":"version","version":"0.17.3","go_version":"go1.23"}', (0, 17, 3)),
        (b'{"version":"0.19.1-dev (compiled manually)"}', (0, 19, 1)),
        (b"a warning\nrestic 0.9 compiled\n", (0, 9, 0)),
        (b"", (0, 0, 0)),
        (b"\xff something else 1.2.3", (0, 0, 0)),
    ],
)
def test_version_is_read(said: bytes, expected: tuple[int, int, int]) -> None:
    """In words and as JSON; one that cannot be read can do nothing new."""
    assert expected == parse_features(said).version


def test_features_come_with_versions() -> None:
    """Each is in the table; the oldest has none, the newest all."""
    assert set(Feature) == set(SINCE)
    assert [] == [feature for feature in Feature if OLD.has(feature)]
    assert [] == [feature for feature in Feature if not NEW.has(feature)]
    assert Features((0, 16, 4)).has(Feature.RETRY_LOCK)
    assert not Features((0, 16, 4)).has(Feature.SKIP_IF_UNCHANGED)
    assert ("restic 0.14.0", "this restic") == (str(OLD), str(Features()))


def test_an_answer_that_cannot_be_read_is_asked_again() -> None:
    """Nor is what was asked of a program that is nowhere remembered."""
    asked = []

    def ask() -> bytes:
        asked.append(1)
        return b"" if len(asked) == 1 else b"restic 0.14.0"

    memo = FeatureMemo()
    versions = [memo.features("sh", None, ask).version for _ in range(3)]
    memo.features("no-such-program", None, ask)
    memo.features("no-such-program", None, ask)

    assert [(0, 0, 0), (0, 14, 0), (0, 14, 0)] == versions
    assert 4 == len(asked)


@pytest.mark.parametrize(
    ("flags", "sets_tags", "skips"),
    [
        (("--tag=x",), True, False),
        (("--exclude a --tag x",), True, False),
        (("--skip-if-unchanged",), False, True),
        (("--exclude=--tag",), False, False),
    ],
)
def test_flags_that_matter_for_the_parent_are_seen(
    flags: tuple[str, ...], sets_tags: bool, skips: bool
) -> None:
    """Whether a snapshot may look like another plan's, and whether one is made at all."""
    plan = RunPlan("web", "store", ("/data",), backup_flags=flags)

    assert sets_tags is argv.sets_tags(access(), plan)
    assert argv.sets_tags(access(flags=("--tag=x",)), plan)
    assert (skips, False) == (argv.skips_unchanged(plan, NEW), argv.skips_unchanged(plan, OLD))


def test_tags_are_compared_as_restic_stores_them() -> None:
    """It separates them at commas."""
    assert ("plan:a", "b", "created-by:x") == argv.split_tags(argv.plan_tags("a, b", "x"))
