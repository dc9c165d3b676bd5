"""Names in place of plan ids: what each means, what comes near, how plans are shown."""

import pytest

from sidecar.backrest.names import NamedPlan, Names
from sidecar.backrest.workloads import MountRecord, ProblemRecord, WorkloadRecord
from sidecar.lib.errors import UsageError

DB = WorkloadRecord("media/db", "db", "media", containers=("postgres",), plan="auto_media_db")
WEB = WorkloadRecord(
    "media/web", "web", "media", containers=("media-web-1",), plan="auto_media_web"
)
SHOP = WorkloadRecord("shop/web", "web", "shop", containers=("shop-web-1",), plan="auto_shop_web")
APP = WorkloadRecord(
    "shop/app", "app", "shop", "app", ("shop/php", "php"), ("shop-php-1",), "auto_shop_app"
)
PLAIN = WorkloadRecord("nas", "nas", containers=("nas",), plan="auto_nas")
REDIS = WorkloadRecord(
    "media/redis", "redis", "media", mounts=(MountRecord("/data", why="not labelled"),)
)
ALL = (DB, WEB, SHOP, APP, PLAIN, REDIS)
PLANS = ("auto_media_db", "auto_media_web", "auto_shop_web", "auto_shop_app", "auto_nas", "by-hand")
NAMES = Names(ALL, PLANS)


def refusal(names: Names, name: str) -> tuple[str, str]:
    """Return the message and the hint for a name that means nothing, or too much."""
    with pytest.raises(UsageError) as caught:
        names.find(name)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("auto_media_db", NamedPlan("auto_media_db", DB)),
        ("media/db", NamedPlan("auto_media_db", DB)),
        ("db", NamedPlan("auto_media_db", DB)),
        ("postgres", NamedPlan("auto_media_db", DB)),
        ("media/web", NamedPlan("auto_media_web", WEB)),
        ("shop-web-1", NamedPlan("auto_shop_web", SHOP)),
        ("app", NamedPlan("auto_shop_app", APP)),
        ("shop/php", NamedPlan("auto_shop_app", APP)),
        ("php", NamedPlan("auto_shop_app", APP)),
        ("nas", NamedPlan("auto_nas", PLAIN)),
        ("by-hand", NamedPlan("by-hand")),
    ],
)
def test_a_name_means_a_plan(name: str, found: NamedPlan) -> None:
    """A plan id, a whole name, a service, a container, a group or a member of it."""
    assert found == NAMES.find(name)


def test_a_project_means_all_of_its_services_that_have_a_plan() -> None:
    """Any other name means one plan; a project without any is told."""
    found = [[one.plan for one in NAMES.find_all(name)] for name in ("media/", "db", "shop/")]
    with pytest.raises(UsageError) as caught:
        NAMES.find_all("medai/")

    assert [
        ["auto_media_db", "auto_media_web"],
        ["auto_media_db"],
        ["auto_shop_app", "auto_shop_web"],
    ] == found
    assert ("there is no project 'medai' with a plan", "did you mean media/?") == (
        caught.value.message,
        caught.value.hint,
    )


def test_a_plan_id_goes_before_a_name() -> None:
    """Scripts that say ids never come to mean another plan."""
    names = Names(ALL, (*PLANS, "media/db", "db"))

    assert (NamedPlan("media/db"), NamedPlan("db")) == (names.find("media/db"), names.find("db"))


def test_a_container_without_a_project_takes_no_name_from_a_service() -> None:
    """Whoever may start one would else have the data of his own restored in its place."""
    db = WorkloadRecord("db", "db", containers=("db",), plan="auto_db")
    names = Names((*ALL, db), (*PLANS, "auto_db"))

    assert "'db' may mean auto_db or media/db" == refusal(names, "db")[0]
    assert (NamedPlan("auto_media_db", DB), "auto_db") == (
        names.find("media/db"),
        names.shown["auto_db"],
    )


def test_a_name_that_means_several_is_refused_with_their_whole_names() -> None:
    """Also where one of them is in no plan: it may be the one that is meant."""
    redis = WorkloadRecord("shop/redis", "redis", "shop", plan="auto_shop_redis")
    names = Names((*ALL, redis), (*PLANS, "auto_shop_redis"))

    assert ("'web' may mean media/web or shop/web", "write one of them") == refusal(NAMES, "web")
    assert "'redis' may mean media/redis or shop/redis" == refusal(names, "redis")[0]


def test_whole_names_that_are_alike_are_told_apart_by_plan_ids() -> None:
    """A service and a group of one project may be called the same."""
    twin = WorkloadRecord("media/db", "db", "media", "db", plan="auto_media_db_1")
    names = Names((DB, twin), ("auto_media_db", "auto_media_db_1"))

    assert "'media/db' may mean auto_media_db or auto_media_db_1" == refusal(names, "media/db")[0]
    assert {"auto_media_db": "auto_media_db", "auto_media_db_1": "auto_media_db_1"} == names.shown


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("media/bd", "did you mean media/db or media/web or media/redis?"),
        ("media-db", "did you mean media/db?"),
        ("Media_DB", "did you mean media/db?"),
        ("postgers", "did you mean postgres?"),
        ("hand", "did you mean by-hand?"),
        ("auto_shop", "did you mean auto_shop_web or auto_shop_app or auto_nas?"),
        ("x", "there are: by-hand, media/db, media/web, nas, shop/app, shop/web"),
    ],
)
def test_what_comes_near_is_named(name: str, hint: str) -> None:
    """Else all that there is."""
    assert (f"there is no plan or service {name!r}", hint) == refusal(NAMES, name)


def test_of_many_names_some_are_told() -> None:
    """A screen is enough."""
    names = Names((), [f"p{number:02}" for number in range(12)])

    assert (
        "there are: p00, p01, p02, p03, p04, p05, p06, p07, p08, p09 and 2 more"
        == refusal(names, "?")[1]
    )


def test_without_a_plan_there_is_nothing_to_name() -> None:
    """Nor to mean."""
    assert "the document has no plan" == refusal(Names((), ()), "x")[1]


@pytest.mark.parametrize(
    ("workload", "hint"),
    [
        (REDIS, "/data: not labelled"),
        (
            WorkloadRecord(
                "media/redis",
                "redis",
                mounts=(MountRecord("/data"),),
                problems=(
                    ProblemRecord("path.link", "warning", "a link"),
                    ProblemRecord("paths.empty", "error", "no path is left"),
                ),
            ),
            "no path is left",
        ),
        (WorkloadRecord("media/redis", "redis", plan="gone"), "`backrest-sidecar lint` tells why"),
    ],
)
def test_a_workload_in_no_plan_is_told_with_why(workload: WorkloadRecord, hint: str) -> None:
    """Also where its plan does not stand any more."""
    assert ("media/redis is in no plan", hint) == refusal(Names((workload,), PLANS), "redis")


def test_a_workload_that_is_gone_keeps_its_name() -> None:
    """Its data is restored by it, unless another has the name by now."""
    gone = WorkloadRecord("media/db", "db", "media", plan="old", is_gone=True)
    alone, beside = Names((gone,), ("old",)), Names((gone, DB), ("old", "auto_media_db"))

    assert NamedPlan("old", gone) == alone.find("media/db")
    assert NamedPlan("auto_media_db", DB) == beside.find("media/db") == beside.find("db")
    assert {"auto_media_db": "media/db", "old": "old"} == beside.shown


def test_further_ids_count_as_those_of_plans() -> None:
    """Such as those of repositories."""
    assert NamedPlan("store") == NAMES.with_ids(["store"]).find("store")


def test_plans_are_shown_by_names_that_mean_them() -> None:
    """By ids where there is no name, or a plan by hand is called so."""
    shown = {
        "by-hand": "by-hand",
        "auto_media_db": "media/db",
        "auto_media_web": "media/web",
        "auto_nas": "nas",
        "auto_shop_app": "shop/app",
        "auto_shop_web": "shop/web",
    }

    assert list(shown.items()) == list(NAMES.shown.items())
    assert "auto_nas" == Names(ALL, (*PLANS, "nas")).shown["auto_nas"]


@pytest.mark.parametrize(
    ("start", "names"),
    [
        ("", ["by-hand", "media/db", "media/web", "nas", "shop/app", "shop/web"]),
        ("me", ["media/db", "media/web"]),
        ("p", ["php", "postgres"]),
        ("w", []),
        ("r", []),
        ("auto_m", ["auto_media_db", "auto_media_web"]),
    ],
)
def test_what_was_typed_is_completed(start: str, names: list[str]) -> None:
    """By what is shown; else by parts that mean one plan, else by ids."""
    assert names == NAMES.complete(start)
