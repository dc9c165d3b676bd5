"""Real containers on a real engine, through the command line: what plans come out."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound
from docker.types import Mount

from sample_stack import compose_labels, import_image
from sidecar_command import ENABLED, InVolume, Sidecar, paths_of, reasons, service
from world import World


@pytest.fixture
def open_socket(tmp_path: Path) -> Iterator[Path]:
    """Return a unix socket that something listens on."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path := tmp_path / "api.sock"))
        yield path


def test_a_labelled_service_becomes_a_whole_plan(
    world: World, sidecar: Sidecar, in_volume: InVolume
) -> None:
    """The plan has exactly what labels and defaults say, and nothing else."""
    world.volume("shop_db")
    world.container(
        "shop-db-1",
        service("db", schedule="T 3 * * *", keep="last=2,weekly=5", snapshot_start="echo $SELF"),
        ["shop_db:/var/lib/db"],
    )

    answer = sidecar.preview()

    assert [
        {
            "id": "backrest_sidecar_shop_db",
            "repo": "main",
            "paths": [in_volume("shop_db")],
            "schedule": {
                "cron": f"{minute_of('backrest_sidecar_shop_db')} 3 * * *",
                "clock": "CLOCK_LOCAL",
            },
            "retention": {"policyTimeBucketed": {"weekly": 5, "keepLastN": 2}},
            "hooks": [
                {
                    "conditions": ["CONDITION_SNAPSHOT_START"],
                    "onError": "ON_ERROR_FATAL",
                    "actionCommand": {"command": "echo shop-db-1"},
                }
            ],
        }
    ] == answer["plans"]
    assert (True, ["backrest_sidecar_shop_db"], []) == (
        answer["changed"],
        answer["added"],
        answer["problems"],
    )


def minute_of(plan: str) -> int:
    """Return FNV-1a-32 of the plan's id modulo 60, counted here anew."""
    value = 0x811C9DC5
    for byte in plan.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value % 60


def test_a_container_without_the_label_gets_no_plan(world: World, sidecar: Sidecar) -> None:
    """Only `backrest.enable` opts in."""
    world.volume("shop_cache")
    world.container("shop-cache-1", compose_labels("shop", "cache"), ["shop_cache:/cache"])
    world.container("shop-off-1", service("off", enable="false"), ["shop_cache:/cache"])

    answer = sidecar.preview()

    assert ([], [], False) == (answer["plans"], answer["problems"], answer["changed"])


def test_nested_mounts_are_all_in_the_default_paths(
    world: World, sidecar: Sidecar, in_volume: InVolume, tmp_path: Path
) -> None:
    """A volume within a volume and a bind lie elsewhere on the host, so each has its path."""
    bind = tmp_path / "settings"
    bind.mkdir()
    world.volume("shop_outer")
    world.volume("shop_inner")
    world.container(
        "shop-app-1",
        service("app"),
        ["shop_outer:/data", "shop_inner:/data/deep/inner", f"{bind}:/data/settings"],
    )

    answer = sidecar.preview()

    assert sorted([in_volume("shop_outer"), in_volume("shop_inner"), str(bind)]) == paths_of(
        answer, "backrest_sidecar_shop_app"
    )


def test_an_included_path_takes_the_longest_mount_and_brings_what_lies_below(
    world: World, sidecar: Sidecar, in_volume: InVolume, tmp_path: Path
) -> None:
    """`/data/deep` is a folder of the outer volume, and the inner volume lies below it."""
    bind = tmp_path / "settings"
    bind.mkdir()
    world.volume("shop_outer")
    world.volume("shop_inner")
    world.container(
        "shop-app-1",
        service("app", paths__include="/data/deep", paths__exclude="/data/deep/inner/tmp,*.log"),
        ["shop_outer:/data", "shop_inner:/data/deep/inner", f"{bind}:/settings"],
    )

    [plan] = sidecar.preview()["plans"]

    assert sorted([in_volume("shop_outer") + "/deep", in_volume("shop_inner")]) == plan["paths"]
    assert [in_volume("shop_inner") + "/tmp", "*.log"] == plan["excludes"]


def test_a_bind_inside_another_is_dropped(world: World, sidecar: Sidecar, tmp_path: Path) -> None:
    """Both mounts are one tree on the host, which is read once."""
    (tmp_path / "tree" / "branch").mkdir(parents=True)
    world.container(
        "shop-app-1", service("app"), [f"{tmp_path}/tree:/a", f"{tmp_path}/tree/branch:/b"]
    )

    assert [f"{tmp_path}/tree"] == paths_of(sidecar.preview(), "backrest_sidecar_shop_app")


def test_mounts_that_hold_no_data_are_left_out(
    world: World, sidecar: Sidecar, in_volume: InVolume, open_socket: Path
) -> None:
    """A tmpfs, a socket, the host's root and its time zone are nothing to back up."""
    world.volume("shop_data")
    world.container(
        "shop-app-1",
        service("app"),
        [
            "shop_data:/data",
            f"{open_socket}:/run/api.sock",
            "/:/host:ro",
            "/etc/hosts:/etc/other-hosts:ro",
            "/proc:/host-proc:ro",
        ],
        mounts=[Mount("/scratch", None, type="tmpfs")],
        tmpfs={"/more-scratch": "size=1m"},
    )

    answer = sidecar.preview()

    assert [in_volume("shop_data")] == paths_of(answer, "backrest_sidecar_shop_app")
    assert [] == answer["problems"]


def test_a_container_with_nothing_but_a_tmpfs_is_an_error(world: World, sidecar: Sidecar) -> None:
    """A plan without a path would be refused by Backrest, so there is none."""
    world.container("shop-app-1", service("app"), mounts=[Mount("/scratch", None, type="tmpfs")])

    answer = sidecar.preview(code=3)

    assert [("paths.empty", "error")] == reasons(answer)
    assert [] == answer["plans"]


def test_a_volume_that_binds_a_device_is_backed_up_from_there(
    world: World, sidecar: Sidecar, tmp_path: Path
) -> None:
    """The engine's folder of such a volume is empty while nothing runs."""
    (tmp_path / "disk").mkdir()
    world.volume("shop_disk", type="none", o="bind", device=str(tmp_path / "disk"))
    world.container("shop-app-1", service("app", paths__include="/data/part"), ["shop_disk:/data"])

    answer = sidecar.preview()

    assert [f"{tmp_path}/disk/part"] == paths_of(answer, "backrest_sidecar_shop_app")


def test_a_network_volume_is_left_out_with_a_warning(
    world: World, sidecar: Sidecar, in_volume: InVolume
) -> None:
    """Its folder is empty while nothing runs: backing that up would be a lie."""
    world.volume("shop_nfs", type="nfs", o="addr=127.0.0.1,rw", device=":/export")
    world.volume("shop_data")
    world.container("shop-app-1", service("app"), ["shop_nfs:/share:nocopy", "shop_data:/data"])

    answer = sidecar.preview()

    assert [in_volume("shop_data")] == paths_of(answer, "backrest_sidecar_shop_app")
    assert [("mount.unsupported", "warning")] == reasons(answer)
    assert "host:/" in answer["problems"][0]["hint"]


def test_a_network_volume_that_a_label_names_is_less_than_was_asked(
    world: World, sidecar: Sidecar, in_volume: InVolume
) -> None:
    """Asked for by name it is not only a warning, and the exit code says so."""
    world.volume("shop_nfs", type="nfs", o="addr=127.0.0.1,rw", device=":/export")
    world.volume("shop_data")
    world.container(
        "shop-app-1",
        service("app", paths__include="/share,/data"),
        ["shop_nfs:/share:nocopy", "shop_data:/data"],
    )

    answer = sidecar.preview(code=3)

    assert [in_volume("shop_data")] == paths_of(answer, "backrest_sidecar_shop_app")
    assert [("mount.unsupported", "degraded")] == reasons(answer)


def test_volumes_are_found_by_name_and_host_paths_taken_as_they_are(
    world: World, sidecar: Sidecar, in_volume: InVolume
) -> None:
    """`volume:NAME/sub` and `host:/path` need no container path."""
    world.volume("shop_data")
    world.container(
        "shop-app-1",
        service("app", paths__include="volume:shop_data/sub, host:/mnt/share"),
        ["shop_data:/data"],
    )

    answer = sidecar.preview()

    assert sorted([in_volume("shop_data") + "/sub", "/mnt/share"]) == paths_of(
        answer, "backrest_sidecar_shop_app"
    )


def test_an_anonymous_volume_is_backed_up_with_a_warning(
    world: World, sidecar: Sidecar, in_volume: InVolume
) -> None:
    """It is gone with its container, which its owner should know."""
    name = world.volume()
    world.container("shop-app-1", service("app"), [f"{name}:/data"])

    answer = sidecar.preview()

    assert [in_volume(name)] == paths_of(answer, "backrest_sidecar_shop_app")
    assert [("volume.anonymous", "warning")] == reasons(answer)


def test_the_runner_sees_paths_through_its_maps(
    world: World, sidecar: Sidecar, tmp_path: Path
) -> None:
    """Volumes by --volume-prefix, everything else by the longest --path-map."""
    (tmp_path / "media" / "films").mkdir(parents=True)
    world.volume("shop_data")
    world.container(
        "shop-app-1", service("app"), ["shop_data:/data", f"{tmp_path}/media/films:/films"]
    )

    answer = sidecar.preview(
        "--volume-prefix", "/volumes", "--path-map", f"{tmp_path}/media=/userdata"
    )

    assert ["/userdata/films", "/volumes/shop_data/_data"] == paths_of(
        answer, "backrest_sidecar_shop_app"
    )


def test_replicas_are_one_plan_with_the_paths_of_all(
    world: World, sidecar: Sidecar, in_volume: InVolume
) -> None:
    """Three containers of one service, each with a volume of its own."""
    for number in (1, 2, 3):
        world.volume(f"shop_data{number}")
        world.container(f"shop-app-{number}", service("app", number), [f"shop_data{number}:/data"])

    answer = sidecar.preview()

    assert ["backrest_sidecar_shop_app"] == answer["added"]
    assert [in_volume(f"shop_data{number}") for number in (1, 2, 3)] == paths_of(
        answer, "backrest_sidecar_shop_app"
    )


def test_a_group_is_one_plan_across_services(
    world: World, sidecar: Sidecar, in_volume: InVolume
) -> None:
    """What only one member says holds for the group."""
    world.volume("shop_web")
    world.volume("shop_db")
    world.container(
        "shop-web-1", service("web", group="all", schedule="5 1 * * *"), ["shop_web:/srv"]
    )
    world.container("shop-db-1", service("db", group="all", keep="daily=3"), ["shop_db:/db"])

    [plan] = sidecar.preview()["plans"]

    assert "backrest_sidecar_shop_all" == plan["id"]
    assert [in_volume("shop_db"), in_volume("shop_web")] == plan["paths"]
    assert {"cron": "5 1 * * *", "clock": "CLOCK_LOCAL"} == plan["schedule"]
    assert {"policyTimeBucketed": {"daily": 3}} == plan["retention"]


def test_members_that_contradict_each_other_make_no_plan(world: World, sidecar: Sidecar) -> None:
    """Which schedule is meant cannot be guessed."""
    world.volume("shop_data")
    for name, cron in (("web", "5 1 * * *"), ("db", "6 1 * * *")):
        world.container(
            f"shop-{name}-1", service(name, group="all", schedule=cron), [f"shop_data:/{name}"]
        )

    answer = sidecar.preview(code=3)

    assert ([], [("group.conflict", "error")]) == (answer["plans"], reasons(answer))


def test_swarm_tasks_and_lone_containers_have_their_own_names(
    world: World, sidecar: Sidecar
) -> None:
    """Without Compose the Swarm service names the plan, else the container does."""
    world.volume("data")
    swarm = {
        "com.docker.swarm.service.name": "stack_api",
        "com.docker.swarm.service.id": "s1",
        "com.docker.swarm.task.id": "t1",
    }
    world.container("stack_api.1.t1", ENABLED | swarm, ["data:/data"])
    world.container("My-Own.box", ENABLED, ["data:/data"])

    answer = sidecar.preview()

    assert ["backrest_sidecar_my_own_box", "backrest_sidecar_stack_api"] == sorted(answer["added"])
    assert {("path.shared", "warning")} == set(reasons(answer))


def test_a_one_off_container_is_ignored(world: World, sidecar: Sidecar) -> None:
    """`docker-compose run` makes nothing that lasts."""
    world.volume("shop_data")
    once = {"com.docker.compose.oneoff": "True"}
    world.container("shop-app-run-1", service("app") | once, ["shop_data:/data"])

    assert [] == sidecar.preview()["plans"]


def test_a_recreation_in_progress_does_not_change_the_plan(
    world: World, sidecar: Sidecar, docker_client: docker.APIClient
) -> None:
    """While Compose replaces a container, the new one has a prefix before its name."""
    world.volume("shop_data")
    labels = service("app", hooks__template="simple-stop-start")
    old = world.container("shop-app-1", labels, ["shop_data:/data"])
    sidecar.reconcile()
    docker_client.rename(old, f"{old[:12]}_shop-app-1")

    answer = sidecar.preview("--detailed-exitcode")

    assert ["backrest_sidecar_shop_app"] == answer["unchanged"]


def test_a_renamed_service_container_keeps_its_plan(
    world: World, sidecar: Sidecar, docker_client: docker.APIClient
) -> None:
    """Project and service name the plan, not the container."""
    world.volume("shop_data")
    container = world.container("shop-app-1", service("app"), ["shop_data:/data"])
    sidecar.reconcile()
    docker_client.rename(container, "something-else")

    assert ["backrest_sidecar_shop_app"] == sidecar.preview("--detailed-exitcode")["unchanged"]


def test_a_renamed_lone_container_gets_a_new_plan_and_a_warning(
    world: World, sidecar: Sidecar, docker_client: docker.APIClient
) -> None:
    """Its name is all that it has; the warning names the plan that holds the history."""
    world.volume("data")
    container = world.container("first", ENABLED, ["data:/data"])
    sidecar.reconcile()
    docker_client.rename(container, "second")

    answer = sidecar.preview()

    assert ["backrest_sidecar_second"] == answer["added"]
    assert ["backrest_sidecar_first"] == answer["orphaned"]
    assert ("plan.renamed", "warning") in reasons(answer)


@pytest.mark.parametrize("template", ["none", "simple-stop-start", "stop-start", "pause-unpause"])
def test_a_container_that_runs_stops_or_pauses_keeps_its_plan(
    world: World, sidecar: Sidecar, docker_client: docker.APIClient, template: str
) -> None:
    """Our own hooks stop containers: that must never give a difference."""
    world.volume("shop_data")
    labels = service("app", hooks__template=template)
    container = world.container("shop-app-1", labels, ["shop_data:/data"], running=True)
    sidecar.reconcile()

    docker_client.pause(container)
    assert not sidecar.preview("--detailed-exitcode")["changed"]
    docker_client.unpause(container)
    docker_client.kill(container)
    docker_client.wait(container)
    assert not sidecar.preview("--detailed-exitcode")["changed"]


def test_a_replaced_container_keeps_its_plan(world: World, sidecar: Sidecar) -> None:
    """A new container of the same service has another id, and the plan knows none."""
    world.volume("shop_data")
    labels = service("app", hooks__template="stop-start")
    world.container("shop-app-1", labels, ["shop_data:/data"])
    sidecar.reconcile()
    world.clear()
    world.volume("shop_data")
    world.container("shop-app-1", labels, ["shop_data:/data"])

    assert not sidecar.preview("--detailed-exitcode")["changed"]


def test_labels_of_an_image_give_no_hooks(world: World, sidecar: Sidecar) -> None:
    """Whoever made the image does not decide what runs on this host."""
    world.volume("shop_data")
    world.image("hooked", {"backrest.snapshot-start": "echo pwned", "backrest.keep": "daily=9"})
    world.container("shop-app-1", service("app"), ["shop_data:/data"], image="hooked")

    answer = sidecar.preview()

    [plan] = answer["plans"]
    assert "hooks" not in plan
    assert {"policyTimeBucketed": {"daily": 7, "weekly": 4}} == plan["retention"]
    assert [("label.from-image", "warning")] * 2 == reasons(answer)


def test_labels_of_a_trusted_image_count(world: World, sidecar: Sidecar) -> None:
    """The operator may say that the images are one's own."""
    world.volume("shop_data")
    world.image("hooked", {"backrest.snapshot-start": "echo fine"})
    world.container("shop-app-1", service("app"), ["shop_data:/data"], image="hooked")

    answer = sidecar.preview("--trust-image-labels")

    [plan] = answer["plans"]
    assert ["echo fine"] == [hook["actionCommand"]["command"] for hook in plan["hooks"]]
    assert [] == answer["problems"]


def test_an_image_cannot_opt_itself_in(world: World, sidecar: Sidecar) -> None:
    """`backrest.enable` in an image alone makes no plan."""
    world.volume("shop_data")
    world.image("eager", ENABLED)
    world.container("shop-app-1", compose_labels("shop", "app"), ["shop_data:/data"], image="eager")

    answer = sidecar.preview()

    assert ([], [("label.from-image", "warning")]) == (answer["plans"], reasons(answer))


def remove_image_of(client: docker.APIClient, container: str) -> None:
    """Remove the image of a stopped container, as `docker rmi --force` does."""
    image = client.inspect_container(container)["Image"]
    client.remove_image(image, force=True)
    with pytest.raises(ImageNotFound):
        client.inspect_image(image)


def test_labels_of_a_removed_image_give_no_hooks(
    world: World, sidecar: Sidecar, docker_client: docker.APIClient
) -> None:
    """Nobody can tell any more which are the user's: none that needs trust is believed."""
    import_image(docker_client, "removed", {"backrest.snapshot-start": "echo pwned"})
    world.volume("shop_data")
    container = world.container("shop-app-1", service("app"), ["shop_data:/data"], image="removed")
    remove_image_of(docker_client, container)

    answer = sidecar.preview(code=3)

    assert [] == [hook for plan in answer["plans"] for hook in plan.get("hooks", ())]
    assert [("label.from-image", "error")] == reasons(answer)


def test_last_known_labels_of_a_removed_image_count(
    world: World, sidecar: Sidecar, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    """An image that was seen once is told from the user's labels for as long as it is in use."""
    import_image(docker_client, "removed", {"backrest.snapshot-start": "echo pwned"})
    world.volume("shop_data")
    labels = service("app", snapshot_end="echo mine")
    container = world.container("shop-app-1", labels, ["shop_data:/data"], image="removed")
    remembering = ("--state-dir", str(tmp_path / "state"))
    before = sidecar.reconcile(*remembering)
    remove_image_of(docker_client, container)

    after = sidecar.reconcile(*remembering)

    assert [("label.from-image", "warning")] == reasons(before) == reasons(after)
    assert before["plans"] == after["plans"]
    [plan] = after["plans"]
    assert ["echo mine"] == [hook["actionCommand"]["command"] for hook in plan["hooks"]]
    assert not after["changed"]


def test_a_second_write_changes_not_a_byte(world: World, sidecar: Sidecar) -> None:
    """The first write bumps modno; the second leaves bytes and times alone."""
    world.volume("shop_data")
    world.container("shop-app-1", service("app"), ["shop_data:/data"])

    assert sidecar.reconcile("--detailed-exitcode", code=2)["changed"]
    written = (sidecar.config.read_bytes(), sidecar.config.stat().st_mtime_ns)
    assert not sidecar.reconcile("--detailed-exitcode")["changed"]

    assert 5 == json.loads(written[0])["modno"]
    assert written == (sidecar.config.read_bytes(), sidecar.config.stat().st_mtime_ns)


def test_a_problem_of_one_service_does_not_stop_another(world: World, sidecar: Sidecar) -> None:
    """The good plan is written, the exit code tells of the other."""
    world.volume("shop_data")
    world.container("shop-good-1", service("good"), ["shop_data:/data"])
    world.container("shop-bad-1", service("bad", keep="dayly=7"), ["shop_data:/data"])

    answer = sidecar.reconcile(code=3)

    assert ["backrest_sidecar_shop_good"] == answer["added"]
    assert ("keep.invalid", "error") in reasons(answer)
    written = json.loads(sidecar.config.read_text())
    assert ["backrest_sidecar_shop_good"] == [plan["id"] for plan in written["plans"]]


def test_a_container_that_is_gone_leaves_its_plan_behind(world: World, sidecar: Sidecar) -> None:
    """A plan without a workload is reported, never removed."""
    world.volume("shop_data")
    world.container("shop-app-1", service("app"), ["shop_data:/data"])
    sidecar.reconcile()
    world.clear()

    answer = sidecar.reconcile()

    assert ["backrest_sidecar_shop_app"] == answer["orphaned"]
    assert not answer["changed"]


def test_an_engine_that_does_not_answer_voids_the_pass(sidecar: Sidecar, tmp_path: Path) -> None:
    """Unknown is not empty: nothing is written and the exit code is 1."""
    before = sidecar.config.read_bytes()

    done = sidecar.run(
        "reconcile", "--config", str(sidecar.config), "--docker-sock", str(tmp_path / "no.sock")
    )

    assert (1, before) == (done.returncode, sidecar.config.read_bytes())
    assert "no.sock" in done.stderr


def test_a_saved_inventory_gives_the_same_plans_without_the_engine(
    world: World, sidecar: Sidecar, tmp_path: Path
) -> None:
    """What --save-inventory writes is all that a later look needs."""
    world.volume("shop_data")
    world.image("hooked", {"backrest.snapshot-start": "echo pwned"})
    world.container("shop-app-1", service("app"), ["shop_data:/data"], image="hooked")
    saved = tmp_path / "saved.json"
    seen = sidecar.preview("--save-inventory", str(saved))

    done = sidecar.run(
        *("reconcile", "--dry-run", "--output", "json", "--config", str(sidecar.config)),
        *("--inventory", str(saved), "--docker-root", str(sidecar.engine.data_root)),
    )

    assert seen == json.loads(done.stdout)
