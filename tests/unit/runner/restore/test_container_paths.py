"""Paths of containers, of the host and of plans, and where data lies in a container."""

import pytest

from sidecar.backrest.reading import RunPlan
from sidecar.backrest.workloads import MountRecord, WorkloadRecord
from sidecar.lib.errors import UsageError
from sidecar.runner.restore.container_paths import find_saved_path, paths_inside

PLAN = RunPlan("web", "store", ("/userdata/www/_data", "/userdata/etc"))
WEB = WorkloadRecord(
    "shop/web",
    "web",
    "shop",
    mounts=(
        MountRecord("/srv/www", host="/v/www/_data", seen="/userdata/www/_data", plan="web"),
        MountRecord("/etc/web", host="/srv/etc/web", seen="/userdata/etc/web", plan="web"),
        MountRecord("/srv/www/cache", host="/v/cache", seen="/userdata/cache", why="left out"),
        MountRecord("/run/web", host="/run/web", why="not seen by the runner"),
    ),
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/www", "/userdata/www/_data"),
        ("/srv/www/", "/userdata/www/_data"),
        ("//srv/./www/a/../page", "/userdata/www/_data/page"),
        ("/etc/web/x", "/userdata/etc/web/x"),
        ("/v/www/_data/page", "/userdata/www/_data/page"),
        ("/userdata/www/_data/page", "/userdata/www/_data/page"),
        ("/userdata/etc/other", "/userdata/etc/other"),
    ],
)
def test_a_path_of_the_container_leads_to_that_of_the_plan(path: str, expected: str) -> None:
    """So does one of the host, and one of the plan."""
    assert expected == find_saved_path(path, PLAN, WEB)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/srv/www/cache/x", "/srv/www/cache/x of shop/web is not saved: left out"),
        ("/run/web", "/run/web of shop/web is not saved: not seen by the runner"),
        ("/srv/w", "/srv/w is in no mount of shop/web (did you mean /srv/www?"),
        ("/srv/wwww/page", "did you mean /srv/www/page? saved are: /srv/www, /etc/web"),
        ("/", "/ is in no mount of shop/web (saved are: /srv/www, /etc/web)"),
        ("page", "'page' is no absolute path"),
    ],
)
def test_what_is_not_saved_is_told_with_what_is(path: str, said: str) -> None:
    """And with what was probably meant."""
    with pytest.raises(UsageError) as caught:
        find_saved_path(path, PLAN, WEB)
    assert said in str(caught.value)


def test_without_a_record_only_paths_of_the_plan_are_known() -> None:
    """And that is said."""
    assert "/userdata/etc/x" == find_saved_path("/userdata/etc/x", PLAN, None)
    with pytest.raises(UsageError, match=r"none of the paths of web .*workloads.json"):
        find_saved_path("/srv/www", PLAN, None)


def test_a_record_cannot_lead_out_of_the_plan() -> None:
    """Whoever writes the file decides about names only."""
    forged = WorkloadRecord("a", "a", mounts=(MountRecord("/data", seen="/etc", plan="web"),))

    with pytest.raises(UsageError, match="is not saved"):
        find_saved_path("/data/shadow", PLAN, forged)
    assert (("/", "/"),) == paths_inside(PLAN, forged)


def test_where_data_lies_in_the_container() -> None:
    """Only what the plan holds; mounted twice, by the first of its names."""
    twice = WorkloadRecord(
        "a", "a", mounts=(*WEB.mounts, WEB.mounts[0].__class__("/x", seen="/userdata/www/_data"))
    )

    expected = {"/": "/", "/userdata/etc/web": "/etc/web", "/userdata/www/_data": "/srv/www"}
    assert expected == dict(paths_inside(PLAN, WEB)) == dict(paths_inside(PLAN, twice))
    assert {"/": "/"} == dict(paths_inside(PLAN, None))
