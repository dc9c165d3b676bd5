"""The outcome of a pass as one JSON object, or as a unified diff of the document."""

import json
from collections.abc import Iterator
from difflib import unified_diff

from sidecar.backrest.mask import mask_texts, mask_value
from sidecar.cli.output.plan_table import NEVER_RUN
from sidecar.cli.output.problems import problem_json
from sidecar.reconciler.reconcile import PassOutcome


def render_outcome_json(outcome: PassOutcome) -> str:
    """Write the object of `--output json`; plans as they stand after the pass, masked.

    `notes` are there only where there are any.
    """
    proposal = outcome.proposal
    changes = proposal.changes
    plans = proposal.after.plans
    shown = {
        "config": outcome.config,
        "changed": outcome.changed,
        "added": [plan.id for plan in changes.added],
        "updated": list(changes.updated),
        "orphaned": list(changes.orphaned),
        "unchanged": list(changes.unchanged),
        "plans": [mask_value(plans[plan.id]) for plan in proposal.rendered.plans],
        "problems": [problem_json(problem) for problem in proposal.rendered.problems],
    }
    if outcome.never_run:
        shown["notes"] = [
            {"plan": plan_id, "message": NEVER_RUN[0], "hint": NEVER_RUN[1].removeprefix("→ ")}
            for plan_id in outcome.never_run
        ]
    return json.dumps(shown, indent=2, ensure_ascii=False)


def render_outcome_diff(outcome: PassOutcome) -> str:
    """Write the unified diff of the document, secrets masked in every line."""
    proposal = outcome.proposal
    before, after = mask_texts(proposal.before.text, proposal.after.text)
    return "".join(_diff_lines(before, after, outcome.config))


def _diff_lines(before: str, after: str, name: str) -> Iterator[str]:
    for line in unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, name
    ):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
