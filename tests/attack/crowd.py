"""A host that an attacker shares with a victim, and one pass of the sidecar over it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sidecar.backrest.document import Document
from sidecar.backrest.reading import Config, read_config
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.planner.propose import DesiredState, Proposal, propose

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
POLICIES = [*map(str, HookPolicy)]


def container(name: str, labels: Mapping[str, str], source: str = "", **more: Any) -> Container:
    """Return a running container with one folder of its own; labels without the prefix."""
    own = {"backrest.enable": "true"} | {f"backrest.{key}": labels[key] for key in labels}
    mount = Mount("bind", source or f"/srv/{len(name)}", "/data")
    made = Container(name.encode().hex()[:64].ljust(64, "0"), name, "", own, (mount,))
    return replace(made, **more)


def document(plans: Sequence[Mapping[str, Any]] = ()) -> Document:
    """Return a document with one repository."""
    repo = {"id": "store", "uri": "/r", "guid": "a" * 64, "password": "x"}
    root = {"modno": 1, "version": 6, "instance": "here", "repos": [repo], "plans": plans}
    return Document(json.dumps(root))


def look(
    policy: str, *containers: Container, before: Document | None = None, **world: Any
) -> Proposal:
    """Make one pass over containers, under a hook policy."""
    rules = Policy(hook_policy=HookPolicy(policy))
    return propose(before or document(), DesiredState(Inventory(containers, **world), rules, NOW))


def plans_of(proposal: Proposal) -> dict[str, dict[str, Any]]:
    """Return the plans after a pass, by what follows the prefix of their ids."""
    plans = json.loads(proposal.after.text)["plans"]
    return {plan["id"].removeprefix("backrest_sidecar_"): plan for plan in plans}


def as_run(proposal: Proposal) -> Config:
    """Return the document after a pass as the runner reads it."""
    return read_config(json.loads(proposal.after.text))
