"""The generated pages: written of the code that they describe, never by hand.

python reference.py           writes what differs
python reference.py --check   writes nothing; status 1 where anything differs
"""

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from command_pages import (
    render_commands,
    render_exit_codes,
    render_runner_commands,
    render_variables,
)
from engine_page import render_engines
from page_text import code, page, table
from picture import render_picture
from problem_examples import render_example
from sidecar.cli.commands.schema import render_schema
from sidecar.labels.problem import REASONS, Severity
from sidecar.labels.registry import LABELS
from sidecar.lib.log import LogEvent
from sidecar.reconciler.doctor.run import CHECKS
from sidecar.reconciler.log_events import EVENTS
from sidecar.reconciler.metrics import METRICS
from sidecar.runner.doctor import CHECKS as RUNNER_CHECKS
from sidecar.runner.log_events import EVENTS as RUNNER_EVENTS
from sidecar.runner.log_events import ONCE
from sidecar.runner.metrics import METRICS as RUNNER_METRICS
from sidecar.service.metrics import Metric

ROOT = Path(__file__).parents[2]
REFERENCE = "docs/reference"
LABEL_PAGE = f"{REFERENCE}/labels.md"
PICTURE = "docs/images/preview.svg"

_SEVERITIES = {
    Severity.ERROR: "there is no new plan, and an existing one stays as it is.",
    Severity.DEGRADED: "there is a plan, but less is backed up or run than was asked.",
    Severity.WARNING: "all is as asked; somebody should know something.",
}


def render_pages() -> dict[str, str]:
    """Return the text of every generated file, and of the one that holds a generated table."""
    return {
        LABEL_PAGE: _with_label_table((ROOT / LABEL_PAGE).read_text()),
        PICTURE: render_picture(),
        f"{REFERENCE}/commands.md": render_commands(),
        f"{REFERENCE}/runner-commands.md": render_runner_commands(),
        f"{REFERENCE}/variables.md": render_variables(),
        f"{REFERENCE}/exit-codes.md": render_exit_codes(),
        f"{REFERENCE}/problems.md": render_problems(),
        f"{REFERENCE}/checks.md": render_checks(),
        f"{REFERENCE}/engines.md": render_engines(),
        f"{REFERENCE}/metrics.md": render_metrics(),
        f"{REFERENCE}/log-events.md": render_log_events(),
        f"{REFERENCE}/labels.schema.json": f"{render_schema('labels', 'backrest.')}\n",
    }


def label_table() -> str:
    """Write the table of all labels."""
    rows = ((code(label.name), label.values, label.default) for label in LABELS)
    return table(("label", "value", "default"), rows)


def _with_label_table(text: str) -> str:
    """Put the table between its marks; raises ValueError where there are none."""
    marked = re.compile(r"(<!-- labels -->\n).*?(\n<!-- /labels -->)", re.DOTALL)
    if not marked.search(text):
        raise ValueError("the page has no marks <!-- labels --> and <!-- /labels -->")
    return marked.sub(lambda match: f"{match[1]}{label_table()}{match[2]}", text)


def render_problems() -> str:
    """Write the page of all problems, each with what the program says about an example."""
    overview = table(
        ("reason", "severity", "when"),
        (
            (f"[`{name}`](#{name.replace('.', '')})", reason.severity.value, reason.when)
            for name, reason in REASONS.items()
        ),
    )
    severities = "\n".join(f"- `{one.value}`: {words}" for one, words in _SEVERITIES.items())
    sections = [
        f"## {code(name)}\n\n{reason.severity.value}: {reason.when}.\n\n{render_example(name)}"
        for name, reason in REASONS.items()
    ]
    intro = (
        "A problem is about one workload and stops no other. It has a reason that stays the same "
        "from version to version, and says where it is, what is wrong and what to write instead. "
        "`reconcile` and `lint` show it, the daemon logs it as "
        "[`problem.appeared`](log-events.md), `/status` and "
        "[`backrest_sidecar_problems`](metrics.md) have its reason."
    )
    return page("Problems", intro, severities, overview, *sections)


def render_checks() -> str:
    """Write the page of the doctor's checks."""
    intro = (
        "What [`backrest-sidecar doctor`](commands.md#doctor) checks, in this order: `ok`, "
        "`warning` (it works, but not as well as it could), `failure` (what is asked for does not "
        "work; status 1), or `not-checked` (there was nothing to look at, or an earlier failure "
        "hides it). It shows what is wrong, and with `--all` every check. The names in capitals "
        "are the variables of a socket proxy."
    )
    of_runner = (
        "Who runs the backups has the programs, the secrets and the way to the repositories: that "
        "is [`backrest-runner doctor`](runner-commands.md#doctor). Beside Backrest its companion "
        "asks the repositories of `runner.json`, which it executes; those of `config.json` are "
        "asked by Backrest, whenever it uses them."
    )
    titles = ("check", "proves that")
    rows = ((code(check.id), check.proves) for check in CHECKS)
    of_runners = ((code(name), proves) for name, proves in RUNNER_CHECKS.items())
    return page(
        "Checks of the doctor",
        intro,
        table(titles, rows),
        "## Of backrest-runner",
        of_runner,
        table(titles, of_runners),
    )


def render_metrics() -> str:
    """Write the page of the metrics."""
    intro = (
        "The page `/metrics` of `--listen` serves them in Prometheus' text form. All series exist "
        "from the start, those of a label with every value that it may have."
    )
    of_runner = (
        "The runner's page has them of each plan and repository in the document; a plan that "
        "was never saved has no time of it yet."
    )
    return page(
        "Metrics",
        intro,
        _metrics_table(METRICS),
        "## Of backrest-runner",
        of_runner,
        _metrics_table(RUNNER_METRICS),
    )


def _metrics_table(metrics: Iterable[Metric[Any]]) -> str:
    rows = (
        (code(one.name), str(one.kind), code(one.label) if one.label else "–", one.help)
        for one in metrics
    )
    return table(("metric", "kind", "label", "meaning"), rows)


def render_log_events() -> str:
    """Write the page of the log's events."""
    intro = (
        "The log goes to standard error, a line each: time, level, event, and fields that say "
        "which plan, workload or container is concerned and why (`reason`) and what to do "
        "(`hint`). With `--log-format json` each line is an object with the keys `time`, "
        "`level`, `event` and those fields. A situation that lasts is told once, when it begins, "
        "and again when it is over. Fields hold no secrets."
    )
    return page(
        "Log events",
        intro,
        _events_table(EVENTS),
        "## Of backrest-runner",
        _events_table(RUNNER_EVENTS),
        "And by `backrest-sidecar backup-once`, which runs the same things:",
        _events_table(ONCE),
    )


def _events_table(events: Mapping[str, LogEvent]) -> str:
    rows = ((code(name), event.level, event.when) for name, event in events.items())
    return table(("event", "level", "when"), rows)


def find_stale(pages: Mapping[str, str]) -> list[str]:
    """Name the files whose text differs from what it should be, or that are missing."""
    return [name for name, text in pages.items() if _read(ROOT / name) != text]


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def main(arguments: Iterable[str]) -> int:
    """Write, or with --check compare; gives the exit status."""
    given = list(arguments)
    if given not in ([], ["--check"]):
        print(f"unknown: {' '.join(given)} (only --check)", file=sys.stderr)
        return 1
    pages = render_pages()
    stale = find_stale(pages)
    if given:
        for name in stale:
            print(f"{name} differs from the code: run scripts/docs", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(pages[name])
        print(f"{name} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
