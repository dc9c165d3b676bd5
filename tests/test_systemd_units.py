"""The units for systemd: what they start exists, and systemd itself can read them."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.reading import known_variables

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "systemd").iterdir())
PROGRAMS = Path(sys.executable).parent
INSTALLED = Path("/usr/local/bin")
# Read by a library, not by us.
OF_OTHERS = {"XDG_CACHE_HOME"}


def settings_of(unit: Path) -> Mapping[str, list[str]]:
    """Read a unit: the values of each key in their order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_there_is_a_unit_for_each_daemon() -> None:
    """Named as its program."""
    assert ["backrest-runner.service", "backrest-sidecar.service"] == [unit.name for unit in UNITS]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_what_a_unit_starts_exists(unit: Path) -> None:
    """The command has a help; it is the program of that name, where pipx puts it."""
    [command] = settings_of(unit)["ExecStart"]
    program, *arguments = command.split()
    assert str(INSTALLED / unit.stem) == program

    done = subprocess.run(
        [PROGRAMS / unit.stem, *arguments, "--help"], capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert f"{unit.stem} daemon" in done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_variables_of_a_unit_are_ours(unit: Path) -> None:
    """And both look at the same document, in a folder that systemd makes and lets them write."""
    settings = settings_of(unit)
    given = dict(one.split("=", 1) for line in settings["Environment"] for one in line.split())
    assert set(given) - OF_OTHERS <= known_variables()
    assert "/etc/backrest/config.json" in given.values()
    assert ["backrest"] == settings["ConfigurationDirectory"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong(unit: Path, tmp_path: Path) -> None:
    """Where it is installed; elsewhere each line is at least a section, a comment or a setting."""
    text = unit.read_text()
    for line in text.splitlines():
        assert not line or line[0] in "#[" or "=" in line
    if (systemd := shutil.which("systemd-analyze")) is None:
        return
    copy = tmp_path / unit.name
    # It wants to find the program, which is not installed here.
    copy.write_text(text.replace(f"{INSTALLED}/", f"{PROGRAMS}/"))

    done = subprocess.run(
        [systemd, "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)
