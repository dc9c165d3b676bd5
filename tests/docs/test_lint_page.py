"""The page about the lint names what there is: reasons, hook, version, actions."""

import re

from sidecar import __version__
from sidecar.planner import lint as findings
from sidecar.reconciler import lint
from tests.docs.blocks import ROOT, blocks_of
from tests.docs.reading import load_yaml

PAGE = ROOT / "docs" / "how-to" / "lint.md"
PIN = re.compile(r"uses: (\S+@[0-9a-f]{40} # v[\d.]+)")


def test_every_reason_that_only_a_lint_gives_is_explained() -> None:
    """One row for each, and none for what is no more."""
    shown = re.findall(r"^\| `(lint\.[a-z-]+)` \|", PAGE.read_text(), re.MULTILINE)
    values = [*vars(findings).values(), *vars(lint).values()]
    given = {value for value in values if isinstance(value, str) and value.startswith("lint.")}
    assert sorted(given) == sorted(shown)


def test_configurations_of_pre_commit_name_our_hook_at_our_version() -> None:
    """As the manifest offers it; a new version of ours is a new one there."""
    [offered] = load_yaml((ROOT / ".pre-commit-hooks.yaml").read_text())
    trees = [load_yaml(block.text) for block in blocks_of(PAGE) if block.language == "yaml"]
    repositories = [one for tree in trees for one in tree.get("repos", ())]
    assert 2 == len(repositories)
    for one in repositories:
        assert one["rev"] == f"v{__version__}"
        assert [offered["id"]] == [hook["id"] for hook in one["hooks"]]


def test_actions_are_pinned_as_our_own_workflows_pin_them() -> None:
    """Whoever copies the example gets the release that we use."""
    folder = ROOT / ".github" / "workflows"
    ours = {pin for file in folder.glob("*.yml") for pin in PIN.findall(file.read_text())}
    shown = set(PIN.findall(PAGE.read_text()))
    assert shown
    assert shown <= ours
