"""`docker` of a story: the real one, with `docker compose` also where only version 1 is there.

    python docker_client.py DOCKER ARGUMENTS...

Nobody types here, so `compose exec` and `compose run` get -T. For version 1, which knows no
`name:`, that name is given by -p and the files are copied without it, beside themselves; and
it has no `--wait`.
"""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_WITH_VALUE = {
    "-f",
    "--file",
    "-p",
    "--project-name",
    "--project-directory",
    "--profile",
    "--env-file",
}
_NAME = re.compile(r"^name: *(\S+) *\n", re.MULTILINE)
_COPY = ".version-1."


def main(docker: str, arguments: Sequence[str]) -> int:
    """Run the program that can do it; gives its exit status."""
    options, words = split_options(arguments[1:])
    # Who asks for the version wants to know what is there, not what stands in for it.
    if arguments[:1] != ["compose"] or words[:1] == ["version"]:
        return run([docker, *arguments])
    words = without_terminal(words)
    if has_plugin(docker):
        return run([docker, "compose", *options, *words])
    chosen = options_for_version_1(options, Path())
    if words[:1] == ["config"] and "-p" in chosen:
        sys.stdout.write(f"name: {chosen[chosen.index('-p') + 1]}\n")
        sys.stdout.flush()
    return run(["docker-compose", *chosen, *words_for_version_1(words)])


def run(command: Sequence[str]) -> int:
    """Run a program in our place."""
    return subprocess.run(command, check=False).returncode


def has_plugin(docker: str) -> bool:
    """Return whether this docker knows `compose`."""
    done = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    return done.returncode == 0


def split_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split what stands before the command from the command and what follows."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in _WITH_VALUE else 1
    return list(arguments[:at]), list(arguments[at:])


def without_terminal(words: list[str]) -> list[str]:
    """Ask for no terminal where the command would want one."""
    if words[:1] in (["exec"], ["run"]) and "-T" not in words:
        return [words[0], "-T", *words[1:]]
    return words


def words_for_version_1(words: list[str]) -> list[str]:
    """Leave out what version 1 does not know."""
    return [word for word in words if word != "--wait"]


def options_for_version_1(options: Sequence[str], folder: Path) -> list[str]:
    """Return the options, with files that version 1 reads."""
    pairs = itertools.pairwise([*options, ""])
    given = [Path(value) for flag, value in pairs if flag in ("-f", "--file")]
    files = given or list(default_files(folder))
    kept = [word for word in options if word not in ("-f", "--file") and Path(word) not in given]
    named = [match[1] for file in files if (match := _NAME.search((folder / file).read_text()))]
    if named and not {"-p", "--project-name"} & set(options):
        kept += ["-p", named[-1].strip("\"'")]
    return [
        *kept,
        *(word for file in files for word in ("-f", str(copy_without_name(folder / file)))),
    ]


def default_files(folder: Path) -> tuple[Path, ...]:
    """Find the files that Compose reads when none is named: $COMPOSE_FILE, else by their names."""
    if listed := os.environ.get("COMPOSE_FILE"):
        return tuple(map(Path, listed.split(":")))
    main_file = next((Path(name) for name in _NAMES if (folder / name).exists()), None)
    if main_file is None:
        return ()
    override = main_file.with_suffix(f".override{main_file.suffix}")
    return (main_file, override) if (folder / override).exists() else (main_file,)


def copy_without_name(file: Path) -> Path:
    """Copy a file that names its project, so that relative paths hold; give what to read."""
    text = file.read_text()
    if not _NAME.search(text):
        return file
    copy = file.with_name(f".{file.stem}{_COPY}{file.suffix.lstrip('.')}")
    copy.write_text(_NAME.sub("", text, count=1))
    return copy


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
