"""The doctor's questions to Backrest's API, asked of one that answers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.reconciler.doctor.check import CheckContext
from sidecar.reconciler.doctor.run import examine
from sidecar.reconciler.settings import BackrestLogin, InventorySource, ReconcilerSettings
from sidecar.service.check_result import CheckResult, CheckStatus
from tests.fakes.fake_backrest import FakeBackrest, Fault

DOCUMENT = {
    "modno": 1,
    "version": 6,
    "instance": "home",
    "repos": [{"id": "r", "uri": "/r", "guid": "a" * 64}],
    "plans": [{"id": "backrest_sidecar_web", "repo": "r", "paths": ["/w"]}],
}
LOGIN = {"users": [{"name": "admin", "passwordBcrypt": "x" * 60}]}


class Asked:
    """A document and the Backrest that serves it; no engine answers."""

    def __init__(self, folder: Path, backrest: FakeBackrest) -> None:
        self.backrest = backrest
        self.settings = ReconcilerSettings(
            folder / "config.json",
            source=InventorySource(docker_sock=str(folder / "none.sock")),
            access=BackrestLogin(backrest.url),
        )

    def examine(self) -> dict[str, CheckResult]:
        """Run all checks."""
        context = CheckContext(self.settings, {}, datetime.now(UTC))
        return {one.check: one for one in examine(context).findings}

    def failures(self) -> set[str]:
        """Run all checks; return what failed, but for the engine."""
        found = self.examine().items()
        failed = {check for check, one in found if one.verdict is CheckStatus.FAILURE}
        return failed - {"engine.reachable"}


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    """Serve a document."""
    (tmp_path / "config.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "config.json").chmod(0o600)
    with FakeBackrest(tmp_path / "config.json") as backrest:
        yield Asked(tmp_path, backrest)


def test_an_api_that_answers_is_well(asked: Asked) -> None:
    """Open, and with the document's repositories."""
    found = asked.examine()
    checks = ("api.reachable", "api.login", "api.document", "repos.known")
    assert {CheckStatus.OK} == {found[check].verdict for check in checks}


def test_nothing_is_saved(asked: Asked) -> None:
    """The doctor only asks for what is there."""
    asked.examine()
    assert {"GetConfig"} == set(asked.backrest.asked)


def test_an_api_that_does_not_answer_fails_once(asked: Asked) -> None:
    """What depends on it is left out."""
    asked.backrest.kill()
    assert {"api.reachable"} == asked.failures()
    asked.backrest.start()


def test_what_is_no_backrest_fails_once(asked: Asked) -> None:
    """As a proxy's page."""
    asked.backrest.order(Fault.SERVER_ERROR)
    assert {"api.reachable"} == asked.failures()


@pytest.mark.parametrize(
    ("user", "said"), [("admin", "refuses the user"), ("", "asks for a login")]
)
def test_a_refused_login_is_an_answer(user: str, said: str, asked: Asked) -> None:
    """It is told as such, and without the password."""
    access = replace(asked.settings.access, user=user, password="wrong-one" if user else "")
    asked.settings = replace(asked.settings, access=access)
    asked.backrest.order(Fault.REFUSE_LOGIN)
    found = asked.examine()
    assert CheckStatus.OK is found["api.reachable"].verdict
    assert CheckStatus.FAILURE is found["api.login"].verdict
    assert said in found["api.login"].message
    assert "wrong-one" not in str(found)
    assert {CheckStatus.NOT_CHECKED} == {found[c].verdict for c in ("api.document", "repos.known")}


def test_the_right_login_is_accepted(asked: Asked) -> None:
    """As the document asks for it."""
    asked.backrest.kill()
    asked.settings.config.write_text(json.dumps({**DOCUMENT, "auth": LOGIN}))
    asked.backrest.start()
    access = replace(asked.settings.access, url=asked.backrest.url)
    asked.settings = replace(asked.settings, access=access)
    assert {"api.login"} == asked.failures()
    access = replace(access, user="admin", password="swordfish")
    asked.settings = replace(asked.settings, access=access)
    assert set() == asked.failures()


def test_an_address_that_is_none_fails_once(asked: Asked) -> None:
    """As one with a password in it."""
    asked.settings = replace(asked.settings, access=BackrestLogin("http://u:p@h"))
    assert {"api.reachable"} == asked.failures()


def test_another_backrest_is_told(asked: Asked) -> None:
    """It would get our plans."""
    asked.settings.config.write_text(json.dumps({**DOCUMENT, "instance": "other"}))
    assert {"api.document"} == asked.failures()


def test_a_repository_that_backrest_has_not_loaded_fails(asked: Asked) -> None:
    """It was written into the file behind its back."""
    repos = [*DOCUMENT["repos"], {"id": "new", "uri": "/n", "autoInitialize": True}]  # type: ignore[misc]
    plans = [{"id": "backrest_sidecar_web", "repo": "new", "paths": ["/w"]}]
    asked.settings.config.write_text(json.dumps({**DOCUMENT, "repos": repos, "plans": plans}))
    assert {"repos.known"} == asked.failures()
    assert ("new",) == asked.examine()["repos.known"].details
