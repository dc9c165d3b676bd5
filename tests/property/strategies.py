"""Worlds for the laws of the core: small pools of names, so that much collides."""

from typing import Any

from hypothesis import strategies as st

from sidecar.docker.models import Container, Inventory, Mount, Volume
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.registry import LABELS

REPOS = ("r1", "r2")
_SEGMENTS = st.sampled_from(("data", "media", "db", "cache", "..", ".", "", "a b", "[x]"))
_DESTINATIONS = ("/data", "/data/media", "/data/db", "/media", "/srv/app", "/srv", "/database")
_VOLUMES = ("data", "media", "demo_data", "share", "disk", "0123456789abcdef" * 4)
_BINDS = ("/srv/app", "/srv/app/db", "/home/me", "/etc/hosts", "/run/x", "/mnt/disk/in", "/")
_HOOKS = ("echo a", "docker stop", "docker stop $SELF", "echo {{ .Plan.Id }}", "x, 'y, z'")
_EXPECTED_VALUES: dict[str, tuple[str, ...]] = {
    "group": ("stack", "web", " stack "),
    "id": ("web", "shop", "Shop!", "--"),
    "repo": ("r1", "r2", "gone"),
    "schedule": ("0 4 * * *", "T T * * *", "every 6h", "off", "@daily", "0 25 * * *"),
    "keep": ("daily=7", "last=3", "all", "within=3d,last=1", "daily=0"),
    "hooks.template": ("none", "stop-start", "simple-stop-start", "redis-save", "swarm-scale", "?"),
    "hooks.on-error": ("ignore", "retry-1m", "?"),
    "dump.path": ("/data/dump", "/tmp/dump", "dump"),
    "notify": ("slack:https://s.example/x", "slack:env:BACKREST_SECRET_X", "slack:x"),
    "notify.on": ("error", "start,success", "?"),
    "backup-flags": ("--tag x", "--repo=/x, --exclude-caches", "'"),
}


def container_paths() -> st.SearchStrategy[str]:
    """Absolute container paths, also with dots, doubled slashes and glob characters."""
    return st.lists(_SEGMENTS, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


def _path_lists() -> st.SearchStrategy[str]:
    others = st.sampled_from(
        ("volume:data/../x", "volume:data/db", "*.tmp", "relative", "host:/mnt/x")
    )
    negated = container_paths().map("!{}".format)
    globbed = container_paths().map("{}/*.log".format)
    return st.lists(st.one_of(container_paths(), others, negated, globbed), max_size=3).map(
        ",".join
    )


def _value_of(name: str, *, is_list: bool) -> st.SearchStrategy[str]:
    if name.startswith("paths."):
        return _path_lists()
    if name in _EXPECTED_VALUES:
        return st.sampled_from(_EXPECTED_VALUES[name])
    return st.sampled_from(_HOOKS if is_list else ("yes", "no", "root"))


@st.composite
def label_sets(draw: st.DrawFn) -> dict[str, str]:
    """Labels of one container, without the prefix: mostly right, some wrong."""
    chosen = draw(st.lists(st.sampled_from(LABELS), max_size=5, unique_by=lambda label: label.name))
    labels = {label.name: draw(_value_of(label.name, is_list=label.is_list)) for label in chosen}
    labels["enable"] = draw(st.sampled_from(("true",) * 8 + ("false", "?")))
    return labels


def mounts() -> st.SearchStrategy[Mount]:
    """Binds, volumes of all kinds and memory."""
    destination = st.sampled_from(_DESTINATIONS)
    volume = st.builds(
        lambda name, to, told: Mount(
            "volume", f"/var/lib/docker/volumes/{name}/_data" if told else "", to, name, "local"
        ),
        st.sampled_from(_VOLUMES),
        destination,
        st.booleans(),
    )
    bind = st.tuples(st.just("bind"), st.sampled_from(_BINDS), destination).map(
        lambda of: Mount(*of)
    )
    memory = destination.map(lambda to: Mount("tmpfs", "", to))
    return st.one_of(volume, volume, bind, memory)


@st.composite
def containers(draw: st.DrawFn, number: int) -> Container:
    """One container: of a Compose service, a Swarm service, or alone."""
    labels = {f"backrest.{name}": value for name, value in draw(label_sets()).items()}
    name = f"web{number}"
    match draw(st.sampled_from(("compose", "compose", "swarm", "lone"))):
        case "compose":
            service = draw(st.sampled_from(("web", "db")))
            labels["com.docker.compose.project"] = draw(st.sampled_from(("demo", "shop")))
            labels["com.docker.compose.service"] = service
            name = draw(st.sampled_from((f"{service}-{number}", f"0123456789ab_{service}-1")))
        case "swarm":
            labels["com.docker.swarm.service.name"] = draw(st.sampled_from(("web1", "shop_web")))
    found = draw(st.lists(mounts(), max_size=3, unique_by=lambda mount: mount.destination))
    return Container(f"{number:064x}", name, "", labels, tuple(found), draw(st.integers(0, 3)))


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Up to five containers, with volumes that lie elsewhere."""
    count = draw(st.integers(0, 5))
    volumes = {
        "share": Volume("share", options={"type": "nfs", "device": ":/export"}),
        "disk": Volume("disk", options={"o": "bind", "type": "none", "device": "/mnt/disk"}),
        "data": Volume("data", mountpoint="/var/lib/docker/volumes/data/_data"),
    }
    return Inventory(tuple(draw(containers(number)) for number in range(count)), volumes)


def policies() -> st.SearchStrategy[Policy]:
    """Policies that change what is rendered."""
    return st.builds(
        Policy,
        include_project_name=st.booleans(),
        default_repo=st.sampled_from(("", "r1")),
        volume_prefix=st.sampled_from(("", "/volumes")),
        path_map=st.sampled_from(((), (("/srv", "/host/srv"), ("/home/me", "/me")))),
        exclude_bind_mounts=st.booleans(),
        hook_policy=st.sampled_from(HookPolicy),
        enforce_defaults=st.booleans(),
        secrets=st.sampled_from(({}, {"env:BACKREST_SECRET_X": "https://s.example/y"})),
    )


def runner_views() -> st.SearchStrategy[tuple[Mount, ...] | None]:
    """The runner's mounts, mostly unknown."""
    some = (
        Mount("bind", "/var/lib/docker/volumes", "/vol"),
        Mount("bind", "/srv", "/host/srv"),
    )
    return st.sampled_from((None, None, some))


def standing_plans() -> st.SearchStrategy[dict[str, Any]]:
    """Plans as the UI may have left them, ours and others', that Backrest accepts."""
    ids = (
        "aaa",
        "backrest_sidecar_demo_web",
        "backrest_sidecar_web1",
        "backrest_sidecar_shop",
        "z",
    )
    return st.fixed_dictionaries(
        {
            "id": st.sampled_from(ids),
            "repo": st.sampled_from(REPOS),
            "paths": st.lists(st.sampled_from(("/older", "/srv/app", "/z", "/a b")), min_size=1),
        },
        optional={
            "schedule": st.sampled_from(({"disabled": True}, {"cron": "1 1 * * *"}, {})),
            "retention": st.sampled_from(({"policyKeepAll": True}, {"policyKeepLastN": 0})),
            "iexcludes": st.lists(st.sampled_from(("*.a", "*.b"))),
            "x-unknown": st.sampled_from((None, 1, {"deep": [1.5]})),
        },
    )


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Whole documents that Backrest accepts."""
    repos = [{"id": repo, "uri": f"/{repo}", "autoInitialize": True} for repo in REPOS]
    return st.fixed_dictionaries(
        {
            "modno": st.integers(0, 2**31 - 1),
            "version": st.just(6),
            "instance": st.just("here"),
            "repos": st.just(repos),
            "plans": st.lists(standing_plans(), max_size=3, unique_by=lambda plan: plan["id"]),
        }
    )
