"""The documents say what the code does: tables are compared, commands are run."""

import re
import shlex
from pathlib import Path

import pytest

from sidecar.cli import run_cli
from sidecar.core.labels import LABELS
from sidecar.model.problem import SEVERITIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
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


def test_links_lead_somewhere() -> None:
    """Each relative link of a document names a file that exists."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
