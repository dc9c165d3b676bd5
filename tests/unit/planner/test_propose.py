"""Proposals for a desired state: made once for equal inputs."""

from dataclasses import replace
from datetime import timedelta

from sidecar.planner.propose import Planner
from tests.fakes.orphaned_plan import EXPIRED, ID, NOW, content_of, desired_state


def test_equal_inputs_give_the_same_proposal() -> None:
    """The same inputs give the same object; a grace that ends meanwhile does not."""
    planner = Planner()
    waiting = replace(EXPIRED, grace=150.0)
    desired = desired_state(waiting)
    first = planner.propose(content_of(), desired)
    later = replace(desired, now=NOW + timedelta(seconds=10))
    over = replace(desired, now=NOW + timedelta(seconds=60))

    assert first is planner.propose(content_of(), later)
    assert first is not planner.propose(content_of(), over)
    assert (ID,) == planner.propose(content_of(), over).changes.updated


def test_a_document_that_was_just_proposed_is_not_decoded_again() -> None:
    """After our own write the next pass begins with what is known of it."""
    planner = Planner()
    first = planner.propose(content_of(), desired_state())
    second = planner.propose(first.after.content, desired_state(None))

    assert first.after is second.before
