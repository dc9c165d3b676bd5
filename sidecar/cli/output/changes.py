"""The outcome of a pass as one JSON object, or as a unified diff of the document."""

import json
from collections.abc import Iterator
from difflib import unified_diff

from sidecar.backrest.document import Document
from sidecar.backrest.mask import mask_texts, mask_value
from sidecar.cli.output.plan_table import NEVER_RUN
from sidecar.cli.output.problems import problem_json
from sidecar.reconciler.reconcile import PassOutcome


def render_outcome_json(outcome: PassOutcome) -> str:
    """Write the object of `--output json`; plans as they stand after the pass, masked.

    `notes` are there only where there are any.
    """
    proposal = outcome.proposal
    changes = proposal.all_changes
    plans = proposal.plans
    shown = {
        "config": outcome.config,
        **({"runner_config": outcome.runner_config} if outcome.runner_config else {}),
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
    """Write the unified diffs of the documents, secrets masked in every line."""
    proposal = outcome.proposal
    lines = _document_diff(proposal.before, proposal.after, outcome.config)
    if (runner := proposal.runner) is not None:
        lines += _document_diff(runner.before, runner.after, outcome.runner_config)
    return "".join(lines)


def _document_diff(before: Document, after: Document, name: str) -> list[str]:
    return [*_diff_lines(*mask_texts(before.text, after.text), name)]


def _diff_lines(before: str, after: str, name: str) -> Iterator[str]:
    for line in unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, name
    ):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
