"""Backrest's refusals, one file each; every file was shown to Backrest itself."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sidecar.backrest.jsontext import decode
from sidecar.backrest.rules import (
    check_document,
    check_engines,
    check_hidden,
    check_runner_repos,
    check_version,
)
from sidecar.backrest.shape import DocumentFault, pointer_of

ROOT = Path(__file__).parents[3]
CASES = ROOT / "testdata" / "config"
VALID = sorted((CASES / "valid").glob("*.json"))
INVALID = sorted((CASES / "invalid").glob("*.json"))
SCHEMA = json.loads((ROOT / "sidecar" / "backrest" / "config.schema.json").read_text("utf-8"))

# File → where the fault is, and words of its message.
EXPECTED = {
    "repeated-key": ("/modno", "more than once"),
    "repeated-key-null": ("/modno", "more than once"),
    "both-names-of-field": ("/plans/0/skip_if_unchanged", "two names"),
    "both-names-one-null": ("/multihost", "two names"),
    "two-members-of-schedule": ("/plans/0/schedule/maxFrequencyDays", "only one of"),
    "two-members-of-retention": ("/plans/0/retention/policyKeepLastN", "only one of"),
    "two-actions-of-hook": ("/plans/0/hooks/0/actionSlack", "only one of"),
    "two-modes-of-check": ("/repos/0/checkPolicy/readDataSubsetPercent", "only one of"),
    "null-plan": ("/plans/0", "object is expected, not null"),
    "null-path": ("/plans/0/paths/1", "text in quotes is expected, not null"),
    "null-condition": ("/plans/0/hooks/0/conditions/0", "text in quotes is expected"),
    "plans-object": ("/plans", "an array is expected, not an object"),
    "schedule-text": ("/plans/0/schedule", "an object is expected, not text"),
    "paths-text": ("/plans/0/paths", "an array is expected, not text"),
    "id-number": ("/plans/0/id", "not this number"),
    "fraction-for-integer": ("/plans/0/retention/policyKeepLastN", "not this number"),
    "integer-too-large": ("/modno", "32 bits"),
    "integer-too-small": ("/modno", "32 bits"),
    "integer64-too-large": ("/repos/0/prunePolicy/maxUnusedBytes", "64 bits"),
    "integer-blank": ("/modno", "32 bits"),
    "integer-list": ("/modno", "not an array"),
    "number-too-large": ("/repos/0/prunePolicy/maxUnusedPercent", "a number is expected"),
    "quoted-bool": ("/plans/0/skipIfUnchanged", "without quotes"),
    "numeric-bool": ("/plans/0/skipIfUnchanged", "without quotes"),
    "enum-fraction": ("/plans/0/hooks/0/onError", "whole number"),
    "enum-bool": ("/plans/0/hooks/0/onError", "not true or false"),
    "lone-surrogate": ("/instance", "surrogate"),
    "lone-surrogate-unknown": ("/note", "surrogate"),
    "lone-surrogate-key": ("/?", "surrogate"),
    "extension-key": ("/[v1.Config]", "protocol extension"),
    "plan-id-absent": ("/plans/0", "no id"),
    "plan-id-empty": ("/plans/0", "no id"),
    "plan-id-reserved": ("/plans/0/id", "starts and ends with `_`"),
    "plan-id-twice": ("/plans/1/id", "used twice"),
    "plan-repo-absent": ("/plans/0", "no repository"),
    "plan-repo-unknown": ("/plans/0/repo", "no repository 'other'"),
    "plan-paths-absent": ("/plans/0", "no paths"),
    "plan-paths-none": ("/plans/0", "no paths"),
    "plan-paths-wrong-flags": ("/plans/0", "no paths"),
    "plan-path-empty": ("/plans/0/paths/1", "path is empty"),
    "schedule-disabled-false": ("/plans/0/schedule/disabled", "only be true"),
    "schedule-days-zero": ("/plans/0/schedule/maxFrequencyDays", "less than 1"),
    "schedule-hours-negative": ("/plans/0/schedule/maxFrequencyHours", "less than 1"),
    "schedule-of-prune": ("/repos/0/prunePolicy/schedule/cron", "empty"),
    "schedule-of-check": ("/repos/0/check_policy/schedule/disabled", "only be true"),
    "schedule-of-forget": ("/repos/0/forgetPolicy/schedule/maxFrequencyHours", "less than 1"),
    "forget-without-retention": ("/repos/0/forgetPolicy/retention", "no policy"),
    "retention-empty": ("/plans/0/retention", "no policy"),
    "retention-null-policy": ("/plans/0/retention", "no policy"),
    "retention-no-buckets": ("/plans/0/retention/policyTimeBucketed", "all counts are zero"),
    "retention-zero-buckets": ("/plans/0/retention/policy_time_bucketed", "all counts are zero"),
    "repo-id-absent": ("/repos/0", "no id"),
    "repo-id-reserved": ("/repos/0/id", "starts and ends"),
    "repo-id-twice": ("/repos/1/id", "used twice"),
    "repo-uri-absent": ("/repos/0", "no uri"),
    "repo-guid-absent": ("/repos/0", "neither a guid nor autoInitialize"),
    "repo-guid-and-initialize": ("/repos/0", "exclude each other"),
    "repo-guid-short": ("/repos/0/guid", "64 characters"),
    "repo-env-without-value": ("/repos/0/env/1", "no `=`"),
    "auth-empty": ("/auth", "no users"),
    "auth-no-users": ("/auth", "no users"),
    "auth-user-unnamed": ("/auth/users/0", "no name"),
    "auth-user-reserved": ("/auth/users/0/name", "starts and ends"),
    "auth-user-no-password": ("/auth/users/0", "no passwordBcrypt"),
    "instance-absent": ("", "no instance id"),
    "instance-empty": ("/instance", "no instance id"),
    "instance-too-long": ("/instance", "longer than 50 bytes"),
    "instance-reserved": ("/instance", "starts and ends"),
    "identity-empty": ("/sync/identity", "no `keyId`"),
    "identity-masked": ("/sync/identity/ed25519priv", "32 bytes"),
    "identity-public-short": ("/sync/identity/ed25519pub", "32 bytes"),
    "identity-other-key-id": ("/sync/identity", "not that of"),
    "peer-unnamed": ("/sync/authorizedClients/0", "instanceId is empty"),
    "peer-name-too-long": ("/sync/authorizedClients/0", "longer than 50"),
    "peer-without-key": ("/sync/authorized_clients/0", "no keyId"),
    "peer-without-url": ("/sync/knownHosts/0", "instanceUrl"),
    "peer-named-as-we": ("/sync/knownHosts/0", "'home' is used twice"),
    "peer-name-twice": ("/sync/knownHosts/0", "'a' is used twice"),
    "peer-key-twice": ("/sync/knownHosts/1", "'k' is used twice"),
    "peer-key-ours": ("/sync/knownHosts/0", "used twice"),
    "peer-scope": ("/sync/knownHosts/0/permissions/0/scopes", "'repo:' is no scope"),
    "cron-empty": ("/plans/0/schedule/cron", "empty"),
    "cron-step-zero": ("/plans/0/schedule/cron", "hangs"),
    "cron-step-negative": ("/plans/0/schedule/cron", "crashes"),
    "cron-macro": ("/plans/0/schedule/cron", "not five fields"),
    "cron-question-mark": ("/plans/0/schedule/cron", "'?' is no day of month"),
    "cron-time-zone": ("/plans/0/schedule/cron", "not five fields"),
    "cron-last-day": ("/plans/0/schedule/cron", "'L' is no day of month"),
    "cron-last-weekday": ("/plans/0/schedule/cron", "'LW' is no day of month"),
    "cron-nth-weekday": ("/plans/0/schedule/cron", "'5#2' is no day of week"),
    "cron-last-friday": ("/plans/0/schedule/cron", "'5L' is no day of week"),
    "cron-range-past-sunday": ("/plans/0/schedule/cron", "never fires"),
    "cron-range-backwards": ("/plans/0/schedule/cron", "never fires"),
    "cron-four-fields": ("/plans/0/schedule/cron", "not five fields"),
    "cron-six-fields": ("/plans/0/schedule/cron", "not five fields"),
    "cron-blank-in-list": ("/plans/0/schedule/cron", "not five fields"),
    "cron-sunday-seven": ("/plans/0/schedule/cron", "never fires"),
    "cron-february-31": ("/plans/0/schedule/cron", "never fires"),
    "cron-hour-24": ("/plans/0/schedule/cron", "never fires"),
    "cron-minute-60": ("/plans/0/schedule/cron", "never fires"),
    "cron-empty-item": ("/plans/0/schedule/cron", "'' is no minute"),
    "cron-negative": ("/plans/0/schedule/cron", "'-5' is no minute"),
    "cron-name-elsewhere": ("/plans/0/schedule/cron", "'JAN' is no hour"),
    "cron-step-no-number": ("/plans/0/schedule/cron", "'*/x' is no minute"),
    "cron-endless": ("/plans/0/schedule/cron", "far out of range"),
}

# What the schema refuses as well: all that it can say without comparing places.
SEEN_BY_SCHEMA = 48


def faults_of(text: str, today: date | None = None) -> list[DocumentFault]:
    """The faults of a document given as text."""
    return check_document(decode(text), today)


def plan_with(member: str) -> str:
    """A document with one plan that has one more member."""
    plan = f'{{"id": "data", "repo": "local", "paths": ["/data"], {member}}}'
    repo = '{"id": "local", "uri": "/backups", "autoInitialize": true}'
    return f'{{"version": 6, "instance": "home", "repos": [{repo}], "plans": [{plan}]}}'


def test_every_invalid_file_is_expected() -> None:
    """No file lies there unread."""
    assert set(EXPECTED) == {path.stem for path in INVALID}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_what_backrest_loads_has_no_fault(path: Path) -> None:
    """Odd documents that Backrest starts with are no faults of ours."""
    document = decode(path.read_text("utf-8"))
    assert check_document(document) == []
    assert check_document(document, date(2026, 1, 1)) == []
    assert check_version(document) is None


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_what_backrest_refuses_is_a_fault_at_its_place(path: Path) -> None:
    """Each refusal says where it is and what is wrong."""
    pointer, words = EXPECTED[path.stem]
    found = faults_of(path.read_text("utf-8"))
    assert [fault.pointer for fault in found if words in fault.message] == [pointer]
    assert found == faults_of(path.read_text("utf-8"), date(2026, 1, 1))


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_what_backrest_loads_fits_the_schema(path: Path) -> None:
    """The schema refuses nothing that loads."""
    assert list(Draft202012Validator(SCHEMA).iter_errors(json.loads(path.read_text("utf-8")))) == []


def test_the_schema_is_a_schema_and_sees_its_share() -> None:
    """The schema is well-formed and not merely permissive."""
    Draft202012Validator.check_schema(SCHEMA)
    validator = Draft202012Validator(SCHEMA)
    texts = [path.read_text("utf-8").replace("1e999", "1") for path in INVALID]
    assert sum(not validator.is_valid(json.loads(text)) for text in texts) == SEEN_BY_SCHEMA


@pytest.mark.parametrize("text", ["[]", "null", "7", '"x"', "true"])
def test_a_document_that_is_no_object_is_refused(text: str) -> None:
    """Only an object is a document."""
    assert [fault.pointer for fault in faults_of(text)] == [""]


@pytest.mark.parametrize(
    ("version", "accept", "expected"),
    [
        ("6", None, ""),
        ("6.0", None, ""),
        ('"6"', None, ""),
        ("6", 7, ""),
        ("7", 7, ""),
        ("7", None, "version 7 is newer than 6"),
        ("7", 8, "version 7 is newer than 6"),
        ("5", None, "version 5 is older than 6"),
        ("2", None, "version 2 is older than 6"),
        ("5", 5, "version 5 is older than 6"),
        ("1", None, "version 1 is too old for Backrest"),
        ("0", None, "`version` is no version"),
        ("-1", None, "`version` is no version"),
        ("true", None, "`version` is no version"),
        ("6.5", None, "`version` is no version"),
        ("null", None, "the document has no `version`"),
    ],
)
def test_only_the_current_version_is_written(
    version: str, accept: int | None, expected: str
) -> None:
    """Older documents are Backrest's to migrate, newer ones need leave."""
    fault = check_version(decode(f'{{"version": {version}}}'), accept)
    assert (fault.message if fault else "") == expected


def test_an_old_version_says_how_to_migrate() -> None:
    """Versions 2 to 5 need one start of Backrest."""
    fault = check_version(decode('{"version": 4}'))
    assert fault is not None
    assert "start Backrest once so that it migrates" in fault.hint


def test_an_absent_version_is_refused() -> None:
    """An empty object is no document."""
    fault = check_version(decode("{}"))
    assert fault is not None
    assert fault.pointer == "/version"


@pytest.mark.parametrize(
    ("cron", "hint"),
    [
        ("@daily", "`0 0 * * *`"),
        ("TZ=UTC 0 2 * * *", "time zone"),
        ("0 0 2 * * *", "no seconds"),
        ("0 2 * * 7", "Sunday is 0"),
        ("0 2 31 2 *", "a <= b"),
        ("0 2 L * *", "no L, W, #, ?"),
        ("0 2 * * 5#2", "names SUN/MON/"),
        ("*/0 * * * *", "at least 1"),
    ],
)
def test_a_refused_cron_says_what_to_write_instead(cron: str, hint: str) -> None:
    """The hint names the way out."""
    faults = faults_of(plan_with(f'"schedule": {{"cron": {json.dumps(cron)}}}'))
    assert [hint in fault.hint for fault in faults] == [True]


@pytest.mark.parametrize(
    ("cron", "today", "fires"),
    [
        ("0 2 29 2 *", date(2026, 1, 1), True),
        ("0 2 29 2 *", date(2097, 1, 1), False),
        ("0 2 29 2 1", date(2026, 1, 1), False),
        ("0 2 29 2 1", date(2040, 1, 1), True),
        ("0 2 1 3 1", date(2027, 6, 1), True),
        ("0 2 * * 7", date(2027, 6, 1), False),
    ],
)
def test_with_a_date_a_cron_must_fire_within_five_years(
    cron: str, today: date, fires: bool
) -> None:
    """Backrest gives up at the end of the fifth year from now."""
    text = plan_with(f'"schedule": {{"cron": "{cron}"}}')
    assert (faults_of(text, today) == []) is fires


@pytest.mark.parametrize("number", ["1073741824", "00000000000000000000001073741824", "9" * 5000])
def test_a_number_on_which_backrest_counts_for_ever_is_refused(number: str) -> None:
    """Values beyond 2**30 hang Backrest or overflow in it."""
    faults = faults_of(plan_with(f'"schedule": {{"cron": "{number} * * * *"}}'))
    assert ["far out of range" in fault.message for fault in faults] == [True]


@pytest.mark.parametrize("cron", ["1-2-3 * * * *", "*/2/3 * * * *", "** * * * *", "0x5 * * * *"])
def test_a_cron_that_is_no_cron_is_refused(cron: str) -> None:
    """Malformed elements are named."""
    assert len(faults_of(plan_with(f'"schedule": {{"cron": "{cron}"}}'))) == 1


def test_all_faults_are_told_at_once() -> None:
    """Someone who repairs a document sees the whole list."""
    text = '{"version": 6, "repos": [{}], "plans": [{"id": "_"}], "auth": {}}'
    expected = ["/auth", *["/repos/0"] * 3, "/plans/0/id", *["/plans/0"] * 2]
    assert [fault.pointer for fault in faults_of(text)] == expected


def test_a_key_that_stands_twice_in_an_unknown_place_is_none_of_our_business() -> None:
    """Backrest skips what it does not know."""
    assert faults_of('{"version": 6, "x": {"a": 1, "a": [{"b": null}]}, "x": "é", "é": 1}') == []


def test_keys_of_an_identity_are_checked_in_form_only() -> None:
    """Whether the private key belongs to the public one is left to Backrest."""
    document = decode((CASES / "valid" / "sync-peers.json").read_text("utf-8"))
    identity = document["sync"]["identity"]
    identity["ed25519priv"] = identity["ed25519priv"].replace("A", "B")
    assert [] == check_document(document)


def test_no_secret_stands_in_a_fault() -> None:
    """Faults are printed, so they hold no password, environment or key."""
    secret = "hunter2hunter2"
    repo = f'{{"id": "r", "uri": "/b", "env": ["{secret}"], "password": ["{secret}"]}}'
    shape = faults_of(f'{{"version": 6, "repos": [{repo}]}}')
    meaning = faults_of(f'{{"version": 6, "repos": [{repo.replace("[", "").replace("]", "")}]}}')
    env = faults_of(
        f'{{"version": 6, "repos": [{{"id": "r", "uri": "/b", "env": ["{secret}"]}}],'
        f' "sync": {{"identity": {{"ed25519priv": "{secret}", "keyId": "k"}}}}}}'
    )
    assert min(len(shape), len(meaning), len(env)) > 0
    assert secret not in repr([shape, meaning, env])


def test_a_pointer_escapes_what_a_pointer_must() -> None:
    """Pointers follow RFC 6901 and can always be printed."""
    assert pointer_of(["a/b", 0, "m~n"]) == "/a~1b/0/m~0n"
    assert pointer_of(["\ud800"]) == "/?"
    assert pointer_of([]) == ""


def test_an_unknown_value_nested_without_end_is_refused() -> None:
    """Backrest gives up on deep nesting, so a document must stay well below."""
    value: list[Any] = []
    for _ in range(9_001):
        value = [value]
    assert [fault.message for fault in check_document({"x": value})] == ["nested too deep"]
    assert check_document({"x": value[0][0][0]}) == []


@pytest.mark.parametrize(
    "document",
    [
        "{}",
        '{"repos": null}',
        '{"repos": [1, {}, {"uri": 1}, {"uri": "/r"}, {"uri": "darling:x"}]}',
    ],
)
def test_restics_repositories_are_no_other_engines(document: str) -> None:
    """Nor is what has another shape: other rules say that."""
    assert [] == check_engines(decode(document))


@pytest.mark.parametrize("uri", ["rsync:h:/x", "dar:/x", "duplicity+file:///x", "RSYNC:/x"])
def test_a_repository_of_another_engine_is_told(uri: str) -> None:
    """With a guid it is no reason for Backrest not to start, so no fault of the document."""
    repo = f'{{"id": "r", "uri": "{uri}", "guid": "{"0" * 64}"}}'
    root = decode(f'{{"repos": [{repo}]}}')
    [fault] = check_engines(root)

    assert [] == check_document(root)
    assert ("/repos/0/uri", True) == (fault.pointer, fault.message.startswith("repo.not-restic"))
    assert uri not in fault.message


@pytest.mark.parametrize(
    ("repos", "faults"),
    [
        ("null", []),
        ("[1, {}]", []),
        ('[{"uri": 1, "flags": ["--x"]}]', []),
        ('[{"uri": "/r", "flags": ["--limit-upload 100"]}]', []),
        ('[{"uri": "rsync:/r", "flags": ["--flat", 1]}, {"uri": "rsync:/r", "flags": 1}]', []),
        (
            '[{"uri": "/r"}, {"uri": "rsync:/r", "flags": ["--flatt"]}]',
            ["/repos/1/flags: --flatt is no option of rsync"],
        ),
        ('[{"uri": "dar:/r"}]', ["/repos/0/uri: this version has no engine dar yet"]),
        ('[{"uri": "RSYNC:/r"}]', ["/repos/0/uri: the URI begins with `RSYNC:`"]),
        (
            """[{"uri": "rsync:/r", "flags": ["--ssh 'x"]}]""",
            ["/repos/0/flags: a flag has an open quote or a last backslash"],
        ),
    ],
)
def test_options_that_an_engine_does_not_know_are_told(repos: str, faults: list[str]) -> None:
    """Those of restic are its own; what has another shape is told by other rules."""
    found = check_runner_repos(decode(f'{{"repos": {repos}}}'))

    assert faults == [f"{fault.pointer}: {fault.message}" for fault in found]


@pytest.mark.parametrize("repos", ["null", "[1, {}]", '[{"uri": 1}, {"uri": "rsync:${PLACE}"}]'])
def test_a_scheme_before_a_variable_is_known(repos: str) -> None:
    """What has another shape is told by other rules."""
    assert [] == check_hidden(decode(f'{{"repos": {repos}}}'))


def test_a_repository_that_restic_cannot_initialise_keeps_backrest_from_starting() -> None:
    """The document is good for a program that has other engines, all the same."""
    root = decode('{"repos": [{"id": "r", "uri": "rsync:/x", "autoInitialize": true}]}')

    [fault] = check_document(root)

    assert "/repos/0/uri" == fault.pointer
    assert fault.message.startswith("repo.not-restic: ")
    assert [] == check_document(root, any_engine=True)
