"""Read the text of a Compose file: YAML as Compose takes it, and the lines of its labels."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sidecar.docker.compose.variables import VariableError, resolve
from sidecar.lib.errors import InventoryError

Positions = Mapping[tuple[str, str], tuple[str, int]]
"""(service, label) → (file, line from 1); the label "" is the service itself."""

INSTALL = (
    "install the docker compose plugin, or give the output of `docker compose config` "
    "on standard input with --compose -"
)

# Merges of merges go no deeper than this in any file that a person wrote.
_MAX_MERGES = 20

# The whole numbers of Compose; others it reads as floats.
_SMALLEST, _BEYOND = -(2**63), 2**64

_LABELS = "labels"
_MERGE = "tag:yaml.org,2002:merge"

# What Compose takes for a date, which is no text, unless it is quoted.
_DATE = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:[Tt]\d{1,2}:\d{1,2}:\d{1,2}(?:\.\d+)?(?:[Zz]|[-+]\d\d:\d\d)"
    r"|\s+\d{1,2}:\d{1,2}:\d{1,2}(?:\.\d+)?)?",
    re.ASCII,
)

# The keys of a service that decide something here, and others that are spelled nearly so.
_OWN_KEYS = (
    *("annotations", "build", "configs", "container_name", "depends_on", "deploy", "environment"),
    *("extends", "image", "label_file", "labels", "links", "network_mode", "profiles", "scale"),
    *("secrets", "tmpfs", "volumes", "volumes_from"),
)
_VOLUME_KEYS = ("driver", "driver_opts", "external", "labels", "name")
_TOP_KEYS = (
    *("configs", "include", "models", "name", "networks", "secrets", "services", "version"),
    "volumes",
)
_OTHER_KEYS = frozenset(
    (
        *("attach", "blkio_config", "cap_add", "cap_drop", "cgroup", "cgroup_parent", "command"),
        *("cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpus"),
        *("cpu_rt_runtime", "cpu_shares", "cpuset", "credential_spec", "develop", "devices"),
        *("device_cgroup_rules", "dns", "dns_opt", "dns_search", "domainname", "entrypoint"),
        *("env_file", "expose", "external_links", "extra_hosts", "gpus", "group_add"),
        *("healthcheck", "hostname", "init", "ipc", "isolation", "logging", "mac_address"),
        *("mem_limit", "mem_reservation", "mem_swappiness", "memswap_limit", "models"),
        *("networks", "oom_kill_disable", "oom_score_adj", "pid", "pids_limit", "platform"),
        *("ports", "post_start", "pre_stop", "privileged", "provider", "pull_policy"),
        *("read_only", "restart", "runtime", "security_opt", "shm_size", "stdin_open"),
        *("stop_grace_period", "stop_signal", "storage_opt", "sysctls", "tty", "ulimits"),
        *("use_api_socket", "user", "userns_mode", "uts", "volume_driver", "working_dir"),
    )
)


class _Loader(yaml.SafeLoader):
    """Scalars as Compose takes them: `yes`, `12:30` and dates are plain text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the base class's own shape

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Let a later anchor of the same name replace the one before, as YAML has it."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.NodeEvent) and not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)


for _tag, _pattern, _firsts in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "float",
        (
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        "-+.0123456789",
    ),
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


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A file that was read without Compose: its tree, and what there was to remark."""

    tree: Any
    notes: tuple[str, ...] = ()


def read_plain(text: str, source: str, variables: Mapping[str, str]) -> PlainFile:
    """Read a file as it stands, its variables resolved.

    Raises InventoryError, naming the line, for what Compose would refuse too, and for what
    only Compose can resolve.
    """
    try:
        root = _document(text, source)
        if not isinstance(root, MappingNode):
            return PlainFile(None)
        check_text(text, source)
        refused = sorted(_needs(root))
        if refused:
            line, what = refused[0]
            raise InventoryError(f"{source}, line {line}: {what} needs Docker Compose", INSTALL)
        builder = _Builder(source, variables)
        tree = builder.build(root)
        return PlainFile(_typed(tree), tuple(builder.notes(root)))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _not_yaml(error, source) from None


def find_name(text: str, source: str, variables: Mapping[str, str]) -> str:
    """Return the project's name that a file gives, which its other variables may use."""
    try:
        name = _member(next(iter(yaml.compose_all(text, Loader=_Loader)), None), "name")
        if not isinstance(name, ScalarNode) or not name.value:
            return ""
        if found := resolve(name.value, variables).text:
            return found
    except (yaml.YAMLError, RecursionError):
        return ""  # refused when it is read
    except VariableError as error:
        raise InventoryError(f"{source}, `name`: {error}") from None
    raise InventoryError(
        f"{source}, line {_line(name)}: the project's name comes to nothing",
        "set its variable in .env or in the environment, or write a default: ${X:-shop}",
    )


def check_text(text: str, source: str) -> None:
    """Raise InventoryError for what Compose v2 refuses and older readers take in silence.

    That is a key that stands twice, an unquoted date, and a key of a service that is
    spelled nearly as one that decides something here. No error for what is no YAML.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError):
        return
    found = [*_repeated_keys(root), *_bad_merges(root), *_misspelt_keys(root), *_dates(root)]
    if found:
        line, what, hint = min(found)
        raise InventoryError(f"{source}, line {line}: {what}", hint)


def repeated_labels(text: str, source: str) -> Iterator[str]:
    """Yield a remark for each label that stands twice in a list, where the last one counts."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError):
        return
    for service, _, body in _members(_member(root, "services")):
        labels = _member(body, "labels")
        first: dict[str, int] = {}
        for key, node in _label_keys(labels if isinstance(labels, SequenceNode) else None):
            if key in first:
                yield (
                    f"{source}, line {_line(node)}: the label {key} of {service} stands in line "
                    f"{first[key]} already; the last one counts → remove one of them"
                )
            first[key] = _line(node)


class MisplacedLabel(NamedTuple):
    """A key of a place where no label of a container stands: `services.web.build.labels`."""

    service: str
    place: str
    key: str
    file: str
    line: int


def find_misplaced(text: str, source: str) -> Iterator[MisplacedLabel]:
    """Yield every key of places that people take for the labels of a container."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError):
        return
    places: list[tuple[str, str, Node | None]] = []
    for service, _, body in _members(_member(root, "services")):
        above = f"services.{service}"
        places.append(
            (
                service,
                f"{above}.build.{_LABELS}",
                _member(_member(body, "build"), "labels"),
            )
        )
        places += [
            (service, f"{above}.{name}", _member(body, name))
            for name in ("annotations", "environment")
        ]
    for kind in ("volumes", "networks"):
        for name, _, body in _members(_member(root, kind)):
            above = f"{kind}.{name}"
            places.append(("", f"{above}.{_LABELS}", _member(body, "labels")))
    for service, place, node in places:
        for key, key_node in _label_keys(node):
            yield MisplacedLabel(service, place, key, source, _line(key_node))


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


def _document(text: str, source: str) -> Node | None:
    """Return the one document of a text; Compose alone merges several."""
    roots = list(yaml.compose_all(text, Loader=_Loader))
    if len(roots) > 1:
        line = _line(roots[1])
        raise InventoryError(
            f"{source}, line {line}: a second document in one file needs Docker Compose", INSTALL
        )
    return roots[0] if roots else None


def _all_nodes(*tops: Node | None) -> Iterator[Node]:
    """Yield every node below these, keys too; aliases may share branches, each comes once."""
    waiting, seen = [top for top in tops if top is not None], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, MappingNode):
            waiting.extend(part for pair in node.value for part in pair)


def _repeated_keys(root: Node | None) -> Iterator[tuple[int, str, str]]:
    for node in _all_nodes(root):
        first: dict[str, int] = {}
        for key, _ in node.value if isinstance(node, MappingNode) else ():
            if not isinstance(key, ScalarNode):
                continue
            if key.value in first:
                what = f"the key {key.value} stands in line {first[key.value]} already"
                hint = "Compose refuses that: remove one, or make one of both"
                if key.tag == _MERGE:
                    hint = "Compose refuses that: write `<<: [*one, *other]`"
                yield _line(key), what, hint
            first.setdefault(key.value, _line(key))


def _bad_merges(root: Node | None) -> Iterator[tuple[int, str, str]]:
    for node in _all_nodes(root):
        for key, value in node.value if isinstance(node, MappingNode) else ():
            sources = value.value if isinstance(value, SequenceNode) else [value]
            if key.tag == _MERGE and any(not isinstance(one, MappingNode) for one in sources):
                what = "`<<` takes a mapping or a list of mappings"
                yield _line(key), what, "write `<<: *name` with the anchor of a mapping"


def _misspelt_keys(root: Node | None) -> Iterator[tuple[int, str, str]]:
    places: list[tuple[str, Node | None, Collection[str], Collection[str]]] = [
        ("the file", root, _TOP_KEYS, ())
    ]
    places += [
        (f"the service {service}", value, _OWN_KEYS, _OTHER_KEYS)
        for service, _, value in _members(_member(root, "services"))
    ]
    places += [
        (f"the volume {volume}", value, _VOLUME_KEYS, ())
        for volume, _, value in _members(_member(root, "volumes"))
    ]
    for place, body, own, others in places:
        for key, node, _ in _members(body):
            if key in own or key in others or key.startswith("x-"):
                continue
            folded = key.lower().replace("-", "_")
            if near := get_close_matches(folded, own, n=1, cutoff=0.8):
                what = f"{place} has no key {key}: Compose refuses it"
                yield _line(node), what, f"did you mean {near[0]}?"


def _dates(root: Node | None) -> Iterator[tuple[int, str, str]]:
    tops = [value for key, _, value in _members(root) if not key.startswith("x-")]
    for node in _all_nodes(*tops):
        if isinstance(node, ScalarNode) and not node.style and _is_date(node.value):
            what = f"{node.value} is a date to Compose, which refuses it"
            yield _line(node), what, f'quote it: "{node.value}"'


def _is_date(text: str) -> bool:
    match = _DATE.fullmatch(text)
    if match is None:
        return False
    try:
        date(*map(int, match.groups()))
    except ValueError:
        return False
    return True


@dataclass(slots=True)
class _Builder:
    """Makes the tree of a file: merges as Compose does, and variables resolved.

    PyYAML's own merging differs between its versions where a merged mapping itself merges.
    """

    source: str
    variables: Mapping[str, str]
    _scalars: _Loader = field(default_factory=lambda: _Loader(""))
    _built: dict[int, Any] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    _unset: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def build(self, node: Node) -> Any:
        """Return what a node is; an alias is built once."""
        if id(node) in self._built:
            return self._built[id(node)]
        if id(node) in self._open:
            raise yaml.composer.ComposerError(None, None, "it contains itself", node.start_mark)
        self._open.add(id(node))
        if isinstance(node, MappingNode):
            built: Any = self._mapping(node)
        elif isinstance(node, SequenceNode):
            built = [self.build(item) for item in node.value]
        else:
            built = self._scalar(node)
        self._open.discard(id(node))
        self._built[id(node)] = built
        return built

    def _mapping(self, node: MappingNode) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        own: dict[Any, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                merged = self._merged(value)
            elif isinstance(key, ScalarNode):
                own[self._key(key)] = self.build(value)
            else:
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is no text", key.start_mark
                )
        return {**merged, **own}

    def _key(self, node: ScalarNode) -> str:
        key = self._scalars.construct_object(node)
        if not isinstance(key, str):
            raise InventoryError(
                f"{self.source}, line {_line(node)}: the key {node.value} is no text to Compose",
                f'quote it: "{node.value}"',
            )
        return key

    def _merged(self, value: Node) -> dict[Any, Any]:
        sources = value.value if isinstance(value, SequenceNode) else [value]
        merged: dict[Any, Any] = {}
        for source in reversed(sources):
            # Of several the first counts.
            merged |= self.build(source)
        return merged

    def _scalar(self, node: Node) -> Any:
        # A tag of others means nothing to Compose.
        is_foreign = node.tag.startswith("!")
        value = node.value if is_foreign else self._scalars.construct_object(node)
        if isinstance(value, int) and not _SMALLEST <= value < _BEYOND:
            return float(value)
        if not isinstance(value, str):
            return value
        try:
            resolved = resolve(value, self.variables)
        except VariableError as error:
            raise InventoryError(
                f"{self.source}, line {_line(node)}: {error}",
                "set it in .env or in the environment; a literal dollar sign is written `$$`",
            ) from None
        if resolved.unset:
            self._unset[id(node)] = resolved.unset
        return resolved.text

    def notes(self, root: Node) -> Iterator[str]:
        """Yield a remark for each variable without value that decides something here."""
        told: set[str] = set()
        for node in _all_nodes(*_deciding(root)):
            for name in self._unset.get(id(node), ()):
                if name not in told:
                    told.add(name)
                    yield (
                        f"{self.source}, line {_line(node)}: the variable {name} is not set and "
                        "counts as empty → set it in .env or in the environment"
                    )


def _deciding(root: Node) -> Iterator[Node]:
    """Yield the parts of a file that decide containers, labels, mounts or names."""
    for key, _, value in _members(root):
        if key in {"name", "volumes"}:
            yield value
    for _, _, service in _members(_member(root, "services")):
        for key, _, value in _members(service):
            if key in {"labels", "volumes", "container_name", "profiles"}:
                yield value


# Where Compose takes a number or a boolean; `*` is any key.
_TYPED = (
    ("services", "*", "scale"),
    ("services", "*", "deploy", "replicas"),
    ("services", "*", "depends_on", "*", "restart"),
    ("services", "*", "depends_on", "*", "required"),
    ("volumes", "*", "external"),
    ("secrets", "*", "external"),
    ("configs", "*", "external"),
)
# What Compose takes for a boolean where it expects one.
_BOOLEANS = dict.fromkeys(("true", "y", "yes", "on"), True) | dict.fromkeys(
    ("false", "n", "no", "off"), False
)


def _typed(tree: Any, places: Collection[tuple[str, ...]] = _TYPED) -> Any:
    """Turn the texts of variables into what their keys take, as Compose does."""
    if () in places:
        return _cast(tree)
    if not places or not isinstance(tree, dict):
        return tree
    return {
        key: _typed(value, [place[1:] for place in places if place[0] in {key, "*"}])
        for key, value in tree.items()
    }


def _cast(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"[-+]?[0-9]+", value):
        return int(value)
    return _BOOLEANS.get(value.lower(), value)


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
        # An alias of an extension stands where it is used, too.
        for part in _all_nodes(None if key.startswith("x-") else value):
            if part.tag in {"!reset", "!override"}:
                yield _line(part), f"the tag `{part.tag}`"
    for _, _, service in _members(_member(root, "services")):
        for key, node, _ in _members(service):
            if key in {"extends", "label_file"}:
                yield _line(node), f"`{key}`"


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _members(node: Node | None, depth: int = 0) -> Iterator[tuple[str, Node, Node]]:
    """Yield the key, its node and the value of a mapping; merged ones before its own."""
    pairs = node.value if isinstance(node, MappingNode) and depth < _MAX_MERGES else ()
    for key, value in pairs:
        if key.tag == _MERGE:
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
