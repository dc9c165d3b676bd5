"""The label grammar, case by case: each file below testdata/cases is one rule and its example.

A case is a YAML mapping. What it leaves out is the plainest world: one container
`web` with `backrest.enable=true` and a volume `data` at `/data`, a document with
the repository `r1` and no plans, and the default policy.

    rule        the rule in one sentence
    labels      of `web`; the prefix is added to names without a domain in front,
                null takes the default `enable` away
    mounts      of `web`: `NAME:/path` (volume), `/host:/path` (bind),
                `tmpfs:/path`, or the fields of a Mount
    containers  instead of `labels` and `mounts`: name → labels, mounts,
                service (`project/service`), swarm, depends_on, image (its id), image_name,
                as_written (labels to which no prefix is added),
                created, id, state, links (its paths that were seen to be symbolic links),
                going (it was started with --rm)
    volumes     name → driver, options, mountpoint
    services    Swarm service → its own labels
    images      image → its own labels
    linked      host path that was seen to be a symbolic link → where it leads to
    policy      fields of the Policy
    runner_mounts  the runner's mounts, where they are known
    repos       ids, or repositories as JSON
    plans       standing plans as JSON; repo `r1` unless they say another
    owners      whose plans are: plan id → natural key, or [natural key, project]
    runner_repos   repositories of the runner's document beside it, ids or JSON; without, there
                is none
    runner_plans   its standing plans as JSON, each with its repository
    document    instead of `repos` and `plans`: the document's text
    expect
      plan      what must stand in the plan of `web`, key by key; null: no such key
      plans     the same by plan id: exactly these owned plans stand there afterwards
      runner_plans   the same of the runner's document
      problems  all of them, as `severity reason [label] [@workload]`
      says      texts that occur in the problems' messages or hints
      added, updated, orphaned, unchanged   ids; needed where owned plans stood
      document  the text afterwards, to the byte
      refused   what the refusal of the whole pass says

A hook is written `START FATAL: command`: its conditions joined by `+` (without
`CONDITION_` and `SNAPSHOT_`), what its failure means where that is not IGNORE,
and its command (whole, or as a list of fragments), or its action as JSON.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.backrest.document import Document
from sidecar.docker.models import Container, Inventory, Mount, Volume
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import SEVERITIES, Problem
from sidecar.labels.registry import LABELS, resolve_label
from sidecar.lib.errors import DocumentError
from sidecar.planner.ids import Owner
from sidecar.planner.lifecycle import PlanHistory
from sidecar.planner.propose import DesiredState, Proposal, propose

FOLDER = Path(__file__).parents[2] / "testdata" / "cases"
FILES = sorted(FOLDER.glob("*.txt"))
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
KEYS = {
    *("rule", "labels", "mounts", "containers", "volumes", "images", "policy", "runner_mounts"),
    *("repos", "plans", "owners", "services", "document", "expect", "linked"),
    *("runner_repos", "runner_plans"),
}
OUTCOMES = ("added", "updated", "orphaned", "unchanged")
EXPECTED = {"plan", "plans", "runner_plans", "problems", "says", "document", "refused", *OUTCOMES}
SHORT = {"ANY_ERROR": "CONDITION_ANY_ERROR"}


@dataclass(frozen=True)
class Case:
    """One case, read: what goes into a pass and what is expected of it."""

    rule: str
    inventory: Inventory
    policy: Policy
    document: Document
    runner_mounts: tuple[Mount, ...] | None
    history: PlanHistory | None
    runner: Document | None
    expect: Mapping[str, Any]

    def run(self, document: Document | None = None) -> Proposal:
        """Make one pass over the case's document, or over another."""
        return propose(
            document or self.document,
            DesiredState(
                self.inventory,
                self.policy,
                NOW,
                runner_mounts=self.runner_mounts,
                history=self.history,
                runner=self.runner,
            ),
        )

    def reversed(self) -> "Case":
        """Return the same world listed in the opposite order."""
        containers = tuple(
            replace(
                item, mounts=item.mounts[::-1], labels=dict(reversed(list(item.labels.items())))
            )
            for item in reversed(self.inventory.containers)
        )
        volumes = dict(reversed(list(self.inventory.volumes.items())))
        runner = None if self.runner_mounts is None else self.runner_mounts[::-1]
        inventory = replace(self.inventory, containers=containers, volumes=volumes)
        return replace(self, inventory=inventory, runner_mounts=runner)


def parse_case(text: str) -> Case:
    """Read one case; refuses keys that it does not know, so that none is overlooked."""
    raw = yaml.safe_load(text)
    assert raw.keys() <= KEYS, raw.keys() - KEYS
    assert raw["expect"].keys() <= EXPECTED, raw["expect"].keys() - EXPECTED
    assert "containers" not in raw or not raw.keys() & {"labels", "mounts"}
    policy = parse_policy(raw.get("policy", {}))
    listed = raw.get(
        "containers", {"web": {key: raw[key] for key in ("labels", "mounts") if key in raw}}
    )
    containers = tuple(parse_container(name, item or {}, policy) for name, item in listed.items())
    links = [(item or {}).get("links", ()) for item in listed.values()]
    inventory = Inventory(
        containers,
        {name: Volume(name, **(item or {})) for name, item in raw.get("volumes", {}).items()},
        {image: prefixed(labels, policy) for image, labels in raw.get("images", {}).items()},
        services={name: prefixed(own, policy) for name, own in raw.get("services", {}).items()},
        links={one.id: tuple(seen) for one, seen in zip(containers, links, strict=True) if seen},
        linked=raw.get("linked", {}),
    )
    runner = raw.get("runner_mounts")
    return Case(
        raw["rule"],
        inventory,
        policy,
        Document(raw["document"] if "document" in raw else render_document(raw)),
        None if runner is None else tuple(parse_mount(item, policy) for item in runner),
        parse_history(raw["owners"]) if "owners" in raw else None,
        parse_runner(raw),
        raw["expect"],
    )


def parse_runner(raw: Mapping[str, Any]) -> Document | None:
    """Read the runner's document; None without one."""
    if "runner_repos" not in raw:
        return None
    named = {"repos": raw["runner_repos"], "plans": raw.get("runner_plans", [])}
    return Document(render_document(named))


def parse_history(owners: Mapping[str, str | list[str]]) -> PlanHistory:
    """Read what earlier passes remember of owners; no plan is an orphan for long enough."""
    known = {
        plan_id: Owner(owner) if isinstance(owner, str) else Owner(*owner)
        for plan_id, owner in owners.items()
    }
    return PlanHistory(owners=known, grace=1e9)


def parse_policy(raw: Mapping[str, Any]) -> Policy:
    """Read the policy: `path_map` is a mapping, `hook_policy` a word."""
    fields = dict(raw)
    if "path_map" in fields:
        fields["path_map"] = tuple(fields["path_map"].items())
    if "hook_policy" in fields:
        fields["hook_policy"] = HookPolicy(fields["hook_policy"])
    return Policy(**fields)


def parse_container(name: str, raw: Mapping[str, Any], policy: Policy) -> Container:
    """Read one container; Compose's and Swarm's labels have short names here."""
    labels = prefixed({"enable": "true", **raw.get("labels", {})}, policy)
    labels |= raw.get("as_written", {})
    project, _, service = raw.get("service", "").partition("/")
    compose = {"project": project, "service": service, "depends_on": raw.get("depends_on", "")}
    labels |= {f"com.docker.compose.{key}": value for key, value in compose.items() if value}
    if "swarm" in raw:
        labels["com.docker.swarm.service.name"] = raw["swarm"]
    return Container(
        raw.get("id", f"{name.encode().hex():0<64}"[:64]),
        name,
        raw.get("image", ""),
        labels,
        tuple(parse_mount(item, policy) for item in raw.get("mounts", ["data:/data"])),
        raw.get("created", 0),
        raw.get("state", "running"),
        raw.get("image_name", ""),
        goes_when_stopped=raw.get("going", False),
    )


def prefixed(labels: Mapping[str, str | None], policy: Policy) -> dict[str, str]:
    """Add the prefix; labels of others start with `com.` or `org.` or hold it already."""
    foreign = ("com.", "org.", "backrest.")
    found = {
        name if name.startswith(foreign) else policy.label_prefix + name: value
        for name, value in labels.items()
        if value is not None
    }
    assert all(type(value) is str for value in found.values()), found
    return found


def parse_mount(raw: str | Mapping[str, str], policy: Policy) -> Mount:
    """Read `SOURCE:/path`, or the fields of a Mount."""
    if not isinstance(raw, str):
        return Mount(**raw)  # type: ignore[arg-type]
    source, _, destination = raw.rpartition(":")
    if source == "tmpfs":
        return Mount("tmpfs", "", destination)
    if source.startswith("/"):
        return Mount("bind", source, destination)
    path = f"{policy.docker_root}/volumes/{source}/_data"
    return Mount("volume", path, destination, source, "local")


def render_document(raw: Mapping[str, Any]) -> str:
    """Write the document that a case describes as Backrest would."""
    repos = [
        {"id": repo, "uri": f"/{repo}", "autoInitialize": True} if isinstance(repo, str) else repo
        for repo in raw.get("repos", ["r1"])
    ]
    plans = [{"repo": "r1", **plan} for plan in raw.get("plans", [])]
    root = {"modno": 1, "version": 6, "instance": "here", "repos": repos, "plans": plans}
    return json.dumps(root, indent=2)


def owned_plans(document: Document, policy: Policy) -> dict[str, Any]:
    """The owned plans of a document as plain JSON."""
    listed = json.loads(document.text).get("plans") or []
    return {plan["id"]: plan for plan in listed if plan["id"].startswith(policy.plan_id_prefix)}


def check_plan(plan: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare the keys that a case speaks of."""
    hooks = expected.get("hooks")
    plain = {key: value for key, value in expected.items() if key != "hooks" or value is None}
    assert {key: plan.get(key) for key in plain} == plain
    if hooks is not None:
        assert len(plan.get("hooks", [])) == len(hooks), plan.get("hooks")
        for hook, item in zip(plan["hooks"], hooks, strict=True):
            check_hook(hook, item)


def check_hook(hook: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare one hook with its short form."""
    ((head, action),) = expected.items()
    conditions, _, on_error = head.partition(" ")
    wanted: dict[str, Any] = {
        "conditions": [
            SHORT.get(word, f"CONDITION_SNAPSHOT_{word}") for word in conditions.split("+")
        ]
    }
    if on_error:
        wanted["onError"] = f"ON_ERROR_{on_error}"
    if isinstance(action, list):
        command = hook["actionCommand"]["command"]
        assert [part for part in action if part not in command] == [], command
        action = command
    wanted |= {"actionCommand": {"command": action}} if isinstance(action, str) else action
    assert dict(hook) == wanted


def shown(problem: Problem, *, workload: bool) -> str:
    """Write a problem as the cases do."""
    place = f" @{problem.workload}" if workload else ""
    return " ".join(filter(None, (problem.severity, problem.reason, problem.label))) + place


def check_problems(problems: tuple[Problem, ...], expected: list[str]) -> None:
    """Compare all problems, in any order; a workload counts where a case names it."""
    named = any("@" in item for item in expected)
    assert sorted(shown(problem, workload=named) for problem in problems) == sorted(expected)


def check_case(case: Case) -> None:
    """Make one pass and compare it with what the case expects."""
    expect = case.expect
    proposal = case.run()
    problems = proposal.rendered.problems
    check_problems(problems, expect.get("problems", []))
    texts = "\n".join(f"{problem.message}\n{problem.hint}" for problem in problems)
    assert [text for text in expect.get("says", []) if text not in texts] == [], texts
    wanted = expect.get(
        "plans", {"backrest_sidecar_web": expect["plan"]} if "plan" in expect else {}
    )
    plans = owned_plans(proposal.after, case.policy)
    assert sorted(plans) == sorted(wanted)
    for plan_id, keys in wanted.items():
        check_plan(plans[plan_id], keys)
    if "document" in expect:
        assert proposal.after.text == expect["document"]
    there = {} if proposal.runner is None else owned_plans(proposal.runner.after, case.policy)
    wanted = expect.get("runner_plans", {})
    assert sorted(there) == sorted(wanted)
    for plan_id, keys in wanted.items():
        check_plan(there[plan_id], keys)
    old = owned_plans(case.document, case.policy)
    old |= {} if case.runner is None else owned_plans(case.runner, case.policy)
    check_outcome(proposal, expect, sorted({*plans, *there}), sorted(old))


def check_outcome(
    proposal: Proposal, expect: Mapping[str, Any], plans: list[str], old: list[str]
) -> None:
    """Compare what became of every owned plan; where none stood there all are new."""
    changes = proposal.all_changes
    outcome = {
        "added": [plan.id for plan in changes.added],
        **{name: list(getattr(changes, name)) for name in OUTCOMES[1:]},
    }
    expected = expect if old else {"added": plans}
    assert outcome == {name: expected.get(name, []) for name in OUTCOMES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """A pass gives what the case expects; again, it changes nothing; in any order, the same."""
    case = parse_case(path.read_text("utf-8"))
    if "refused" in case.expect:
        with pytest.raises(DocumentError) as refusal:
            case.run()
        assert case.expect["refused"] in str(refusal.value)
        return
    check_case(case)
    after = case.run().after
    assert case.run(after).after.text == after.text
    turned = case.reversed().run()
    assert turned.after.text == after.text
    assert Counter(turned.rendered.problems) == Counter(case.run().rendered.problems)


def test_every_reason_has_a_case() -> None:
    """Each problem reason, with its own severity, is shown by some case."""
    named = {
        tuple(problem.split()[:2])
        for path in FILES
        for problem in yaml.safe_load(path.read_text("utf-8"))["expect"].get("problems", [])
    }
    missing = {(str(severity), reason) for reason, severity in SEVERITIES.items()} - named
    assert missing == set()


def test_every_label_has_a_case() -> None:
    """Each label of the registry is used by some case."""
    cases = [parse_case(path.read_text("utf-8")) for path in FILES]
    used = {
        label.name
        for case in cases
        for container in case.inventory.containers
        for name in container.labels
        if (label := resolve_label(name.removeprefix(case.policy.label_prefix))[0])
    }
    assert {label.name for label in LABELS} - used == set()


def test_there_are_enough_cases() -> None:
    """The folder was found, and nobody lost half of it."""
    assert len(FILES) >= 150
