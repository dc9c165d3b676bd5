"""Compose files as people write them, made by chance: many forms in each, some of them mistakes."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

# Scalars of YAML in the spellings that readers disagree about, mistakes among them.
_SCALARS = (
    *("true", "True", "TRUE", "yes", "No", "on", "off", "y", "false", "~", "null", "NULL", ""),
    *("0", "007", "0o17", "0x1F", "0b11", "-5", "+3", "1_000", "1.5", "1.0", ".5", "5.", "1e3"),
    *("1.5e-3", "1e6", "123456789.0", "1e21", "123456789012", "12:30", "1:2:3", "1.2.3", "-0"),
    *('"quoted"', "'it''s'", '"tab\\there"', '"\\u00e4"', "'#no comment'", "plain # a comment"),
    *("a#b", "/srv/a,/srv/b", "daily=7,weekly=4", "0 2 * * *", "'0 2 * * *'", "'@daily'"),
    *("2024-01", "'2024-01-02'", "=", "'='", "'a: b'", "x%a"),
    *("café", '"two\\\n        lines"', "two\n        lines", "'[a]'", "&anchored v"),
    *("18446744073709551615", "99999999999999999999", "-9223372036854775808", "0.1", "100.10"),
)
_VARIABLES = (
    "HOST",
    "EMPTY",
    "QUOTED",
    "UNSET",
    "ROOT",
    "OTHER",
    "HASH",
    "NAME",
    "TAG",
    "1X",
    "_U",
)
_LABELS = (
    *("backrest.enable", "backrest.keep", "backrest.schedule", "backrest.paths.include"),
    *("backrest.paths.exclude", "backrest.snapshot-start", "traefik.enable", "a", "on"),
)
_NAMES = ("web", "db", "app", "worker", "cache", "a.b", "x_y", "n-1", "Web")
_VOLUMES = ("data", "pg_data", "named", "ext", "shared.v")

_Form = Callable[[], Iterable[str]]


@dataclass(frozen=True)
class Sample:
    """A file, the `.env` beside it if there is one, and the environment."""

    text: str
    dotenv: bytes | None
    environment: dict[str, str] = field(default_factory=dict)


class _Writer:
    """Writes one sample; `wild` is how often it takes a form that may be a mistake."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.wild = chance.choice((0.0, 0.0, 0.0, 0.01, 0.06))
        self.services = chance.sample(_NAMES[:-1], chance.randint(1, 4))
        self.volumes = ["data", *chance.sample(_VOLUMES[1:], chance.randint(0, 3))]
        self.anchors: list[str] = []
        self.label_anchors: list[str] = []

    def often(self, share: float) -> bool:
        return self.chance.random() < share

    def pick(self, *choices: str) -> str:
        return self.chance.choice(choices)

    def any_of(self, choices: str) -> str:
        """Choose one of those between `¦`."""
        return self.chance.choice(choices.split(" ¦ "))

    def wildly(self) -> bool:
        return self.often(self.wild)

    # Variables.

    def variable(self, depth: int = 0) -> str:
        name = self.chance.choice(_VARIABLES[: 9 if not self.wildly() else None])
        if depth > 2:
            return f"${{{name}}}"
        inner = (
            self.variable(depth + 1) if self.often(0.3) else self.pick("x", "", "a b", "/p", "é")
        )
        forms = [f"${name}", f"${{{name}}}", f"${{{name}:-{inner}}}", f"${{{name}-{inner}}}"]
        forms += [f"${{{name}:+{inner}}}", f"${{{name}+{inner}}}", "$$", "$$HOME", "$${HOST}"]
        if self.wildly():
            forms = [f"${{{name}:?{inner}}}", f"${{{name}?{inner}}}", "$5", "$", "${", "${}", "$a$"]
            forms += [
                "${ HOST }",
                "${HOST:}",
                "${HOST!x}",
                "$$$HOST",
                "${HOST:-a}}",
                "$HOST-x",
                "${a b}",
            ]
            forms += ["${HOST:-{a}}", "${HOST-a$}", "$ HOST", "${HOST//a/b}", "${HOST:0:1}", "a$"]
        return self.chance.choice(forms)

    def quoted(self, text: str) -> str:
        if '"' in text or "\\" in text:
            return "'" + text.replace("'", "''") + "'"
        return self.pick(f'"{text}"', "'" + text.replace("'", "''") + "'")

    def value(self) -> str:
        """A scalar of a label or the like."""
        if self.often(0.35):
            return self.quoted(self.pick("", "a ", "/srv/") + self.variable() + self.pick("", "/b"))
        if self.wildly():
            return self.any_of(
                "@daily ¦ - ¦ a: b ¦ %a ¦ [a] ¦ !x y ¦ .inf ¦ .nan ¦ 2024-01-02"
                " ¦ 2024-01-02 10:00:00 ¦ {a: b} ¦ [x, y] ¦ |\n        a\n        b ¦ `x` ¦ @x"
            )
        return self.chance.choice(_SCALARS)

    def word(self) -> str:
        """A text for an item of a list."""
        return self.pick("true", "7", "a b", "x=y", "", "yes", "/a,/b", "'q'", self.variable())

    # Services.

    def labels(self, pad: str) -> list[str]:
        keys = [self.chance.choice(_LABELS) for _ in range(self.chance.randint(0, 4))]
        kind = self.chance.random()
        if self.label_anchors and kind < 0.15:
            return [f"{pad}labels: *{self.chance.choice(self.label_anchors)}"]
        if kind < 0.5 or not keys:
            lines = [f"{pad}labels:"]
            if self.label_anchors and self.often(0.4):
                chosen = self.chance.sample(
                    self.label_anchors, self.chance.randint(1, len(self.label_anchors))
                )
                many = f"[{', '.join('*' + one for one in chosen)}]"
                lines.append(
                    f"{pad}  <<: {many if len(chosen) > 1 or self.often(0.2) else '*' + chosen[0]}"
                )
            if not self.wildly():
                keys = list(dict.fromkeys(keys))
            lines += [f"{pad}  {self.key(key)}: {self.value()}" for key in keys]
            return lines if len(lines) > 1 else [f"{pad}labels: {{}}"]
        if kind < 0.6:
            keys = list(dict.fromkeys(keys))
            inner = ", ".join(f"{key}: {self.quoted(self.word())}" for key in keys)
            return [f"{pad}labels: {{{inner}}}"]
        lines = [f"{pad}labels:"]
        for key in keys:
            text = (
                key
                + self.pick("=", "=", "=", "=", "", " = ", ": " if self.wildly() else "=")
                + self.word()
            )
            lines.append(f"{pad}  - {self.quoted(text)}")
        return lines

    def key(self, key: str) -> str:
        if self.wildly():
            return self.any_of('"$HOST" ¦ ${HOST} ¦ 1.5 ¦ true ¦ null ¦ 1 ¦ \'a b\' ¦ ? x ¦ "a$$b"')
        return self.pick(key, f'"{key}"', key)

    def source(self) -> str:
        """The first part of a short volume."""
        named = self.chance.choice(self.volumes)
        host = self.any_of(
            "/srv/data ¦ ./data ¦ ../up ¦ . ¦ ~/x ¦ ~ ¦ / ¦ ./a/../b ¦ /srv//x/ ¦ ./a b"
            " ¦ ~/.config/x"
        )
        found = named if self.often(0.4) else host
        if self.often(0.2):
            found = self.any_of(
                "${ROOT}/x ¦ ${ROOT:-./d}/y ¦ ${UNSET:-data} ¦ $ROOT ¦ ${UNSET:-/srv}/z"
                " ¦ ./${NAME:-n}"
            )
        if self.wildly():
            found = self.any_of(
                "C:\\data ¦ d:/data ¦ c: ¦ D:\\ ¦ \\\\host\\share ¦ data/x ¦  ¦ undeclared"
                " ¦ ~user/x ¦ ${UNSET} ¦ ${UNSET}/x ¦ ./x:y ¦ d ¦ $$x ¦ .hidden ¦ ..up ¦ ~x"
                " ¦ \\\\.\\pipe\\x ¦ /d:/c ¦ x:/y ¦ ./C:/x"
            )
        return found

    def target(self) -> str:
        if self.wildly():
            return self.any_of(
                "data ¦  ¦ C:\\in ¦ /a:b ¦ ./rel ¦ c:/in ¦ ${UNSET} ¦ /a/${EMPTY} ¦ ~/in ¦ / ¦ \\x"
            )
        if self.often(0.2):
            return self.pick("/data", "/data", "/data/", "/.", "//x")
        deep = self.any_of("/a/../b ¦ /var/lib/x ¦ /config/ ¦ /a b ¦ /${NAME} ¦ /t")
        return deep + self.any_of("/1 ¦ /2 ¦ /3 ¦ /4 ¦ /5/ ¦ //6")

    def mode(self) -> str:
        if self.wildly():
            return self.any_of(
                ": ¦ :bogus ¦ :rw,ro ¦ :0755 ¦ :ro:z ¦ :nocopy,ro ¦ : ro ¦ :subpath=x"
                " ¦ :volume-subpath=x"
            )
        return self.any_of(
            " ¦  ¦  ¦ :ro ¦ :rw ¦ :z ¦ :ro,Z ¦ :nocopy ¦ :cached ¦ :rslave ¦ :delegated,ro"
        )

    def volume(self, pad: str) -> list[str]:
        if self.often(0.6):
            text = f"{self.source()}:{self.target()}{self.mode()}"
            return [f"{pad}- {self.quoted(self.target() if self.often(0.1) else text)}"]
        kind = self.pick("volume", "bind", "volume", "bind", "tmpfs")
        entry = [f"type: {kind}", f"target: {self.quoted(self.target())}", *self.long_form(kind)]
        if self.often(0.2):
            entry.append("read_only: " + self.pick("true", "false", "${RO:-true}"))
        if self.wildly():
            entry.append(
                self.any_of(
                    "type: npipe ¦ source: 7 ¦ x-a: b ¦ type: image ¦ type: cluster ¦ target: 5 ¦ "
                    "type: '' ¦ source: ¦ volume: ¦ volume: {} ¦ bind: {} ¦ volume: {subpath: 7}"
                )
            )
            entry = entry if self.often(0.5) else entry[1:]
        if not any(line.startswith("  ") for line in entry):
            self.chance.shuffle(entry)
        first, *rest = entry
        return [f"{pad}- {first}", *(f"{pad}  {line}" for line in rest)]

    def long_form(self, kind: str) -> list[str]:
        """Return the lines that only this kind of a long volume has."""
        entry = []
        if kind == "volume":
            if self.often(0.9):
                entry.append(f"source: {self.chance.choice(self.volumes)}")
            if self.often(0.5):
                inside = self.any_of(
                    "nocopy: true ¦ subpath: a/b ¦ subpath: '' ¦ subpath: ${NAME:-sub} ¦ "
                    "subpath: ./a ¦ subpath: /a"
                )
                entry += ["volume:", f"  {inside}"]
        elif kind == "bind":
            usual = self.any_of("/srv/a ¦ ./b ¦ ../c ¦ ~/d ¦ plain ¦ . ¦ ${ROOT} ¦ /x/ ¦ a/b")
            entry.append(f"source: {self.quoted(self.source() if self.wildly() else usual)}")
            if self.often(0.3):
                inside = self.pick("create_host_path: true", "propagation: rslave", "selinux: z")
                entry += ["bind:", f"  {inside}"]
        elif self.often(0.5):
            entry += ["tmpfs:", "  size: " + self.pick("1000", "10m", "${SIZE:-5}")]
        return entry

    def grants(self, kind: str, pad: str) -> list[str]:
        lines = [f"{pad}{kind}:"]
        if self.often(0.5):
            return [*lines, f"{pad}  - {kind[:-1]}_file"]
        lines.append(f"{pad}  - source: {kind[:-1]}_file")
        if self.often(0.7):
            lines.append(
                f"{pad}    target: "
                + self.any_of("/etc/x ¦ y ¦ ./z ¦ a/b ¦ /run/secrets/q ¦ ${NAME:-t}")
            )
        if self.often(0.3):
            lines.append(f"{pad}    mode: 0440")
        return lines

    def depends(self, name: str, pad: str) -> list[str]:
        earlier = self.services[: self.services.index(name)]
        if self.wildly():
            earlier = [self.pick("nobody", name, *self.services)]
        if not earlier:
            return []
        other = self.chance.choice(earlier)
        if self.often(0.4):
            return [f"{pad}depends_on: [{other}]"]
        lines = [f"{pad}depends_on:", f"{pad}  {other}:"]
        lines.append(
            f"{pad}    condition: "
            + self.pick("service_started", "service_healthy", "service_completed_successfully")
        )
        if self.often(0.3):
            lines.append(
                f"{pad}    " + self.pick("restart: true", "required: false", "restart: false")
            )
        return lines

    def other_keys(self, name: str, pad: str) -> list[str]:
        """Keys that touch names, numbers and mounts."""
        earlier = self.services[: self.services.index(name)]
        forms: list[_Form] = [
            lambda: [
                f"{pad}container_name: "
                + self.pick("the-" + name.lower(), "${NAME:-c}_x", '"my.name"', "x${EMPTY}y")
            ],
            lambda: [f"{pad}scale: " + self.pick("2", "${COUNT:-3}", "0", '"2"')],
            lambda: [
                f"{pad}deploy:",
                f"{pad}  replicas: " + self.pick("2", "${COUNT:-2}", "0", "1"),
            ],
            lambda: [f"{pad}deploy:", *self.labels(pad + "  ")],
            lambda: [f"{pad}profiles: " + self.pick("[a]", "[a, b]", '["${PROFILE:-a}"]', "[]")],
            lambda: [
                f"{pad}tmpfs: "
                + self.pick("/tmp", '[/run, "/tmp:size=5m"]', '"/t/${NAME:-n}"', '["/run/"]')
            ],
            lambda: [
                f"{pad}command: "
                + self.pick("[a, b]", 'sh -c "x"', "echo $$HOME", "echo ${UNSET}", "")
            ],
            lambda: [
                f"{pad}environment:",
                f"{pad}  A: " + self.pick("1", "true", "${UNSET}", '"x"', ""),
            ],
            lambda: [f'{pad}environment: ["A=1", "B"]'],
            lambda: [f"{pad}restart: unless-stopped", f'{pad}ports: ["80:80", "${{PORT:-81}}:81"]'],
            lambda: [f"{pad}x-own: {{a: [1, {{b: 2024}}]}}"],
            lambda: self.grants("secrets", pad),
            lambda: self.grants("configs", pad),
            lambda: self.depends(name, pad),
            lambda: [f"{pad}annotations:", f'{pad}  backrest.enable: "true"'],
            lambda: [f"{pad}healthcheck: {{test: [CMD, a], interval: 5s}}"],
        ]
        if earlier:
            other = self.chance.choice(earlier)
            forms += [
                lambda: [f"{pad}volumes_from: [{other}{self.pick('', ':ro', ':rw')}]"],
                lambda: [f"{pad}volumes_from: ['container:abc']"],
                lambda: [f"{pad}links: ['{other}{self.pick('', ':alias')}']"],
                lambda: [f"{pad}{self.pick('network_mode', 'ipc', 'pid')}: service:{other}"],
            ]
        chosen = self.chance.sample(forms, min(len(forms), self.chance.randint(0, 4)))
        found: dict[str, list[str]] = {}
        for form in chosen:
            lines = list(form())
            if lines:
                found.setdefault(lines[0].partition(":")[0], lines)
        return [line for lines in found.values() for line in lines]

    def wrong(self, pad: str) -> list[str]:
        return [
            pad
            + self.pick(
                "lables: {a: b}",
                "volume: [a]",
                "labels: [1]",
                "labels: x",
                "labels: [a: b]",
                "volumes: {a: b}",
                "volumes: data:/x",
                "scale: many",
                "scale: -1",
                "profiles: a",
                "container_name: 5",
                "container_name: 'a b'",
                "image: 7",
                "image: [a]",
                "image: ''",
                "image:",
                "deploy: {replicas: x}",
                "depends_on: db",
                "tmpfs: {a: b}",
                "volumes:",
                "volumes: []",
                "labels: {a: {b: c}}",
                "labels: {a: [b]}",
                "volumes: ['']",
                "volumes: [7]",
                "volumes: [null]",
                "labels: [null]",
                "secrets: [nothing]",
                "configs: [nothing]",
                "container_name: ''",
                "Labels: {a: b}",
                "tmpfs: ''",
                "scale: 1.0",
                "scale: 1.5",
                "labels: ['=x']",
                "labels: ['']",
                "labels: {'': x}",
                "volumes_from: [nobody]",
                "network_mode: service:nobody",
                "links: [nobody]",
                "tmpfs: [/a, /a]",
                "profiles: ['a b']",
                "profiles: ['*']",
                "profiles: [1]",
                "profiles: [a, a]",
                "profiles: ['']",
                "labels:\n" + pad + "  - a\n" + pad + "  - a=b",
                "deploy: {mode: global}",
                "deploy: {mode: global, replicas: 2}",
                "scale: 2\n" + pad + "deploy: {replicas: 3}",
                "deploy:",
                "depends_on:",
                "depends_on: []",
                "depends_on: {}",
                "build: .",
                "build: {context: ., labels: [a=b]}",
                "container_name: x\n" + pad + "scale: 2",
                "provider: {type: x}",
                "image: ${UNSET}",
                "command: ${UNSET:?no}",
                "environment: {A: 2024-01-02}",
                "ports: [80, 81]",
                "ports: {a: b}",
            )
        ]

    def service(self, name: str) -> list[str]:
        pad = "    "
        shown = name if not self.often(0.2) else f'"{name}"'
        lines = [f"  {shown}:"]
        if self.anchors and self.often(0.4):
            lines.append(f"{pad}<<: *{self.chance.choice(self.anchors)}")
        if not self.wildly():
            lines.append(
                f"{pad}image: "
                + self.pick(
                    "example/x",
                    '"example/x:${TAG}"',
                    "example/x:${TAG:-1}",
                    "x:$TAG",
                    "a/b@sha256:" + "0" * 64,
                )
            )
        parts = [self.other_keys(name, pad)]
        if self.often(0.8):
            parts.append(self.labels(pad))
        if self.often(0.8):
            entries = [
                line
                for _ in range(self.chance.randint(1, 4))
                for line in self.volume(pad + self.pick("  ", "  "))
            ]
            parts.append([f"{pad}volumes:", *entries])
        if self.wildly():
            parts.append(self.wrong(pad))
        self.chance.shuffle(parts)
        lines += [line for part in parts for line in part]
        return lines

    def top_volume(self, name: str) -> list[str]:
        pad = "    "
        forms = [
            [f"  {name}:"],
            [f"  {name}: {{}}"],
            [
                f"  {name}:",
                f"{pad}name: " + self.pick("real", "${NAME:-n}_v", '"x.y"', "r${EMPTY}"),
            ],
            [
                f"  {name}:",
                f"{pad}external: " + self.pick("true", "${EXT:-true}", "false", '"true"'),
            ],
            [
                f"  {name}:",
                f"{pad}external: true",
                f"{pad}name: " + self.pick("real", "${NAME:-n}"),
            ],
            [f"  {name}:", f"{pad}driver: " + self.pick("local", "nfs", "${DRIVER:-local}")],
            [f"  {name}:", f'{pad}labels: {{backrest.enable: "true"}}'],
        ]
        device = self.any_of(
            "./dev ¦ /srv/dev ¦ ~/dev ¦ ${ROOT}/dev ¦ :/export ¦ plain ¦ ../dev ¦ /srv/./x/"
            " ¦ dev/x ¦ ${UNSET:-./u}"
        )
        kind = self.any_of("bind ¦ bind ¦ rbind ¦ bind,ro ¦ addr=10.0.0.1 ¦ rw")
        options = [
            f"{pad}  type: " + self.pick("none", "nfs", "tmpfs"),
            f"{pad}  o: {kind}",
            f"{pad}  device: {self.quoted(device)}",
        ]
        self.chance.shuffle(options)
        bound = [f"  {name}:", f"{pad}driver_opts:", *options]
        if self.often(0.7):
            bound.insert(1, f"{pad}driver: local")
        forms += [bound, bound]
        if self.wildly():
            forms = [
                [f"  {name}:", f"{pad}external: {{name: real}}"],
                [f"  {name}:", f"{pad}external: true", f"{pad}driver: local"],
                [f"  {name}: x"],
                [f"  {name}: []"],
                [f"  {name}:", f"{pad}name: 5"],
                [f"  {name}:", f"{pad}driver_opts: {{o: bind, device: 7, size: 1.0}}"],
                [f"  {name}:", f"{pad}external: yes"],
                [f"  {name}:", f"{pad}external: {{name: real}}", f"{pad}name: other"],
                [f"  {name}:", f"{pad}lables: {{}}"],
                [
                    f"  {name}:",
                    f"{pad}driver: local",
                    f"{pad}driver_opts: {{o: bind, device: 'C:\\x', type: none}}",
                ],
                [f"  {name}:", f"{pad}driver_opts: {{a: true, b: null, c: 1e3}}"],
                [f"  {name}:", f"{pad}name: ''"],
            ]
        return self.chance.choice(forms)

    def extensions(self) -> list[str]:
        lines = []
        for number in range(self.chance.randint(0, 3)):
            anchor = f"l{number}"
            lines.append(f"x-labels-{number}: &{anchor}")
            if self.label_anchors and self.often(0.6):
                before = self.chance.sample(
                    self.label_anchors, self.chance.randint(1, len(self.label_anchors))
                )
                lines.append(
                    f"  <<: {'[' + ', '.join('*' + one for one in before) + ']' if len(before) > 1 else '*' + before[0]}"
                )
            keys = self.chance.sample(_LABELS, self.chance.randint(1, 3))
            lines += [f"  {key}: {self.value()}" for key in keys]
            self.label_anchors.append(anchor)
        for number in range(self.chance.randint(0, 2)):
            anchor = f"b{number}"
            lines.append(f"x-base-{number}: &{anchor}")
            if self.anchors and self.often(0.6):
                lines.append(f"  <<: *{self.anchors[-1]}")
            lines.append("  restart: " + self.pick("always", "no", '"no"'))
            if self.often(0.5):
                lines += self.labels("  ")
            if self.often(0.4):
                lines += ["  volumes:", *self.volume("    ")]
            self.anchors.append(anchor)
        return lines

    def file(self) -> str:
        parts: list[list[str]] = []
        if self.often(0.2):
            parts.append(["version: " + (self.pick("3", "3.9", "") if self.wildly() else '"3.8"')])
        if self.often(0.4):
            plain = self.any_of(
                'shop ¦ ${NAME} ¦ ${NAME:-shop} ¦ "my-shop" ¦ s_1 ¦ x-${HOST} ¦ ${NAME:-a}-b'
            )
            wild = self.any_of(
                "Shop ¦ my shop ¦ -x ¦ ${UNSET} ¦ 5 ¦ '' ¦ ${UNSET:-Big}"
                " ¦ ${COMPOSE_PROJECT_NAME:-q} ¦ a.b ¦ é ¦ _x ¦ ${OTHER}"
            )
            parts.append([f"name: {wild if self.wildly() else plain}"])
        extensions = self.extensions()
        body = [line for name in self.services for line in self.service(name)]
        parts += [["services:", *body]]
        declared = [line for name in self.volumes for line in self.top_volume(name)]
        parts.append(["volumes:", *declared])
        for kind in ("secrets", "configs"):
            forms = [
                "file: " + self.any_of("./s.txt ¦ /etc/s ¦ ~/s ¦ ${ROOT}/s ¦ ../s ¦ s.txt"),
                "external: true",
                "environment: HOST",
            ]
            if kind == "configs":
                forms.append("content: a ${HOST}")
            parts.append([f"{kind}:", f"  {kind[:-1]}_file:", f"    {self.chance.choice(forms)}"])
        if self.wildly():
            parts.append(
                [
                    self.pick(
                        "networks: {a: {}}",
                        "x-a: 2024-01-02",
                        "volume: {}",
                        "x-b: ${UNSET:?x}",
                        "x-c: {a: 1, a: 2}",
                    )
                ]
            )
        self.chance.shuffle(parts)
        # Anchors come before their aliases.
        text = "\n".join([*extensions, *(line for part in parts for line in part)]) + "\n"
        if self.wildly():
            text = (
                self.pick("\ufeff", "---\n", "# c\n---\n", "\n\n")
                + text
                + self.pick("", "...\n", "# end")
            )
        return text if not self.often(0.05) else text.replace("\n", "\r\n")

    def dotenv(self) -> bytes | None:
        if self.often(0.25):
            return None
        names = [
            "HOST",
            "EMPTY",
            "QUOTED",
            "ROOT",
            "OTHER",
            "HASH",
            "NAME",
            "TAG",
            "COMPOSE_PROJECT_NAME",
            "COMPOSE_PROFILES",
            "HOST",
        ]
        chosen = self.chance.sample(names, self.chance.randint(1, 8))
        lines = [self.assignment(name) for name in chosen]
        if self.wildly():
            lines.append(
                self.any_of(
                    "NOVALUE ¦ HOST ¦ A B=c ¦ =x ¦ 'A'=b ¦ A-B=c ¦ export X=y ¦ export HOST ¦ 9A=b"
                    " ¦ A='open ¦ A=\"open ¦ A: b ¦ HOST: yaml ¦ A=b # c ¦ A=b#c ¦ a.b=c ¦ A = b"
                    " ¦   A=b ¦ A=$(x) ¦ A=`x` ¦ export ¦ A=\\ ¦ [ ¦ A[0]=x ¦ é=x ¦ A=é ¦ A='x' y"
                    " ¦ A=\"x\"y ¦ A='x' # c ¦ - ¦ A=${UNSET:?no} ¦ A=${ ¦ A=$"
                    " ¦ A=${HOST:-${ROOT}}"
                )
            )
        self.chance.shuffle(lines)
        if self.often(0.2):
            lines.insert(0, self.pick("# a comment", "", "   ", "\t# c"))
        text = self.pick("\n", "\n", "\n", "\r\n").join(lines) + self.pick("\n", "", "\n\n")
        return ("\ufeff" if self.often(0.1) else "").encode() + text.encode()

    def assignment(self, name: str) -> str:
        if name == "COMPOSE_PROJECT_NAME":
            return f"{name}=" + (
                self.pick("Proj", "_p", "a b", "a.b", "É")
                if self.wildly()
                else self.pick("proj", "${NAME:-p}x", '"q-1"', "")
            )
        if name == "COMPOSE_PROFILES":
            return f"{name}=" + self.any_of("a ¦ b ¦ a,b ¦ * ¦  ¦ none ¦ a, b")
        plain = {
            "ROOT": ("/srv/r", "./r", "~/r", "../r"),
            "NAME": ("shop", "n1", "my-n"),
            "TAG": ("1.2", "latest"),
        }
        text = self.pick(
            *plain.get(name, ("h", "value", "two words", "a=b", "a#b", "x$HOST", "${NAME:-z}", ""))
        )
        if name == "EMPTY":
            text = ""
        forms = [
            f"{name}={text}",
            f"{name}={text}",
            f'{name}="{text}"',
            f"{name}='{text}'",
            f"{name}={text} # note",
            f"export {name}={text}",
            f"{name} = {text}",
        ]
        if self.often(0.15) and name not in {"ROOT", "NAME", "TAG"}:
            forms = [
                f'{name}="a\\nb\\tc"',
                f"{name}='it\\'s'",
                f'{name}="a\\"b"',
                f'{name}="a\\$b"',
                f"{name}='$HOST'",
                f'{name}="two\nlines"',
                f"{name}='two\nlines'",
                f"{name}=a\\b",
                f'{name}="a\\\\b"',
                f"{name}=a'b",
                f'{name}=a"b"',
                f'{name}="a # b" # c',
                f"{name}=$$x",
                f'{name}="$$x"',
                f'{name}="\\x\\u"',
                f"{name}=x$",
                f"{name}= ",
                f"{name}: yaml",
            ]
        return self.chance.choice(forms)

    def environment(self) -> dict[str, str]:
        found = {"HOME": "/home/ann"}
        for name, values in (
            ("HOST", ("env", "")),
            ("NAME", ("envname",)),
            ("ROOT", ("/er",)),
            ("COUNT", ("1", "2")),
            ("COMPOSE_PROFILES", ("a", "*", "b,c", "")),
            ("COMPOSE_PROJECT_NAME", ("envproj", "e-1", "e_2", "")),
            ("OTHER", ("data", "$x", "./o")),
        ):
            if self.often(0.12):
                found[name] = self.chance.choice(values)
        if self.wildly():
            found["COMPOSE_PROJECT_NAME"] = self.pick("Env", "1", "a b", "-a", "_")
        return found


def make_sample(seed: int) -> Sample:
    """Make the sample of a number, always the same one."""
    writer = _Writer(random.Random(seed))  # noqa: S311 - forms, no secrets
    return Sample(writer.file(), writer.dotenv(), writer.environment())
