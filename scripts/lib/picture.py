"""The picture of the README: a terminal in which the README's own preview has run, as an SVG.

Whatever is seen in it was printed by the program, in its own colours. The date of the next run is
another one each day, so that one alone is put in.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[2]
_COLUMNS = 92
_FENCED = re.compile(r"^```yaml\n(# compose\.yaml\n.*?)^```$", re.DOTALL | re.MULTILINE)
_DAY = re.compile(r"\bnext [A-Z][a-z]{2} \d{4}-\d\d-\d\d\b")
_SHOWN_DAY = "next Fri 2026-01-16"
_PREVIEW = ("reconcile", "--dry-run", "--config", "config.json", "--compose", "compose.yaml")
# Rich's own has fonts of a server in it. Each letter has its place, so any such font will do.
_SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" xml:space="preserve">
<title>backrest-sidecar reconcile --dry-run</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def render_picture() -> str:
    """Run the preview of the README's service; return the terminal as an SVG."""
    found = _FENCED.search((ROOT / "README.md").read_text())
    if found is None:
        raise ValueError("the README has no compose.yaml to run the preview of")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "compose.yaml").write_text(found[1])
        _run(folder, "init", "--config", "config.json", "--repo", "/backups", "--generate-password")
        printed = _run(folder, *_PREVIEW)
    shown = _DAY.sub(_SHOWN_DAY, printed)
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text(f"$ backrest-sidecar {' '.join(_PREVIEW)}", style="bold"))
        console.print(Text.from_ansi(shown.rstrip()))
    drawn = console.export_svg(
        title="backrest-sidecar", theme=MONOKAI, code_format=_SVG, unique_id="preview"
    )
    return "\n".join(line.rstrip() for line in drawn.splitlines() if line.strip()) + "\n"


def _run(folder: str, *arguments: str) -> str:
    # No PATH: a Compose that is installed somewhere shall make no other picture.
    shown = {"FORCE_COLOR": "1", "COLUMNS": str(_COLUMNS), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", *arguments],
        cwd=folder,
        env={**shown, "PATH": folder, "HOME": folder, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout
