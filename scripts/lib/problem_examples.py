"""One example of each problem, rendered by the program itself: the reference shows them.

Each is a small world in which a service `web` of the project `cloud` is labelled; what it
leaves out is plain: one volume `data` at `/data`, and a document with one repository.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from sidecar.backrest.document import Document
from sidecar.cli.output.problems import problem_lines
from sidecar.docker.models import Container, Inventory, Mount, Volume
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import Problem
from sidecar.planner.ids import Owner
from sidecar.planner.lifecycle import PlanHistory
from sidecar.planner.propose import DesiredState, propose

_NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
_VOLUMES = "/var/lib/docker/volumes"


@dataclass(frozen=True, slots=True)
class Example:
    """A world with one problem: `given` says in words what the labels do not show.

    `labels` and `mounts` (`SOURCE:DESTINATION`) are those of the service `web`; `others`
    the labels of further services (`PROJECT/SERVICE` for one of another project); `volumes`,
    `image` (the labels of web's image), `repos`, `plans` and `policy` the rest of the world;
    `runner_repos` the repositories of the runner's document, if there is one;
    `runner` the runner's mounts; `owners` whose the plans are; `container` the name of web's
    container where it is not the usual one; `goes_when_stopped`: it was started with `--rm`;
    `swarm` the labels of the Swarm service that web is;
    `as_written` labels to which no prefix is added; `linked` paths of the host that are links.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    given: str = ""
    mounts: tuple[str, ...] = ("data:/data",)
    others: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    image: Mapping[str, str] = field(default_factory=dict)
    repos: tuple[Mapping[str, Any], ...] = ({"id": "default"},)
    runner_repos: tuple[Mapping[str, Any], ...] = ()
    plans: tuple[Mapping[str, Any], ...] = ()
    policy: Policy = field(default_factory=Policy)
    runner: tuple[str, ...] | None = None
    owners: Mapping[str, str] = field(default_factory=dict)
    container: str = ""
    goes_when_stopped: bool = False
    swarm: Mapping[str, str] = field(default_factory=dict)
    as_written: Mapping[str, str] = field(default_factory=dict)
    linked: Mapping[str, str] = field(default_factory=dict)


EXAMPLES: Mapping[str, Example] = {
    "label.invalid": Example({"enable": "maybe"}),
    "label.reserved": Example({"plan.nightly.schedule": "0 3 * * *"}),
    "group.conflict": Example(
        {"group": "app", "schedule": "0 3 * * *"},
        "The service `db` of the same group says `0 4 * * *`.",
        others={"db": {"group": "app", "schedule": "0 4 * * *"}},
    ),
    "repo.missing": Example({"repo": "nas"}, "The document has the repository `default` only."),
    "repo.not-restic": Example(
        {},
        "The document's only repository begins with `rsync:`.",
        repos=(
            {"id": "nas", "uri": "rsync:nas:/backups", "guid": "0" * 64, "autoInitialize": False},
        ),
    ),
    "repo.unresolved": Example({}, "The document has no repository.", repos=()),
    "schedule.invalid": Example({"schedule": "0 3 1 * MON"}),
    "keep.invalid": Example({"keep": "daily=7,weeks=4"}),
    "paths.empty": Example({}, "The service has no volume.", mounts=()),
    "plan.moving": Example(
        {"repo": "nas"},
        "The plan stands in `config.json`, and the repository `nas` in `runner.json`.",
        plans=({"id": "backrest_sidecar_cloud_web", "repo": "default", "paths": ["/data"]},),
        runner_repos=({"id": "nas", "uri": "rsync:/backups"},),
    ),
    "plan.id-taken": Example(
        {"id": "shop"},
        "The plan was made for the service `shop` of the project `store`, which is still there.",
        plans=({"id": "backrest_sidecar_shop", "repo": "default", "paths": ["/srv/shop"]},),
        owners={"backrest_sidecar_shop": "store/shop"},
        others={"store/shop": {}},
    ),
    "hook.template-unknown": Example({"hooks.template": "stop"}),
    "label.unknown": Example({"scheduled": "0 3 * * *"}),
    "path.unmapped": Example({"paths.include": "/data,/srv/www"}),
    "path.escape": Example({"paths.include": "/data,/data/../etc"}),
    "path.invisible": Example(
        {},
        "Backrest's container mounts `/srv` only, a second mount of the service lies there.",
        mounts=("data:/data", "/srv/www:/www"),
        runner=("/srv:/srv",),
    ),
    "path.link": Example(
        {},
        "`/photos` of the host is a link to `/big/photos`.",
        mounts=("/photos:/data",),
        linked={"/photos": "/big/photos"},
    ),
    "mount.unsupported": Example(
        {"paths.include": "/data,/media"},
        "`/media` is a volume on an NFS server.",
        mounts=("data:/data", "media:/media"),
        volumes={"media": {"type": "nfs", "o": "addr=nas", "device": ":/media"}},
    ),
    "hook.forbidden": Example(
        {"snapshot-start": "sync"},
        "The sidecar runs with `--hook-policy templates`.",
        policy=Policy(hook_policy=HookPolicy.TEMPLATES),
    ),
    "secret.missing": Example(
        {"notify": "discord:file:/run/secrets/discord"}, "There is no such file."
    ),
    "list.suspicious": Example({"paths.exclude": "/data/cache;/data/tmp"}),
    "list.split-command": Example(
        {"snapshot-start": "set -e\necho begins, please wait"},
        "The command stands in the Compose file as a block of two lines.",
    ),
    "schedule.every-minute": Example({"schedule": "* 2 * * *"}),
    "plan.id-collision": Example(
        {"id": "wiki"}, "The service `db` says the same.", others={"db": {"id": "wiki"}}
    ),
    "plan.renamed": Example(
        {"id": "wiki"},
        "There was no `id` before.",
        plans=(
            {
                "id": "backrest_sidecar_cloud_web",
                "repo": "default",
                "paths": [f"{_VOLUMES}/cloud_data/_data"],
            },
        ),
    ),
    "plan.taken-over": Example(
        {"id": "shop"},
        "The plan was made for the container `shop-1`, which does not exist any more.",
        plans=({"id": "backrest_sidecar_shop", "repo": "default", "paths": ["/srv/shop"]},),
        owners={"backrest_sidecar_shop": "shop-1"},
    ),
    "label.swarm-service": Example(
        {},
        "The Swarm service `cloud_web` has the label `backrest.keep`, and its containers do not.",
        swarm={"backrest.keep": "daily=7"},
    ),
    "repo.assumed": Example(
        {}, "The document has two repositories.", repos=({"id": "disk"}, {"id": "cloud"})
    ),
    "keep.within-ignored": Example({"keep": "daily=7,within=30d"}),
    "keep.overridden": Example(
        {"keep": "daily=7"},
        "The repository `default` has a forget policy.",
        repos=(
            {
                "id": "default",
                "forgetPolicy": {
                    "schedule": {"cron": "0 0 1 * *"},
                    "retention": {"policyKeepAll": True},
                },
            },
        ),
    ),
    "path.shared": Example(
        {"paths.include": "host:/srv/shared"},
        "The service `db` says the same.",
        others={"db": {"paths.include": "host:/srv/shared"}},
    ),
    "label.prefix-typo": Example({}, as_written={"backrset.keep": "daily=30"}),
    "data.live-database": Example({}, mounts=("data:/var/lib/postgresql/data",)),
    "volume.anonymous": Example(
        {}, "The image declares a volume that nobody named.", mounts=(f"{'0a' * 32}:/data",)
    ),
    "label.from-image": Example(
        {"snapshot-start": "curl -s https://example.org/setup | sh"},
        "The label stands in the image.",
        image={"snapshot-start": "curl -s https://example.org/setup | sh"},
    ),
    "lint.misplaced": Example(
        {},
        "The label is one of a Podman pod (`podman pod create --label`).",
        container="b0bd8c966444-infra",
    ),
    "secret.literal": Example({"notify": "discord:https://discord.com/api/webhooks/1/abc"}),
    "hook.self-empty": Example(
        {"snapshot-start": "docker stop"}, "The Compose file says `docker stop $SELF`."
    ),
    "hook.auto-remove": Example(
        {"hooks.template": "stop-start"},
        "The container was started with `--rm`.",
        goes_when_stopped=True,
    ),
    "hook.template-off": Example({"hooks.template": "stop-start", "snapshot-start": "sync"}),
}


def find_problem(reason: str) -> Problem:
    """Return the problem that the example of a reason has; raises StopIteration without one."""
    example = EXAMPLES[reason]
    runner = None if example.runner is None else tuple(map(_mount, example.runner))
    proposal = propose(
        Document(_document(example.repos, example.plans)),
        DesiredState(
            _inventory(example),
            example.policy,
            _NOW,
            runner_mounts=runner,
            history=PlanHistory(
                owners={plan: Owner(key) for plan, key in example.owners.items()}, grace=1e9
            ),
            runner=Document(_document(example.runner_repos)) if example.runner_repos else None,
        ),
    )
    return next(found for found in proposal.rendered.problems if found.reason == reason)


def render_example(reason: str) -> str:
    """Write the labels of an example, and what the program says about them."""
    example, problem = EXAMPLES[reason], find_problem(reason)
    written = {f"backrest.{name}": value for name, value in example.labels.items()}
    written |= example.as_written
    labels = "\n".join(f"{name}: {json.dumps(value)}" for name, value in written.items())
    said = click.unstyle("\n".join(problem_lines([problem], "")))
    parts = [example.given] if example.given else []
    parts += [f"```yaml\n{labels}\n```"] if labels else []
    return "\n\n".join([*parts, f"```text\n{said}\n```"])


def _inventory(example: Example) -> Inventory:
    services = {"web": example.labels, **example.others}
    containers = tuple(_container(name, own, example) for name, own in services.items())
    volumes = {
        f"cloud_{name}": Volume(f"cloud_{name}", options=options)
        for name, options in example.volumes.items()
    }
    image = {f"backrest.{name}": value for name, value in example.image.items()}
    services = {"cloud_web": example.swarm} if example.swarm else {}
    return Inventory(
        containers, volumes, {"image": image}, services=services, linked=example.linked
    )


def _container(service: str, own: Mapping[str, str], example: Example) -> Container:
    project, _, service = service.rpartition("/")
    labels = {
        "backrest.enable": "true",
        **{f"backrest.{name}": value for name, value in own.items()},
        **example.as_written,
        "com.docker.compose.project": project or "cloud",
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": "1",
    }
    if example.swarm:
        labels = {"backrest.enable": "true", "com.docker.swarm.service.name": "cloud_web"}
    mounts = example.mounts if service == "web" else (f"{service}:/data",)
    name = (service == "web" and example.container) or f"{project or 'cloud'}-{service}-1"
    return Container(
        name.encode().hex().ljust(64, "0"),
        name,
        "image",
        labels,
        tuple(map(_mount, mounts)),
        goes_when_stopped=example.goes_when_stopped and service == "web",
    )


def _mount(given: str) -> Mount:
    source, _, destination = given.partition(":")
    if source.startswith("/"):
        return Mount("bind", source, destination)
    anonymous = len(source) == 64  # an engine's own names are digests
    name = source if anonymous else f"cloud_{source}"
    return Mount("volume", f"{_VOLUMES}/{name}/_data", destination, name, "local")


def _document(listed: Iterable[Mapping[str, Any]], plans: Sequence[Mapping[str, Any]] = ()) -> str:
    repos = [{"uri": "/repository", "autoInitialize": True, **repo} for repo in listed]
    return json.dumps(
        {"modno": 1, "version": 6, "instance": "host", "repos": repos, "plans": plans}
    )
