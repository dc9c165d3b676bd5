"""The doctor's checks, each against a host in which exactly one thing is wrong."""

import base64
import json
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sidecar.cli.output.doctor import render_doctor
from sidecar.docker.client import DockerClient, EngineVersion
from sidecar.docker.failures import RequestRefused
from sidecar.docker.inventory import DockerInventory
from sidecar.labels.policy import Policy
from sidecar.lib import files as atomic
from sidecar.lib.errors import InventoryError
from sidecar.planner.scripts import render_quiesce, render_scale_down
from sidecar.reconciler.doctor import check as check_module
from sidecar.reconciler.doctor import document
from sidecar.reconciler.doctor.check import CheckContext, NotChecked, open_docker
from sidecar.reconciler.doctor.run import CHECKS, examine, run_doctor
from sidecar.reconciler.settings import (
    Applying,
    ApplyVia,
    BackrestLogin,
    InventorySource,
    ReconcilerSettings,
    Watching,
)
from sidecar.service.check_result import CheckResult, CheckStatus, DoctorReport, passed
from tests.fakes.fake_docker import FakeDocker

Json = dict[str, Any]
RUNNER = "r" * 64
OWN = "a" * 64
TOOLS = {"/bin/sh", "/usr/bin/docker"}
CALL_DOCKER = "docker ps"


class Scripted(DockerClient):
    """An engine of one runner: `paths` exist in it, `statuses` replace what would be answered."""

    def __init__(self, runner: Json | None, paths: set[str]) -> None:
        super().__init__("unix:///nowhere.sock")
        self.runner = runner
        self.own: Json | None = None
        self.paths = paths
        self.answer: bytes | InventoryError = b'{"Version": "20.10.24", "ApiVersion": "1.41"}'
        self.statuses: dict[str, int | Exception] = {}
        self.asked: list[str] = []
        self.listed: list[Json] = []
        self.labels: dict[str, str] = {}
        self.linked: dict[str, str] = {}

    def spoken(self) -> EngineVersion:
        """There is nothing to ask."""
        return EngineVersion("1.41", is_podman=False)

    def version(self) -> bytes:
        """Answer to GET /version."""
        if isinstance(self.answer, InventoryError):
            raise self.answer
        return self.answer

    def _request(self, method: str, path: str, *_: object) -> SimpleNamespace:  # type: ignore[override]
        self.asked.append(f"{method} {path}")
        for start, status in self.statuses.items():
            if f"{method} {path}".startswith(start):
                if isinstance(status, Exception):
                    raise status
                return SimpleNamespace(status_code=status, content=b"{}", headers={})
        status_code, content = self._found(path)
        target = self.linked.get(parse_qs(urlsplit(path).query).get("path", [""])[0], "")
        told = base64.b64encode(json.dumps({"linkTarget": target}).encode()).decode()
        headers = {"X-Docker-Container-Path-Stat": told}
        return SimpleNamespace(status_code=status_code, content=content, headers=headers)

    def _found(self, path: str) -> tuple[int, bytes]:
        parts = urlsplit(path)
        if parts.path.endswith("/archive"):
            return (200 if parse_qs(parts.query)["path"][0] in self.paths else 404), b""
        answers: dict[str, object] = {
            "/containers/json": [*self.listed, *self._listed_runner()],
            "/containers/backrest/json": self.runner,
            f"/containers/{OWN}/json": self.own,
            "/volumes": {"Volumes": []},
            "/info": {"ID": "ENGINE"},
            "/events": {},
        }
        answer = answers.get(parts.path)
        return (404, b"{}") if answer is None else (200, json.dumps(answer).encode())

    def _listed_runner(self) -> list[Json]:
        if self.runner is None:
            return []
        kept = {key: self.runner[key] for key in ("Id", "Mounts")}
        return [{**kept, "Names": ["/backrest"], "Labels": self.labels}]


def inspected(env: list[str], mounts: list[tuple[str, str]], identity: str = RUNNER) -> Json:
    """Return what the engine tells of a running container."""
    return {
        "Id": identity,
        "Name": "/backrest",
        "State": {"Running": True},
        "Config": {"Env": env},
        "Mounts": [{"Type": "bind", "Source": s, "Destination": d} for s, d in mounts],
    }


@dataclass
class Host:
    """A healthy host in a folder; a test breaks one thing and looks."""

    folder: Path
    env: list[str] = field(
        default_factory=lambda: ["BACKREST_CONFIG=/config/config.json", "TZ=UTC"]
    )
    plans: list[Json] = field(default_factory=list)
    repos: list[Json] = field(
        default_factory=lambda: [{"id": "r", "uri": "/r", "password": "hunter2", "guid": "a" * 64}]
    )

    def __post_init__(self) -> None:
        self.config = self.folder / "config.json"
        self.mounts = [(str(self.folder), "/config"), ("/srv", "/srv")]
        self.settings = ReconcilerSettings(self.config, runner_named=True)
        self.environment = {"TZ": "UTC"}
        self.connection = Scripted(None, {*TOOLS, "/srv/a"})
        self.now = datetime.now(UTC)
        self.own_id, self.is_contained = "", False
        (self.folder / ".sidecar").mkdir()
        self.mountinfo = self.folder / "mountinfo"
        self.mountinfo.write_text(f"1 2 0:3 / {self.folder} rw - ext4 /dev/x rw\n")

    def add_plan(self, command: str = "", *paths: str, **more: object) -> None:
        """Add a plan with that hook."""
        hooks = [{"conditions": [], "actionCommand": {"command": command}}] if command else []
        plan_id = f"backrest_sidecar_p{len(self.plans)}"
        self.plans.append(
            {"id": plan_id, "repo": "r", "paths": [*paths] or ["/srv/a"], "hooks": hooks, **more}
        )

    def write(self, **more: object) -> None:
        """Write the document."""
        whole = {"modno": 1, "version": 6, "instance": "i", "repos": self.repos, **more}
        self.config.write_text(json.dumps({**whole, "plans": self.plans}))
        self.config.chmod(0o600)

    def context(self, *, fix: bool = False) -> CheckContext:
        """Return the context of the checks; writes the document unless it is there."""
        if not self.config.exists():
            self.write()
        if self.connection.runner is None and self.mounts:
            self.connection.runner = inspected(self.env, self.mounts)
        engine = DockerInventory("unix:///nowhere.sock")
        engine.client = self.connection
        return CheckContext(
            self.settings,
            self.environment,
            self.now,
            fix,
            self.own_id,
            self.is_contained,
            self.mountinfo,
            open_docker=lambda _: engine,
        )

    def examine(self, *, fix: bool = False) -> dict[str, CheckResult]:
        """Run all checks; return the findings by check."""
        return {one.check: one for one in examine(self.context(fix=fix)).findings}

    def wrong(self, *, fix: bool = False) -> dict[str, CheckStatus]:
        """Run all checks; return what is neither well nor left out."""
        well = {CheckStatus.OK, CheckStatus.NOT_CHECKED}
        found = self.examine(fix=fix).items()
        return {check: one.verdict for check, one in found if one.verdict not in well}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A healthy host without plans."""
    return Host(tmp_path)


STOP = render_quiesce("web", "p", "stop")
PAUSE = render_quiesce("web", "p", "pause")
SCALE = render_scale_down("web", "p")


def test_a_healthy_host_has_nothing_wrong(host: Host) -> None:
    """With every check that can be made without an API."""
    host.add_plan(STOP)
    host.mounts.append(("/var/run/docker.sock", "/var/run/docker.sock"))
    found = host.examine()
    assert [check.id for check in CHECKS] == list(found)
    left_out = {check for check, one in found.items() if one.verdict is CheckStatus.NOT_CHECKED}
    assert {
        "document.runner",
        "permission.restart",
        "permission.unpause",
        "permission.services",
        "runner.version",
        "api.reachable",
        "api.login",
        "api.document",
        "apply.edits",
        "repos.known",
    } == left_out
    assert {} == host.wrong()


def test_each_check_says_what_it_proves_and_has_its_own_name() -> None:
    """The documentation lists them."""
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    assert all(check.proves for check in CHECKS)


@pytest.mark.parametrize(
    ("content", "check"),
    [
        (None, "document.found"),
        (b"", "document.found"),
        (b"[]", "document.found"),
        (b"{}", "document.valid"),
        (b'{"version": 4}', "document.valid"),
        (b'{"version": 9}', "document.valid"),
        (b'{"version": 6, "auth": {}}', "document.valid"),
    ],
)
def test_a_document_that_backrest_refuses_fails_once(
    content: bytes | None, check: str, host: Host
) -> None:
    """What depends on it is left out; that it has no repository is another matter."""
    context = host.context()
    host.config.unlink()
    if content is not None:
        host.config.write_bytes(content)
        host.config.chmod(0o600)
    found = {one.check: one for one in examine(context).findings}
    failures = {name for name, one in found.items() if one.verdict is CheckStatus.FAILURE}
    assert {check} == failures - {"repos.exist"}
    assert found["pass"].verdict is CheckStatus.NOT_CHECKED
    assert found[check].hint


def test_faults_in_plans_of_ours_only_say_who_mends_them(host: Host) -> None:
    """The next pass writes them anew; it can be looked at all the same."""
    host.add_plan(schedule={"cron": ""})
    found = host.examine()
    assert found["document.valid"].verdict is CheckStatus.FAILURE
    assert "reconcile" in found["document.valid"].hint
    assert found["document.valid"].details[0].startswith("/plans/0/schedule/cron: ")


def test_a_repository_of_another_program_is_told(host: Host) -> None:
    """Backrest starts with it, and none of its backups succeeds."""
    host.repos.append({"id": "nas", "uri": "rsync:MARK@nas:/x", "guid": "0" * 64})
    host.write()
    found = host.examine()["document.valid"]

    assert found.verdict is CheckStatus.WARNING
    assert "/uri: repo.not-restic" in found.details[0]
    assert "MARK" not in str(found)


def test_a_repository_of_another_program_to_be_initialised_is_a_failure(host: Host) -> None:
    """Backrest would end at its start, and no other repository would be saved to either."""
    host.repos.append({"id": "nas", "uri": "rsync:MARK@nas:/x", "autoInitialize": True})
    host.write()
    found = host.examine()["document.valid"]

    assert found.verdict is CheckStatus.FAILURE
    assert "/uri: repo.not-restic" in found.details[0]
    assert "MARK" not in str(found)


def write_runner(host: Host, *, mode: int = 0o600, **repo: object) -> None:
    """Write a runner's document with one repository."""
    repos = [{"id": "nas", "uri": "rsync:/nas", "autoInitialize": True, **repo}]
    document = {"version": 6, "instance": "i", "repos": repos, "plans": []}
    host.settings.runner_document.write_text(json.dumps(document))
    host.settings.runner_document.chmod(mode)


def test_a_runners_document_that_is_right_is_well(host: Host) -> None:
    """It is read beside the other one."""
    write_runner(host, flags=["--bwlimit 2m"])
    found = host.examine()["document.runner"]

    assert found.verdict is CheckStatus.OK
    assert "0 plans and 1 repository" in found.message


@pytest.mark.parametrize(
    ("repo", "detail"),
    [
        ({"uri": ""}, "/repos/0: the repository has no uri"),
        ({"id": "r"}, "r"),
        ({"flags": ["--flatt"]}, "/repos/0/flags: --flatt is no option of rsync"),
        ({"flags": ["--ssh 'x"]}, "/repos/0/flags: a flag has an open quote or a last backslash"),
    ],
)
def test_what_is_wrong_with_a_runners_document_is_told(host: Host, repo: Json, detail: str) -> None:
    """A fault, a repository that config.json has too, an option that the engine does not know."""
    write_runner(host, **repo)
    found = host.examine()["document.runner"]

    assert found.verdict is CheckStatus.FAILURE
    assert (detail,) == found.details


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ('{"version": 5}', "version 5 is older")]
)
def test_a_runners_document_that_cannot_be_used_is_told(
    host: Host, text: str, message: str
) -> None:
    """No pass is possible with it."""
    host.settings.runner_document.write_text(text)
    found = host.examine()

    assert message in found["document.runner"].message
    assert found["pass"].verdict is CheckStatus.FAILURE


def test_a_runners_document_that_others_can_read_is_a_warning(host: Host) -> None:
    """It may hold passwords, as config.json does."""
    write_runner(host, mode=0o644)
    found = host.examine()["document.runner"]

    assert found.verdict is CheckStatus.WARNING
    assert "0644" in found.message


def test_a_runners_document_alone_is_enough(host: Host) -> None:
    """There is no Backrest then, and config.json is no failure."""
    write_runner(host)
    context = host.context()
    host.config.unlink()
    found = {one.check: one for one in examine(context).findings}

    assert found["document.found"].verdict is CheckStatus.NOT_CHECKED
    assert f"there is no {host.config}" == found["document.private"].message
    assert found["document.runner"].verdict is CheckStatus.OK
    assert found["pass"].verdict is CheckStatus.OK


def test_what_an_interrupted_write_of_the_runners_document_left_is_put_in_order(
    host: Host,
) -> None:
    """As of config.json."""
    write_runner(host)
    name = f".runner.json.sidecar-{'0' * 16}.part"
    (host.folder / name).touch()

    assert (name,) == host.examine()["document.litter"].details
    assert "1 file put in order" in host.examine(fix=True)["document.litter"].fixed
    assert not (host.folder / name).exists()


def test_repositories_may_be_those_of_the_runners_document(host: Host) -> None:
    """config.json needs none then."""
    host.repos.clear()
    write_runner(host)

    assert host.examine()["repos.exist"].verdict is CheckStatus.OK


def test_a_key_that_backrest_ignores_is_told_with_the_one_that_is_meant(host: Host) -> None:
    """Its path is shown, and no value; Backrest starts all the same."""
    host.add_plan(retentoin={"policyKeepLastN": 3})
    host.repos[0] |= {"pasword": "MARK", "prune_policy": {}}
    found = host.examine()

    assert {"document.keys": CheckStatus.WARNING} == host.wrong()
    assert (
        "repos[0].pasword: did you mean password?",
        "plans[0].retentoin: did you mean retention?",
    ) == found["document.keys"].details
    assert "MARK" not in str(found["document.keys"])


def test_a_key_that_every_plan_has_is_told_a_few_times(host: Host) -> None:
    """Nobody reads it ten thousand times."""
    for _ in range(12):
        host.add_plan(xyz=1)
    details = host.examine()["document.keys"].details

    assert ("plans[0].xyz", 11, "and more") == (details[0], len(details), details[-1])


def test_a_file_that_is_a_mount_is_told(host: Host) -> None:
    """Also where its path has a blank, which the list of mounts escapes."""
    real = os.path.realpath(host.config)
    host.mountinfo.write_text(f"1 2 0:3 / {real} rw - ext4 /dev/x rw\n")
    assert {"document.directory": CheckStatus.FAILURE} == host.wrong()
    settings = replace(host.settings, config=Path("/a b/config.json"))
    context = replace(host.context(), settings=settings)
    host.mountinfo.write_text("1 2 0:3 / /a\\040b/config.json rw - ext4 /dev/x rw\n")
    assert document.check_mounted_whole(context).verdict is CheckStatus.FAILURE


def test_a_document_that_is_in_no_mount_of_our_container_is_told(host: Host) -> None:
    """It would be gone with the container; outside of any there need be no mount."""
    host.mountinfo.write_text("1 2 0:3 / / rw - overlay overlay rw\n")
    assert {} == host.wrong()
    host.is_contained = True
    assert {"document.directory": CheckStatus.WARNING} == host.wrong()


def test_a_system_that_tells_no_mounts_leaves_that_open(host: Host) -> None:
    """So does one that is no Linux."""
    host.mountinfo.unlink()
    assert host.examine()["document.directory"].verdict is CheckStatus.NOT_CHECKED


def test_trying_to_write_touches_nothing(host: Host) -> None:
    """The part file is gone, the document is the same file."""
    host.write()
    before, names = host.config.stat(), sorted(os.listdir(host.folder))
    assert host.examine()["document.writable"].verdict is CheckStatus.OK
    after = host.config.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert names == sorted(os.listdir(host.folder))


def test_an_owner_that_cannot_be_kept_fails(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would ever be written then."""
    monkeypatch.setattr(atomic, "give_owner", lambda *_: False)
    assert {"document.writable": CheckStatus.FAILURE} == host.wrong()
    assert [] == list(host.folder.glob(".config*"))


def test_a_mode_that_cannot_be_kept_fails(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that has modes of its own."""
    monkeypatch.setattr(atomic, "give_mode", lambda *_: False)
    assert {"document.writable": CheckStatus.FAILURE} == host.wrong()


def test_a_read_only_directory_fails(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words of the store."""

    def refuse(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(atomic, "create_new", refuse)
    assert "without `:ro`" in host.examine()["document.writable"].hint


def test_a_document_that_others_read_is_told_and_fixed(host: Host) -> None:
    """Only --fix changes it, and says so."""
    host.write()
    host.config.chmod(0o644)
    assert {"document.private": CheckStatus.WARNING} == host.wrong()
    assert 0o644 == host.config.stat().st_mode & 0o777
    fixed = host.examine(fix=True)["document.private"]
    assert (CheckStatus.OK, "mode 0644 → 0600") == (fixed.verdict, fixed.fixed)
    assert 0o600 == host.config.stat().st_mode & 0o777


def test_a_mode_that_was_asked_for_is_right(host: Host) -> None:
    """As by --config-mode 0640."""
    host.write()
    host.config.chmod(0o640)
    host.settings = replace(host.settings, config_mode=0o640)
    assert {} == host.wrong()


def test_a_foreign_owners_document_stays_as_it_is(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mode is for its owner to change."""
    host.write()
    host.config.chmod(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    found = host.examine(fix=True)["document.private"]
    assert (CheckStatus.WARNING, "") == (found.verdict, found.fixed)
    assert 0o644 == host.config.stat().st_mode & 0o777


def test_litter_is_told_and_put_in_order(host: Host) -> None:
    """The way the next write would do it."""
    part = host.folder / f".config.json.sidecar-{'0' * 16}.part"
    part.write_text("half")
    assert {"document.litter": CheckStatus.WARNING} == host.wrong()
    assert part.exists()
    assert "1 file put in order" == host.examine(fix=True)["document.litter"].fixed
    assert not part.exists()


def test_a_save_that_was_put_aside_is_told(host: Host) -> None:
    """Only people can tell what it is worth."""
    (host.folder / f"config.json.displaced-{'0' * 16}").write_text("{}")
    assert {"document.litter": CheckStatus.WARNING} == host.wrong(fix=True)


def test_without_a_directory_there_is_no_litter(host: Host) -> None:
    """That there is none is told once."""
    host.settings = replace(host.settings, config=host.folder / "none" / "config.json")
    found = host.examine()
    assert found["document.litter"].verdict is CheckStatus.NOT_CHECKED
    assert found["document.found"].verdict is CheckStatus.FAILURE


def test_a_write_that_goes_on_is_no_litter(host: Host) -> None:
    """Whoever holds the lock cleans up after itself."""
    host.write()
    directory = atomic.open_directory(host.folder)
    try:
        atomic.lock(directory)
        assert host.examine()["document.litter"].verdict is CheckStatus.NOT_CHECKED
    finally:
        os.close(directory)


def test_a_state_directory_is_made_by_fix_only(host: Host) -> None:
    """Without one nothing is remembered yet, which is no failure."""
    (host.folder / ".sidecar").rmdir()
    assert {"state.writable": CheckStatus.WARNING} == host.wrong()
    assert not (host.folder / ".sidecar").exists()
    found = host.examine(fix=True)["state.writable"]
    assert (CheckStatus.OK, f"{host.folder}/.sidecar created") == (found.verdict, found.fixed)
    assert [] == list((host.folder / ".sidecar").iterdir())


def test_a_state_directory_that_nobody_can_make_or_use_fails(host: Host) -> None:
    """One below a file, and one below nothing."""
    host.write()
    host.settings = replace(host.settings, state_dir=host.config / "state")
    assert {"state.writable": CheckStatus.FAILURE} == host.wrong(fix=True)
    host.settings = replace(host.settings, state_dir=host.folder / "none" / "state")
    assert {"state.writable": CheckStatus.FAILURE} == host.wrong()


def test_a_state_directory_that_we_may_not_make_fails(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried without --fix, but what is allowed can be told."""
    (host.folder / ".sidecar").rmdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert {"state.writable": CheckStatus.FAILURE} == host.wrong()


def test_a_clock_that_was_never_set_fails(host: Host) -> None:
    """Before this program was written nobody can be."""
    host.now = datetime(1970, 1, 1, tzinfo=UTC)
    assert host.examine()["clock"].verdict is CheckStatus.FAILURE


def test_a_document_from_the_future_is_told(host: Host) -> None:
    """One of two clocks is wrong."""
    host.write()
    later = (host.now + timedelta(days=1)).timestamp()
    os.utime(host.config, (later, later))
    assert {"clock": CheckStatus.WARNING} == host.wrong()


def test_an_engine_that_is_not_there_fails_once(host: Host) -> None:
    """Everything that needs it is left out, and says why."""
    host.connection.answer = InventoryError("there is no Docker socket", "start it")
    found = host.examine()
    assert ["engine.reachable"] == [
        check for check, one in found.items() if one.verdict is CheckStatus.FAILURE
    ]
    assert found["runner.found"].verdict is CheckStatus.NOT_CHECKED
    assert found["permission.containers"].message


def test_an_engine_that_hangs_costs_one_wait(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """After that it is asked nothing more."""
    monkeypatch.setattr(check_module, "SECONDS", 0.1)
    with FakeDocker() as engine:
        engine.stall()
        host.settings = replace(host.settings, source=InventorySource(docker_sock=engine.address))
        context = replace(host.context(), open_docker=open_docker)
        failures = [o.check for o in examine(context).findings if o.verdict is CheckStatus.FAILURE]
        engine.resume()
    assert ["engine.reachable"] == failures
    assert ["GET /version"] == list(engine.calls)


def test_an_address_that_is_none_fails_once(host: Host) -> None:
    """It is a finding here, where other commands would not start."""
    host.settings = replace(host.settings, source=InventorySource(docker_sock="ftp://x"))
    assert {"engine.reachable": CheckStatus.FAILURE} == host.wrong()


@pytest.mark.parametrize(
    ("status", "check"),
    [(403, "permission.version"), (405, "permission.version"), (500, "engine.reachable")],
)
def test_a_refused_version_is_a_permission_and_a_broken_engine_is_not(
    status: int, check: str, host: Host
) -> None:
    """Either is one failure."""
    host.connection.answer = RequestRefused("refused", "x", status)
    assert {check: CheckStatus.FAILURE} == host.wrong()


def test_an_old_engine_is_told_and_a_stranger_fails(host: Host) -> None:
    """What answers must be an engine."""
    host.connection.answer = b'{"Version": "19.03", "ApiVersion": "1.40"}'
    assert {"engine.version": CheckStatus.WARNING} == host.wrong()
    host.connection.answer = b"<html>"
    assert {"engine.version": CheckStatus.FAILURE} == host.wrong()


@pytest.mark.parametrize(
    ("call", "check", "verdict"),
    [
        ("GET /containers", "permission.containers", CheckStatus.FAILURE),
        ("GET /volumes", "permission.volumes", CheckStatus.FAILURE),
        ("GET /images", "permission.images", CheckStatus.FAILURE),
        ("GET /info", "permission.info", CheckStatus.WARNING),
        ("GET /events", "permission.events", CheckStatus.FAILURE),
        ("GET /services", "permission.services", CheckStatus.FAILURE),
        ("POST /", "permission.post", CheckStatus.FAILURE),
        ("POST /containers/_backrest-sidecar/restart", "permission.restart", CheckStatus.FAILURE),
        ("POST /containers/_backrest-sidecar/start", "permission.start", CheckStatus.FAILURE),
        ("POST /containers/_backrest-sidecar/unpause", "permission.unpause", CheckStatus.FAILURE),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_each_permission_that_is_missing_is_one_line(
    call: str, check: str, verdict: CheckStatus, status: int, host: Host
) -> None:
    """It names the variable that grants it."""
    grant_all(host)
    host.connection.statuses[call] = status
    assert {check: verdict} == host.wrong()
    found = host.examine()[check]
    variable = next(one.proves for one in CHECKS if one.id == check).partition(":")[0]
    assert f"{variable} is not granted" in found.message
    assert f"{variable}=1" in found.hint


def grant_all(host: Host) -> None:
    """Make a host that needs every permission."""
    for command in (STOP, PAUSE, SCALE):
        host.add_plan(command)
        # Plans of ours without a workload would be orphans, which is another matter.
        host.plans[-1]["id"] = f"mine{len(host.plans)}"
    host.mounts.append(("/var/run/docker.sock", "/var/run/docker.sock"))
    host.settings = replace(host.settings, applying=Applying(enabled=True))


def test_a_proxy_may_say_that_the_method_is_wrong(host: Host) -> None:
    """Some answer 405 to everything but GET."""
    grant_all(host)
    host.connection.statuses["POST /"] = 405
    assert {"permission.post": CheckStatus.FAILURE} == host.wrong()


def test_a_restart_needs_its_permission_whatever_the_document_says(host: Host) -> None:
    """Also where there is none."""
    context = replace(
        host.context(), settings=replace(host.settings, applying=Applying(enabled=True))
    )
    host.config.unlink()
    host.connection.statuses["POST /containers/_backrest-sidecar/restart"] = 403
    failures = {o.check for o in examine(context).findings if o.verdict is CheckStatus.FAILURE}
    assert {"document.found", "permission.restart"} == failures


def test_nothing_is_ever_done_to_a_container(host: Host) -> None:
    """What is tried is tried on a name that nobody can have."""
    grant_all(host)
    assert {} == host.wrong()
    posted = [call for call in host.connection.asked if not call.startswith(("GET", "HEAD"))]
    assert 3 == len(posted)
    assert all("/containers/_backrest-sidecar/" in call for call in posted)


def test_a_permission_whose_question_hangs_is_named(host: Host) -> None:
    """And the engine is asked nothing more, so that nobody waits long."""
    host.connection.statuses["GET /events"] = InventoryError("it did not answer in time", "x")
    assert {"permission.events": CheckStatus.FAILURE} == host.wrong()
    assert "EVENTS" in host.examine()["permission.events"].message


def test_who_needs_no_permission_is_not_told_to_grant_it(host: Host) -> None:
    """Without --apply, events and hooks that stop."""
    host.settings = replace(host.settings, watching=Watching(events=False))
    host.connection.statuses |= {"GET /events": 403, "POST /": 403, "GET /services": 403}
    assert {} == host.wrong()


@pytest.mark.parametrize("call", ["POST /", "POST /containers/_backrest-sidecar/restart"])
def test_where_the_api_comes_first_a_restart_is_less_urgent(call: str, host: Host) -> None:
    """It is what is left where the API does not answer; by --apply-via api it never is."""
    access = BackrestLogin("http://127.0.0.1:1")
    host.settings = replace(host.settings, access=access, applying=Applying(enabled=True))
    host.connection.statuses[call] = 403
    wrong = host.wrong()
    assert CheckStatus.FAILURE == wrong.pop("api.reachable")
    assert [CheckStatus.WARNING] == list(wrong.values())
    applying = Applying(enabled=True, via=ApplyVia.API)
    host.settings = replace(host.settings, applying=applying)
    assert ["api.reachable"] == list(host.wrong())


def test_an_engine_that_answers_with_an_error_fails(host: Host) -> None:
    """That is no lack of a permission."""
    host.connection.statuses["GET /volumes"] = 500
    assert {"permission.volumes": CheckStatus.FAILURE} == host.wrong()
    assert "status 500" in host.examine()["permission.volumes"].message


def test_an_engine_that_dies_meanwhile_is_one_finding(host: Host) -> None:
    """What comes after is left out."""
    host.connection.statuses["GET /containers/backrest/json"] = InventoryError("gone")
    assert {"runner.found": CheckStatus.FAILURE} == host.wrong()


def test_a_runner_that_was_named_must_be_there(host: Host) -> None:
    """One that was not may run without Docker; what it sees is then unknown."""
    host.mounts = []
    assert CheckStatus.FAILURE == host.wrong()["runner.found"]
    host.settings = replace(host.settings, runner_named=False)
    assert {"runner.found": CheckStatus.WARNING} == host.wrong()


def test_a_runner_that_does_not_run_fails(host: Host) -> None:
    """Nobody else makes backups."""
    host.context()
    assert host.connection.runner is not None
    host.connection.runner["State"]["Running"] = False
    assert {"runner.running": CheckStatus.FAILURE} == host.wrong()


def test_to_name_oneself_as_the_runner_fails(host: Host) -> None:
    """By the id of the container that we run in, also a short one."""
    host.own_id = RUNNER[:12]
    assert {"runner.self": CheckStatus.FAILURE} == host.wrong()


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("v1.14.1", CheckStatus.OK),
        ("1.13.0", CheckStatus.OK),
        ("v1.12.1", CheckStatus.FAILURE),
        ("nightly", CheckStatus.NOT_CHECKED),
        ("", CheckStatus.NOT_CHECKED),
    ],
)
def test_backrests_version_is_read_from_its_image(
    version: str, verdict: CheckStatus, host: Host
) -> None:
    """Older ones cannot read a document of version 6."""
    host.connection.labels = {"org.opencontainers.image.version": version}
    assert verdict is host.examine()["runner.version"].verdict


def test_the_bundled_runner_needs_no_version_of_backrest(host: Host) -> None:
    """Its image tells its own one, by another title."""
    kind = "org.opencontainers.image"
    host.connection.labels = {f"{kind}.title": "backrest-runner", f"{kind}.version": "0.1"}
    found = host.examine()["runner.version"]
    assert CheckStatus.OK is found.verdict
    assert "is the bundled runner 0.1" in found.message


def test_a_path_that_the_runner_lacks_fails(host: Host) -> None:
    """It fails its whole plan, whose ever it is."""
    host.add_plan("", "/srv/gone", "/srv/a")
    host.plans.append({"id": "mine", "repo": "r", "paths": ["/home/me"]})
    assert {"runner.paths": CheckStatus.FAILURE} == host.wrong()
    found = host.examine()["runner.paths"]
    assert ("plan backrest_sidecar_p0: /srv/gone", "plan mine: /home/me") == found.details


@pytest.mark.parametrize("path", ["/", "/srv", "/srv/a"])
def test_a_path_in_or_around_a_mount_is_seen(path: str, host: Host) -> None:
    """A plan may hold the parent of what is mounted."""
    host.connection.paths |= {"/", "/srv"}
    host.add_plan("", path)
    assert {} == host.wrong()


def test_a_path_of_the_container_itself_is_told(host: Host) -> None:
    """It is there, but it is nothing of the host."""
    host.connection.paths.add("/etc/x")
    host.add_plan("", "/etc/x")
    assert {"runner.paths": CheckStatus.WARNING} == host.wrong()


def test_where_the_container_cannot_be_asked_its_mounts_decide(host: Host) -> None:
    """As behind a proxy that knows no HEAD; hooks cannot be checked then either."""
    host.connection.statuses["HEAD"] = 403
    host.add_plan("", "/srv/gone")
    assert {} == host.wrong()
    host.plans.append({"id": "mine", "repo": "r", "paths": ["/home/me"]})
    host.config.unlink()
    assert {"runner.paths": CheckStatus.FAILURE} == host.wrong()
    host.plans = []
    host.add_plan(CALL_DOCKER)
    host.mounts.append(("/run/docker.sock", "/run/docker.sock"))
    host.connection.runner = None
    host.config.unlink()
    assert {} == host.wrong()
    assert host.examine()["hooks.client"].verdict is CheckStatus.NOT_CHECKED


def test_a_path_that_is_a_link_in_the_runner_fails(host: Host) -> None:
    """It names where the link leads to; one into another path of the same plan is well."""
    host.connection.paths |= {"/srv/b", "/srv/link"}
    host.connection.linked = {"/srv/link": "/srv/b/deep"}
    host.add_plan("", "/srv/a", "/srv/link")
    host.plans.append({"id": "mine", "repo": "r", "paths": ["/srv/b"]})
    assert {"runner.links": CheckStatus.FAILURE} == host.wrong()
    found = host.examine()["runner.links"]
    assert ("plan backrest_sidecar_p0: /srv/link leads to /srv/b/deep",) == found.details
    host.plans[0]["paths"].append("/srv/b")
    host.config.unlink()
    assert {} == host.wrong()


@pytest.mark.parametrize("fault", ["refused", "stopped", "many"])
def test_where_the_runner_cannot_be_asked_links_are_left_open(host: Host, fault: str) -> None:
    """Nobody can tell then."""
    host.add_plan("", *(["/srv/a"] if fault != "many" else [f"/srv/{n}" for n in range(201)]))
    if fault == "refused":
        host.connection.statuses["HEAD"] = 403
    host.context()
    if fault == "stopped":
        assert host.connection.runner is not None
        host.connection.runner["State"] = {"Running": False}
    assert CheckStatus.NOT_CHECKED is host.examine()["runner.links"].verdict


def test_a_disabled_plan_may_miss_its_paths(host: Host) -> None:
    """Its workload is gone, so are they."""
    host.add_plan("", "/srv/gone", schedule={"disabled": True})
    assert {} == host.wrong()


@pytest.mark.parametrize(
    ("command", "missing", "check"),
    [
        ("echo x", "/bin/sh", "hooks.shell"),
        (CALL_DOCKER, "/usr/bin/docker", "hooks.client"),
        ("set -e\nx=$(docker inspect y)", "/usr/bin/docker", "hooks.client"),
    ],
)
def test_what_hooks_need_must_be_in_the_runner(
    command: str, missing: str, check: str, host: Host
) -> None:
    """One line for what is missing."""
    host.add_plan(command)
    host.mounts.append(("/run/docker.sock", "/run/docker.sock"))
    host.connection.paths.remove(missing)
    assert {check: CheckStatus.FAILURE} == host.wrong()


@pytest.mark.parametrize("command", ["#!/opt/x\n# docker ps", "curl http://docker/x", "mydocker x"])
def test_a_hook_that_does_not_call_docker_needs_none(command: str, host: Host) -> None:
    """Only the word as a command counts, and no comment."""
    host.add_plan(command)
    host.connection.paths -= TOOLS - {"/bin/sh"}
    found = host.examine()
    assert found["hooks.client"].verdict is CheckStatus.NOT_CHECKED
    assert found["hooks.socket"].verdict is CheckStatus.NOT_CHECKED


def test_hooks_of_repositories_count_and_other_hooks_do_not(host: Host) -> None:
    """A message needs no shell, and an empty command runs nothing."""
    host.repos[0]["hooks"] = [{"actionCommand": {"command": "restic cache"}}]
    host.connection.paths -= TOOLS
    assert {"hooks.shell": CheckStatus.FAILURE} == host.wrong()
    hooks = [{"actionGotify": {"baseUrl": "http://x"}}, {"actionCommand": {"command": ""}}]
    host.repos[0]["hooks"] = hooks
    host.config.unlink()
    assert {} == host.wrong()


def test_without_hooks_nothing_has_to_be_there(host: Host) -> None:
    """As in Backrest's smallest image."""
    host.add_plan()
    host.connection.paths -= TOOLS
    assert {} == host.wrong()


@pytest.mark.parametrize(
    ("docker_host", "mounted", "is_wrong"),
    [
        ("", "", True),
        ("", "/var/run/docker.sock", False),
        ("", "/var/run", False),
        ("tcp://proxy:2375", "", False),
        ("unix:///x/d.sock", "/var/run/docker.sock", True),
        ("unix:///x/d.sock", "/x/d.sock", False),
    ],
)
def test_hooks_need_a_way_to_the_engine(
    docker_host: str, mounted: str, is_wrong: bool, host: Host
) -> None:
    """A socket that is mounted there, or an address."""
    host.add_plan(CALL_DOCKER)
    host.env += [f"DOCKER_HOST={docker_host}"] if docker_host else []
    host.mounts += [("/var/run/docker.sock", mounted)] if mounted else []
    assert ({"hooks.socket": CheckStatus.FAILURE} if is_wrong else {}) == host.wrong()


def test_a_template_that_stops_needs_backrest_config(host: Host) -> None:
    """Without it every START hook fails its backup; without such a hook nobody needs it."""
    host.env.remove("BACKREST_CONFIG=/config/config.json")
    assert {} == host.wrong()
    host.add_plan(STOP)
    host.mounts.append(("/var/run/docker.sock", "/var/run/docker.sock"))
    host.connection.runner = None
    host.config.unlink()
    assert {"runner.config": CheckStatus.FAILURE} == host.wrong()


@pytest.mark.parametrize(
    "path", ["/config/other.json", "/config/sub/config.json", "/elsewhere/config.json", "c.json"]
)
def test_a_runner_that_reads_another_document_fails(path: str, host: Host) -> None:
    """Compared by what both have mounted."""
    host.env[0] = f"BACKREST_CONFIG={path}"
    assert {"runner.config": CheckStatus.FAILURE} == host.wrong()


@pytest.mark.parametrize(("source", "is_wrong"), [("/host/b", False), ("/host/c", True)])
def test_in_a_container_the_mounts_of_both_are_compared(
    source: str, is_wrong: bool, host: Host
) -> None:
    """Paths within mean nothing; what counts is where they are on the host."""
    host.own_id, host.is_contained = OWN, True
    host.connection.own = inspected([], [("/host/b", str(host.folder))], OWN)
    host.mounts[0] = (source, "/config")
    assert ({"runner.config": CheckStatus.FAILURE} if is_wrong else {}) == host.wrong()


def test_a_container_that_the_engine_does_not_know_leaves_it_open(host: Host) -> None:
    """As where the engine is another than the one that we run on."""
    host.own_id, host.is_contained = OWN, True
    assert host.examine()["runner.config"].verdict is CheckStatus.NOT_CHECKED
    host.own_id = ""
    assert host.examine()["runner.config"].verdict is CheckStatus.NOT_CHECKED
    host.own_id = OWN
    host.connection.own = inspected([], [], OWN)
    assert host.examine()["runner.config"].verdict is CheckStatus.NOT_CHECKED


def test_an_engine_elsewhere_has_another_host_than_ours(host: Host) -> None:
    """Paths here say nothing about paths there."""
    host.connection.address = "tcp://docker.example:2375"
    assert host.examine()["runner.config"].verdict is CheckStatus.NOT_CHECKED


@pytest.mark.parametrize(
    ("theirs", "ours", "verdict"),
    [
        ("UTC", "UTC", CheckStatus.OK),
        ("", "UTC", CheckStatus.OK),
        ("Europe/Berlin", "Europe/Paris", CheckStatus.OK),
        ("Europe/Berlin", "UTC", CheckStatus.WARNING),
        ("Africa/Lagos", "Europe/Berlin", CheckStatus.WARNING),
        ("Not/AZone", "UTC", CheckStatus.WARNING),
    ],
)
def test_zones_are_compared_over_a_year(
    theirs: str, ours: str, verdict: CheckStatus, host: Host
) -> None:
    """Two names may mean the same; the same offset of today may not."""
    host.env[1] = f"TZ={theirs}"
    host.environment["TZ"] = ours
    assert verdict is host.examine()["zones"].verdict


def test_a_zone_that_is_mounted_is_left_open(host: Host) -> None:
    """Nobody can read it from here."""
    host.env.pop()
    host.mounts.append(("/etc/localtime", "/etc/localtime"))
    assert host.examine()["zones"].verdict is CheckStatus.NOT_CHECKED


def test_a_document_without_a_repository_fails(host: Host) -> None:
    """There is nowhere to save to."""
    host.repos = []
    assert {"repos.exist": CheckStatus.FAILURE} == host.wrong()


def test_a_repository_that_is_new_is_told(host: Host) -> None:
    """Backrest makes it when it starts."""
    host.repos[0] |= {"guid": "", "autoInitialize": True}
    assert "initialises 1" in host.examine()["repos.exist"].message


def test_a_marker_of_a_dead_run_is_told(host: Host) -> None:
    """A young one is of a run that goes on, as far as anybody knows."""
    marker = host.folder / ".quiesced" / "web"
    marker.parent.mkdir()
    marker.write_text(f"plan=p\ncontainer={'b' * 64}\nstate=running\n")
    assert {} == host.wrong()
    os.utime(marker, (1.7e9, 1.7e9))
    host.connection.runner = inspected(host.env, host.mounts) | {"State": {"Running": False}}
    assert CheckStatus.WARNING == host.wrong()["markers"]
    assert ("web, by the plan p",) == host.examine()["markers"].details


def test_without_an_engine_an_old_marker_is_told(host: Host) -> None:
    """Nobody can say whether its run goes on."""
    marker = host.folder / ".quiesced" / "web"
    marker.parent.mkdir()
    marker.write_text("")
    os.utime(marker, (1.7e9, 1.7e9))
    host.connection.answer = b""
    assert ("web, by the plan ?",) == host.examine()["markers"].details


def test_a_marker_of_a_long_run_is_no_fault(host: Host) -> None:
    """What works in the runner is the backup that it is of."""
    marker = host.folder / ".quiesced" / "web"
    marker.parent.mkdir()
    marker.write_text(f"plan=p\ncontainer={'b' * 64}\nstate=running\n")
    os.utime(marker, (1.7e9, 1.7e9))
    top = {"Titles": ["PID", "CMD"], "Processes": [["1", "/backrest"], ["9", "restic backup"]]}
    answer = host.connection._found
    host.connection._found = (  # type: ignore[method-assign]
        lambda path: (200, json.dumps(top).encode()) if path.endswith("/top") else answer(path)
    )
    assert {} == host.wrong()


def test_a_change_that_waits_names_what_it_waits_for(host: Host) -> None:
    """The document was written after Backrest started, and something runs there."""
    state = host.folder / ".sidecar" / "state.json"
    state.parent.mkdir(exist_ok=True)
    state.write_text(json.dumps({"written_at": host.now.timestamp() + 10}))
    assert {"apply.loaded": CheckStatus.WARNING} == host.wrong()
    top = {"Titles": ["PID", "CMD"], "Processes": [["1", "/backrest"], ["9", "restic backup"]]}
    answer = host.connection._found
    host.connection._found = (  # type: ignore[method-assign]
        lambda path: (200, json.dumps(top).encode()) if path.endswith("/top") else answer(path)
    )
    assert "restic" in host.examine()["apply.loaded"].hint


def test_markers_that_cannot_be_read_fail(host: Host) -> None:
    """A file in the place of their directory."""
    (host.folder / ".quiesced").write_text("")
    assert {"markers": CheckStatus.FAILURE} == host.wrong()


def labelled(host: Host, labels: Json) -> None:
    """Let the engine list one container with labels and a mount."""
    mount = {"Type": "bind", "Source": "/srv/a", "Destination": "/data"}
    container = {"Id": "c" * 64, "Names": ["/web"], "Labels": labels, "Mounts": [mount]}
    host.connection.listed = [container]


def test_what_labels_will_ask_for_counts_before_it_is_written(host: Host) -> None:
    """A first pass has not been made, and its hooks need permissions."""
    labelled(host, {"backrest.enable": "true", "backrest.hooks.template": "stop-start"})
    host.mounts.append(("/var/run/docker.sock", "/var/run/docker.sock"))
    host.connection.statuses["POST /"] = 403
    assert {"permission.post": CheckStatus.FAILURE} == host.wrong()
    assert "the next pass writes 1" in host.examine()["pass"].message


def test_labels_that_ask_for_too_much_are_told(host: Host) -> None:
    """Where and why is said by lint."""
    labelled(host, {"backrest.enable": "true", "backrest.repo": "none"})
    assert {"pass": CheckStatus.WARNING} == host.wrong()
    assert "lint" in host.examine()["pass"].hint


def test_orphans_that_are_suspiciously_many_are_told(host: Host) -> None:
    """Nothing is done about them until somebody confirms."""
    host.add_plan()
    host.add_plan()
    assert {"pass": CheckStatus.WARNING} == host.wrong()
    assert "--accept-orphans" in host.examine()["pass"].hint


def test_another_engine_than_before_fails_the_pass(host: Host) -> None:
    """With the words of a pass."""
    host.add_plan()
    (host.folder / ".sidecar" / "state.json").write_text('{"engine_id": "OTHER"}')
    assert {"pass": CheckStatus.FAILURE} == host.wrong()


def test_no_secret_is_shown(host: Host) -> None:
    """Neither in the table nor as JSON: passwords, commands, variables."""
    host.env.append("RESTIC_PASSWORD=sesame")
    host.add_plan("docker login -p opensesame")
    report = examine(host.context())
    for form in ("table", "json"):
        text = render_doctor(report, form)
        assert not [secret for secret in ("hunter2", "sesame") if secret in text]


def test_the_table_has_a_line_a_check_and_what_to_do() -> None:
    """Control characters of foreign text do not reach the terminal."""
    report = DoctorReport(
        "/c",
        (
            CheckResult(CheckStatus.OK, "well", fixed="mended", check="one"),
            CheckResult(CheckStatus.FAILURE, "b\x1b[2Jad", "do this", ("a", "b"), check="other"),
            CheckResult(CheckStatus.NOT_CHECKED, "why", check="third"),
        ),
    )
    expected = [
        "ok           one    well",
        "                    fixed: mended",
        "failure      other  b\N{REPLACEMENT CHARACTER}[2Jad",
        "                    - a",
        "                    - b",
        "                    → do this",
        "not checked  third  why",
        "",
        "1 ok, 0 warning, 1 failure, 1 not checked.",
    ]
    import click

    assert expected == click.unstyle(render_doctor(report, "table")).splitlines()
    assert report.has_failed


def test_json_is_for_programs() -> None:
    """With stable keys."""
    report = DoctorReport("/c", (replace(passed("well", details=["d"]), check="one"),))
    shown = json.loads(render_doctor(report, "json"))
    assert {"config": "/c", "failed": False} == {key: shown[key] for key in ("config", "failed")}
    assert [
        {
            "check": "one",
            "verdict": "ok",
            "message": "well",
            "hint": "",
            "details": ["d"],
            "fixed": "",
        }
    ] == shown["checks"]


def test_long_lists_are_cut() -> None:
    """And say by how much."""
    found = passed("x", details=[str(number) for number in range(30)])
    assert (21, "and 10 more") == (len(found.details), found.details[-1])


def test_the_doctor_looks_at_this_machine(tmp_path: Path) -> None:
    """Without a document and an engine it still gives a whole report."""
    source = InventorySource(docker_sock=str(tmp_path / "none.sock"))
    settings = ReconcilerSettings(tmp_path / "config.json", Policy(), source)
    report = run_doctor(settings, {}, fix=False)
    assert [check.id for check in CHECKS] == [finding.check for finding in report.findings]
    failures = {one.check for one in report.findings if one.verdict is CheckStatus.FAILURE}
    assert {"document.found", "engine.reachable"} == failures
    assert report.has_failed


def test_an_error_of_the_system_is_a_finding(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """No check may end the others."""

    def fail(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic, "try_lock", fail)
    found = host.examine()["document.litter"]
    assert (CheckStatus.FAILURE, "it cannot be told: Permission denied") == (
        found.verdict,
        found.message,
    )


def test_not_checked_carries_its_reason() -> None:
    """It is what the line says."""
    assert "why" == str(NotChecked("why"))
