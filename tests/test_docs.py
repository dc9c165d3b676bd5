"""The documents say what the code does: tables are compared, commands are run."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest

from sidecar.cli import cli, run_cli
from sidecar.core.labels import LABELS
from sidecar.model.problem import SEVERITIES
from sidecar.watch.doctor.run import CHECKS
from sidecar.watch.serve import METRICS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DAEMON = (ROOT / "docs/how-to/daemon.md").read_text()
REFERENCE = (ROOT / "docs/reference/labels.md").read_text()


def label_table() -> str:
    """Give the label table as both documents show it."""
    rows = [f"| `{label.name}` | {label.values} | {label.default} |" for label in LABELS]
    return "\n".join(["| label | value | default |", "|---|---|---|", *rows])


@pytest.mark.parametrize("text", [README, REFERENCE], ids=["README", "reference"])
def test_label_table_is_the_registry(text: str) -> None:
    """Every label of the registry stands in the documents, word for word, and no other."""
    shown = re.search(r"<!-- labels -->\n(.*?)\n<!-- /labels -->", text, re.DOTALL)
    assert shown is not None
    assert shown[1].strip() == label_table()


def test_reference_lists_every_problem() -> None:
    """Each reason stands in the reference with its severity."""
    shown = re.findall(r"^\| `([a-z.-]+)` \| (error|degraded|warning)", REFERENCE, re.MULTILINE)
    assert dict(shown) == {reason: severity.value for reason, severity in SEVERITIES.items()}


def test_readme_commands_give_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The YAML and the commands of the README run, and the preview is the one shown."""
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```yaml\n(# compose.yaml\n.*?)```", README, re.DOTALL)
    session = re.search(r"```console\n(\$ backrest-sidecar init.*?)```", README, re.DOTALL)
    assert example is not None
    assert session is not None
    Path("compose.yaml").write_text(example[1])
    for block in session[1].split("$ backrest-sidecar ")[1:]:
        command, _, shown = block.partition("\n")
        assert run_cli(shlex.split(command)) == 0
        printed = re.sub(r"next \w.*", "next NEXT RUN", capsys.readouterr().out)
        if shown.strip():
            assert printed.strip() == shown.strip()


def table_of(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Write a table as the documents show it."""
    first, *rest = ("| " + " | ".join(line) + " |" for line in (head, *rows))
    return "\n".join([first, "|" + "---|" * len(head), *rest])


def block(text: str, name: str) -> str:
    """Give what stands between the marks of a generated block."""
    shown = re.search(rf"<!-- {name} -->\n(.*?)\n?<!-- /{name} -->", text, re.DOTALL)
    assert shown is not None
    return shown[1].strip()


def test_daemon_page_lists_every_check_of_the_doctor() -> None:
    """With what each proves, in their order."""
    rows = ((f"`{check.id}`", check.proves) for check in CHECKS)
    assert block(DAEMON, "checks") == table_of(("check", "proves that"), rows)


def test_daemon_page_lists_every_metric() -> None:
    """With its kind and its label."""
    rows = (
        (
            f"`{metric.name}`",
            str(metric.kind),
            f"`{metric.label}`" if metric.label else "–",
            metric.help,
        )
        for metric in METRICS
    )
    assert block(DAEMON, "metrics") == table_of(("metric", "kind", "label", "meaning"), rows)


def test_commands_of_the_daemon_page_have_the_flags_that_they_use() -> None:
    """Each command shown is one of ours, and takes every flag shown with it."""
    shown = re.findall(r"^\s*\$ backrest-sidecar (.+)$", DAEMON, re.MULTILINE)
    assert len(shown) > 5
    for line in shown:
        name, *arguments = shlex.split(line)
        options = {opt for p in cli.commands[name].params for opt in (*p.opts, *p.secondary_opts)}
        used = {argument for argument in arguments if argument.startswith("--")}
        assert name == "healthcheck" or used <= options, line


def test_links_lead_somewhere() -> None:
    """Each relative link of a document names a file that exists."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
