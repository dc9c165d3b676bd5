"""What the image is made of: locks that hold together, a small context, flags that exist."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

from sidecar.cli.commands.service import daemon

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LOCKS = ("constraints-image.txt", "constraints-build.txt", "constraints-runner.txt")


def locked(name: str) -> dict[str, frozenset[str]]:
    """Read a lock: `package==version` → hashes of its files."""
    entries = re.split(r"^(?=\w)", (ROOT / name).read_text(), flags=re.MULTILINE)[1:]
    return {entry.split()[0]: frozenset(re.findall(r"sha256:(\w{64})", entry)) for entry in entries}


def names(entries: list[str]) -> set[str]:
    """Return the normalised names of requirements."""
    return {re.split(r"[<>=~!\[;\s]", entry)[0].lower().replace("_", "-") for entry in entries}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_of_the_image_says_what_the_tests_ran_with(name: str) -> None:
    """Every version and every hash stands in constraints.txt too, and each has hashes."""
    tested = locked("constraints.txt")

    for entry, hashes in locked(name).items():
        assert hashes
        assert hashes == tested[entry]


def test_the_locks_hold_what_the_package_asks_for() -> None:
    """All that it depends on, what builds it, and nothing of the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    image, build, runner = (names(list(locked(name))) for name in LOCKS)

    assert names(project["project"]["dependencies"]) <= image
    assert names(project["build-system"]["requires"]) <= build
    assert names(extras["runner"]) <= runner
    assert image <= runner
    assert set() == names(extras["runner"]) & image
    assert set() == names(extras["test"]) & (runner | build)


def test_the_programs_of_the_runner_are_pinned() -> None:
    """Exact versions of what its image takes from other images, three numbers each."""
    pinned = dict(re.findall(r"^ARG (\w+_IMAGE)=\S+?:(\S+)$", DOCKERFILE, re.MULTILINE))

    assert {"PYTHON_IMAGE", "RESTIC_IMAGE", "DOCKER_IMAGE"} == set(pinned)
    for version in pinned.values():
        assert re.match(r"\d+\.\d+\.\d+\b", version)


def test_the_page_of_images_names_what_is_installed_in_each() -> None:
    """All targets, and all packages of Debian, as the Dockerfile has them."""
    page = (ROOT / "docs" / "reference" / "images.md").read_text()
    told = {
        row[0]: set(re.findall(r"`([a-z0-9-]+)`", row[1]))
        for row in re.findall(r"^\| .+ \| `--target (\S+)` \| (.+) \| .+ \|$", page, re.MULTILINE)
    }
    stages = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)[1:]
    install = re.compile(r"--no-install-recommends((?:[ \\\n]+[a-z0-9-]+)+)")
    installed = {
        name: {word for found in install.findall(text) for word in re.findall(r"[a-z0-9-]+", found)}
        for name, text in zip(stages[::2], stages[1::2], strict=True)
    }

    assert {"sidecar", "runner", "runner-all"} == set(told)
    for target, programs in told.items():
        ours = {"backrest-sidecar", "backrest-runner"}
        assert installed[target] == programs - ours


def test_a_build_without_a_target_makes_the_sidecar() -> None:
    """Whoever forgets the target does not get the runner under the sidecar's name."""
    assert "FROM sidecar" == DOCKERFILE.splitlines()[-1]


def test_only_the_package_and_its_locks_reach_the_build() -> None:
    """No test, no Git history and nothing compiled can get into the image by accident."""
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in patterns if line and not line.startswith("#")]
    sent = {Path(path) for path in exclude_paths(str(ROOT), rules, "Dockerfile")}
    files = {path for path in sent if (ROOT / path).is_file()}

    assert {path.parts[0] for path in files} == {
        ".dockerignore",
        "Dockerfile",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "sidecar",
        *LOCKS,
    }
    assert [] == [path for path in files if "__pycache__" in path.parts]
    assert Path("sidecar/py.typed") in files


def test_every_copied_file_is_sent() -> None:
    """What the Dockerfile copies from the context is there."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)

    assert copied
    for source in " ".join(copied).split():
        assert (ROOT / source).exists()


def test_the_default_command_is_one_that_the_daemon_knows() -> None:
    """Its flags are the daemon's own, and the health check looks at the same document."""
    said, _ = re.findall(r"^CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    command, *arguments = json.loads(said)

    with daemon.make_context(command, arguments) as context:
        given = context.params

    assert command == daemon.name
    assert (True, True) == (given["apply"], given["with_events"])
    assert f"ENV BACKREST_SIDECAR_CONFIG={given['config']}\n" in DOCKERFILE


def test_any_builder_will_do() -> None:
    """No directive that fetches another builder, and nothing that only one of them has."""
    assert not re.search(r"^#\s*(syntax|escape)\s*=", DOCKERFILE, re.MULTILINE | re.IGNORECASE)
    assert not re.search(r"--(mount|link|network|security)=|<<", DOCKERFILE)
