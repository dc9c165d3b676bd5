"""The workflows: readable, pinned, with no more rights than they need, true to the files here."""

import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar import __version__

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
ZIZMOR = Path(sys.executable).parent / "zizmor"
PINNED = re.compile(r"([\w-]+/[\w-]+)@([0-9a-f]{40})")
VERSIONED = re.compile(r"uses: (\S+@[0-9a-f]{40}) # (v\d+\.\d+\.\d+)$", re.MULTILINE)

# What one job alone may do, and why: push the image; be recognised by the package index.
WRITES = {("image.yml", "image"): {"packages"}, ("release.yml", "publish"): {"id-token"}}


@dataclass(frozen=True, slots=True)
class Part:
    """One of the parts that a workflow runs side by side, as its file has it."""

    file: str
    name: str
    body: dict[str, Any]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Its steps; none where it is another workflow's."""
        found: list[dict[str, Any]] = self.body.get("steps", [])
        return found


def load(file: Path) -> dict[str, Any]:
    """Read a file of YAML, every scalar as the text that stands there."""
    tree: dict[str, Any] = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # noqa: S506 - makes text only
    return tree


def parts() -> list[Part]:
    """Return the parts of all workflows."""
    return [
        Part(file.name, name, body) for file in FILES for name, body in load(file)["jobs"].items()
    ]


def steps() -> Iterator[dict[str, Any]]:
    """Yield the steps of all workflows."""
    for part in parts():
        yield from part.steps


def step(file: str, action: str) -> dict[str, Any]:
    """Find the step of a workflow that uses an action."""
    found = [
        one
        for part in parts()
        for one in part.steps
        if part.file == file and one.get("uses", "").startswith(f"{action}@")
    ]
    assert len(found) == 1
    return found[0]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the tree, without standard input."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_there_are_the_workflows_that_we_speak_of() -> None:
    """Tests, the image, and the release of the package."""
    assert ["image.yml", "release.yml", "test.yml"] == [file.name for file in FILES]
    assert {"check", "unit", "engine", "image"} == set(load(FOLDER / "test.yml")["jobs"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_workflow_grants_nothing_and_follows_only_one_run_of_a_branch(file: Path) -> None:
    """Rights are given part by part; an older run of a pull request ends."""
    workflow = load(file)
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"] == f"{file.stem}-${{{{ github.ref }}}}"


@pytest.mark.parametrize("part", parts(), ids=lambda part: f"{part.file}-{part.name}")
def test_a_part_may_read_and_no_more(part: Part) -> None:
    """Who may write is listed above; nothing may run for hours."""
    granted = part.body["permissions"]
    written = {name for name, right in granted.items() if right == "write"}
    assert written == WRITES.get((part.file, part.name), set())
    assert {"contents"} >= {name for name, right in granted.items() if right == "read"}
    assert {"read", "write"} >= set(granted.values())
    assert part.body.get("uses") or int(part.body["timeout-minutes"]) <= 60


def test_every_action_is_a_commit_with_its_release_beside_it() -> None:
    """A tag can be moved; and one action has one version in all workflows."""
    used = [one["uses"] for one in steps() if "uses" in one]
    named = [pin for file in FILES for pin in VERSIONED.findall(file.read_text())]
    assert all(PINNED.fullmatch(action) for action in used)
    assert sorted(used) == sorted(action for action, _ in named)
    assert len({action.partition("@")[0] for action in used}) == len(set(named))


def test_a_workflow_called_by_another_is_one_of_ours() -> None:
    """At the very commit that runs."""
    called = [part.body["uses"] for part in parts() if "uses" in part.body]
    assert called == ["$/.github/workflows/test.yml"]
    assert "workflow_call" in load(FOLDER / "test.yml")["on"]


def test_no_step_leaves_the_token_behind() -> None:
    """What a script could read, it could send away."""
    checkouts = [one for one in steps() if one.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == 6
    assert all(one["with"] == {"persist-credentials": "false"} for one in checkouts)


def test_every_command_is_sound_bash_and_names_scripts_that_exist() -> None:
    """As people run them; nothing of the event is pasted into a command."""
    commands = [one["run"] for one in steps() if "run" in one]
    named = {name for command in commands for name in re.findall(r"\bscripts/[\w-]+", command)}
    assert {"scripts/check", "scripts/test", "scripts/dist"} <= named
    for command in commands:
        assert "${{" not in command
        assert run("bash", "-n", "-c", command).returncode == 0
    assert all((ROOT / name).stat().st_mode & stat.S_IXUSR for name in named)


def test_commands_run_in_the_shell_that_stops_at_a_failure() -> None:
    """A container's default would be sh, which goes on after a failed pipe."""
    for part in parts():
        everywhere = load(FOLDER / part.file).get("defaults", {}).get("run", {}).get("shell")
        if "container" in part.body:
            shells = {one.get("shell", everywhere) for one in part.steps if "run" in one}
            assert shells == {"bash"}


def test_the_images_that_are_pushed_are_those_that_the_dockerfile_makes() -> None:
    """Targets and arguments exist there, and the same targets are tried beforehand."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    build = step("image.yml", "docker/build-push-action")["with"]
    given = {line.partition("=")[0] for line in build["build-args"].splitlines()}
    assert given <= set(re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE))
    tried = re.findall(r"--target (\S+)", (FOLDER / "test.yml").read_text())
    matrix = load(FOLDER / "image.yml")["jobs"]["image"]["strategy"]["matrix"]["include"]
    targets = [one["target"] for one in matrix]
    assert "${{ matrix.target }}" == build["target"]
    assert targets == tried
    assert set(targets) <= set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.MULTILINE))
    assert {f"backrest-{target}" for target in targets} == {one["image"] for one in matrix}


def test_the_image_is_pushed_for_both_processors_with_its_origin() -> None:
    """But not for a pull request, which writes neither image nor cache."""
    build = step("image.yml", "docker/build-push-action")["with"]
    assert build["platforms"] == "linux/amd64,linux/arm64"
    assert (build["provenance"], build["sbom"]) == ("mode=max", "true")
    assert build["push"] == "${{ github.event_name != 'pull_request' }}"
    assert build["cache-to"].startswith("${{ github.event_name != 'pull_request' && ")
    login = step("image.yml", "docker/login-action")
    assert login["if"] == "github.event_name != 'pull_request'"


def test_tags_of_the_image_tell_branch_pull_request_version_and_commit() -> None:
    """Each kind of run has a tag of its own."""
    tags = step("image.yml", "docker/metadata-action")["with"]["tags"].splitlines()
    kinds = {line.partition(",enable=")[0] for line in tags}
    assert {
        "type=ref,event=branch",
        "type=ref,event=pr",
        "type=semver,pattern={{version}}",
        "type=semver,pattern={{major}}.{{minor}}",
        "type=semver,pattern={{major}}",
        "type=sha",
    } == kinds


def test_the_package_is_published_without_a_secret_by_a_part_that_runs_nothing_else() -> None:
    """The identity of the run is the proof; only what was built and tested gets it."""
    assert "secrets" not in (FOLDER / "release.yml").read_text()
    release = {part.name: part for part in parts() if part.file == "release.yml"}
    assert release["publish"].body["environment"] == "pypi"
    assert release["publish"].body["needs"] == "build"
    assert release["build"].body["needs"] == "test"
    actions = [one["uses"].partition("@")[0] for one in release["publish"].steps]
    assert actions == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]


def test_every_kind_of_dependency_is_looked_after() -> None:
    """Each week, but not in the week in which it was published."""
    updates = load(ROOT / ".github" / "dependabot.yml")["updates"]
    kinds = {update["package-ecosystem"] for update in updates}
    assert {"github-actions", "pip", "docker", "docker-compose"} == kinds
    assert all(update["cooldown"]["default-days"] == "7" for update in updates)


def test_the_check_of_the_workflows_finds_what_is_wrong(tmp_path: Path) -> None:
    """`scripts/check` relies on its status: good for ours, bad for a careless one."""
    careless = tmp_path / ".github" / "workflows" / "careless.yml"
    careless.parent.mkdir(parents=True)
    careless.write_text(
        "on: push\njobs:\n  one:\n    runs-on: ubuntu-24.04\n"
        "    steps:\n      - uses: actions/checkout@v4\n"
    )
    flags = ("--offline", "--quiet", "--no-progress")
    assert run(str(ZIZMOR), *flags, ".github").returncode == 0
    found = run(str(ZIZMOR), *flags, str(careless))
    assert found.returncode > 0
    assert "unpinned-uses" in found.stdout
    assert 'zizmor" --offline' in (ROOT / "scripts" / "check").read_text()


def test_the_build_makes_both_forms_of_the_package(tmp_path: Path) -> None:
    """The wheel holds what runs, the archive of sources what builds it again."""
    done = run("scripts/dist", f"v{__version__}", DIST=str(tmp_path))
    assert done.returncode == 0, done.stderr
    [wheel], [sources] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    assert {
        "sidecar/cli/commands/main.py",
        "sidecar/py.typed",
        "sidecar/backrest/config.schema.json",
    } <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "sidecar",
        "backrest_sidecar",
    }
    with tarfile.open(sources) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "Dockerfile", "constraints-build.txt"} <= held


def test_the_build_refuses_a_tag_of_another_version(tmp_path: Path) -> None:
    """Nobody publishes 1.3 under the name 1.2."""
    done = run("scripts/dist", "v999.0.0", DIST=str(tmp_path))
    assert done.returncode == 1
    assert f"the tag is v999.0.0, and the version {__version__}" in done.stderr
    assert [] == list(tmp_path.iterdir())
