"""Plans that move between the two documents, in any order of labels, restarts and kills."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.docker.models import Inventory
from sidecar.lib.errors import StoreError
from sidecar.reconciler.settings import Lifetime
from sidecar.reconciler.store.read import Stored
from sidecar.reconciler.store.replace import Replacement, Store
from tests.fakes.two_documents import (
    NIGHTLY,
    PLAN,
    TwoDocuments,
    inventory,
    plans_in,
    problems,
)

STANDING = {"id": PLAN, "repo": "local", "paths": ["/data0"], "schedule": NIGHTLY, "x": [1.5, "y"]}
WORLDS = {
    "local": inventory("local"),
    "nas": inventory("nas"),
    "unknown": inventory("elsewhere"),
    "wrong": inventory("nas", **{"backrest.keep": "what"}),
    "gone": Inventory(),
}
STEPS = st.one_of(
    st.sampled_from([*WORLDS]),
    st.sampled_from(["restart backrest", "lose the state", "die before config.json"]),
)


def step(both: TwoDocuments, name: str, world: str) -> None:
    """Let one thing happen; after most of them a pass is made."""
    if name == "restart backrest":
        both.restart_backrest()
        return
    if name == "lose the state":
        (both.settings.state_directory / "state.json").unlink(missing_ok=True)
    if name != "die before config.json":
        both.run(WORLDS[world])
        return
    put = Store.replace

    def dies(store: Store, base: Stored, content: bytes) -> Replacement:
        if store.path == both.config:
            raise StoreError("killed")
        return put(store, base, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "replace", dies)
        try:
            both.run(WORLDS[world])
        except StoreError:
            return


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(STEPS, max_size=12),
    st.sampled_from(["local", "nas"]),
    st.sampled_from(["local", "nas"]),
)
def test_a_wanted_plan_is_in_one_document_and_run_by_one(
    names: list[str], began: str, ends: str
) -> None:
    """It is never in neither, never run by both, and at rest as it was, where its label says."""
    with tempfile.TemporaryDirectory() as folder:
        both = TwoDocuments(Path(folder), Lifetime(grace=1e9))
        plan = {**STANDING, "repo": began}
        if began == "local":
            both.write(plan)
        else:
            both.write(runners=(plan,))
        world = began
        for name in names:
            world = name if name in WORLDS else world
            step(both, name, world)
            assert any(both.places), names
            assert len(both.runners_of()) < 2, names
        outcome = both.settle(WORLDS[ends])

        assert (ends == "local", ends == "nas") == both.places
        found = plans_in(both.config if ends == "local" else both.runner)[PLAN]
        assert {**plan, "repo": ends} == found
        assert [] == problems(outcome)
        assert {"backrest" if ends == "local" else "runner"} == both.runners_of()
