"""The tests of the documents fail where a page is wrong: each kind of mistake, once."""

from pathlib import Path

import pytest

from tests.docs.blocks import Block, PageError, Where, parse_blocks, prose_of
from tests.docs.docker_client import options_for_version_1, split_options, without_terminal
from tests.docs.links import anchors_of, find_dead_links, slug_of
from tests.docs.reading import (
    check_call,
    check_services,
    check_shell,
    check_variables,
    load_yaml,
    our_calls,
    parse_block,
)
from tests.docs.story import (
    Stage,
    Story,
    StoryError,
    begin_story,
    matches,
    plain_arguments,
    told_blocks,
)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """Begin a story in an empty folder."""
    return begin_story(tmp_path / "story")


def tell(story: Story, text: str) -> None:
    """Tell a page."""
    for block in told_blocks(parse_blocks(text), engine=False):
        story.tell(block)


def console(text: str, mark: str = "") -> str:
    """Write a console block."""
    return f"{mark}\n```console\n{text}\n```\n"


def test_blocks_have_language_place_marks_and_text() -> None:
    """Also within a list, with the indent taken away."""
    text = "# A\n\n- b\n\n  <!-- engine, exit 3 -->\n  ```sh\n  x\n    y\n  ```\n\n~~~~text\n```\n~~~~\n"

    assert (
        Block("p.md", 6, "sh", "x\n  y", Where.ENGINE, 3),
        Block("p.md", 11, "text", "```"),
    ) == parse_blocks(text, "p.md")
    assert ["# A", "", "- b", "", "  <!-- engine, exit 3 -->"] == prose_of(text).rstrip().split(
        "\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```sh\nx\n", "page:1: the block is never closed"),
        ("<!-- parse -->\n```sh\nx\n```\n", "page:2: there is no mark 'parse'"),
        ("<!-- exit -->\n```sh\nx\n```\n", "page:2: there is no mark 'exit'"),
    ],
)
def test_a_page_against_the_conventions_is_refused(text: str, said: str) -> None:
    """A slip in a mark must not leave a block out."""
    with pytest.raises(PageError) as refused:
        parse_blocks(text)
    assert said == str(refused.value)


def test_a_block_becomes_the_file_that_it_names() -> None:
    """A comment of another form is a comment; what a console shows is no file."""
    named = ["# compose.yaml", "# conf/x.toml", "# .env", "# some words", "# e.g. this"]
    files = [Block("p", 1, "yaml", f"{line}\na: 1").file for line in named]

    assert ["compose.yaml", "conf/x.toml", ".env", "", ""] == files
    assert "" == Block("p", 1, "console", "# compose.yaml").file


def test_a_story_goes_on_in_its_folder_and_environment(story: Story) -> None:
    """Files are written, later commands find what earlier ones have left."""
    tell(
        story,
        "```yaml\n# conf/a.yaml\nb: 1\n```\n"
        + console("$ cd conf\n$ export NAME=x\n$ cat a.yaml\n# conf/a.yaml\nb: 1")
        + console('$ echo "$NAME" \\\n    y\nx y\n$ pwd\n.../conf'),
    )
    assert story.folder == story.root / "conf"


@pytest.mark.parametrize(
    "text",
    [
        "$ backrest-sidecar version",
        '$ backrest-sidecar schema labels | grep -c "backrest.enable"\n...',
        "$ backrest-sidecar init --repo /b --generate-password --config c.json && test -f c.json",
        "$ backrest-sidecar init --repo /b --generate-password --config d.json\nd.json ...\n...",
    ],
)
def test_our_commands_run_in_a_story(story: Story, text: str) -> None:
    """Plain ones in this process, others by the shell; both are the program of this tree."""
    tell(story, console(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (console("$ echo a\nb"), "prints\na\n"),
        (console("$ backrest-sidecar version\n0.0"), "and not\n0.0"),
        (console("$ backrest-sidecar version --loud"), "ends with 1, not 0"),
        (console("$ backrest-sidecar version --loud; true\nfine"), "No such option"),
        (console("$ false"), "ends with 1, not 0"),
        (console("$ false\n$ true"), "ends with 1, not 0"),
        (console("$ true", "<!-- exit 3 -->"), "ends with 0, not 3"),
        (console("$ backrest-sidecar daemon"), "a daemon does not end"),
        (console("$ backrest-sidecar reconcile --config c.json"), "ends with 1, not 0"),
        ("```yaml\n# ../a.yaml\nb: 1\n```\n", "lies outside of the story"),
        (
            "```yaml\nservices: {a: {image: a, labels: {backrest.enabel: 'true'}}}\n```\n",
            "lint ends with",
        ),
    ],
)
def test_a_story_that_goes_otherwise_fails(story: Story, text: str, said: str) -> None:
    """With what was printed, so that the page can be mended."""
    with pytest.raises(StoryError) as failed:
        tell(story, text)
    assert said in str(failed.value)


def test_a_status_that_the_page_announces_is_expected(story: Story) -> None:
    """Of several commands it is that of the last one; of a Compose file that of lint."""
    tell(story, console("$ true\n$ sh -c 'exit 3'", "<!-- exit 3 -->"))
    wrong = "services:\n  a:\n    image: a\n    labels: {backrest.enable: 'true'}\n"
    tell(story, f"<!-- exit 3 -->\n```yaml\n{wrong}```\n")


def test_what_does_not_end_fails(tmp_path: Path) -> None:
    """Nothing is waited for without a bound."""
    story = begin_story(tmp_path / "story", Stage(seconds=0.2))
    with pytest.raises(StoryError, match="does not end within"):
        tell(story, console("$ read <> <(:) & read <> <(:)"))


def test_a_command_is_repeated_where_the_page_says_so(story: Story) -> None:
    """Until it goes as told."""
    grows = "$ echo x >>seen; cat seen | wc -l\n3"
    tell(story, console(grows, "<!-- again -->"))
    with pytest.raises(StoryError):
        tell(story, console(grows))


def test_things_are_called_as_they_are_on_the_stage(tmp_path: Path) -> None:
    """In commands, and backwards in what they print."""
    stage = Stage(aliases={"/var/lib/docker": "/elsewhere"}, prefix=("env", "A=1"))
    story = begin_story(tmp_path / "story", stage)
    tell(story, console('$ echo "/var/lib/docker/x $A" >seen; cat seen\n/var/lib/docker/x 1'))
    assert "/elsewhere/x 1\n" == (story.root / "seen").read_text()


def test_without_an_engine_none_is_asked(story: Story) -> None:
    """Not even where the machine has one: nothing of a reader's may be touched."""
    assert story.environment["DOCKER_HOST"].endswith("/no-engine.sock")
    blocks = parse_blocks("<!-- engine -->\n```sh\na\n```\n<!-- parsed -->\n```sh\nb\n```\n")
    assert [[], ["a"]] == [
        [block.text for block in told_blocks(blocks, engine=engine)] for engine in (False, True)
    ]


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a\n\nb\n", False),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a\n...\nd", "a\nd\n", True),
        ("...\nb", "a\nc\n", False),
        ("took ... s", "took 12 s", True),
        ("took ... s", "took 12 m", False),
        ("a.c", "abc", False),
        ("at 02:00, next NEXT RUN", "at 02:00, next Sun 2026-11-22 02:00 UTC", True),
        ("at 02:00, next NEXT RUN", "at 02:00, next never", False),
        ("a NEXT RUN b", "a Sun 2026-11-22 02:00 b", True),
        ("  a", "a", False),
        ("a  \n", "\na\n\n", True),
        ("a", "", False),
    ],
)
def test_what_is_printed_is_compared_with_wildcards(
    expected: str, printed: str, same: bool
) -> None:
    """Blanks at the ends of lines and empty lines around do not count, indents do."""
    assert same == matches(expected, printed)


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("backrest-sidecar lint --strict", ["lint", "--strict"]),
        (
            "backrest-sidecar x --default-schedule 'T T(3-5) * * *'",
            ["x", "--default-schedule", "T T(3-5) * * *"],
        ),
        ("backrest-sidecar schema > x", None),
        ("backrest-sidecar lint # note", None),
        ('backrest-sidecar lint --config "$HOME/x"', None),
        ("ls", None),
    ],
)
def test_plain_lines_are_told_from_those_for_a_shell(
    line: str, arguments: list[str] | None
) -> None:
    """What quotes protect is plain."""
    assert arguments == plain_arguments(line)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("yaml", "a: [1"),
        ("yaml", "a: 1\na: 2"),
        ("json", "{'a': 1}"),
        ("toml", "a = "),
        ("ini", "a"),
        ("sh", "if true"),
        ("console", "backrest-sidecar lint"),
        ("text", "$ ls"),
        ("cobol", "x"),
        ("", "x"),
    ],
)
def test_a_block_that_cannot_be_read_is_refused(language: str, text: str) -> None:
    """By its own parser; a language nobody reads is refused too."""
    with pytest.raises(ValueError, match="page:7"):
        parse_block(Block("page", 7, language, text))


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        ("sudo backrest-sidecar lint --strict | head", [["lint", "--strict"]]),
        ("A=1 backrest-sidecar version && backrest-sidecar lint", [["version"], ["lint"]]),
        ("docker compose exec sidecar backrest-sidecar doctor --fix", [["doctor", "--fix"]]),
        ("docker compose run --rm sidecar init --repo /b", [["init", "--repo", "/b"]]),
        ("docker run -v a:/b ghcr.io/backrest-sidecar/backrest-sidecar:1 lint", [["lint"]]),
        ("docker pull ghcr.io/backrest-sidecar/backrest-sidecar:1 -q", []),
        ("docker compose logs sidecar", []),
        ("backrest-sidecar schema labels > labels.json", [["schema", "labels"]]),
    ],
)
def test_calls_of_ours_are_found_in_a_line(line: str, calls: list[list[str]]) -> None:
    """Also behind other commands, and inside of containers."""
    assert calls == list(our_calls(line))


@pytest.mark.parametrize(
    "arguments",
    [
        ["reconsile"],
        ["reconcile", "--dryrun"],
        ["--dryrun"],
        ["lint", "--format", "xml"],
        ["init", "--generate-password"],
        ["version", "1"],
        ["healthcheck", "--loud"],
    ],
)
def test_a_wrong_call_is_refused(arguments: list[str]) -> None:
    """Unknown commands and flags, words that are no choice, what is missing."""
    with pytest.raises(ValueError, match="backrest-sidecar"):
        check_call(arguments)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--version"], ["lint", "--help"], ["--dry-run"], ["healthcheck", "--config=x"]],
)
def test_a_right_call_is_taken(arguments: list[str]) -> None:
    """Without a command it is reconcile."""
    check_call(arguments)


@pytest.mark.parametrize(
    "service",
    [
        "command: [daemon, --aply]",
        "command: daemon --aply",
        "healthcheck: {test: [CMD, backrest-sidecar, healtcheck]}",
        "environment: {BACKREST_SIDECAR_APLY: '1'}",
        "environment: [BACKREST_SIDECAR_APLY=1]",
    ],
)
def test_a_service_that_calls_us_wrongly_is_refused(service: str) -> None:
    """The flags in a Compose file are as much part of a page as those of a command."""
    image = "image: ghcr.io/backrest-sidecar/backrest-sidecar:latest"
    tree = load_yaml(f"services:\n  sidecar:\n    {image}\n    {service}\n")
    with pytest.raises(ValueError, match=r"aply|healtcheck|APLY"):
        check_services(tree)


def test_variables_that_nobody_reads_are_refused() -> None:
    """Those of others are not looked at."""
    check_variables({"TZ", "BACKREST_SIDECAR_CONFIG", "BACKREST_SIDECAR_NO_EVENTS"})
    with pytest.raises(ValueError, match="BACKREST_SIDECAR_CONFG"):
        check_variables({"BACKREST_SIDECAR_CONFG"})


def test_unsound_shell_is_refused() -> None:
    """It is read by bash, not run."""
    check_shell("rm -rf /nowhere; exit 9")
    with pytest.raises(ValueError, match="bash cannot read"):
        check_shell("echo 'a")


def test_dead_links_are_found(tmp_path: Path) -> None:
    """Files, headings, definitions, other schemes; what stands in code is no link."""
    (tmp_path / "there.md").write_text("# The `x` of *it*\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    right = [
        *("[a](there.md)", "[b](there.md#the-x-of-it)", "[c](there.md#twice-1)", "[d](#here)"),
        *("[e](https://example.org/x)", "[f][there]", "`[g](gone.md)`"),
    ]
    wrong = ["gone.md", "there.md#gone", "#gone", "http://example.org", "/there.md", "../x.md"]
    links = "\n".join([*right, *(f"[x]({target})" for target in wrong), "[y][gone]"])
    page.write_text(f"# Here\n\n{links}\n\n[there]: there.md\n")

    found = [fault.partition(": ")[0] for fault in find_dead_links(page, tmp_path)]

    assert ["[gone] is not defined", *wrong] == found


def test_anchors_are_those_of_github() -> None:
    """Punctuation goes, blanks become hyphens, a second one of a name is counted."""
    assert "is-all-well" == slug_of("Is all well?")
    assert "making-backrest-notice---apply" == slug_of("Making Backrest notice: `--apply`")
    assert "a_b--c" == slug_of("a_b & [c](d.md)")
    assert {"a", "a-1", "own"} == anchors_of(
        '# A\n\n## A\n\n<a id="own"></a>\n\n```sh\n# no\n```\n'
    )


def test_version_1_of_compose_is_told_the_project_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses a file that has one, so it reads a copy without."""
    monkeypatch.delenv("COMPOSE_FILE", raising=False)
    (tmp_path / "compose.yaml").write_text("name: shop\nservices: {}\n")
    (tmp_path / "compose.override.yaml").write_text("services: {}\n")

    options = options_for_version_1(["--profile", "x"], tmp_path)

    copy = tmp_path / ".compose.version-1.yaml"
    override = tmp_path / "compose.override.yaml"
    assert ["--profile", "x", "-p", "shop", "-f", str(copy), "-f", str(override)] == options
    assert "services: {}\n" == copy.read_text()
    named = options_for_version_1(["-f", "compose.override.yaml", "-p", "y"], tmp_path)
    assert ["-p", "y", "-f", str(override)] == named


def test_nobody_types_into_a_container_of_a_story() -> None:
    """`exec` and `run` would want a terminal."""
    options, words = split_options(["-f", "a.yaml", "--ansi=never", "exec", "db", "psql", "-l"])
    assert ["-f", "a.yaml", "--ansi=never"] == options
    assert ["exec", "-T", "db", "psql", "-l"] == without_terminal(words)
    assert ["run", "-T", "x"] == without_terminal(["run", "-T", "x"])
    assert ["logs", "x"] == without_terminal(["logs", "x"])
