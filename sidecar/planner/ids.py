"""Plan ids: how they are made, and who gets one that two workloads ask for.

A workload keeps the id that it has, whatever other workload arrives.
"""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from sidecar.backrest.document import DocumentView, PlanView
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import Problem, Severity, problem_of
from sidecar.labels.spec import LabelSpec
from sidecar.planner.workload import Workload, located

_OUTSIDE = re.compile(r"[^a-z0-9]")
PREFIX = re.compile(r"[a-z0-9][a-z0-9_]*_", re.ASCII)
_SUFFIX_LENGTH = len("_123abc")


class IdClaim(NamedTuple):
    """What decides the id of one workload; `paths` as the runner sees them.

    `plain` is the id that it has if no other asks for it, empty when its base has neither
    a letter nor a digit; `said` the one that it would have by a label of its image.
    """

    workload: Workload
    spec: LabelSpec
    paths: frozenset[str]
    plain: str = ""
    said: str = ""

    @property
    def key(self) -> str:
        """The natural key."""
        return self.workload.key


class Owner(NamedTuple):
    """Whose a standing plan is: a natural key, and its project or stack, empty for none."""

    key: str
    project: str = ""

    def is_kin(self, workload: Workload) -> bool:
        """Return whether a workload may go on with the plan."""
        is_neighbour = bool(self.project) and workload.scope == self.project
        return is_neighbour or workload.key == self.key or self.key in workload.keys


@dataclass(frozen=True, slots=True)
class Owners:
    """What is remembered of the owners of plans, and who is there now.

    `known` by plan id; `released` are the plans that anybody may take over; `workloads` are
    all that there are, labelled or not.
    """

    known: Mapping[str, Owner] = field(default_factory=dict)
    released: AbstractSet[str] = frozenset()
    workloads: Sequence[Workload] = ()

    def exists(self, owner: Owner) -> bool:
        """Return whether a container of the owner is still there."""
        return any(owner.key == w.key or owner.key in w.keys for w in self.workloads)

    def of_plans(
        self, wanted: Iterable[str], view: DocumentView, policy: Policy
    ) -> Mapping[str, Owner]:
        """Return the owners of those plans that stand, as far as anybody can tell.

        Where none is remembered it is the one workload whose id without its label gives
        the plan, unless it has a plan with a suffix.
        """
        standing = [
            plan for plan in wanted if plan in view.plan_by_id and plan not in self.released
        ]
        found = {plan: owner for plan in standing if (owner := self.known.get(plan))}
        unknown = {plan for plan in standing if plan not in found}
        natural: dict[str, list[Workload]] = {}
        for workload in self.workloads if unknown else ():
            plan = natural_id(workload, policy) if "enable" in workload.labels else ""
            if plan in unknown and suffixed_id(plan, workload.key) not in view.plan_by_id:
                natural.setdefault(plan, []).append(workload)
        return found | {plan: owner_of(had[0]) for plan, had in natural.items() if len(had) == 1}


_NO_OWNERS = Owners()


def owner_of(workload: Workload) -> Owner:
    """Return a workload as the owner of its plan."""
    return Owner(workload.key, workload.scope)


def natural_id(workload: Workload, policy: Policy) -> str:
    """Return the plan id that a workload has without an `id` label."""
    base = workload.base if policy.include_project_name else workload.short_base
    return sanitize(policy.plan_id_prefix + base)


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
    claims: Sequence[IdClaim], view: DocumentView, policy: Policy, owners: Owners = _NO_OWNERS
) -> list[tuple[str, tuple[Problem, ...]]]:
    """Return the plan id of each claim and the problems with it; no id only with one that blocks.

    `claims` are sorted by natural key. Deterministic in what the document holds.
    """
    found: list[tuple[str, tuple[Problem, ...]]] = [("", ())] * len(claims)
    wanted: dict[str, list[int]] = {}
    plains = {claim.plain for claim in claims}
    for index, claim in enumerate(claims):
        stands_by_image = claim.said in view.plan_by_id and claim.plain not in view.plan_by_id
        if stands_by_image and claim.said not in plains:
            found[index] = (claim.said, (_id_of_image(claim, policy),))
        elif claim.plain:
            wanted.setdefault(claim.plain, []).append(index)
        else:
            # The plan that the workload had before its id label became unusable stays its own.
            unlabelled = claim._replace(spec=claim.spec._replace(id=None))
            found[index] = (plain_id(unlabelled, policy), (_no_id(claim, policy),))
    holders: dict[str, str] = {}
    stems = {plan_id[:-_SUFFIX_LENGTH] for plan_id in view.plan_by_id}
    suffixed = {
        plan_id
        for plain, rivals in wanted.items()
        if len(rivals) > 1 or plain in stems
        for index in rivals
        if (plan_id := suffixed_id(plain, claims[index].key)) in view.plan_by_id
    }
    known = owners.of_plans({*wanted, *suffixed}, view, policy)
    for plain, rivals in sorted(wanted.items()):
        owner = known.get(plain)
        is_kin = owner is None or owner.is_kin(claims[rivals[0]].workload)
        if len(rivals) == 1 and plain not in stems and is_kin:
            shares = [(rivals[0], plain)]
        else:
            allowed = _allowed(rivals, claims, owner, owners, policy)
            shares = _share_out(plain, rivals, allowed, known, claims, view.plan_by_id)
        keeper = next((claims[i].key for i, plan_id in shares if plan_id == plain), "")
        for index, plan_id in shares:
            claim = claims[index]
            problems = _rivalry(index, plain, rivals, claims, keeper, policy)
            foreign = "" if plan_id else suffixed_id(plain, claim.key)
            theirs = _stranger(foreign, claim, known)
            if theirs is not None:
                problems += (_foreign(claim, foreign, theirs, owners, policy),)
            elif owner is not None:
                problems += _about_owner(claim, plan_id, plain, owner, owners, policy)
            holder = holders.setdefault(plan_id, claim.key) if plan_id else claim.key
            if holder != claim.key:
                problems += (_taken(claim, plan_id, holder, policy),)
            found[index] = ("" if holder != claim.key else plan_id, problems)
    return found


def _stranger(plan_id: str, claim: IdClaim, known: Mapping[str, Owner]) -> Owner | None:
    """Return whose a standing plan is, None where the claim may go on with it."""
    owner = known.get(plan_id)
    return None if owner is None or owner.is_kin(claim.workload) else owner


def _allowed(
    rivals: Sequence[int],
    claims: Sequence[IdClaim],
    owner: Owner | None,
    owners: Owners,
    policy: Policy,
) -> Sequence[int]:
    """Return those who may have a plan: its owner's kin, and others once no owner is left."""
    kin = [i for i in rivals if owner is None or owner.is_kin(claims[i].workload)]
    if kin or owner is None or owners.exists(owner) or policy.hook_policy is not HookPolicy.ALL:
        return kin
    return rivals


def _about_owner(
    claim: IdClaim, plan_id: str, plain: str, owner: Owner, owners: Owners, policy: Policy
) -> tuple[Problem, ...]:
    """Return the problem of a claim to a plan that is, or was, another's."""
    if not plan_id:
        return (_foreign(claim, plain, owner, owners, policy),)
    if plan_id == plain and not owner.is_kin(claim.workload):
        return (_taken_over(claim, plain, owner, policy),)
    return ()


def _share_out(  # what decides it
    plain: str,
    rivals: Sequence[int],
    allowed: Sequence[int],
    known: Mapping[str, Owner],
    claims: Sequence[IdClaim],
    existing: Mapping[str, PlanView],
) -> list[tuple[int, str]]:
    """Give the plain id to one of those who ask for it; the others get one with a suffix.

    Only the `allowed` may have the plan that stands. Where nobody is, the others get no
    id at all: it is another's, as `known` says. Nor does one whose suffix leads to the plan of
    another: somebody may have chosen a name for its hash.
    """
    held = [(index, suffixed_id(plain, claims[index].key)) for index in rivals]
    strangers = {i for i, plan_id in held if _stranger(plan_id, claims[i], known) is not None}
    keeping = [(i, plan_id) for i, plan_id in held if plan_id in existing and i not in strangers]
    keeping += [(index, "") for index in strangers]
    others = [(index, plan_id) for index, plan_id in held if plan_id not in existing]
    if not others:
        return keeping
    if not allowed:
        return [*keeping, *((index, "") for index, _ in others)]
    candidates = [index for index, _ in others if index in allowed]
    winner = _plain_goes_to(plain, candidates, known.get(plain), claims, existing)
    return [*keeping, *((i, plain if i == winner else plan_id) for i, plan_id in others)]


def _plain_goes_to(
    plain: str,
    candidates: Sequence[int],
    owner: Owner | None,
    claims: Sequence[IdClaim],
    existing: Mapping[str, PlanView],
) -> int | None:
    """Return who gets the plain id: the owner, who shares a path with the plan, the oldest.

    Of newcomers it is the first. One whose own labels nobody can tell comes last.
    """
    paths = frozenset(existing[plain].paths) if plain in existing else None

    def rank(index: int) -> tuple[bool, bool, bool, int, str]:
        claim = claims[index]
        problems = claim.workload.problems
        is_doubtful = any(p.blocks and p.reason == "label.from-image" for p in problems)
        if paths is None:
            return False, is_doubtful, False, 0, claim.key
        is_owner = owner is not None and owner.key in (claim.key, *claim.workload.keys)
        created = min(container.created for container in claim.workload.containers)
        return not is_owner, is_doubtful, not paths & claim.paths, created, claim.key

    return min(candidates, key=rank, default=None)


def _rivalry(  # the parts of a problem
    index: int,
    plain: str,
    rivals: Sequence[int],
    claims: Sequence[IdClaim],
    keeper: str,
    policy: Policy,
) -> tuple[Problem, ...]:
    if len(rivals) == 1:
        return ()
    claim = claims[index]
    others = [claims[other].key for other in rivals if other != index]
    if claim.key in others:
        return (_same_key(claim, policy),)
    return (_collision(claim, plain, others, keeper, policy),)


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
    found: dict[str, list[tuple[IdClaim, str, bool]]] = {}
    for claim, plan_id, paths in new:
        short = sanitize(policy.plan_id_prefix + claim.workload.short_base)
        old = short if short in orphans else by_paths.get(tuple(sorted(paths)))
        if old is not None:
            found.setdefault(old, []).append((claim, plan_id, old == short))
    return [
        _renamed(claim, old, plan_id, [c.key for c, _, _ in heirs], unprefixed, policy)
        for old, heirs in found.items()
        for claim, plan_id, unprefixed in heirs
    ]


def _renamed(  # the parts of a problem
    claim: IdClaim, old: str, new: str, heirs: Sequence[str], unprefixed: bool, policy: Policy
) -> Problem:
    base = old.removeprefix(policy.plan_id_prefix)
    hint = f"to keep the history set {policy.label_prefix}id={base}"
    if len(heirs) > 1:
        # The same id on all of them would only be a collision.
        hint += f" on one of {', '.join(heirs)} and leave the others as they are"
    elif unprefixed and policy.include_project_name:
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


def _id_of_image(claim: IdClaim, policy: Policy) -> Problem:
    base = claim.workload.ignored["id"]
    message = f"{policy.label_prefix}id, which only the image says, made the standing plan"
    return _about_id(
        claim,
        policy,
        "label.from-image",
        f"{message} {claim.said}: it stays, and is not updated",
        f'write {policy.label_prefix}id: " {base}" on the service in the Compose file '
        "(the blank makes the value yours), or pass --trust-image-labels",
        Severity.ERROR,
    )


def _collision(
    claim: IdClaim, plain: str, others: Sequence[str], keeper: str, policy: Policy
) -> Problem:
    message = f"{plain} is the plan id of {claim.key} and also of {', '.join(others)}"
    hint = _other_id("", policy)
    if keeper:
        hint = f"{keeper} keeps it: give each other one a {policy.label_prefix}id of its own"
    return _about_id(claim, policy, "plan.id-collision", message, hint)


def _foreign(claim: IdClaim, plan_id: str, owner: Owner, owners: Owners, policy: Policy) -> Problem:
    why = "which is still there" if owners.exists(owner) else "which is gone"
    return _about_id(
        claim,
        policy,
        "plan.id-taken",
        f"the plan {plan_id} belongs to {owner.key}, {why}: {claim.key} does not get it",
        f"give {claim.key} another {policy.label_prefix}id, or hand the plan over to it: "
        f"`backrest-sidecar reconcile --take-over {plan_id}`",
    )


def _taken_over(claim: IdClaim, plan_id: str, owner: Owner, policy: Policy) -> Problem:
    return _about_id(
        claim,
        policy,
        "plan.taken-over",
        f"{claim.key} goes on with the plan {plan_id} of {owner.key}, which is gone",
        f"if it has other data, give it another {policy.label_prefix}id",
    )


def _taken(claim: IdClaim, plan_id: str, owner: str, policy: Policy) -> Problem:
    message = f"the plan id {plan_id} belongs to {owner} already"
    return _about_id(claim, policy, "label.invalid", message, _other_id("", policy))


def _other_id(first: str, policy: Policy) -> str:
    return f"{f'rename {first} ' if first else ''}give one of them a {policy.label_prefix}id"


def _about_id(  # the parts of a problem
    claim: IdClaim,
    policy: Policy,
    reason: str,
    message: str,
    hint: str,
    severity: Severity | None = None,
) -> Problem:
    label = f"{policy.label_prefix}id"
    problem = problem_of(reason, message, hint, label=label, severity=severity)
    return located(problem, claim.workload)
