"""Secrets of the document and of labels: in the written document, and nowhere else.

Every secret of this world carries its own marker, so a leak tells what leaked.
"""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.commands.main import run_cli

MARKER = re.compile(r"MARK[A-Z]+|7{12}[0-9]+|\$2a\$")
NUMBER = 7777777777770001
BCRYPT = "$2a$10$MARKBCRYPTu1lr6Zr2T9Lc7rVb0sJ.abcdefghijklmnopqrstuv"
FORMS = ("table", "json", "diff")


def hooks(kind: str) -> list[dict[str, Any]]:
    """One hook of each action that knows an address or a token."""
    posted = {"webhookUrl": f"https://hooks.example/MARK{kind}URL", "template": "{{ .Summary }}"}
    actions = {
        "actionDiscord": posted,
        "actionSlack": posted,
        "actionHealthchecks": posted,
        "actionWebhook": posted,
        "actionGotify": {"baseUrl": f"https://MARK{kind}BASE.example", "token": f"MARK{kind}TOKEN"},
        "actionShoutrrr": {"shoutrrrUrl": f"telegram://MARK{kind}SHOUT@telegram?chats=1"},
        "actionTelegram": {"botToken": f"MARK{kind}BOT", "chatId": "5"},
        "actionCommand": {"command": f"curl https://me:MARK{kind}CURL@host.example/x"},
    }
    return [
        {"conditions": ["CONDITION_ANY_ERROR"], action: settings}
        for action, settings in actions.items()
    ]


def document() -> dict[str, Any]:
    """A document in which everything that can be secret is."""
    repo = {
        "id": "main",
        "uri": "rest:https://user:MARKURI@backup.example/repo",
        "guid": "a" * 64,
        "password": "MARKPASSWORD",
        "env": ["AWS_SECRET_ACCESS_KEY=MARKENV", "B2_KEY=MARKENVTWO"],
        "flags": ["--password-command", "echo MARKFLAG", "-o sftp.args=MARKOPTION"],
        "hooks": hooks("REPO"),
        "newerSecret": {"token": "MARKNESTED"},
    }
    plan = {
        "id": "by-hand",
        "repo": "main",
        "paths": ["/home"],
        "retention": {"policyKeepAll": True},
        "hooks": hooks("PLAN"),
        "backup_flags": ["--option=x", "--repository-password=MARKBACKUPFLAG"],
    }
    peer = {"instanceId": "peer", "keyId": "ed25519.x", "initialPairingSecret": "MARKPAIRING"}
    return {
        "modno": 1,
        "version": 6,
        "instance": "here",
        "repos": [repo],
        "plans": [plan],
        "auth": {"users": [{"name": "admin", "passwordBcrypt": BCRYPT}]},
        "sync": {
            "knownHosts": [peer | {"instanceUrl": "https://peer:MARKPEERURL@peer.example"}],
            "pairingTokens": [{"secret": "MARKPAIRTOKEN", "label": "new peer"}],
        },
    }


NOTIFY = (
    "healthchecks:https://hc.example/MARKHEALTH, discord:https://discord.example/MARKDISCORD,"
    "slack:https://slack.example/MARKSLACK, gotify:https://gotify.example@MARKGOTIFY,"
    "shoutrrr:telegram://MARKTELEGRAM@telegram?chats=1, slack:file:SECRETS/slack,"
    "gotify:https://gotify.example@env:BACKREST_SECRET_TOKEN"
)


def container(**labels: str) -> dict[str, Any]:
    """A labelled container; `_` in a label's name stands for `.`."""
    own = {f"backrest.{name.replace('_', '.')}": value for name, value in labels.items()}
    return {
        "Id": "c0ffee",
        "Names": ["/web"],
        "Labels": {"backrest.enable": "true", "unrelated": "MARKUNRELATED", **own},
        "Mounts": [{"Type": "bind", "Source": "/srv/web", "Destination": "/data"}],
    }


class World:
    """A folder with a document, a list and secret files, and runs that are listened to."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.config = folder / "config.json"
        self.capsys = capsys
        (folder / "secrets").mkdir()
        (folder / "secrets" / "slack").write_text("https://slack.example/MARKFILE\n")
        (folder / "secrets" / "odd").write_text("MARKODDFILE is no URL\n")
        self.write(json.dumps(document(), indent=2))
        self.label(notify=NOTIFY.replace("SECRETS", str(folder / "secrets")))

    def write(self, text: str) -> None:
        """Make this the document."""
        self.config.write_text(text)

    def label(self, **labels: str) -> None:
        """Make one container with these labels the saved list."""
        (self.folder / "list.json").write_text(json.dumps([container(**labels)]))

    def run(self, *args: str) -> tuple[int, str]:
        """Run; give the status and everything that was output on both streams."""
        code = run_cli(
            [
                *("reconcile", "--config", str(self.config), "--log-level", "debug"),
                *("--inventory", str(self.folder / "list.json")),
                *("--secrets-dir", str(self.folder / "secrets"), *args),
            ]
        )
        output = self.capsys.readouterr()
        return code, output.out + output.err

    def leaks(self, *args: str) -> list[str]:
        """Run in every output form and log form; list the markers that were output."""
        found: list[str] = []
        for form in FORMS:
            for log in ("text", "json"):
                output = self.run("--output", form, "--log-format", log, *args)[1]
                assert output
                found += MARKER.findall(output)
        return sorted(set(found))


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    """A world full of secrets; the log is given back as it was."""
    monkeypatch.setenv("BACKREST_SECRET_TOKEN", "MARKVARIABLE")
    monkeypatch.setenv("BACKREST_SECRET_ODD", "MARKODDVARIABLE")
    monkeypatch.setenv("OTHER_VARIABLE", "MARKOTHER")
    logger = logging.getLogger("sidecar")
    before = logger.handlers[:], logger.level, logger.propagate
    yield World(tmp_path, capsys)
    logger.handlers[:], logger.level, logger.propagate = before


def test_the_written_document_holds_what_the_outputs_mask(world: World) -> None:
    """The markers are really on their way: every secret of the labels reaches the file."""
    before = set(MARKER.findall(world.config.read_text()))
    code, _ = world.run()
    assert 0 == code
    assert {
        *("MARKHEALTH", "MARKDISCORD", "MARKSLACK", "MARKGOTIFY", "MARKTELEGRAM"),
        *("MARKFILE", "MARKVARIABLE"),
    } == set(MARKER.findall(world.config.read_text())) - before


def test_no_preview_shows_a_secret(world: World) -> None:
    """Nor does any log line of it, in either form, at the most talkative level."""
    assert [] == world.leaks("--dry-run")


def test_no_real_run_shows_a_secret(world: World) -> None:
    """New plans, changed ones and such as stay."""
    assert [] == world.leaks()
    world.label(notify="slack:https://slack.example/MARKOTHERHOOK", keep="last=1")
    assert [] == world.leaks("--dry-run")
    assert [] == world.leaks()


def test_the_table_shows_no_secret_of_a_plan_that_stands(world: World) -> None:
    """A blocked workload is shown with the plan that the document holds."""
    root = document()
    root["plans"][0] |= {"id": "backrest_sidecar_web"}
    world.write(json.dumps(root))
    world.label(keep="nonsense")
    assert [] == world.leaks("--dry-run")


def test_a_changed_secret_is_told_without_being_shown(world: World) -> None:
    """The diff says that there is a new one."""
    world.run()
    world.label(notify="slack:https://slack.example/MARKROTATED")
    _, output = world.run("--dry-run", "--output", "diff")
    assert [] == MARKER.findall(output)
    assert "(new)" in output


# Labels that cannot be used


@pytest.mark.parametrize(
    "labels",
    [
        {"notify": "discrd:https://discord.example/MARKKIND"},
        {"notify": "https://discord.example/MARKBARE"},
        {"notify": "slack:ftp://MARKSCHEME"},
        {"notify": "slack:https://[MARKBRACKET"},
        {"notify": "gotify:https://gotify.example/MARKNOTOKEN"},
        {"notify": "shoutrrr:MARKNOSERVICE"},
        {"notify": "'slack:https://slack.example/MARKQUOTE"},
        {"notify": '["slack:https://slack.example/MARKJSON"'},
        {"notify": '["slack:https://slack.example/MARKJSON", 5]'},
        {"notify.0": "MARKINDEXED", "notify.x": "MARKNOINDEX"},
        {"notifications": "slack:https://slack.example/MARKUNKNOWN"},
        {"plan.password": "MARKRESERVED"},
        {"notify": "slack:env:OTHER_VARIABLE"},
        {"notify": "slack:env:BACKREST_SECRET_ODD"},
        {"notify": "slack:file:SECRETS/odd"},
        {"notify.on": "slack:https://slack.example/MARKNEIGHBOUR"},
        {"repo": "rest:https://user:MARKREPOURI@backup.example/"},
        {"repo": "s3:https://MARKKEY:MARKSECRET@s3.example/bucket"},
        {"backup-flags": "--password=MARKUNCLOSED 'x"},
        {"backup-flags": "--option=rest.token=MARKOPTIONFLAG"},
        {"backup-flags": "--password-command 'echo MARKCOMMAND'"},
        {"hooks.on-error": "https://me:MARKONERROR@host.example"},
        {"hooks.template": "https://me:MARKTEMPLATE@host.example"},
        {"enable": "https://me:MARKENABLE@host.example"},
        {"schedule": "https://me:MARKSCHEDULE@host.example"},
        {"keep": "https://me:MARKKEEP@host.example"},
        {"paths.include": "https://me:MARKINCLUDE@host.example"},
        {"snapshot-start": "curl https://me:MARKHOOK@host.example"},
        {"exec.start": "curl https://me:MARKEXEC@host.example"},
    ],
    ids=" ".join,
)
def test_no_problem_with_a_label_quotes_a_secret(world: World, labels: dict[str, str]) -> None:
    """Also not where a secret stands in a label that is for something else."""
    secrets = str(world.folder / "secrets")
    world.label(**{name: text.replace("SECRETS", secrets) for name, text in labels.items()})
    for policy in ("all", "templates", "none"):
        assert [] == world.leaks("--dry-run", "--hook-policy", policy)


def test_no_flag_error_quotes_a_secret(world: World) -> None:
    """Addresses in flags may hold user and password."""
    for flags in (
        ["--default-repo", "rest:https://user:MARKDEFAULT@backup.example/"],
        ["--docker-sock", "ssh://user:MARKENGINE@host.example"],
    ):
        assert [] == world.leaks("--dry-run", *flags)
    for address in ("ssh://user:MARKENGINE@host", "tcp://user:MARKENGINE@127.0.0.1:1"):
        code = run_cli(["--config", str(world.config), "--docker-sock", address])
        output = world.capsys.readouterr()
        assert (1, []) == (code, MARKER.findall(output.out + output.err))


@pytest.mark.parametrize(
    "saved",
    [
        '[{"Id": "a", "Labels": {"backrest.notify": "MARKCUT',
        '[{"Id": "a", "Labels": {"backrest.notify": ["MARKLIST"]}}]',
        '[{"Id": "a", "Labels": ["backrest.notify=MARKSHAPE"]}]',
        '[{"Id": "a", "Env": ["PASSWORD=MARKVARS"], "Mounts": "MARKMOUNTS"}]',
        '{"containers": [], "images": [{"Id": "i", "Config": {"Labels": "MARKIMAGE"}}]}',
        '"MARKTEXT"',
    ],
)
def test_no_error_about_an_inventory_quotes_it(world: World, saved: str) -> None:
    """It names the place, never the value."""
    (world.folder / "list.json").write_text(saved)
    assert [] == world.leaks("--dry-run")


# Documents that are refused


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every text in decoded JSON."""
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in members if isinstance(value, dict | list) else ():
        if isinstance(item, dict | list):
            yield from leaves(item, (*path, key))
        else:
            yield (*path, key)


def replaced(root: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The same JSON with another value at a path."""
    copy = json.loads(json.dumps(root))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    "path", list(leaves(document())), ids=lambda path: "/".join(map(str, path))
)
def test_no_refusal_quotes_a_value_of_another_type(world: World, path: tuple[Any, ...]) -> None:
    """Numbers, lists, objects and null where a text belongs, each of them secret."""
    for wrong in (NUMBER, NUMBER + 0.5, ["MARKLIST"], {"MARKKEY": "MARKOBJECT"}, [[NUMBER]]):
        world.write(json.dumps(replaced(document(), path, wrong)))
        assert [] == MARKER.findall(world.run("--dry-run")[1])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"password": "MARKPASSWORD"', '"password": "MARKPASSWORD", "password": "MARKTWICE"'),
        ('"password": "MARKPASSWORD"', '"password": MARKUNQUOTED'),
        ('"password": "MARKPASSWORD"', '"password": "MARKPASSWORD'),
        ('"password": "MARKPASSWORD"', '"password": "MARK\\ud800LONE"'),
        ('"AWS_SECRET_ACCESS_KEY=MARKENV"', '"MARKNOEQUALS"'),
        ('"uri": "rest:https://user:MARKURI@backup.example/repo"', '"uri": ""'),
        ('"repo": "main"', '"repo": "rest:https://user:MARKPLANREPO@backup.example"'),
        ('"secret": "MARKPAIRTOKEN"', '"secret": "MARKPAIRTOKEN", "maxUses": "MARKUSES"'),
        ('"version": 6', '"version": 5'),
        ('"version": 6', '"version": 7'),
        ("{", "MARKFRONT{"),
        ("{", "[{"),
    ],
    ids=str,
)
def test_no_error_about_a_document_quotes_it(world: World, old: str, new: str) -> None:
    """Neither where it is no JSON nor where Backrest would refuse it."""
    world.write(json.dumps(document()).replace(old, new, 1))
    for log in ("text", "json"):
        code, output = world.run("--log-format", log)
        assert (1, []) == (code, MARKER.findall(output))


def test_an_identity_that_is_refused_is_not_quoted(world: World) -> None:
    """The private key of this Backrest is the worst to lose."""
    key = {"keyId": "MARKKEYID", "ed25519priv": "MARKPRIVATE", "ed25519pub": "MARKPUBLIC"}
    world.write(json.dumps(document() | {"sync": {"identity": key}}))
    code, output = world.run()
    assert (1, []) == (code, MARKER.findall(output))


def test_an_unreadable_secret_is_told_by_its_reference(world: World) -> None:
    """The reference is no secret, and people need it."""
    world.label(notify="slack:file:/etc/passwd, discord:env:OTHER_VARIABLE")
    code, output = world.run("--dry-run", "--output", "json")
    assert (3, []) == (code, MARKER.findall(output))
    assert output.count("secret.missing") == 2
    assert "file:/etc/passwd" in output
    assert "env:OTHER_VARIABLE" in output
