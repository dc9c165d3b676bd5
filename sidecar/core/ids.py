"""Plan ids: a workload keeps the one that it has, whoever else arrives."""

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from sidecar.core.policy import Policy
from sidecar.core.spec import LabelSpec
from sidecar.core.workload import Workload
from sidecar.model.problem import Problem, problem_of
from sidecar.model.view import DocumentView

_OUTSIDE = re.compile(r"[^a-z0-9]")
PREFIX = re.compile(r"[a-z0-9][a-z0-9_]*_", re.ASCII)


class Claim(NamedTuple):
    """What one workload brings to the choice of its id; `paths` as the runner sees them."""

    workload: Workload
    spec: LabelSpec
    paths: frozenset[str]

    @property
    def key(self) -> str:
        """The natural key."""
        return self.workload.key


def sanitize(text: str) -> str:
    """Lower case, every character outside [a-z0-9] → `_`, `_` trimmed at both ends."""
    return _OUTSIDE.sub("_", text.lower()).strip("_")


def suffixed_id(plain: str, key: str) -> str:
    """The id of a workload that shares its plain id with another."""
    return f"{plain}_{blake2b(key.encode()).hexdigest()[:6]}"


def plain_id(claim: Claim, policy: Policy) -> str:
    """The id by label or name; empty when nothing usable is left of the base."""
    base = claim.spec.id
    if base is None:
        workload = claim.workload
        base = workload.base if policy.include_project_name else workload.short_base
    plain = sanitize(policy.plan_id_prefix + base)
    return "" if plain == policy.plan_id_prefix.strip("_") else plain


def resolve_ids(
    claims: Sequence[Claim], view: DocumentView, policy: Policy
) -> tuple[dict[str, str], list[Problem]]:
    """Give each natural key its plan id; keys without one have a problem that blocks.

    `claims` are sorted by natural key. Deterministic in what the document holds.
    """
    problems: list[Problem] = []
    wanted: dict[str, list[Claim]] = {}
    for claim in claims:
        plain = plain_id(claim, policy)
        if plain:
            wanted.setdefault(plain, []).append(claim)
        else:
            problems.append(_no_id(claim, policy))
    ids: dict[str, str] = {}
    owners: dict[str, str] = {}
    for plain, rivals in sorted(wanted.items()):
        if len(rivals) > 1:
            problems += [_collision(claim, plain, rivals, policy) for claim in rivals]
        for claim, plan_id in _share_out(plain, rivals, view.plan_by_id):
            if plan_id in owners:
                problems.append(_taken(claim, plan_id, owners[plan_id], policy))
            else:
                ids[claim.key] = plan_id
                owners[plan_id] = claim.key
    return ids, problems


def _share_out(
    plain: str, rivals: Sequence[Claim], existing: Mapping[str, object]
) -> list[tuple[Claim, str]]:
    if len(rivals) == 1 and not existing:
        return [(rivals[0], plain)]
    held = [(claim, suffixed_id(plain, claim.key)) for claim in rivals]
    keeping = [(claim, plan_id) for claim, plan_id in held if plan_id in existing]
    kept = {claim.key for claim, _ in keeping}
    rest = [claim for claim in rivals if claim.key not in kept]
    if not rest:
        return keeping
    first = _heir(rest, existing.get(plain))
    others = [(c, suffixed_id(plain, c.key)) for c in rest if c is not first]
    return [*keeping, (first, plain), *others]


def _heir(rest: Sequence[Claim], standing: object) -> Claim:
    """Who gets the plain id: who shares a path with its plan, else the lowest key."""
    paths = set(getattr(standing, "paths", ()))
    return next((claim for claim in rest if paths & claim.paths), rest[0])


def renamed_problems(
    ids: Mapping[str, str],
    claims: Sequence[Claim],
    new_paths: Mapping[str, tuple[str, ...]],
    view: DocumentView,
    policy: Policy,
) -> list[Problem]:
    """Warn where a new plan (`new_paths` by natural key) continues one that lost its workload."""
    taken = set(ids.values())
    orphans = {
        plan.id: plan
        for plan in view.plans
        if plan.id.startswith(policy.plan_id_prefix) and plan.id not in taken
    }
    if not orphans:
        return []
    by_paths = {tuple(sorted(plan.paths)): plan_id for plan_id, plan in orphans.items()}
    problems = []
    for claim in claims:
        if claim.key in new_paths:
            short = sanitize(policy.plan_id_prefix + claim.workload.short_base)
            old = short if short in orphans else by_paths.get(tuple(sorted(new_paths[claim.key])))
            if old is not None:
                problems.append(_renamed(claim, old, ids[claim.key], old == short, policy))
    return problems


def _renamed(claim: Claim, old: str, new: str, unprefixed: bool, policy: Policy) -> Problem:
    label = f"{policy.label_prefix}id"
    base = old.removeprefix(policy.plan_id_prefix)
    hint = f"to keep the history set {label}={base}"
    if unprefixed and policy.include_project_name:
        hint += ", or pass --no-include-project-name"
    return problem_of(
        "plan.renamed",
        f"{new} is a new plan, while {old} stands there without a workload",
        hint,
        workload=claim.key,
        container=claim.workload.names[0],
        label=label,
    )


def _no_id(claim: Claim, policy: Policy) -> Problem:
    return problem_of(
        "label.invalid",
        "nothing is left of the plan id after all but letters and digits are taken out",
        "write letters or digits",
        workload=claim.key,
        container=claim.workload.names[0],
        label=f"{policy.label_prefix}id",
    )


def _collision(claim: Claim, plain: str, rivals: Sequence[Claim], policy: Policy) -> Problem:
    others = ", ".join(rival.key for rival in rivals if rival is not claim)
    return problem_of(
        "plan.id-collision",
        f"{plain} is the plan id of {claim.key} and also of {others}",
        f"give one of them a {policy.label_prefix}id of its own",
        workload=claim.key,
        container=claim.workload.names[0],
        label=f"{policy.label_prefix}id",
    )


def _taken(claim: Claim, plan_id: str, owner: str, policy: Policy) -> Problem:
    return problem_of(
        "label.invalid",
        f"the plan id {plan_id} belongs to {owner} already",
        f"give {claim.key} a {policy.label_prefix}id of its own",
        workload=claim.key,
        container=claim.workload.names[0],
        label=f"{policy.label_prefix}id",
    )
