"""Which Compose files belong together when many are named."""

from pathlib import Path

import pytest

from sidecar.docker.compose.text import group_projects


@pytest.fixture(autouse=True)
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folders with a file and its override, one with a file alone, one with the like."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "compose.yaml",
        "compose.override.yaml",
        "media/docker-compose.yml",
        "media/docker-compose.override.yml",
        "wiki/compose.yml",
        "wiki/compose.override.d",
        "odd/compose.override.yml",
    ):
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("")


@pytest.mark.parametrize(
    ("named", "projects"),
    [
        (["wiki/compose.yml"], [("wiki/compose.yml",)]),
        (["compose.yaml"], [("compose.yaml", "compose.override.yaml")]),
        (["./compose.yaml"], [("compose.yaml", "compose.override.yaml")]),
        (["compose.override.yaml"], [("compose.yaml", "compose.override.yaml")]),
        (
            ["media/docker-compose.override.yml", "media/docker-compose.yml"],
            [("media/docker-compose.yml", "media/docker-compose.override.yml")],
        ),
        (["odd/compose.override.yml"], [("odd/compose.override.yml",)]),
        (["stacks/prod.yaml", "wiki/compose.yml"], [("stacks/prod.yaml",), ("wiki/compose.yml",)]),
        (["gone/compose.yaml"], [("gone/compose.yaml",)]),
        ([], []),
    ],
)
def test_a_file_goes_with_the_override_beside_it(
    named: list[str], projects: list[tuple[str, ...]]
) -> None:
    """Whichever is named, once; other names and absent files stand alone."""
    assert projects == group_projects(named)


def test_the_first_name_that_compose_looks_for_is_the_base() -> None:
    """Of two files that could be meant, an override is laid over the one that Compose takes."""
    Path("docker-compose.yml").write_text("")
    assert [("compose.yaml", "compose.override.yaml")] == group_projects(["compose.override.yaml"])
