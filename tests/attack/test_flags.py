"""Labels that smuggle flags: through a pass and the document into a real restic."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from tests.attack.crowd import POLICIES, as_run, container, look
from tests.engines.bench import INSTANCE, ResticBench

# RUN is a command that leaves a trace, FOREIGN the folder of somebody else. The label is JSON.
ALWAYS_REFUSED = {
    "in-a-comment": ["--tag=x #' --password-command=RUN #'"],
    "tag": ["--tag=plan:victim"],
    "tag-apart": ["--tag", "plan:victim"],
    "tag-part": ["--tag='a, plan:victim'"],
    "tag-blank": ["--tag=\N{NO-BREAK SPACE}plan:victim"],
    "tag-thin-space": ["--tag='x,\N{THIN SPACE}plan:victim'"],
    "tag-twice": ["--tag=x --tag plan:victim"],
    "tag-in-quotes": ["--tag=pl'a'\"n:\"victim"],
    "tag-escaped": ["--tag=p\\lan:victim"],
    "tag-of-an-instance": [f"--tag=created-by:{INSTANCE},plan:victim"],
    "path": ["--exclude-caches FOREIGN"],
    "path-behind-dashes": ["--", "FOREIGN"],
    "path-as-value-of-nothing": ["--one-file-system", "FOREIGN"],
    "shorthands": ["-xFOREIGN"],
}
REFUSED_BY_A_POLICY = {
    "behind-a-comment": ["--tag #x", "--tag --password-command=RUN"],
    "password-command": ["--password-command=RUN"],
    "password-command-apart": ["--password-command", "RUN"],
    "behind-a-quote": ["--tag=a\"b\" '--password-command=RUN'"],
    "behind-an-empty-tag": ["--tag", "--password-command=RUN"],
    "option": ["-osftp.command=RUN"],
    "repository": ["-r=sftp:x:/y", "-o", "sftp.command=RUN"],
    "files-from": ["--files-from=FOREIGN/list"],
    "files-from-behind-a-value": ["--tag x\t--files-from=FOREIGN/list"],
    "exclude-file": ["--exclude-file=FOREIGN/list"],
    "stdin": ["--stdin-from-command RUN"],
    "host": ["-Hvictim"],
    "cache": ["--cache-dir=FOREIGN"],
}
EVERYWHERE = [
    (name, items, policy) for name, items in ALWAYS_REFUSED.items() for policy in POLICIES
]
STRICTLY = [
    (name, items, policy)
    for name, items in REFUSED_BY_A_POLICY.items()
    for policy in ("templates", "none")
]


@pytest.mark.parametrize(
    ("items", "policy"),
    [
        pytest.param(items, policy, id=f"{name}-{policy}")
        for name, items, policy in (*EVERYWHERE, *STRICTLY)
    ],
)
def test_no_flag_runs_reads_or_forges_anything(
    bench: ResticBench, items: list[str], policy: str
) -> None:
    """What is left of the label is harmless to restic, the victim's plan and its snapshots."""
    foreign = bench.folder / "foreign"
    (foreign / "list").write_text(f"{foreign}\n")
    hit = bench.folder / "hit"
    run = bench.folder / "run"
    run.write_text(f"#!/bin/sh\ntouch '{hit}'\necho x\n")
    run.chmod(0o755)
    flags = json.dumps(items).replace("RUN", str(run)).replace("FOREIGN", str(foreign))
    before = sorted(path.name for path in foreign.iterdir())
    proposal = look(policy, container("evil", {"backup-flags": flags}, str(bench.source)))
    [plan] = as_run(proposal).plans
    bench.engine().capture(replace(plan, repo="store"), INSTANCE, bench.reported.append)

    assert "hook.forbidden" in {problem.reason for problem in proposal.rendered.problems}
    assert not hit.exists()
    assert before == sorted(path.name for path in foreign.iterdir())
    for snapshot in json.loads(bench.run("snapshots", "--json")):
        assert "victim" not in json.dumps(snapshot)
        assert [str(bench.source)] == snapshot["paths"]
    assert [] == bench.names(bench.plan("victim"))


@pytest.mark.parametrize("policy", POLICIES)
def test_who_backs_up_the_same_paths_forgets_only_its_own(bench: ResticBench, policy: str) -> None:
    """A label may name any path that Backrest sees; whose a snapshot is says its tag."""
    victim = bench.plan("backrest_sidecar_victim")
    first = bench.backup(victim).snapshot
    labels = {"paths.include": f"host:{bench.source}", "keep": "last=1", "repo": "store"}
    proposal = look(
        policy,
        container("victim", {}, str(bench.source)),
        container("evil", labels, str(bench.folder / "foreign")),
    )
    evil = next(plan for plan in as_run(proposal).plans if plan.id == "backrest_sidecar_evil")
    assert Retention(last=1) == evil.retention
    for _ in range(2):
        bench.backup(evil)
        bench.engine().forget(evil, INSTANCE, Retention(last=1))

    assert "path.shared" in {problem.reason for problem in proposal.rendered.problems}
    assert [first[:8]] == [name[:8] for name in bench.names(victim)]
    assert 1 == len(bench.names(evil))


def test_what_is_allowed_works(bench: ResticBench) -> None:
    """Else the tests above would say nothing."""
    proposal = look("none", container("evil", {"backup-flags": "--tag mine"}, str(bench.source)))
    [plan] = as_run(proposal).plans
    bench.backup(plan)
    [snapshot] = json.loads(bench.run("snapshots", "--json"))

    assert "mine" in snapshot["tags"]
    assert Path(snapshot["paths"][0]) == bench.source
