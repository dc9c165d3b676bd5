"""Templates of hooks: what they give, what they refuse, and that they never fail later."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.backrest.messages import CONDITIONS
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import Stats
from sidecar.runner.template import Template, TemplateError, Values, event_name, parse_template

# What Go's own text/template made of these, with Backrest's variables.
TEMPLATES = Path(__file__).parents[3] / "testdata" / "templates"
KNOWN = json.loads((TEMPLATES / "go.json").read_text("utf-8"))
# The same for Go's functions, with the values of the former; `refused` fails in Go, or is marked
# there as a mistake in the text.
FUNCTIONS = json.loads((TEMPLATES / "go_functions.json").read_text("utf-8"))
PLAN = RunPlan("web", "main", ("/data/a", "/data/b"))
VALUES = Values(
    'backup for plan "web"',
    Repo("main", "rest:http://backup/", password="repo-password"),
    PLAN,
    datetime(2031, 4, 5, 6, 7, 8, 250_000, UTC),
    "CONDITION_SNAPSHOT_SUCCESS",
    "4bba301e",
    Stats(1, 2, 3, 4, 5_000, 6_000_000, 1.5, 7, 8, 9, 10, 11),
    90.5,
)


def render(text: str, values: Values = VALUES) -> str:
    """Read and render a template."""
    return parse_template(text).render(values)


def read_values(plain: dict[str, Any]) -> Values:
    """Read the values of a known case."""
    repo, plan, stats, now = plain["repo"], plain["plan"], plain["stats"], plain["now"]
    repo["env"] = tuple(tuple(pair) for pair in repo["env"])
    repo["flags"] = tuple(repo["flags"])
    lists = {key: tuple(value) for key, value in (plan or {}).items() if isinstance(value, list)}
    return Values(
        plain["task"],
        Repo(**repo),
        RunPlan(**{**plan, **lists}) if plan else None,
        datetime.fromtimestamp(now["unix"], UTC).astimezone(ZoneInfo(now["zone"])),
        plain["event"],
        plain["snapshot"],
        Stats(**stats) if stats else None,
        plain["seconds"],
        plain["error"],
    )


KNOWN_VALUES = [read_values(plain) for plain in KNOWN["values"]]


def test_every_known_template_gives_what_go_gives() -> None:
    """Text by text the same, for all fields, methods, functions and ways to trim."""
    found = [render(case["template"], KNOWN_VALUES[case["values"]]) for case in KNOWN["rendered"]]

    assert [case["text"] for case in KNOWN["rendered"]] == found
    assert len(found) > 500


def test_every_function_gives_what_go_gives() -> None:
    """Text by text the same, however they are nested and piped."""
    cases = FUNCTIONS["rendered"]
    found = [render(case["template"], KNOWN_VALUES[case["values"]]) for case in cases]

    assert [case["text"] for case in cases] == found
    assert len(found) > 500


def test_what_fails_in_go_fails_here() -> None:
    """When it is read, or for an index that is out of range when it is rendered."""
    for case in FUNCTIONS["refused"]:
        with pytest.raises(TemplateError):
            render(case["template"], KNOWN_VALUES[case["values"]])


@pytest.mark.parametrize("case", KNOWN["refused"], ids=lambda case: repr(case["template"])[:40])
def test_what_go_refuses_is_refused(case: dict[str, str]) -> None:
    """Nothing passes the check that would fail in Backrest."""
    with pytest.raises(TemplateError):
        parse_template(case["template"])


@pytest.mark.parametrize(
    ("template", "line", "message"),
    [
        ("a\n{{ .Nothing }}", 2, ".Nothing is not known here"),
        ("{{ .Plan.Name }}", 1, ".Plan.Name is not known here"),
        ("{{ .Task.Id }}", 1, ".Task.Id is not known here"),
        ("{{ range .Plan.Paths }}{{ . }}{{ end }}", 1, "range is not supported here"),
        ("{{ with .Plan }}{{ end }}", 1, "with is not supported here"),
        ("{{ else with .Plan }}", 1, "else stands without an if"),
        ("{{ if .Task }}{{ else with .Plan }}{{ end }}", 1, "with is not supported here"),
        ('{{ define "x" }}{{ end }}', 1, "define is not supported here"),
        ('{{ call "%s" .Task }}', 1, "the function call is not supported"),
        ("{{ printf .Task }}", 1, "the format of printf is no text in quotes"),
        ("{{ printf }}", 1, "printf takes a format and values"),
        ('{{ printf "%s" }}', 1, "printf has 1 verb for 0 values"),
        ('{{ printf "%d" .Task }}', 1, "printf cannot write a text by %d"),
        ('{{ printf "%05s" .Task }}', 1, "printf cannot write a text by %0s"),
        ('{{ printf "%.2x" .Task }}', 1, "printf cannot write a text by %x"),
        ('{{ printf "%.3d" .Duration }}', 1, "printf cannot write a duration by %d"),
        (
            '{{ printf "%05g" .SnapshotStats.TotalDuration }}',
            1,
            "printf cannot write a number with",
        ),
        ('{{ printf "%s" .SnapshotStats.TotalDuration }}', 1, "printf cannot write a number with"),
        ('{{ printf "%s" true }}', 1, "printf cannot write true or false by %s"),
        ('{{ printf "%v" .Repo }}', 1, "printf cannot write the repository by %v"),
        ('{{ printf "%s" (or .Error .Duration) }}', 1, "by %v only"),
        ('{{ printf "%" }}', 1, "a verb of printf is not complete"),
        ("{{ print .Repo }}", 1, "the repository cannot be shown"),
        ("{{ len .Duration }}", 1, "len cannot take a duration"),
        ("{{ len }}", 1, "len takes one value, not 0"),
        ("{{ index }}", 1, "index takes a list or a text, and numbers"),
        ('{{ index .Plan.Paths "a" }}', 1, "index cannot count by a text"),
        ("{{ index .Plan.Paths 0 0 0 }}", 1, "index cannot take a number"),
        ("{{ slice }}", 1, "slice takes a list or a text, and at most two numbers"),
        ("{{ slice .Task 1 2 3 }}", 1, "slice takes a list or a text, and at most two numbers"),
        ("{{ $x := .Task }}", 1, "variables ($) are not supported"),
        ("{{ . }}", 1, "the dot alone is not supported"),
        ("{{ 'a' }}", 1, "characters in single quotes"),
        ("{{ 1.5 }}", 1, "this number is not supported"),
        ("{{ 0x10 }}", 1, "this number is not supported"),
        ("{{ 9223372036854775808 }}", 1, "this number is too large"),
        ("{{ nil }}", 1, "nil is not supported here"),
        ("{{ .Repo }}", 1, "the repository cannot be shown"),
        ("{{ .JsonMarshal .Repo }}", 1, ".JsonMarshal cannot take the repository"),
        ("{{ .SnapshotStats }}", 1, "the statistics cannot be shown"),
        ("{{ or .Error .Repo }}", 1, "a value of one type or another cannot be shown"),
        ("{{ .FormatTime }}", 1, ".FormatTime takes one value, not 0"),
        ("{{ .FormatTime .Task }}", 1, ".FormatTime cannot take a text"),
        ("{{ .FormatSizeBytes .SnapshotStats.TotalDuration }}", 1, ".FormatSizeBytes cannot take"),
        ("{{ .Summary .Task }}", 1, ".Summary takes no arguments"),
        ("{{ .Task .Error }}", 1, ".Task takes no arguments"),
        ('{{ "a" .Task }}', 1, "a value is given arguments"),
        ('{{ .Task | "a" }}', 1, "a value is given arguments"),
        ('{{ eq .Event "snapshot error" }}', 1, "an event and a text cannot be compared"),
        ("{{ eq .Plan.Paths .Plan.Paths }}", 1, "a list cannot be compared"),
        ("{{ eq .Task }}", 1, "eq takes two values or more, not 1"),
        ("{{ gt 1 2 3 }}", 1, "gt takes two values, not 3"),
        ("{{ lt true false }}", 1, "lt cannot compare truth values"),
        ("{{ not }}", 1, "not takes one value, not 0"),
        ("{{ and }}", 1, "and takes a value or more"),
        ("{{ if .Task }}\n\n", 1, "an if has no end"),
        ("{{ if }}{{ end }}", 1, "a value is missing here"),
        ("{{ end }}", 1, "end stands without an if"),
        ("{{ if .Task }}{{ else }}{{ else }}{{ end }}", 1, "an if has more than one else"),
        ("{{ if .Task }}{{ end .Task }}", 1, "more stands in this action"),
        ("{{ (.Task }}", 1, "a bracket is not closed"),
        ("{{ (.Plan).Id }}", 1, "a field of a value in brackets"),
        ("{{ .Task }} {{ .Error", 1, "an action is not closed"),
        ('{{ "a }}', 1, "a text in double quotes is not closed"),
        ("{{ `a }}", 1, "a text in back quotes is not closed"),
        (r'{{ "\q" }}', 1, "an escape in a text"),
        (r'{{ "\ud800" }}', 1, "an escape in a text"),
        (r'{{ "\xff" }}', 1, "an escape in a text"),
        ("{{ /* a */ }}", 1, "a character that means nothing"),
        ("{{/* a }}", 1, "a comment is not closed"),
        ("{{/* a */ .Task }}", 1, "something stands between the end of a comment"),
        ('{{ eq "a""b" }}', 1, "two values stand side by side"),
        ('{{ not"a" }}', 1, "something stands right behind a name"),
        ("{{ not" + " (not" * 51 + " .Task" + ")" * 51 + "}}", 1, "more than 50 brackets"),
        ("{{ .Task" + " | .ShellEscape" * 60 + " }}", 1, "more than 50 values"),
        ("{{ if .Task }}" * 51, 1, "more than 50 ifs"),
    ],
)
def test_what_goes_beyond_is_told_with_its_line(template: str, line: int, message: str) -> None:
    """A template that asks for more than is known here is refused when it is read."""
    with pytest.raises(TemplateError) as refused:
        parse_template(template)

    assert message in refused.value.message
    assert line == refused.value.line


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain }} text", "plain }} text"),
        ('docker ps --format "{{"{{"}}.ID}}"', 'docker ps --format "{{.ID}}"'),
        ("a {{- /* told */ -}} b", "ab"),
        ("{{ if .Error -}}\nfail\n{{ else -}}\nfine\n{{ end -}}\n\nend", "fine\nend"),
        ("{{ if .Error }}1{{ else if eq .Plan.Id `db` `web` }}2{{ else }}3{{ end }}", "2"),
        ("{{ if and (not .Error) (gt .SnapshotStats.FilesNew 0) }}new{{ end }}", "new"),
        ('{{ if or .Error (ne (.EventName .Event) "snapshot success") }}bad{{ end }}', ""),
        ("{{ .Task | .ShellEscape }}", """'backup for plan "web"'"""),
        ("{{ .FormatSizeBytes 1048576 }}", "1.049 MB"),
        ('{{ .ShellEscape "my string" }}', "'my string'"),
        (
            "{{ .FormatTime .CurTime }} {{ .FormatDuration .Duration }}",
            "2031-04-05T06:07:08Z 1m30.5s",
        ),
        (r'{{ "tab\tquote\"\u00e4\x41\101" }}', 'tab\tquote"äAA'),
        ("{{ .Event }} {{ .EventName .Event }}", "CONDITION_SNAPSHOT_SUCCESS snapshot success"),
        ("{{ .Plan.Paths }} {{ .Repo.Password }}", "[/data/a /data/b] repo-password"),
        ('{{"{{"}}', "{{"),
        ("{{ true }}{{ not true }}{{ -5 }}", "truefalse-5"),
        ("{{ or .Error .Duration }}", "1m30.5s"),
        ("{{ and (or .Error .Duration) .Task | print }}", 'backup for plan "web"'),
        ("{{ if and .Task .Duration }}both{{ end }}", "both"),
        ('{{ printf "%v %v" (or .Error 5) (or .Task 5) }}', '5 backup for plan "web"'),
        ("{{ print (or .Error .Task) (or .Error 5) 6 }}", 'backup for plan "web"5 6'),
        ("{{ .Error | js }}{{ .Task | js }}", r"backup for plan \"web\""),
        (
            '{{ printf "%-6s|%6.2f|%04d|%t|%q" "ab" .SnapshotStats.TotalDuration 7 true .Plan.Paths }}',
            'ab    |  1.50|0007|true|["/data/a" "/data/b"]',
        ),
        (
            '{{ printf "%+g %g" .SnapshotStats.TotalDuration .SnapshotStats.TotalDuration }}',
            "+1.5 1.5",
        ),
        ('{{ printf "%X %x" "ä" "ab" }}', "C3A4 6162"),
        ('{{ slice "äbc" 2 4 | len }} {{ len "äbc" }} {{ index .Plan.Paths 1 }}', "2 4 /data/b"),
        (
            "{{ index .Task 0 }} {{ index .Plan.Paths 0 0 }} {{ slice .Plan.Paths }}",
            "98 47 [/data/a /data/b]",
        ),
        (r'{{ "<\u00e4>&=\x00\U000e0001" | js }}', r"\u003Cä\u003E\u0026\u003D\u0000\uE0001"),
        (r'{{ printf "%q" "\a\x7f\u200b\U000e0001" }}', r'"\a\x7f\u200b\U000e0001"'),
        ("{{ html \"<a href='x'>\" }}", "&lt;a href=&#39;x&#39;&gt;"),
        ('{{ urlquery "a b&c/ä" }}', "a+b%26c%2F%C3%A4"),
    ],
)
def test_templates_render(template: str, text: str) -> None:
    """What the forms of Backrest's documentation give."""
    assert text == render(template)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a\n{{ index .Plan.Paths 2 }}", "index 2 is out of range of 2"),
        ("a\n{{ slice .SnapshotId 9 }}", "slice 9 to 8 is out of range of 8"),
        ("a\n{{ slice .SnapshotId 2 1 }}", "slice 2 to 1 is out of range of 8"),
    ],
)
def test_what_is_out_of_range_fails_when_it_is_rendered(template: str, message: str) -> None:
    """As in Go: how many there are is not known before. Nothing else fails then."""
    with pytest.raises(TemplateError) as refused:
        render(template)

    assert (message, 2) == (refused.value.message, refused.value.line)


def test_bytes_that_are_no_text_are_quoted_by_their_value() -> None:
    """A part of a text may begin within a character."""
    assert r'"\xa4"' == render('{{ printf "%q" (slice "ä" 1) }}')


def test_a_body_for_a_webhook_stays_json() -> None:
    """Values in the middle of JSON, chosen by a condition, make JSON again."""
    text = '{"a": {{ .JsonMarshal .Task }}, {{ if .Error }}"e": 1{{ else }}"s": {{ .JsonMarshal .SnapshotStats }}{{ end }}}'

    found = json.loads(render(text))

    assert 'backup for plan "web"' == found["a"]
    assert (5_000, 1.5, "4bba301e", "summary") == (
        found["s"]["data_added"],
        found["s"]["total_duration"],
        found["s"]["snapshot_id"],
        found["s"]["message_type"],
    )


def test_before_a_backup_its_statistics_are_zero() -> None:
    """Where Backrest's hook would fail for want of statistics, ours shows zeros."""
    values = replace(VALUES, stats=None, snapshot="")

    assert "0 -" == render(
        "{{ .SnapshotStats.FilesNew }} {{ if .SnapshotStats }}+{{ else }}-{{ end }}", values
    )
    assert "null" == render("{{ .JsonMarshal .SnapshotStats }}", values)


def test_work_on_a_repository_has_a_plan_in_name_only() -> None:
    """Templates that name the plan work there too, as they do in Backrest."""
    assert "_system_ []" == render("{{ .Plan.Id }} {{ .Plan.Paths }}", replace(VALUES, plan=None))


@pytest.mark.parametrize(
    "event", [name for name in CONDITIONS.values() if name != "CONDITION_UNKNOWN"]
)
def test_each_event_has_words_and_a_summary(event: str) -> None:
    """The summary tells what happened, where, and what went wrong, if anything did."""
    text = render("{{ .Summary }}", replace(VALUES, event=event, error="the disk is full"))

    assert "unknown" != event_name(event)
    assert text.startswith(f'backup for plan "web": {event_name(event)}\n')
    assert "Repository: main\nPlan: web\n" in text
    assert "Error: the disk is full\n" in text


def test_the_summary_of_a_success_counts() -> None:
    """It says how much was saved and how long it took."""
    text = render("{{ .Summary }}")

    assert "Processed: 6.000 MB in 4 files\nFiles: 1 new, 2 changed, 3 unmodified\n" in text
    assert text.endswith("Duration: 1.5 s\n")


def test_the_summary_of_a_start_names_the_paths() -> None:
    """Before a backup there is nothing to count."""
    values = replace(VALUES, event="CONDITION_SNAPSHOT_START", stats=None, snapshot="")

    assert render("{{ .Summary }}", values).endswith("Path: /data/a\nPath: /data/b\n")


def test_an_unknown_event_is_unknown() -> None:
    """There is no word for what is no event."""
    assert ("unknown", "unknown") == (event_name("CONDITION_UNKNOWN"), event_name("something"))


def test_a_template_does_not_show_its_text() -> None:
    """Commands may hold secrets, and what is shown may reach a log."""
    assert "hunter2" not in repr(parse_template("curl -H hunter2"))


PIECES = st.sampled_from(
    [
        "{{", "}}", "{{-", "-}}", " ", "\n", '"', "`", "|", "(", ")", "if ", "else", "end", ".Task",
        ".Plan", ".Id", ".Summary", ".JsonMarshal ", ".SnapshotStats", ".FilesNew", ".Event", "eq ",
        "and ", "or ", "not ", "1", "-", "/*", "*/", "\\", "$", ".", "ä", "{{ end }}", "{{ if .Error }}",
        "{{ .ShellEscape .Task }}", "true", ".CurTime", ".Duration", "print ", "js ", "len ", ".Plan.Paths",
    ]
)  # fmt: skip


def read(text: str) -> Template | TemplateError:
    """Read a template, or say why not."""
    try:
        return parse_template(text)
    except TemplateError as error:
        return error


@given(st.lists(PIECES, max_size=25).map("".join), st.sampled_from(KNOWN_VALUES))
def test_what_is_read_without_an_error_renders_without_one(text: str, values: Values) -> None:
    """Nothing but a TemplateError comes out of reading, and nothing at all out of rendering."""
    found = read(text)

    if isinstance(found, Template):
        assert isinstance(found.render(values), str)
    else:
        assert 1 <= found.line <= text.count("\n") + 1


@given(st.text())
def test_text_without_actions_is_left_as_it_is(text: str) -> None:
    """Only what stands in double braces means anything."""
    plain = text.replace("{{", "")

    assert plain == render(plain)


@given(st.text())
def test_an_escaped_text_comes_out_unchanged(text: str) -> None:
    """The way to write double braces works, whatever stands around them."""
    assert text == render(text.replace("{{", '{{"{{"}}'))
