"""The lint as a hook of pre-commit, installed from here as its users install it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / ".pre-commit-hooks.yaml"
# What an installation reads; the rest of the tree would only be copied.
PRODUCT = ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml", "sidecar")
STACK = """\
name: shop
services:
  web:
    image: example/web
    labels:
      backrest.enable: "true"
      backrest.{label}: "0 3 * * *"
    volumes:
      - web:/data
volumes:
  web: {{}}
"""
# Making the hook's environment installs a handful of packages.
SECONDS = 240


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs programs in a folder, with a git that knows nothing of this machine's settings."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command; return its status and all its output."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def must(self, *command: str) -> str:
        """Run a command that has to succeed; return its output."""
        done = self.run(*command)
        assert done.returncode == 0, done.stdout
        return done.stdout.strip()

    def commit(self) -> subprocess.CompletedProcess[str]:
        """Commit all that is there."""
        self.must("git", "add", "--all")
        return self.run("git", "commit", "--quiet", "--message", "stand")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """This process's environment with a git and a pre-commit of its own."""
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\n\tname = someone\n\temail = someone@example.org\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {
        "GIT_CONFIG_GLOBAL": str(settings),
        "GIT_CONFIG_NOSYSTEM": "1",
        "PRE_COMMIT_HOME": str(tmp_path / "pre-commit"),
        "NO_COLOR": "1",
    }


def repository(folder: Path, environment: dict[str, str]) -> Shell:
    """Make an empty git repository."""
    folder.mkdir()
    shell = Shell(folder, environment)
    shell.must("git", "init", "--quiet")
    return shell


@pytest.fixture
def product(tmp_path: Path, environment: dict[str, str]) -> Shell:
    """Return a repository of this project as it stands, committed or not."""
    shell = repository(tmp_path / "product", environment)
    for name in PRODUCT:
        source, target = ROOT / name, shell.folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    assert shell.commit().returncode == 0
    return shell


@pytest.mark.timeout(2 * SECONDS)
def test_a_commit_with_a_misspelt_label_is_refused_until_it_is_mended(
    tmp_path: Path, environment: dict[str, str], product: Shell
) -> None:
    """The label is named with its line; what is not a Compose file is not looked at."""
    shell = repository(tmp_path / "stacks", environment)
    hook = {"repo": str(product.folder), "rev": product.must("git", "rev-parse", "HEAD")}
    config = {"repos": [hook | {"hooks": [{"id": "backrest-sidecar-lint"}]}]}
    (shell.folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    shell.must(sys.executable, "-m", "pre_commit", "install")
    stack = shell.folder / "shop" / "compose.yaml"
    stack.parent.mkdir()
    stack.write_text(STACK.format(label="schedul"))
    (shell.folder / "values.yaml").write_text("services: [\n")

    refused = shell.commit()
    stack.write_text(STACK.format(label="schedule"))
    accepted = shell.commit()

    assert refused.returncode == 1
    assert "label.unknown [shop-web-1 backrest.schedul]" in refused.stdout
    assert "did you mean backrest.schedule?" in refused.stdout
    assert "at shop/compose.yaml:7" in refused.stdout
    assert "values.yaml" not in refused.stdout
    assert accepted.returncode == 0, accepted.stdout
    assert "1" == shell.must("git", "rev-list", "--count", "HEAD")


def test_the_manifest_is_one_that_pre_commit_accepts(environment: dict[str, str]) -> None:
    """It offers the one hook of which the documents speak."""
    Shell(ROOT, environment).must(
        sys.executable, "-m", "pre_commit", "validate-manifest", str(MANIFEST)
    )
    [hook] = yaml.safe_load(MANIFEST.read_text())
    assert hook["id"] == "backrest-sidecar-lint"


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("compose.yaml", True),
        ("stacks/media/docker-compose.yml", True),
        ("wiki/compose.override.yaml", True),
        ("docker-compose.override.yml", True),
        ("compose.restore.yaml", False),
        ("decompose.yaml", False),
        ("compose.yaml.j2", False),
        ("compose/values.yaml", False),
    ],
)
def test_the_hook_looks_at_the_files_that_compose_would_take(name: str, taken: bool) -> None:
    """A file of another name may be a part that is no project without the rest."""
    [hook] = yaml.safe_load(MANIFEST.read_text())
    assert taken == bool(re.search(hook["files"], name))
