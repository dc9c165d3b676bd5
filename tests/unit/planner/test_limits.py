"""How large plans and the document may become."""

from datetime import UTC, datetime

import pytest

from sidecar.backrest.document import Document
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.errors import DocumentError
from sidecar.planner import propose as module
from sidecar.planner.propose import DesiredState, Proposal, propose

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
REPO = '{"id": "r", "uri": "/r", "autoInitialize": true}'
DOCUMENT = f'{{"modno": 1, "version": 6, "instance": "i", "repos": [{REPO}], "plans": []}}'
EVENTS = ("start", "end", "success", "error", "warning", "skipped")


def container(name: str, labels: dict[str, str]) -> Container:
    """A running container with a volume of its own."""
    own = {"backrest.enable": "true"} | {f"backrest.{key}": labels[key] for key in labels}
    mount = Mount("volume", f"/v/{name}", "/data", name, "local")
    return Container(name.encode().hex().ljust(64, "0"), name, "", own, (mount,), 0, "running")


def run(*containers: Container) -> Proposal:
    """Make one pass over an empty document."""
    return propose(Document(DOCUMENT), DesiredState(Inventory(containers, {}, {}), Policy(), NOW))


def test_a_plan_has_at_most_one_mib() -> None:
    """Its workload gets none; the others get theirs."""
    long = {f"snapshot-{event}": "$SELF " * (10_000) for event in EVENTS}
    proposal = run(container("w" * 60, long), container("web", {}))

    assert [plan.id for plan in proposal.changes.added] == ["backrest_sidecar_web"]
    assert [problem.reason for problem in proposal.rendered.problems] == ["label.invalid"]


def test_a_large_plan_within_the_limit_is_written() -> None:
    """What counts is the size in the document."""
    long = {f"snapshot-{event}": "x" * 60_000 for event in EVENTS}

    assert len(run(container("web", long)).changes.added) == 1


def test_a_document_that_could_not_be_read_again_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message names the largest plan."""
    large = container("large", {"snapshot-end": "x" * 3_000})
    monkeypatch.setattr(module, "LARGEST", 3_500)
    with pytest.raises(DocumentError) as refusal:
        run(container("web", {}), large)

    assert "backrest_sidecar_large" in str(refusal.value)
    monkeypatch.setattr(module, "LARGEST", 8_000)
    assert len(run(container("web", {}), large).changes.added) == 2
