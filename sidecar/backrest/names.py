"""Names that people know, such as `media/db`, in place of plan ids; with "did you mean"."""

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Final, NamedTuple

from sidecar.backrest.workloads import WorkloadRecord
from sidecar.lib.errors import UsageError
from sidecar.lib.text import closest, quoted

_MOST_NAMES: Final = 10
_MOST_NEAR: Final = 3
_SHORTEST_PART: Final = 3


class NamedPlan(NamedTuple):
    """What a name means: a plan that stands, and its workload where one is known."""

    plan: str
    workload: WorkloadRecord | None = None


class Names:
    """The names of the plans that stand, by their ids, and of the workloads that are known.

    Without any workload the plans are known by their ids.
    """

    def __init__(self, workloads: Iterable[WorkloadRecord], plans: Collection[str]) -> None:
        self._workloads = sorted(workloads, key=_rank)
        self._plans = plans

    def find(self, name: str) -> NamedPlan:
        """Return the plan that a name means.

        First a plan id, then the whole name of a workload with its project; then, if only one
        workload has it, the name of a service, of a container or of a group, or another name of
        what was joined. A container without a project takes no name away from a service.

        Raises UsageError, which names what comes near, or the whole names that it may mean.
        """
        if name in self._plans:
            return NamedPlan(name, self._of_plan.get(name))
        meant = self.workloads(name)
        if not meant:
            message = f"there is no plan or service {quoted(name)}"
            raise UsageError(message, self.hint(name))
        if len(meant) > 1:
            names = sorted(set(map(self._certain_name, meant)))
            raise UsageError(f"{quoted(name)} may mean {' or '.join(names)}", "write one of them")
        if meant[0].plan not in self._plans:
            raise UsageError(f"{meant[0].name} is in no plan", _why_in_no_plan(meant[0]))
        return NamedPlan(meant[0].plan, meant[0])

    def find_all(self, name: str) -> list[NamedPlan]:
        """Return the plans that a name means: several if it is that of a project, as `media/`.

        Of a project those of its services that have one; any other name means one, see `find`.
        Raises UsageError.
        """
        if not name.endswith("/") or name == "/":
            return [self.find(name)]
        whole = [self.find(shown) for shown in self.shown.values() if shown.startswith(name)]
        if not whole:
            project = name.rstrip("/")
            known = {shown.rpartition("/")[0] for shown in self.shown.values()} - {""}
            near = closest(project, known)
            listed = f"there are: {', '.join(sorted(known)) or 'none'}"
            hint = f"did you mean {near}/?" if near else listed
            raise UsageError(f"there is no project {quoted(project)} with a plan", hint)
        return whole

    def workloads(self, name: str) -> list[WorkloadRecord]:
        """Return the workloads that a name means, several where it is ambiguous.

        Of those that are called alike one counts that has a plan, before one that is gone and left
        a plan, before one in no plan. Plan ids mean none.
        """
        meant = self._by_name.get(name) or self._by_part.get(name) or []
        first = {one.name: _rank(one) for one in reversed(meant)}
        return [one for one in meant if _rank(one) == first[one.name]]

    @cached_property
    def shown(self) -> dict[str, str]:
        """The name that each plan is shown by: that of its workload if it means that, else its id.

        By plan id, sorted by name.
        """
        names = {plan: plan for plan in self._plans}
        for plan, one in self._of_plan.items():
            if self.workloads(one.name) == [one] and one.name not in self._plans:
                names[plan] = one.name
        return dict(sorted(names.items(), key=lambda item: (item[1], item[0])))

    def complete(self, start: str) -> list[str]:
        """Return the names that begin with what was typed, sorted.

        Those that are shown; where none begins so, services and containers, then plan ids.
        """
        parts = (name for name in self._by_part if len(self.workloads(name)) == 1)
        known = (name for name in parts if self.workloads(name)[0].plan in self._plans)
        for names in (self.shown.values(), known, self._plans):
            if found := sorted({name for name in names if name.startswith(start)}):
                return found
        return []

    @cached_property
    def _of_plan(self) -> dict[str, WorkloadRecord]:
        return {one.plan: one for one in reversed(self._workloads) if one.plan in self._plans}

    @cached_property
    def _by_name(self) -> dict[str, list[WorkloadRecord]]:
        found: dict[str, list[WorkloadRecord]] = {}
        for one in self._workloads:
            if one.project:
                found.setdefault(one.name, []).append(one)
        return found

    @cached_property
    def _by_part(self) -> dict[str, list[WorkloadRecord]]:
        found: dict[str, list[WorkloadRecord]] = {}
        for one in self._workloads:
            for name in {one.service, one.group, *one.containers, *one.aliases} - {""}:
                found.setdefault(name, []).append(one)
        return found

    def _certain_name(self, one: WorkloadRecord) -> str:
        """Return the name of a workload, or its plan's id where that name may mean others."""
        return one.plan if one.plan and len(self.workloads(one.name)) > 1 else one.name

    def with_ids(self, ids: Iterable[str]) -> "Names":
        """Return the same with further ids, such as those of repositories, as if of plans."""
        return Names(self._workloads, {*self._plans, *ids})

    def hint(self, name: str) -> str:
        """Return what comes near a name that means nothing, or what there is."""
        near = _near(name, [*(one.name for one in self._workloads), *self.shown.values()])
        near = near or _near(name, [*self._plans, *self._by_part])
        if near:
            return f"did you mean {' or '.join(near)}?"
        listed = list(self.shown.values())
        if not listed:
            return "the document has no plan"
        more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
        return f"there are: {', '.join(listed[:_MOST_NAMES])}{more}"


def _rank(one: WorkloadRecord) -> int:
    return (1 if one.is_gone else 0) if one.plan else 2


def _why_in_no_plan(one: WorkloadRecord) -> str:
    why = [problem.message for problem in one.problems if problem.severity == "error"]
    why += [f"{mount.path}: {mount.why}" for mount in one.mounts if mount.why]
    return why[0] if why else "`backrest-sidecar lint` tells why"


def _near(name: str, known: Iterable[str]) -> Sequence[str]:
    """Return the names that come near one, the nearest first; `media-db` is near `media/db`."""
    plain = {_plain(one): one for one in known}
    wanted = _plain(name)
    if wanted in plain:
        return [plain[wanted]]
    close = get_close_matches(wanted, plain, n=_MOST_NEAR)
    if not close and len(wanted) >= _SHORTEST_PART:
        close = sorted(one for one in plain if wanted in one)[:_MOST_NEAR]
    return [plain[one] for one in close]


def _plain(name: str) -> str:
    """Return a name without case, and with one sign for all that separates its parts."""
    return "".join(char if char.isalnum() else "-" for char in name.lower())
