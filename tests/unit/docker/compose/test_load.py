"""Compose files as an inventory: read as they stand, and through Docker Compose itself."""

import io
import os
import shutil
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.docker.compose.load import ComposeReading, group_projects, load_compose
from sidecar.docker.compose.tool import find_tool, run_program
from sidecar.docker.compose.variables import read_dotenv
from sidecar.docker.models import Container, Mount, Volume
from sidecar.lib.errors import InventoryError, UsageError

DATA = Path(__file__).parents[4] / "testdata" / "compose"
NO_TOOL = {"PATH": "/nonexistent", "HOME": "/home/ann"}


def read(tmp_path: Path, text: str, environment: Mapping[str, str] = NO_TOOL) -> ComposeReading:
    """Read a Compose text in a project folder of its own."""
    folder = tmp_path / "shop"
    folder.mkdir(exist_ok=True)
    file = folder / "compose.yaml"
    file.write_text(text)
    return load_compose([file], environment=environment)


def only(reading: ComposeReading) -> Container:
    """Return the one container of a reading."""
    (container,) = reading.inventory.containers
    return container


def labels(container: Container) -> dict[str, str]:
    """Return the labels that the file itself wrote."""
    return {key: value for key, value in container.labels.items() if "com.docker" not in key}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The example that has every form, in a folder called shop."""
    (tmp_path / "shop").mkdir()
    return Path(shutil.copy(DATA / "shop.yaml", tmp_path / "shop"))


@pytest.fixture
def plain(shop: Path) -> ComposeReading:
    """The example, read as it stands."""
    return load_compose([shop], environment=NO_TOOL)


def test_services_become_containers_as_compose_names_them(plain: ComposeReading) -> None:
    """Replicas are numbered, and a chosen name wins."""
    names = [container.name for container in plain.inventory.containers]

    assert names == ["shop-copy-1", "the-db", "shop-web-1", "shop-web-2"]


def test_labels_are_the_texts_that_compose_makes(plain: ComposeReading) -> None:
    """Merge keys, `$$`, numbers and both forms of writing labels."""
    _, database, web, _ = plain.inventory.containers

    assert labels(web) == {
        "backrest.enable": "true",
        "backrest.keep": "last=3",
        "backrest.snapshot-start": "docker exec $SELF sync",
        "port": "8080",
        "ratio": "1.5",
    }
    assert labels(database) == {"backrest.enable": "true", "note": "a=b", "bare": ""}


def test_compose_labels_tell_the_workload(plain: ComposeReading) -> None:
    """The labels that group replicas and order stops are there as on an engine."""
    copy, _, _, second = plain.inventory.containers

    assert second.labels["com.docker.compose.project"] == "shop"
    assert second.labels["com.docker.compose.service"] == "web"
    assert second.labels["com.docker.compose.container-number"] == "2"
    assert second.labels["com.docker.compose.depends_on"] == "db:service_started:false"
    assert copy.labels["com.docker.compose.depends_on"] == (
        "db:service_started:false,web:service_started:true"
    )


def test_mounts_of_every_form(plain: ComposeReading, tmp_path: Path) -> None:
    """Short and long syntax, home and relative paths, tmpfs, anonymous volumes, secrets."""
    web = plain.inventory.containers[2]

    assert web.mounts == (
        Mount("volume", "", "/cache", "", "local"),
        Mount("volume", "", "/data", "shop_data", "local"),
        Mount("bind", f"{tmp_path}/shop/conf", "/etc/web"),
        Mount("bind", f"{tmp_path}/shop/key.pem", "/etc/web/key"),
        Mount("volume", "", "/named", "real-name", "local"),
        Mount("bind", "/home/ann/notes", "/notes"),
        Mount("tmpfs", "", "/run"),
        Mount("bind", f"{tmp_path}/shop/token.txt", "/run/secrets/token"),
        Mount("tmpfs", "", "/scratch"),
        Mount("bind", f"{tmp_path}/shared", "/shared"),
        Mount("bind", "/var/run/docker.sock", "/var/run/docker.sock"),
    )


def test_mounts_taken_from_another_service_are_its_own_too(plain: ComposeReading) -> None:
    """`volumes_from` shares the mounts, so both services have that data."""
    copy, database, _, _ = plain.inventory.containers

    assert set(database.mounts) < set(copy.mounts)


def test_volumes_keep_their_driver_options(plain: ComposeReading) -> None:
    """The options tell a network volume from a directory; external ones keep their name."""
    nfs = {"type": "nfs", "o": "addr=192.0.2.1,rw", "device": ":/export"}

    assert plain.inventory.volumes == {
        "shop_data": Volume("shop_data"),
        "real-name": Volume("real-name"),
        "shop_nfs": Volume("shop_nfs", options=nfs),
        "outside": Volume("outside"),
    }


def test_labels_that_only_swarm_reads_are_kept_apart(plain: ComposeReading) -> None:
    """`deploy.labels` never reach a container, which is a common mistake."""
    assert plain.swarm_only == {"db": {"backrest.repo": "unread"}}


def test_positions_name_the_line_of_each_label(plain: ComposeReading, shop: Path) -> None:
    """A label that comes from an anchor stands where the anchor does."""
    lines = shop.read_text().splitlines()

    def line_of(service: str, label: str) -> str:
        file, line = plain.positions[service, label]
        assert file == str(shop)
        return lines[line - 1].strip()

    assert line_of("web", "") == "web:"
    assert line_of("web", "backrest.enable") == 'backrest.enable: "true"'
    assert line_of("web", "backrest.keep") == "backrest.keep: last=3"
    assert line_of("db", "note") == "- note=a=b"
    assert line_of("db", "backrest.repo") == "backrest.repo: unread"


def test_output_of_docker_compose_reads_the_same(
    plain: ComposeReading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `docker compose config` printed for the example gives the same inventory."""
    monkeypatch.chdir(tmp_path)
    text = (DATA / "shop.resolved.yaml").read_text().replace("/srv", str(tmp_path))

    piped = load_compose(["-"], stdin=io.StringIO(text), environment=NO_TOOL)

    assert piped.inventory == plain.inventory
    assert piped.swarm_only == plain.swarm_only


def test_piped_text_that_is_no_yaml_is_refused() -> None:
    """A tool's error message on the pipe is no empty project."""
    for text in ("services: {web: [", "- &a [*a]", "no configuration file provided"):
        with pytest.raises(InventoryError, match="standard input"):
            load_compose(["-"], stdin=io.StringIO(text), environment=NO_TOOL)


def test_standard_input_is_the_default_for_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker compose config | ... --compose -` needs no more."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("name: piped\nservices: {web: {}}\n"))

    assert only(load_compose(["-"], environment=NO_TOOL)).name == "piped-web-1"


def test_dollar_signs_of_output_are_halved_in_keys_too(tmp_path: Path) -> None:
    """`config` doubles all of them, while a file's keys are never resolved."""
    text = 'services: {web: {image: x, labels: {"a$$b": "x$$$$y"}}}\n'

    piped = load_compose(["-"], stdin=io.StringIO(text), environment=NO_TOOL)

    assert labels(only(piped)) == {"a$b": "x$$y"}
    assert labels(only(read(tmp_path, text))) == {"a$$b": "x$$y"}


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("true", "true"),
        ("False", "false"),
        ("yes", "yes"),
        ("", ""),
        ("null", ""),
        ("~", ""),
        ("0x10", "16"),
        ("017", "15"),
        ("08", "8"),
        ("-3", "-3"),
        ("1e3", "1000"),
        ("100000.5", "100000.5"),
        ("1e6", "1e+06"),
        ("123456789.0", "1.23456789e+08"),
        ("99999999999999999999", "1e+20"),
        ("18446744073709551615", "18446744073709551615"),
        ("0.00001", "1e-05"),
        ("-.inf", "-Inf"),
        (".INF", "+Inf"),
        (".nan", "NaN"),
        ("!other 007", "007"),
        ("0.10", "0.1"),
        ("12:30", "12:30"),
        ("0 2 * * *", "0 2 * * *"),
        ("'007'", "007"),
        ("$5", "$5"),
        ("a $$ b", "a $ b"),
    ],
)
def test_scalars_are_spelled_as_compose_spells_them(
    tmp_path: Path, written: str, label: str
) -> None:
    """A label's value is a text, whatever YAML takes it for."""
    text = f"services:\n  web:\n    image: x\n    labels:\n      key: {written}\n"

    assert labels(only(read(tmp_path, text))) == {"key": label}


@pytest.mark.parametrize("path", sorted((DATA / "refused").glob("*.yaml")), ids=lambda p: p.stem)
def test_file_that_needs_resolution_is_refused_naming_why(path: Path) -> None:
    """Without Compose a file is never half read: the first line says what is refused."""
    expected = path.read_text().splitlines()[0].removeprefix("# ")

    with pytest.raises(InventoryError) as caught:
        load_compose([path], environment=NO_TOOL)

    assert caught.value.message.startswith(f"{path}, {expected}")
    assert "docker compose" in caught.value.hint
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("labels: {a: b}\n    labels: {c: d}", "line 4: the key labels stands in line 3", "one"),
        ("labels:\n      a: hunter2\n      'a': c", "line 5: the key a stands in line 4", "one"),
        (
            "labels:\n      <<: *a\n      <<: *b",
            "line 5: the key << stands in line 4",
            "`<<: [*one, *other]`",
        ),
        ("lables: {a: b}", "line 3: the service web has no key lables", "did you mean labels?"),
        ("Volumes: [a]", "line 3: the service web has no key Volumes", "did you mean volumes?"),
        ("profile: [a]", "line 3: the service web has no key profile", "did you mean profiles?"),
        ("labels: {a: 2024-01-31}", "line 3: 2024-01-31 is a date", 'quote it: "2024-01-31"'),
        ("labels:\n    - 2024-01-31 10:00:00", "line 4: 2024-01-31 10:00:00 is a date", "quote"),
        ("labels: {<<: hunter2}", "line 3: `<<` takes a mapping", "`<<: *name`"),
        ("labels: {<<: [*a, null]}", "line 3: `<<` takes a mapping", "`<<: *name`"),
        ("labels: {a: '${X:?tell me}'}", "line 3: the required variable X", "in .env"),
        ("labels: {a: '${hunter2'}", "line 3: `${` has no end", "in .env"),
        ("labels: {a: '${}'}", "line 3: `${` is not followed by a name", "`$$`"),
        ("labels: {a: '${X:-%s}'}", "line 3: defaults are nested too deeply", "in .env"),
        ("labels: {? [a] : b}", "line 3 is no valid YAML: a key is no text", ""),
    ],
)
def test_file_that_compose_refuses_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    """What PyYAML, or docker-compose 1, would take in silence."""
    nested = "x"
    for _ in range(25):
        nested = f"${{X:-{nested}}}"
    body = text.replace("%s", nested)
    body = body.replace("*a", "&a {k: v}").replace("*b", "&b {l: w}")

    with pytest.raises(InventoryError) as caught:
        read(tmp_path, f"services:\n  web:\n    {body}\n")

    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "x-date: 2024-01-31\nservices: {web: {image: x, labels: {a: '2024-01-31', b: 2024-13-01}}}",
        "services: {web: {image: x, x-lables: [], mem_limit: 1g, wholly_other: {}}}",
        "x-a: &a {k: v}\nservices: {web: {image: x, labels: {<<: [*a, *a]}}, db: {build: ., labels: {<<: *a}}}",
        "services: {web: {image: x, labels: [a=b, a=b]}}",
        "x-a: &a {k: v}\nx-b: &a {k: w}\nservices: {web: {image: x, labels: *a}}",
        "services: {web: {provider: {type: x}}, db: {image: y, deploy: null}}",
    ],
)
def test_file_that_compose_takes_is_not_refused(tmp_path: Path, text: str) -> None:
    """Quoted dates, what is no date, keys far from ours, the same source twice."""
    assert read(tmp_path, text).inventory.containers


def test_label_twice_in_a_list_is_told(tmp_path: Path) -> None:
    """Compose takes the last one, which nobody sees in the file."""
    reading = read(
        tmp_path, "services:\n  web:\n    image: x\n    labels:\n      - a=b\n      - a=c\n"
    )

    assert labels(only(reading)) == {"a": "c"}
    (note,) = reading.notes
    assert "line 6: the label a of web stands in line 5 already" in note


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("*b", {"k": "2", "j": "1"}),
        ("[*b, *a]", {"k": "2", "j": "1"}),
        ("[*a, *b]", {"k": "1", "j": "1"}),
        ("[*c, *a]", {"k": "1", "j": "3", "l": "4"}),
    ],
)
def test_mappings_that_merge_themselves_merge_as_in_compose(
    tmp_path: Path, merge: str, expected: dict[str, str]
) -> None:
    """Of several the first counts, and a key of its own before a merged one; see yaml.org/type."""
    text = f"""
x-a: &a {{k: 1, j: 1}}
x-b: &b {{<<: *a, k: 2}}
x-c: &c {{j: 3, <<: [*a, *b], l: 4}}
services: {{web: {{image: x, labels: {{<<: {merge}}}}}}}
"""
    assert labels(only(read(tmp_path, text))) == expected


VARIABLES = {
    "$A": "1",
    "${A}": "1",
    "${A:-d}": "1",
    "${EMPTY:-d}": "d",
    "${EMPTY-d}": "",
    "${NONE-d}": "d",
    "${NONE:-a ${NONE-b $A}}": "a b 1",
    "${A:?e}": "1",
    "${EMPTY?e}": "",
    "${A:+y$A}": "y1",
    "${EMPTY:+y}": "",
    "${EMPTY+y}": "y",
    "${NONE+y}": "",
    "${NONE:-{}}": "{}",
    "$$A": "$A",
    "$$$A": "$1",
    "$5 $ $-": "$5 $ $-",
    "$DOTTED": "d $5",
    "$BOTH": "of the environment",
}


@pytest.mark.parametrize(("written", "value"), VARIABLES.items())
def test_variables_are_resolved_as_compose_resolves_them(
    tmp_path: Path, written: str, value: str
) -> None:
    """From the environment first, then from `.env`; the value itself is no template."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / ".env").write_bytes(b"\xef\xbb\xbfDOTTED='d $5' # x\r\nBOTH=of the file\r\n")
    environment = {**NO_TOOL, "A": "1", "EMPTY": "", "BOTH": "of the environment"}
    text = f"services:\n  web:\n    image: x\n    labels:\n      key: '{written}'\n"

    reading = read(tmp_path, text, environment)

    assert (labels(only(reading)), reading.notes) == ({"key": value}, ())


DOTENV = {
    "X=1": "1",
    "export X=1": "1",
    "  X = 7 ": "7",
    "X: 5": "5",
    "X=a#b #c": "a#b",
    "X=#c": "#c",
    'X="a b" # c': "a b",
    "X='a $Y \\n'": "a $Y \\n",
    'Y=q\nX="$Y\\t\\$Y\\x"': "q\t$Y\\x",
    'X="a\nb"': "a\nb",
    "X='it\\'s'": "it's",
    "Y=q\nX=${Y}-${Z:-d}": "q-d",
    "X=a\nX=b": "b",
    "#X=1\n\nX=": "",
    "FROM\nX=$FROM": "outside",
    "NOWHERE\nX=1": "1",
}


@pytest.mark.parametrize(("text", "value"), DOTENV.items())
def test_dotenv_is_read_as_compose_reads_it(text: str, value: str) -> None:
    """Quotes, comments, escapes, other variables and line ends of Windows."""
    for written in (text, text.replace("\n", "\r\n") if '"a' not in text else text):
        assert read_dotenv(f"\ufeff{written}\n", {"FROM": "outside"})["X"] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nX='hunter2\n", "line 2: a quote has no end"),
        ("X hunter2=1", "line 1 is no NAME=value"),
        ("X=${hunter2", "line 1: `${` has no end"),
    ],
)
def test_dotenv_that_compose_refuses_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The line is named, the value is not; a file that settles its name does not need it."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / ".env").write_text(text)

    with pytest.raises(InventoryError) as caught:
        read(tmp_path, "services: {web: {image: x}}")

    assert f".env, {message}" in caught.value.message
    assert "hunter2" not in str(caught.value)


def test_variable_without_value_is_told_where_it_matters(tmp_path: Path) -> None:
    """In labels, volumes, profiles and names; an image or an environment decides nothing here."""
    text = """
name: shop${NAME_UNSET}
services:
  web:
    image: example:$TAG
    environment: {A: $SECRET}
    labels: {a: "$LABEL$LABEL"}
    container_name: web$OWN
    profiles: ["$PROFILE"]
    volumes: ["data$VOLUME:/data"]
volumes: {data: {name: "data$REAL"}}
"""
    reading = read(tmp_path, text, {**NO_TOOL, "COMPOSE_PROFILES": "*"})

    told = [note.split("the variable ")[1].split()[0] for note in reading.notes]
    assert sorted(told) == ["LABEL", "NAME_UNSET", "OWN", "PROFILE", "REAL", "VOLUME"]
    assert only(reading).mounts == (Mount("volume", "", "/data", "data", "local"),)
    with pytest.raises(InventoryError, match="line 1: the project's name comes to nothing"):
        read(tmp_path, "name: $NONE\nservices: {web: {image: x}}\n")


def test_variable_without_value_is_told_where_nothing_can_be_read_without_it(
    tmp_path: Path,
) -> None:
    """The empty text in its place is why a volume cannot be read."""
    with pytest.raises(InventoryError) as refusal:
        read(tmp_path, "services: {web: {image: x, volumes: ['${DATA}:/data']}}")

    assert "DATA" in refusal.value.hint
    assert "line 1" in refusal.value.hint


def test_variables_become_the_types_that_their_keys_take(tmp_path: Path) -> None:
    """A number of replicas and `external` are no texts."""
    text = """
services:
  web: {image: x, scale: "${N:-2}", volumes: ["v1:/v"]}
  db: {image: x, deploy: {replicas: "${N:-3}"}, depends_on: {web: {condition: service_started, restart: "${R:-yes}"}}}
volumes: {v1: {external: "${E:-on}"}}
"""
    inventory = read(tmp_path, text).inventory
    assert [one.name for one in inventory.containers] == [
        *("shop-db-1", "shop-db-2", "shop-db-3", "shop-web-1", "shop-web-2"),
    ]
    assert list(inventory.volumes) == ["v1"]
    waits = {one.labels["com.docker.compose.depends_on"] for one in inventory.containers}
    assert waits == {"", "web:service_started:true"}


def test_project_name_is_a_variable_too(tmp_path: Path) -> None:
    """Compose sets COMPOSE_PROJECT_NAME for the file itself; `.env` may compute it."""
    text = "services: {web: {image: x, labels: {a: $COMPOSE_PROJECT_NAME}}}\n"
    assert labels(only(read(tmp_path, text))) == {"a": "shop"}
    (tmp_path / "shop" / ".env").write_bytes(
        b"\xef\xbb\xbfCOMPOSE_PROJECT_NAME=${BASE:-wiki}-two\r\n"
    )
    assert only(read(tmp_path, text)).name == "wiki-two-web-1"
    assert labels(only(read(tmp_path, f"name: ${{N:-own}}\n{text}", NO_TOOL))) == {"a": "wiki-two"}


def test_services_of_other_profiles_are_named_as_left_out(tmp_path: Path) -> None:
    """Nobody should think that they were looked at."""
    text = (
        "services: {web: {image: x}, debug: {image: x, profiles: [d]}, "
        "tool: {image: x, profiles: [t]}}\n"
    )

    reading = read(tmp_path, text)
    assert [one.name for one in reading.inventory.containers] == ["shop-web-1"]
    assert ["debug, tool" in note for note in reading.notes] == [True]
    some = read(tmp_path, text, {**NO_TOOL, "COMPOSE_PROFILES": "x, t"})
    assert [one.name for one in some.inventory.containers] == ["shop-tool-1", "shop-web-1"]
    every = read(tmp_path, text, {**NO_TOOL, "COMPOSE_PROFILES": "*"})
    assert (len(every.inventory.containers), every.notes) == (3, ())


def test_windows_paths_are_told(tmp_path: Path) -> None:
    """One letter and a colon is a drive to Compose, also beside a volume of that name."""
    text = r"""
services:
  web:
    image: x
    volumes: ['C:\x:/c:ro', 'd:/data', 'd:/e:/f', '\\nas\x:/n', {type: bind, source: 'E:\x', target: /g}]
volumes: {d: {}}
"""
    reading = read(tmp_path, text)

    assert only(reading).mounts == (
        Mount("bind", "", "/c"),
        Mount("volume", "", "/d:/data", "", "local"),
        Mount("bind", "", "/f"),
        Mount("bind", "", "/g"),
        Mount("bind", "", "/n"),
    )
    assert len(reading.notes) == 5
    assert all("path of Windows" in note for note in reading.notes)


def test_device_of_a_bound_volume_is_absolute_where_compose_makes_it_so(tmp_path: Path) -> None:
    """With `driver: local` and `o: bind` alone; elsewhere Docker gets what is written."""
    entry = "{driver: local, driver_opts: {type: none, o: %s, device: %s}}"
    written = {"a": ("bind", "./x"), "b": ("bind", "~/x"), "c": ("'bind,ro'", "./x")}
    written["e"] = ("bind", "/srv/./x/")
    volumes = ", ".join(f"{key}1: {entry % pair}" for key, pair in written.items())
    text = (
        f"services: {{web: {{image: x}}}}\nvolumes: {{{volumes}, "
        "d1: {driver_opts: {o: bind, device: ./x}}}\n"
    )

    devices = {
        name: volume.options["device"]
        for name, volume in read(tmp_path, text).inventory.volumes.items()
    }
    assert devices == {
        "shop_a1": f"{tmp_path}/shop/x",
        "shop_b1": "/home/ann/x",
        "shop_c1": "./x",
        "shop_e1": "/srv/./x/",
        "shop_d1": "./x",
    }


def test_more_than_one_file_needs_compose(shop: Path) -> None:
    """Merging has rules that only Compose knows."""
    other = shutil.copy(shop, shop.with_name("other.yaml"))

    with pytest.raises(InventoryError, match="more than one file"):
        load_compose([shop, other], environment=NO_TOOL)


def test_extension_fields_need_no_resolution(tmp_path: Path) -> None:
    """What no service uses is of no concern."""
    text = "x-a: $HOME\nx-b: !reset {}\nservices: {web: {image: x, command: a $$b}}\n"

    assert only(read(tmp_path, text)).name == "shop-web-1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no services"),
        ("[]", "has no services"),
        ("services:\n", "has no services"),
        ("web: {image: x}", "has no services"),
        ("services: {web: {labels: [a: true]}}", "services.web.labels.0 has a form"),
        ("services: {web: {labels: {a: [hunter2]}}}", "services.web.labels.a has a form"),
        ("services: {web: {scale: many}}", "services.web.scale has a form"),
        ("services: {web: {volumes: [{type: bind}]}}", "services.web.volumes.0 has a form"),
        (
            "services: {web: {image: x, volumes: ['xx:/y']}}",
            "uses the volume 'xx', which is not declared",
        ),
        ("services: {web: {volumes: [':/y']}}", "the volume ':/y' cannot be read"),
        ("services: {web: {volumes: ['./x:/y:']}}", "the volume './x:/y:' cannot be read"),
        ("services: {web: {volumes: ['./x:/y:ro:z']}}", "the volume './x:/y:ro:z' cannot be read"),
        ("services: {web: {volumes: ['']}}", "the volume '' cannot be read"),
        ("services:\n  web: {\n", "line 3 is no valid YAML"),
        ("services: {web: {}}\n---\nservices: {db: {}}\n", "line 3: a second document"),
        ("services: {web: {labels: *gone}}", "line 1 is no valid YAML"),
        ("[" * 3000, "is no valid YAML"),
        ("a: \x07", "is no valid YAML"),
        ("services: &a {web: *a}", "is no valid YAML"),
    ],
)
def test_file_that_compose_would_refuse_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message names the file and the place, and no value."""
    with pytest.raises(InventoryError) as caught:
        read(tmp_path, text)

    assert message in caught.value.message
    assert "hunter2" not in str(caught.value)


INCONSISTENT = {
    "services: {web: {image: x, depends_on: [db]}}": "needs the service db, not there",
    "services: {web: {image: x, links: [db]}, db: {image: y, profiles: [p]}}": "no chosen profile",
    "services: {web: {image: x, network_mode: 'service:db'}}": "needs the service db, not there",
    "services: {a: {image: x, depends_on: [b]}, b: {image: x, links: [a]}}": "for each other: a, b",
    "services: {web: {image: x, secrets: [s]}}": "uses s, which secrets do not have",
    "services: {web: {image: x, configs: [{source: s}]}}": "uses s, which configs do not have",
    "services: {web: {image: x, scale: 2, deploy: {replicas: 3}}}": "deploy.replicas differ",
    "services: {web: {image: x, scale: -1}}": "has fewer than no containers",
    "services: {web: {image: x, scale: 2, container_name: ab}}": "one container_name for several",
    "services: {web: {image: x, container_name: '-'}}": "container_name is no name of a container",
    "services: {a: {image: x, container_name: ab}, b: {image: x, container_name: ab}}": "several services",
    "services: {web: {image: x, volumes: ['./a:/d', {type: bind, source: ., target: /d/}]}}": "several mounts at /d",
    "services: {web: {image: x, tmpfs: [/d], volumes: ['./a:/d']}}": "several mounts at /d",
    "services: {web: {image: x, tmpfs: [/d, '/d:size=1m']}}": "several mounts at /d",
    "services: {web: {image: x, volumes: [{type: bind, target: /d}]}}": "the bind of /d has no source",
    "services: {web: {image: x, volumes_from: [db, db]}, db: {image: y}}": "the same twice in volumes_from",
    "services: {web: {image: x, labels: {'': b}}}": "has a label without a key",
    "services: {'a b': {image: x}}": "services.a b is no name",
    "services: {web: {image: x}}\nvolumes: {'a b': {}}": "volumes.a b is no name",
    "services: {web: {image: x}}\nvolumes: {d: {external: true, driver: local}}": "volumes.d is external",
    "services: {web: {image: x}}\nvolumes: {d: {external: {name: a}, name: b}}": "volumes.d has two names",
    "services: {web: {image: x}}\nsecrets: {s: {}}": "secrets.s says nothing of where",
    "services: {web: {image: x, labels: {1: b}}}": "line 1: the key 1 is no text",
    "x-a: {true: b}\nservices: {web: {image: x}}": "line 1: the key true is no text",
    "x-a: '${X:?e}'\nservices: {web: {image: x}}": "line 1: the required variable X",
    "services: {web: {image: x, labels: }}": "services.web.labels has a form",
    "services: {web: }": "services.web has a form",
    "services: {web: {image: x}}\nversion: 3": "version has a form",
    "services: {web: {image: x, volumes: [{target: /d}]}}": "services.web.volumes.0 has a form",
    "services: {web: {image: x, depends_on: {web: {}}}}": "services.web.depends_on.web has a form",
    "services: {web: {image: x}}\nvolume: {}": "line 2: the file has no key volume",
    "services: {web: {image: x}}\nvolumes: {d: {lables: {}}}": "line 2: the volume d has no key lables",
}


@pytest.mark.parametrize("service", ["{labels: {a: b}}", "{image: '', labels: {a: b}}"])
def test_a_service_without_an_image_is_read(tmp_path: Path, service: str) -> None:
    """A file that overrides another has such: its labels can be looked at by themselves."""
    reading = read(tmp_path, f"services: {{web: {service}}}")
    assert ["b"] == [one.labels["a"] for one in reading.inventory.containers]


@pytest.mark.parametrize(("text", "message"), INCONSISTENT.items())
def test_file_that_does_not_fit_together_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    """As Compose refuses it: each of these was tried with version 2.40."""
    with pytest.raises(InventoryError) as caught:
        read(tmp_path, text)

    assert message in caught.value.message


def test_of_volumes_for_one_target_the_last_counts(tmp_path: Path) -> None:
    """Compose compares what is written, puts the last in the place of the first, then cleans."""
    text = "services: {web: {image: x, volumes: ['./a:/d', './b:/d/', './c:/d', '~ann/e:/e']}}"

    assert only(read(tmp_path, text)).mounts == (
        Mount("bind", f"{tmp_path}/shop/b", "/d"),
        Mount("bind", "/home/ann/ann/e", "/e"),
    )


def test_project_name_is_found_as_compose_finds_it(tmp_path: Path) -> None:
    """The variable beats the file's name, which beats .env's neighbour, the folder."""
    named, nameless = (
        "name: Own_Name\nservices: {web: {image: x}}\n",
        "services: {web: {image: x}}\n",
    )
    variable = {**NO_TOOL, "COMPOSE_PROJECT_NAME": "from-env"}

    assert only(read(tmp_path, nameless)).name == "shop-web-1"
    assert only(read(tmp_path, named)).name == "own_name-web-1"
    assert only(read(tmp_path, named, variable)).name == "from-env-web-1"
    for refused in ("From", "-env", "a b", "a.b"):
        with pytest.raises(InventoryError, match="is no project name to Compose"):
            read(tmp_path, named, {**NO_TOOL, "COMPOSE_PROJECT_NAME": refused})
    (tmp_path / "shop" / ".env").write_text("# x\nCOMPOSE_PROJECT_NAME='dotted'\nA=b\n")
    assert only(read(tmp_path, nameless)).name == "dotted-web-1"


def test_resolved_text_has_settled_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose has weighed the variables already when it printed `name`."""
    variable = {**NO_TOOL, "COMPOSE_PROJECT_NAME": "other"}
    text = "name: settled\nservices: {web: {}}\n"

    piped = load_compose(["-"], stdin=io.StringIO(text), environment=variable)
    assert only(piped).name == "settled-web-1"

    monkeypatch.chdir("/")
    with pytest.raises(InventoryError, match="no project name"):
        load_compose(["-"], stdin=io.StringIO("services: {web: {}}"), environment=NO_TOOL)


@pytest.mark.parametrize(
    ("service", "count"),
    [
        ("", 1),
        (", scale: 0", 0),
        (", scale: 2.0", 2),
        (", scale: '+2'", 2),
        (", scale: 3, deploy: {replicas: 3}", 3),
        (", deploy: {replicas: 2}", 2),
        (", container_name: one, scale: 1", 1),
        (", container_name: one, scale: 0", 0),
    ],
)
def test_replicas(tmp_path: Path, service: str, count: int) -> None:
    """`scale` and `deploy.replicas` say how many, also as texts."""
    reading = read(tmp_path, f"services:\n  web: {{image: x{service}}}\n")

    assert len(reading.inventory.containers) == count


def test_rarer_forms_of_mounts(tmp_path: Path) -> None:
    """Old external names, configs, secrets without a file, other types, mounts of another."""
    text = """
services:
  web:
    image: x
    volumes: [old:/old, {type: image, source: x, target: /image}, {type: bind, source: ., target: /here}]
    volumes_from: [db, "container:lone"]
    configs: [site, {source: site, target: /etc/site}]
    secrets: [remote]
    depends_on: {db: {condition: service_healthy, restart: true}}
    links: ["db:alias"]
  db:
    image: x
    volumes:
      - "plugin:/plugin:rw,z"
      - {type: volume, source: part, target: /part, volume: {subpath: ann/raw, nocopy: true}}
volumes:
  old: {external: {name: old-name}}
  plugin: {driver: rclone, driver_opts: {n: 1, on: "yes"}}
  part:
configs: {site: {file: site.conf}}
secrets: {remote: {external: true}}
"""
    reading = read(tmp_path, text)
    database, web = reading.inventory.containers

    assert web.mounts == (
        Mount("bind", f"{tmp_path}/shop/site.conf", "/etc/site"),
        Mount("bind", f"{tmp_path}/shop", "/here"),
        Mount("image", "", "/image"),
        Mount("volume", "", "/old", "old-name", "local"),
        Mount("volume", "", "/part", "shop_part", "local", "ann/raw"),
        Mount("volume", "", "/plugin", "shop_plugin", "rclone"),
        Mount("bind", f"{tmp_path}/shop/site.conf", "/site"),
    )
    assert database.mounts == web.mounts[4:6]
    assert web.labels["com.docker.compose.depends_on"] == "db:service_healthy:true"
    assert reading.inventory.volumes["shop_plugin"].options == {"n": "1", "on": "yes"}


def test_dash_stands_alone(shop: Path) -> None:
    """Nothing is merged with standard input, and no file at all is no question."""
    refused: list[list[str | Path]] = [[], ["-", shop]]
    for files in refused:
        with pytest.raises(UsageError, match="--compose"):
            load_compose(files, environment=NO_TOOL)


def test_a_file_that_is_not_there_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    """A relative path may have been written in another folder."""
    with pytest.raises(InventoryError, match="No such file") as caught:
        load_compose([tmp_path / "none.yaml"], environment=NO_TOOL)
    assert caught.value.hint == f"write the path of a Compose file, as seen from {Path.cwd()}"


def test_for_a_folder_the_file_in_it_is_asked_for(tmp_path: Path) -> None:
    """Docker Compose finds it by itself; here it is named."""
    with pytest.raises(InventoryError, match="it is a directory") as caught:
        load_compose([tmp_path], environment=NO_TOOL)
    assert caught.value.hint == "write the path of the Compose file in it"


def test_a_compose_file_is_a_file(tmp_path: Path) -> None:
    """Nothing waits for a FIFO, and no device is read without an end."""
    pipe, device = tmp_path / "pipe.yaml", tmp_path / "device.yaml"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate((16 << 20) + 1)

    told = ((pipe, "it is a FIFO"), (device, "it is a device"), (large, "too large"))
    for path, message in told:
        with pytest.raises(InventoryError, match=f"{path.name}.*{message}"):
            load_compose([path], environment=NO_TOOL)


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file and one that is no text are errors, not empty inventories."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\xff")

    for path, message in ((tmp_path / "none.yaml", "No such file"), (binary, "no UTF-8")):
        with pytest.raises(InventoryError, match=message) as caught:
            load_compose([path], environment=NO_TOOL)
        assert str(path) in caught.value.message


# From here on Compose itself does the reading.


@pytest.fixture
def tooled(tmp_path: Path) -> dict[str, str]:
    """The environment in which docker-compose, a part of the test setup, is the only tool."""
    program = shutil.which("docker-compose")
    assert program, "docker-compose belongs to the test setup"
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "docker-compose").symlink_to(program)
    return {"PATH": str(folder), "HOME": "/home/ann"}


def test_compose_itself_reads_the_example_alike(
    plain: ComposeReading, shop: Path, tooled: dict[str, str]
) -> None:
    """Our reading of an unresolved file agrees with docker-compose's."""
    resolved = load_compose([shop], environment=tooled)

    assert resolved.inventory == plain.inventory
    assert resolved.swarm_only == plain.swarm_only
    assert resolved.positions == plain.positions


def test_compose_resolves_variables_and_merges_files(
    tmp_path: Path, tooled: dict[str, str]
) -> None:
    """What is refused without the tool works with it, and its warnings are notes."""
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("services: {web: {image: x, labels: {repo: '${REPO}', lost: $UNSET_HERE}}}\n")
    second.write_text(
        "services: {web: {labels: {literal: $$SELF}, profiles: [p]}, db: {image: y}}\n"
    )
    variables = {**tooled, "REPO": "remote", "COMPOSE_PROJECT_NAME": "merged"}

    default = load_compose([first, second], environment=variables)
    chosen = load_compose([first, second], environment={**variables, "COMPOSE_PROFILES": "q,p"})

    assert [item.name for item in default.inventory.containers] == ["merged-db-1"]
    web = chosen.inventory.containers[1]
    assert labels(web) == {"repo": "remote", "lost": "", "literal": "$SELF"}
    assert any("UNSET_HERE" in note for note in chosen.notes)
    assert chosen.positions["web", "literal"] == (str(second), 1)


def test_refusal_of_compose_is_passed_on(tmp_path: Path, tooled: dict[str, str]) -> None:
    """The tool's own first lines say what is wrong."""
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {image: x, env_file: missing.env}}\n")

    with pytest.raises(InventoryError) as caught:
        load_compose([file], environment=tooled)

    assert "`docker-compose config` failed" in caught.value.message
    assert "missing.env" in caught.value.message
    assert str(file) in caught.value.hint


def test_file_too_new_for_the_old_compose_is_read_anyway(
    tmp_path: Path, tooled: dict[str, str]
) -> None:
    """docker-compose 1 does not know `name`; a note says that it was not asked."""
    reading = read(tmp_path, "name: today\nservices: {web: {image: x}}\n", tooled)

    assert only(reading).name == "today-web-1"
    assert "refused it" in reading.notes[0]


def test_file_too_new_and_unresolved_is_refused_with_a_way_out(
    tmp_path: Path, tooled: dict[str, str]
) -> None:
    """When neither can read it, what to install is worth more than the tool's complaint."""
    with pytest.raises(InventoryError, match=r"cannot read .*docker compose plugin"):
        read(tmp_path, "name: today\nservices: {web: {image: x, extends: y}}\n", tooled)


def test_error_of_compose_is_shown_whole(tmp_path: Path) -> None:
    """Its warnings come first and are left out; what went wrong stands at the end."""
    warnings = "\n".join(
        f'time="2026-01-01" level=warning msg="The \\"V{n}\\" variable is not set."'
        for n in range(30)
    )
    script(
        tmp_path / "bin",
        "docker",
        'case $* in *version) echo "Docker Compose version v2.40.3"; exit 0 ;; esac\n'
        f"cat >&2 <<'END'\n{warnings}\nfirst line\nlast line\nEND\n"
        'case $OK in 1) echo "services: {web: {image: x}}"; exit 0 ;; esac; exit 15',
    )
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}

    with pytest.raises(InventoryError) as caught:
        read(tmp_path, "services: {web: {image: x}}", environment)
    assert caught.value.message == "`docker compose config` failed: first line last line"

    reading = read(tmp_path, "services: {web: {image: x}}", {**environment, "OK": "1"})
    assert reading.notes[0] == 'The "V0" variable is not set.'


def test_services_of_other_profiles_are_named_beside_compose_too(tmp_path: Path) -> None:
    """It leaves them out of its answer in silence, and answers nothing where all are."""
    script(
        tmp_path / "bin",
        "docker",
        'case $* in *version) echo "Docker Compose version v2.40.3"; exit 0 ;; esac\n'
        'echo "name: shop"; echo "services: {}"',
    )
    text = "services: {debug: {image: x, profiles: [d]}}"

    reading = read(tmp_path, text, {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})

    assert reading.inventory.containers == ()
    assert ["debug" in note for note in reading.notes] == [True]


def script(folder: Path, name: str, body: str) -> None:
    """Put a program into a folder of the PATH."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_docker_without_the_plugin_is_no_tool(tmp_path: Path) -> None:
    """A client that does not know `compose`, or that does not even start, is passed over."""
    script(tmp_path / "bin", "docker", "exit 1")
    environment = {"PATH": f"{tmp_path}/bin"}
    assert find_tool(environment) is None

    (tmp_path / "bin" / "docker").write_text("#!/nonexistent/shell\n")
    assert find_tool(environment) is None


def test_plugin_is_preferred_and_its_version_known(tmp_path: Path) -> None:
    """`docker compose` comes before `docker-compose`."""
    script(tmp_path / "bin", "docker", "echo Docker Compose version v2.31.0")
    script(tmp_path / "bin", "docker-compose", "echo docker-compose version 1.29.2, build x")

    tool = find_tool({"PATH": f"{tmp_path}/bin"})
    assert tool is not None
    assert (tool.name, tool.is_legacy) == ("docker compose", False)

    (tmp_path / "bin" / "docker").unlink()
    tool = find_tool({"PATH": f"{tmp_path}/bin"})
    assert tool is not None
    assert (tool.name, tool.is_legacy) == ("docker-compose", True)


def test_program_that_does_not_end_is_ended_with_its_children() -> None:
    """A plugin holds the pipe open after its client was killed."""
    started = time.monotonic()

    with pytest.raises(InventoryError, match=r"did not end within 0\.2 s"):
        run_program(("/bin/sh", "-c", "sleep 60 & wait"), {}, 0.2)

    assert time.monotonic() - started < 20


@pytest.fixture
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


@pytest.mark.usefixtures("stacks")
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


@pytest.mark.usefixtures("stacks")
def test_the_first_name_that_compose_looks_for_is_the_base() -> None:
    """Of two files that could be meant, an override is laid over the one that Compose takes."""
    Path("docker-compose.yml").write_text("")
    assert [("compose.yaml", "compose.override.yaml")] == group_projects(["compose.override.yaml"])
