"""The pages that need an engine: told whole, on one of their own.

What they name stands ready there: the sidecar's image is the real one, the others are
stand-ins (see `stack_world`). A web server of a page is busybox, which serves the same folder.
"""

import io
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest

from image_world import derive
from private_docker import PrivateEngine
from sample_stack import busybox_tar
from stack_world import provide_runner
from tests.docs.blocks import ROOT, Where, blocks_of, page_name, pages, parse_blocks
from tests.docs.docker_client import has_plugin
from tests.docs.reading import is_compose, parse_block
from tests.docs.story import Stage, Story, StoryError, begin_story, told_blocks

# The image is built from the Dockerfile first.
pytestmark = pytest.mark.timeout(600)

_RUNNER = "compose.runner.yaml"
_SECONDS = 100.0
_STAND_IN = """\
FROM {image}
STOPSIGNAL SIGKILL
CMD {command}
"""
_SLEEP = '["/bin/sleep", "86400"]'
_SERVES = {
    "nginx": '["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/usr/share/nginx/html"]',
}
_PAGE = """
```yaml
# compose.yaml
name: wiki
services:
  notes:
    image: example.org/notes:3
    network_mode: none
    volumes: [pages:/pages]
    labels: {backrest.enable: "true"}
volumes: {pages: {}}
```
<!-- engine -->
```console
$ docker compose up -d
$ docker exec wiki-notes-1 echo here
here
$ docker compose exec notes ls -d /pages
/pages
$ backrest-sidecar init --repo /backups --generate-password --config config.json
$ backrest-sidecar reconcile --dry-run --config config.json
wiki/notes  plan backrest_sidecar_wiki_notes (new)
  paths      /pages → /var/lib/docker/volumes/wiki_pages/_data
...
config.json would be written: 1 new, ...
$ docker compose down --volumes --timeout 0
```
"""


def compose_files_of(text: str) -> list[Mapping[str, object]]:
    """The Compose files of a page."""
    trees = [parse_block(block) for block in parse_blocks(text) if block.language == "yaml"]
    return [tree for tree in trees if is_compose(tree)]


def images_of(text: str) -> set[str]:
    """The images that a page names."""
    services = (s for tree in compose_files_of(text) for s in tree["services"].values())  # type: ignore[attr-defined]
    return {service["image"] for service in services if "image" in service}


def containers_of(text: str) -> dict[str, str]:
    """The names of a page's containers, and how version 1 of Compose calls them."""
    return {
        f"{tree['name']}-{service}-1": f"{tree['name']}_{service}_1"
        for tree in compose_files_of(text)
        if "name" in tree
        for service in tree["services"]  # type: ignore[attr-defined]
    }


def stage_of(engine: PrivateEngine, text: str) -> Stage:
    """Stand on an engine, in its network, and call things as they are called there."""
    variables = {
        "DOCKER_HOST": engine.address,
        "DOCKER_SOCK": str(engine.socket),
        "DOCKER_ROOT": str(engine.data_root),
        "BACKREST_SIDECAR_DOCKER_ROOT": str(engine.data_root),
    }
    docker_program = shutil.which("docker")
    assert docker_program is not None, "docker is not installed"
    named = {} if has_plugin(docker_program) else containers_of(text)
    aliases = {"/var/lib/docker": str(engine.data_root), **named}
    within = ("nsenter", f"--net=/proc/{engine.pid}/ns/net")
    return Stage(variables, within, _SECONDS, aliases)


def stand_in(client: docker.APIClient, image: str) -> None:
    """Put something under an image's name: busybox, which serves or sleeps."""
    name, _, tag = image.rpartition(":") if ":" in image else (image, "", "latest")
    command = _SERVES.get(name, _SLEEP)
    packed = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=packed, mode="a") as tar:
        entry = tarfile.TarInfo("bin/rm")
        entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(entry)
    client.import_image_from_data(packed.getvalue(), repository=name, tag=tag)
    # A first process without handlers ignores SIGTERM, and nobody has ten seconds.
    derive(client, f"{name}:{tag}", _STAND_IN.format(image=f"{name}:{tag}", command=command))


def begin_on(client: docker.APIClient, engine: PrivateEngine, text: str, folder: Path) -> Story:
    """Begin a story on the engine, with our Compose files in its folder `backup`."""
    for image in sorted(images_of(text)):
        if not client.images(image):
            stand_in(client, image)
    story = begin_story(folder, stage_of(engine, text))
    (folder / "backup").mkdir()
    for file in ROOT.glob("compose*.yaml"):
        shutil.copy(file, folder / "backup")
    (folder / "srv").mkdir()
    story.environment["BIND_ROOT"] = str(folder / "srv")
    return story


def tell(story: Story, text: str, page: str = "page") -> None:
    """Tell a page, with all that needs an engine."""
    for block in told_blocks(parse_blocks(text, page), engine=True):
        story.tell(block)


def engine_pages() -> list[Path]:
    """The pages with a block that needs an engine."""
    return [page for page in pages() if any(b.where is Where.ENGINE for b in blocks_of(page))]


@pytest.fixture
def stage(stack_client: docker.APIClient) -> Iterator[docker.APIClient]:
    """Return an engine, and take away what a page has left on it."""
    before = {network["Id"] for network in stack_client.networks()}
    yield stack_client
    for container in stack_client.containers(all=True):
        stack_client.remove_container(container["Id"], v=True, force=True)
    for network in stack_client.networks():
        if network["Id"] not in before:
            stack_client.remove_network(network["Id"])
    for volume in stack_client.volumes()["Volumes"] or ():
        stack_client.remove_volume(volume["Name"], force=True)


@pytest.mark.parametrize("page", engine_pages(), ids=page_name)
def test_a_page_goes_as_it_is_told(
    page: Path,
    stage: docker.APIClient,
    docker_client: docker.APIClient,
    networked_engine: PrivateEngine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From top to bottom, on an engine that has nothing but images; what each step took is printed."""
    text = page.read_text()
    if f"-f {_RUNNER}" in text:
        provide_runner(stage, docker_client, _RUNNER, "runner")
    story = begin_on(stage, networked_engine, text, tmp_path / "story")
    tell(story, text, page_name(page))
    with capsys.disabled():
        sys.stdout.write(f"\n{page_name(page)}\n")
        sys.stdout.writelines(f"{seconds:6.1f} s  {command}\n" for command, seconds in story.times)


def test_a_story_has_an_engine_and_compose(
    stage: docker.APIClient, networked_engine: PrivateEngine, tmp_path: Path
) -> None:
    """Whatever Compose is installed: what it starts is what the sidecar sees."""
    tell(begin_on(stage, networked_engine, _PAGE, tmp_path / "story"), _PAGE)
    assert [] == stage.containers(all=True)


def test_a_story_that_goes_otherwise_on_an_engine_fails(
    stage: docker.APIClient, networked_engine: PrivateEngine, tmp_path: Path
) -> None:
    """As one without an engine does."""
    page = _PAGE.replace("\nhere\n", "\nthere\n")
    with pytest.raises(StoryError, match=re.escape("prints\nhere")):
        tell(begin_on(stage, networked_engine, page, tmp_path / "story"), page)
