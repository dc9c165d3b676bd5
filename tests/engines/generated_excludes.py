"""Trees and exclude patterns by chance, and what restic itself takes with them.

    python -m tests.engines.generated_excludes 10000 restic another/restic rsync

compares that many sets of patterns for each program, and ends at the first that differs. Restic reads
the patterns, rsync gets the literal list of what the walk leaves out.
"""

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import EngineError
from sidecar.engines.excludes.matcher import ExcludeMatcher, Place
from sidecar.engines.excludes.read import read_excludes
from sidecar.engines.rsync.excluded import exclude_file
from sidecar.lib.text import SpecInvalid
from tests.fakes.cheap_key import replace_key

PASSWORD = "correct horse"
_SETS_OF_A_TREE = 50
_NAMES: tuple[bytes | str, ...] = (
    *(
        b"a",
        b"b",
        b"ab",
        b"A",
        b"aa",
        b"abc",
        b"a b",
        b"B.TMP",
        b"x.tmp",
        b"y.tmp",
        b"cache",
        b"log.1",
    ),
    *(
        b"[a]",
        b"!a",
        b"-a",
        b"--",
        b"a\n",
        b"\n",
        b"*",
        b"**",
        b"?",
        b"\\",
        b"a\\b",
        b"#a",
        b";a",
        b".a",
    ),
    *(
        "é",
        "É",
        "ä.log",
        "€",
        "€€",
        "a€",
        "İ",
        "ı",
        "Σσς",
        "ſ",
        "K",
        "ß",
        "ẞ",
        "𐐀",
        "😀x",
        "\ufffd",
        "日本",
    ),
    *(
        b"\xff",
        b"a\xffb",
        b"\xc3",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"x\xf0\x9f",
        b"\xc3\xa9\xff",
        b"Q\x80Z",
    ),
    *(b"]", b"[", b"^", b"-", b"a-c", b"...", b" ", b"a ", b"$HOME", b"{x}", b"n" * 255),
)
NAMES = [name.encode() if isinstance(name, str) else name for name in _NAMES]
_SIGNS = "ab*?[]^-\\!.€é/\n "

Tree = dict[bytes, "Tree | None"]
"""Entries of a folder: a folder, or None for a file."""


def shown(path: bytes) -> str:
    """Return a path as restic's JSON shows it: each byte that is no UTF-8 replaced."""
    text = path.decode(errors="surrogateescape")
    return "".join("\ufffd" if "\udc80" <= sign <= "\udcff" else sign for sign in text)


def make_tree(chance: random.Random, depth: int = 3) -> Tree:
    """Invent a folder's entries."""
    tree: Tree = {}
    used = set[str]()
    # Of names that JSON shows alike no two stand in one folder.
    for name in chance.sample(NAMES, chance.randint(2, 7 if depth < 3 else 12)):
        if shown(name) not in used:
            used.add(shown(name))
            is_folder = depth and chance.random() < 0.5
            tree[name] = make_tree(chance, depth - 1) if is_folder else None
    return tree


def write_tree(tree: Tree, folder: bytes) -> None:
    """Make the entries in a folder; files are empty."""
    for name, below in tree.items():
        if below is None:
            os.close(os.open(folder + b"/" + name, os.O_CREAT | os.O_WRONLY, 0o644))
        else:
            Path(os.fsdecode(folder + b"/" + name)).mkdir()
            write_tree(below, folder + b"/" + name)


def paths_of(tree: Tree, folder: bytes) -> Iterator[bytes]:
    """Yield the paths of all entries."""
    for name, below in tree.items():
        path = folder + b"/" + name
        yield path
        yield from paths_of(below or {}, path)


@dataclass(frozen=True)
class Patterns:
    """What is given to restic."""

    excludes: tuple[str, ...]
    iexcludes: tuple[str, ...]

    @property
    def has_overlooked_fault(self) -> bool:
        """Whether a fault may stand behind a star.

        Restic seeks faults by matching a pattern with its own text, and does not look behind
        what does not match.
        """
        return any("*" in text for text in (*self.excludes, *self.iexcludes))

    @property
    def words(self) -> list[str]:
        """The flags."""
        return [f"--exclude={one}" for one in self.excludes] + [
            f"--iexclude={one}" for one in self.iexcludes
        ]


def invent_patterns(chance: random.Random, paths: list[bytes], root: bytes) -> Patterns:
    """Invent patterns of which most match something."""
    count = chance.choice([1, 1, 2, 3, 5, 8])
    texts = [_pattern(chance, chance.choice(paths), root) for _ in range(count)]
    folded = [text for text in texts if chance.random() < 0.25]
    return Patterns(
        tuple(text for text in texts if text not in folded),
        tuple(text.swapcase() if chance.random() < 0.5 else text for text in folded),
    )


def _pattern(chance: random.Random, path: bytes, root: bytes) -> str:
    above = len(root.split(b"/"))
    names = path.split(b"/")
    if chance.random() < 0.4:
        components = [
            "",
            *(
                _component(chance, name, 0.15 if at < above - 1 else 0.5)
                for at, name in enumerate(names[1:])
            ),
        ]
    else:
        start = 1 if chance.random() < 0.1 else chance.randint(max(1, above - 1), len(names) - 1)
        end = chance.randint(start, len(names) - 1)
        components = [_component(chance, name, 0.6) for name in names[start : end + 1]]
    for _ in range(3):
        if chance.random() < 0.15:
            components.insert(
                chance.randint(0, len(components)),
                chance.choice(["**", "**", "*", ".", "..", "", "a/.."]),
            )
    if chance.random() < 0.25:
        for _ in range(chance.randint(1, 4)):
            at = chance.randint(0, len(components))
            components[at : at + chance.randint(0, 2)] = ["**"]
    text = "/".join(components)
    if chance.random() < 0.02:
        text = chance.choice(
            ["", "/", ".", "*", "**", "/**", "/*", "!", "!/", "..", "!!", "./**", "**/**", "**/*"]
        )
    return ("!" if chance.random() < 0.25 else "") + text + ("/" if chance.random() < 0.1 else "")


def _component(chance: random.Random, name: bytes, likely: float) -> str:
    if chance.random() > likely:
        text = name.decode(errors="ignore")
        return "".join("\\" + sign if sign in "*?[\\" else sign for sign in text) or "*"
    signs = [_sign(chance, sign) for sign in name.decode(errors="surrogateescape")[:40]]
    for _ in range(2):
        if chance.random() < 0.3:
            at = chance.randint(0, len(signs))
            signs[at : at + chance.randint(0, 3)] = [chance.choice(["*", "**", "?", "*?", "*[^a]"])]
    made = "".join(signs)
    if chance.random() < 0.03:
        at = chance.randint(0, len(made))
        made = made[:at] + chance.choice(_SIGNS) + made[at + chance.randint(0, 1) :]
    return made or "*"


def _sign(chance: random.Random, sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":
        return chance.choice(["?", "*", "[^a]", "[\ufffd]", "[\u0100-\uffff]"])
    if "\ud800" <= sign <= "\udfff":
        return "?"
    plain = "\\" + sign if sign in "*?[]\\-^" else sign
    return chance.choice(
        [plain] * 8
        + [
            "?",
            "*",
            f"[{plain}]",
            f"[^{plain}]",
            "[!a]",
            f"[a-{plain}]",
            f"[{plain}-z]",
            "[^a-c]",
            "[\x01-\U0010ffff]",
        ]
    )


def taken_by_matcher(patterns: Patterns, tree: Tree, root: bytes) -> set[bytes]:
    """Return which paths the matcher takes; raises SpecInvalid."""
    place = ExcludeMatcher(patterns.excludes, patterns.iexcludes).place(root)
    return set() if place.is_left_out else {root, *_taken(place, tree, root)}


def _taken(place: Place, tree: Tree, folder: bytes) -> Iterator[bytes]:
    for name, below in tree.items():
        if place.leaves_out(name):
            continue
        path = folder + b"/" + name
        yield path
        if below is not None:
            assert not place.below(name).is_left_out
            yield from _taken(place.below(name), below, path)


class ResticOracle:
    """A restic that says what it would take; `env` names its repository."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.env: Mapping[str, str] = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RESTIC_REPOSITORY": str(folder / "repo"),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(folder / "cache"),
            "GOMAXPROCS": "1",
        }
        if not (folder / "repo").exists():
            subprocess.run([program, "init"], env=self.env, check=True, capture_output=True)
            replace_key(folder / "repo", PASSWORD)

    def taken(self, words: list[str], *sources: bytes) -> set[str] | None:
        """Return the paths that restic would take, as it shows them; None: it refuses a pattern.

        Only files and folders: it tells no others.
        """
        command: list[str | bytes] = [self.program]
        command += ["backup", "--dry-run", "--no-lock", "--json", "-vv", *words, "--"]
        command += sources
        completed = subprocess.run(command, env=self.env, capture_output=True, check=False)
        if b"invalid pattern" in completed.stderr:
            return None
        assert not completed.returncode or b"snapshot is empty" in completed.stderr, completed
        lines = [line for line in completed.stdout.splitlines() if b'"verbose_status"' in line]
        told = [json.loads(line) for line in lines]
        items = [one["item"] for one in told if one["action"] == "new"]
        return {item.removesuffix("/") or "/" for item in items}


class RsyncOracle:
    """An rsync that copies what the walk does not leave out."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self._target = folder / "copy"

    def taken(self, words: list[str], source: bytes) -> set[str] | None:
        """Return the paths that rsync has copied; None: a pattern is refused."""
        plan = RunPlan("web", "store", backup_flags=tuple(map(shlex.quote, words)))
        try:
            excludes = read_excludes(plan, {}).excludes
        except EngineError:
            return None
        path = os.fsdecode(source)
        with exclude_file([path], excludes, "/") as file:
            command = [self.program, "-rR", "-0", *([f"--exclude-from={file}"] if file else [])]
            subprocess.run([*command, path, f"{self._target}/"], check=True)
        copied = [bytes(one) for one in self._target.rglob("*")]
        shutil.rmtree(self._target, ignore_errors=True)
        return {shown(one.removeprefix(bytes(self._target))) for one in copied}


class Counted(NamedTuple):
    """How many sets of patterns were refused, by both or by us alone; paths decided, left out."""

    sets: int = 0
    refused: int = 0
    refused_by_us: int = 0
    decided: int = 0
    left_out: int = 0

    def plus(self, *numbers: int) -> "Counted":
        """Return the sums."""
        return Counted(*(one + other for one, other in zip(self, numbers, strict=True)))


def compare_many(oracle: ResticOracle | RsyncOracle, folder: Path, seeds: range) -> Counted:
    """Compare a set of patterns for each seed; a tree serves for several of them."""
    counted = Counted()
    for start in range(seeds.start, seeds.stop, _SETS_OF_A_TREE):
        tree = make_tree(_chance(start))
        source = folder / f"t{start}" / "Source"
        source.mkdir(parents=True)
        root = bytes(source)
        write_tree(tree, root)
        paths = list(paths_of(tree, root))
        for seed in range(start, min(start + _SETS_OF_A_TREE, seeds.stop)):
            patterns = invent_patterns(_chance(seed), paths, root)
            counted = counted.plus(*_compare(oracle, patterns, tree, root))
    return counted


def _compare(
    oracle: ResticOracle | RsyncOracle, patterns: Patterns, tree: Tree, root: bytes
) -> Counted:
    theirs = oracle.taken(patterns.words, root)
    try:
        ours = {shown(path) for path in taken_by_matcher(patterns, tree, root)}
    except SpecInvalid:
        assert theirs is None or patterns.has_overlooked_fault, patterns
        return Counted(1, theirs is None, theirs is not None)
    assert theirs is not None, patterns
    theirs = {path for path in theirs if f"{path}/".startswith(f"{shown(root)}/")}
    assert ours == theirs, (patterns, "ours:", ours - theirs, "restic's:", theirs - ours)
    total = 1 + sum(1 for _ in paths_of(tree, root))
    return Counted(1, decided=total, left_out=total - len(ours))


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - names and patterns, no secrets


def main(count: int, programs: list[str]) -> None:
    """Compare that many sets of patterns for each program."""
    for program in programs:
        with tempfile.TemporaryDirectory(prefix="excludes-") as made:
            kind = RsyncOracle if Path(program).name.startswith("rsync") else ResticOracle
            counted = compare_many(kind(program, Path(made)), Path(made), range(count))
            sys.stdout.write(f"{program}: {counted}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
