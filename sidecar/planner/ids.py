"""Plan ids: how they are made, and who gets one that two workloads ask for.

A workload keeps the id that it has, whatever other workload arrives.
"""

import re
from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from sidecar.backrest.document import DocumentView, PlanView
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.spec import LabelSpec
from sidecar.planner.workload import Workload

_OUTSIDE = re.compile(r"[^a-z0-9]")
PREFIX = re.compile(r"[a-z0-9][a-z0-9_]*_", re.ASCII)
_SUFFIX_LENGTH = len("_123abc")


class IdClaim(NamedTuple):
    """What decides the id of one workload; `paths` as the runner sees them.

    `plain` is the id that it has if no other asks for it, empty when its base has neither
    a letter nor a digit.
    """

    workload: Workload
    spec: LabelSpec
    paths: frozenset[str]
    plain: str = ""

    @property
    def key(self) -> str:
        """The natural key."""
        return self.workload.key


@lru_cache(maxsize=8192)
def sanitize(text: str) -> str:
    """Return lower case with `_` for each character outside [a-z0-9], none at either end."""
    return _OUTSIDE.sub("_", text.lower()).strip("_")


def suffixed_id(plain: str, key: str) -> str:
    """Return the id of a workload that shares its plain id with another: `PLAIN_123abc`."""
    return f"{plain}_{blake2b(key.encode()).hexdigest()[:6]}"


def plain_id(claim: IdClaim, policy: Policy) -> str:
    """Return the id by label or name; empty when the base has neither letter nor digit."""
    base = claim.spec.id
    if base is None:
        workload = claim.workload
        base = workload.base if policy.include_project_name else workload.short_base
    plain = sanitize(policy.plan_id_prefix + base)
    return "" if plain == policy.plan_id_prefix.strip("_") else plain


def resolve_ids(
    claims: Sequence[IdClaim], view: DocumentView, policy: Policy
) -> list[tuple[str, tuple[Problem, ...]]]:
    """Return the plan id of each claim and the problems with it; no id only with one that blocks.

    `claims` are sorted by natural key. Deterministic in what the document holds.
    """
    found: list[tuple[str, tuple[Problem, ...]]] = [("", ())] * len(claims)
    wanted: dict[str, list[int]] = {}
    for index, claim in enumerate(claims):
        plain = claim.plain
        if plain:
            wanted.setdefault(plain, []).append(index)
        else:
            # The plan that the workload had before its id label became unusable stays its own.
            unlabelled = claim._replace(spec=claim.spec._replace(id=None))
            found[index] = (plain_id(unlabelled, policy), (_no_id(claim, policy),))
    owners: dict[str, str] = {}
    stems = {plan_id[:-_SUFFIX_LENGTH] for plan_id in view.plan_by_id}
    for plain, rivals in sorted(wanted.items()):
        if len(rivals) == 1 and plain not in stems:
            shares = [(rivals[0], plain)]
        else:
            shares = _share_out(plain, rivals, claims, view.plan_by_id)
        for index, plan_id in shares:
            problems = _rivalry(index, plain, rivals, claims, policy) if len(rivals) > 1 else ()
            owner = owners.setdefault(plan_id, claims[index].key)
            if owner != claims[index].key:
                taken = _taken(claims[index], plan_id, owner, policy)
                found[index] = ("", (*problems, taken))
            else:
                found[index] = (plan_id, problems)
    return found


def _share_out(
    plain: str, rivals: Sequence[int], claims: Sequence[IdClaim], existing: Mapping[str, PlanView]
) -> list[tuple[int, str]]:
    """Give the plain id to one of those who ask for it; the others get one with a suffix."""
    held = [(index, suffixed_id(plain, claims[index].key)) for index in rivals]
    keeping = [(index, plan_id) for index, plan_id in held if plan_id in existing]
    others = [(index, plan_id) for index, plan_id in held if plan_id not in existing]
    if not others:
        return keeping
    paths = frozenset(existing[plain].paths) if plain in existing else frozenset()
    # Who shares a path with the existing plan keeps it; else the lowest natural key.
    owner = next((i for i, _ in others if paths & claims[i].paths), others[0][0])
    return [*keeping, *((i, plain if i == owner else plan_id) for i, plan_id in others)]


def _rivalry(
    index: int, plain: str, rivals: Sequence[int], claims: Sequence[IdClaim], policy: Policy
) -> tuple[Problem, ...]:
    claim = claims[index]
    others = [claims[other].key for other in rivals if other != index]
    if claim.key in others:
        return (_same_key(claim, policy),)
    return (_collision(claim, plain, others, policy),)


def renamed_problems(
    new: Sequence[tuple[IdClaim, str, tuple[str, ...]]],
    taken: Container[str],
    view: DocumentView,
    policy: Policy,
) -> list[Problem]:
    """Warn where a new plan continues one that lost its workload.

    `new` are the plans not in the document yet: claim, plan id, paths; `taken` the
    ids that belong to workloads.
    """
    orphans = {
        plan.id: plan
        for plan in view.plans
        if plan.id.startswith(policy.plan_id_prefix) and plan.id not in taken
    }
    if not orphans:
        return []
    by_paths = {tuple(sorted(plan.paths)): plan_id for plan_id, plan in orphans.items()}
    problems = []
    for claim, plan_id, paths in new:
        short = sanitize(policy.plan_id_prefix + claim.workload.short_base)
        old = short if short in orphans else by_paths.get(tuple(sorted(paths)))
        if old is not None:
            problems.append(_renamed(claim, old, plan_id, old == short, policy))
    return problems


def _renamed(claim: IdClaim, old: str, new: str, unprefixed: bool, policy: Policy) -> Problem:
    base = old.removeprefix(policy.plan_id_prefix)
    hint = f"to keep the history set {policy.label_prefix}id={base}"
    if unprefixed and policy.include_project_name:
        hint += ", or pass --no-include-project-name"
    message = f"{new} is a new plan, while {old} stands there without a workload"
    return _about_id(claim, policy, "plan.renamed", message, hint)


def _same_key(claim: IdClaim, policy: Policy) -> Problem:
    """Two workloads of one natural key (a service and a group, say) have this problem each."""
    message = f"two different workloads are called {claim.key}"
    return _about_id(claim, policy, "label.invalid", message, _other_id("the group, or", policy))


def _no_id(claim: IdClaim, policy: Policy) -> Problem:
    message = f"{policy.label_prefix}id has neither a letter a-z nor a digit in it"
    return _about_id(claim, policy, "label.invalid", message, "write letters or digits")


def _collision(claim: IdClaim, plain: str, others: Sequence[str], policy: Policy) -> Problem:
    message = f"{plain} is the plan id of {claim.key} and also of {', '.join(others)}"
    return _about_id(claim, policy, "plan.id-collision", message, _other_id("", policy))


def _taken(claim: IdClaim, plan_id: str, owner: str, policy: Policy) -> Problem:
    message = f"the plan id {plan_id} belongs to {owner} already"
    return _about_id(claim, policy, "label.invalid", message, _other_id("", policy))


def _other_id(first: str, policy: Policy) -> str:
    return f"{f'rename {first} ' if first else ''}give one of them a {policy.label_prefix}id"


def _about_id(claim: IdClaim, policy: Policy, reason: str, message: str, hint: str) -> Problem:
    return problem_of(
        reason,
        message,
        hint,
        workload=claim.key,
        container=claim.workload.names[0],
        label=f"{policy.label_prefix}id",
    )
