"""Read the text of a Compose file: YAML as Compose takes it, and the lines of its labels."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sidecar.lib.errors import InventoryError

Positions = Mapping[tuple[str, str], tuple[str, int]]
"""(service, label) → (file, line from 1); the label "" is the service itself."""

INSTALL = (
    "install the docker compose plugin, or give the output of `docker compose config` "
    "on standard input with --compose -"
)

# Merges of merges go no deeper than this in any file that a person wrote.
_MAX_MERGES = 20

_VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$\{?([A-Za-z_]\w*|(?<=\{))")


class _Loader(yaml.SafeLoader):
    """Scalars as Compose takes them: `yes`, `12:30` and dates are plain text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the base class's own shape


for _tag, _pattern, _firsts in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("merge", r"<<", "<"),
):
    # An empty scalar has no first character, and is null.
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(f"^(?:{_pattern})$"),
        [*_firsts, ""] if _tag == "null" else list(_firsts),
    )


def read_resolved(text: str, source: str, *, legacy: bool = False) -> Any:
    """Read what `config` printed; it writes every literal dollar sign twice.

    `legacy` means that docker-compose 1 wrote it, which quotes by YAML 1.1.
    """
    try:
        tree = yaml.load(text, Loader=yaml.SafeLoader if legacy else _Loader)  # noqa: S506 - both are safe loaders
        return _unescaped(tree, keys=True)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _not_yaml(error, source) from None


def read_plain(text: str, source: str) -> Any:
    """Read a file as it stands; refuse, naming it, what only Compose can resolve."""
    try:
        root = _without_extensions(yaml.compose(text, Loader=_Loader))
        refused = sorted(_needs(root)) if root else []
        if refused:
            line, what = refused[0]
            raise InventoryError(f"{source}, line {line}: {what} needs Docker Compose", INSTALL)
        return _unescaped(_Loader("").construct_document(root), keys=False) if root else None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _not_yaml(error, source) from None


def find_positions(text: str, source: str) -> dict[tuple[str, str], tuple[str, int]]:
    """Return where each service and each label stands; empty for a text that is no YAML."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError):
        return {}
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for service, name_node, body in _members(_member(root, "services")):
        found[service, ""] = (source, _line(name_node))
        deploy = _member(body, "deploy")
        for labels in (_member(deploy, "labels"), _member(body, "labels")):
            for key, node in _label_keys(labels):
                found[service, key] = (source, _line(node))
    return found


def _without_extensions(root: Node | None) -> MappingNode | None:
    """Remove the top-level `x-` keys; an alias of them was replaced where it is used."""
    if not isinstance(root, MappingNode):
        return None
    root.value = [
        pair for pair in root.value if not str(getattr(pair[0], "value", "")).startswith("x-")
    ]
    return root


def _unescaped(tree: Any, *, keys: bool) -> Any:
    """Replace `$$` by the `$` that it means, in all values, and with `keys` in keys too."""
    if isinstance(tree, str):
        return tree.replace("$$", "$")
    if isinstance(tree, list):
        return [_unescaped(item, keys=keys) for item in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        _unescaped(key, keys=keys) if keys else key: _unescaped(value, keys=keys)
        for key, value in tree.items()
    }


def _not_yaml(error: Exception, source: str) -> InventoryError:
    """Return where the text stops being YAML, without quoting it."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line = error.problem_mark.line + 1
        return InventoryError(f"{source}, line {line} is no valid YAML: {error.problem}")
    return InventoryError(f"{source} is no valid YAML")


def _needs(root: MappingNode) -> Iterator[tuple[int, str]]:
    """Yield (line, what) for everything in a file that only Compose can resolve."""
    for key, node, value in _members(root):
        if key == "include":
            yield _line(node), "`include`"
        yield from _needs_within(value)
    for _, _, service in _members(_member(root, "services")):
        for key, node, _ in _members(service):
            if key in {"extends", "profiles", "label_file"}:
                yield _line(node), f"`{key}`"


def _needs_within(top: Node) -> Iterator[tuple[int, str]]:
    """Yield what a tree needs; aliases may share branches, each is searched once."""
    waiting, seen = [top], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.tag.startswith("!"):
            yield _line(node), f"the tag `{node.tag}`"
        if isinstance(node, ScalarNode):
            yield from _needs_of_text(node)
        elif isinstance(node, SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, MappingNode):
            waiting.extend(value for _, value in node.value)


def _needs_of_text(node: ScalarNode) -> Iterator[tuple[int, str]]:
    match = _VARIABLE.search(node.value)
    if match:
        # Only the name is shown: a default that follows it may be a password.
        name = match[1] or "{"
        yield _line(node), f"the variable `${name}` (a literal dollar sign is written `$$`)"


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _members(node: Node | None, depth: int = 0) -> Iterator[tuple[str, Node, Node]]:
    """Yield the key, its node and the value of a mapping; merged ones before its own."""
    pairs = node.value if isinstance(node, MappingNode) and depth < _MAX_MERGES else ()
    for key, value in pairs:
        if key.tag == "tag:yaml.org,2002:merge":
            sources = value.value if isinstance(value, SequenceNode) else [value]
            for merged in reversed(sources):
                yield from _members(merged, depth + 1)
    for key, value in pairs:
        if isinstance(key, ScalarNode):
            yield key.value, key, value


def _member(node: Node | None, name: str) -> Node | None:
    found = [value for key, _, value in _members(node) if key == name]
    return found[-1] if found else None


def _label_keys(node: Node | None) -> Iterator[tuple[str, Node]]:
    """Yield the keys of labels in either form: a mapping, or a list of `key=value`."""
    if isinstance(node, SequenceNode):
        for item in node.value:
            if isinstance(item, ScalarNode):
                yield item.value.partition("=")[0], item
    for key, key_node, _ in _members(node):
        yield key, key_node
