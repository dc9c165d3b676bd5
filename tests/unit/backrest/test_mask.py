"""What people and logs may see of a document."""

import json

import pytest

from sidecar.backrest.jsontext import decode
from sidecar.backrest.mask import is_secret_name, mask_string, mask_texts, mask_value
from sidecar.lib.text import MASK

SECRETS = {
    "repos": [
        {
            "id": "r",
            "uri": "rest:https://me:hunter2@nas/x",
            "password": "hunter2",
            "env": ["AWS_SECRET=hunter2", "hunter2"],
            "flags": ["--password-command", "echo hunter2"],
            "hooks": [{"actionShoutrrr": {"shoutrrrUrl": "telegram://hunter2@x"}}],
        }
    ],
    "plans": [
        {
            "id": "p",
            "backup_flags": ["--tag a", "--secret-x hunter2"],
            "hooks": [
                {"actionDiscord": {"webhookUrl": "https://d/hunter2"}},
                {"actionGotify": {"baseUrl": "https://hunter2/", "token": "hunter2"}},
                {"actionTelegram": {"bot_token": "hunter2", "chatId": "1"}},
                {"actionCommand": {"command": "curl https://u:hunter2@x/ -d hi"}},
            ],
        }
    ],
    "auth": {"users": [{"name": "me", "passwordBcrypt": "hunter2"}]},
    "sync": {"identity": {"keyid": "hunter2", "n": 5}},
}


def test_no_secret_is_shown() -> None:
    """Passwords, tokens, addresses of hooks, flags and values of env are masked at any depth."""
    shown = json.dumps(mask_value(decode(json.dumps(SECRETS))))
    assert "hunter2" not in shown
    assert '"id": "r"' in shown
    assert f"AWS_SECRET={MASK}" in shown
    assert f"https://{MASK}@x/ -d hi" in shown


def test_numbers_become_plain_numbers() -> None:
    """What is no secret keeps its value; numbers are numbers again."""
    found = mask_value(
        decode('{"a": 1.0, "b": 1e3, "c": 2.5, "d": null, "e": true, "password": ""}')
    )
    assert found == {"a": 1, "b": 1000, "c": 2.5, "d": None, "e": True, "password": ""}


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("plain text", "", "plain text"),
        ("s3:https://key:pw@host/b", "uri", f"s3:https://{MASK}@host/b"),
        ("https://host/a@b", "uri", "https://host/a@b"),
        ("NAME=value=x", "env", f"NAME={MASK}"),
        ("value", "env", MASK),
        ("--password-file=/x", "backup_flags", f"--password-file={MASK}"),
        ("--tag key", "backup_flags", "--tag key"),
    ],
)
def test_secrets_inside_strings(text: str, key: str, expected: str) -> None:
    """Only the secret part of a string is masked."""
    assert mask_string(text, key) == expected


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("B2_ACCOUNT_KEY", True),
        ("RCLONE_CONFIG_NAS_PASS", True),
        ("AZURE_ACCOUNT_SAS", True),
        ("s3.secret", True),
        ("--header", True),
        ("RESTIC_PASSWORD_COMMAND", True),
        ("RESTIC_PASSWORD_FILE", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", False),
        ("AWS_DEFAULT_REGION", False),
        ("--pack-size", False),
    ],
)
def test_a_name_says_whether_its_value_is_secret(name: str, is_secret: bool) -> None:
    """Values of others occur in any text."""
    assert is_secret_name(name) is is_secret


def test_texts_are_masked_in_place() -> None:
    """A document's text keeps its layout; a secret that is only in the second is told as new."""
    before = '{ "password":  "old", "n": 1.0, "env": ["A=x"], "list": [{"token": ""}] }'
    after = '{ "password":  "new", "n": 1.0, "env": ["A=x"], "list": [{"token": "t"}] }'
    assert mask_texts(before, after) == (
        f'{{ "password":  "{MASK}", "n": 1.0, "env": ["A={MASK}"], "list": [{{"token": ""}}] }}',
        f'{{ "password":  "{MASK} (new)", "n": 1.0, "env": ["A={MASK}"], "list": [{{"token": "{MASK} (new)"}}] }}',
    )
