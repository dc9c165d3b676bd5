"""The sidecar's pages: /healthz, /readyz, /metrics and /status.

They show ids, reasons, numbers and times, and no secret: hence no login. Whoever can reach the
address may read them, so by default there is none.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from starlette.responses import Response

from sidecar.reconciler.metrics import METRICS
from sidecar.reconciler.report import ReconcilerReport, ReconcilerStatus, iso
from sidecar.service.health import HealthAspect
from sidecar.service.metrics import MEDIA_TYPE, render_metrics
from sidecar.web.app import HostNames, build_app, health_page, json_page, page_routes
from sidecar.web.host import HttpHost, Listener
from sidecar.web.sockets import listen_on_address

_ID_FORM = re.compile(r"[\w.-]{1,200}", re.ASCII)
_KEY_FORM = re.compile(r"[\w.-]{1,200}(?:/[\w.-]{1,200})?", re.ASCII)


def serve_reconciler(
    listen: tuple[str, int], report: ReconcilerReport, allowed: Iterable[str] = ()
) -> HttpHost:
    """Serve the pages on `listen`, a host and a port, until what is returned is closed.

    `allowed` are further names by which clients may call this machine.
    Raises UsageError if it cannot listen.
    """

    def of_now(render: Callable[[ReconcilerStatus], Response]) -> Callable[[], Response]:
        return lambda: render(report.snapshot())

    pages = {
        "/healthz": of_now(_healthz),
        "/readyz": of_now(_readyz),
        "/metrics": of_now(_metrics),
        "/status": of_now(lambda facts: json_page(status_json(facts))),
    }
    app = build_app(page_routes(pages), HostNames(listen[0], allowed))
    return HttpHost([Listener(listen_on_address(*listen), app)])


def _healthz(facts: ReconcilerStatus) -> Response:
    return health_page(facts.health.against(HealthAspect.ALIVE), "alive")


def _readyz(facts: ReconcilerStatus) -> Response:
    return health_page(facts.health.against(HealthAspect.READY), "ready")


def _metrics(facts: ReconcilerStatus) -> Response:
    return Response(render_metrics(METRICS, facts), media_type=MEDIA_TYPE)


def status_json(facts: ReconcilerStatus) -> dict[str, Any]:
    """Return the object of /status; times are ISO 8601 in UTC."""
    last = facts.last_pass
    good = None if facts.good_age is None else facts.now - facts.good_age
    return {
        "version": facts.version,
        "now": iso(facts.now),
        "started": iso(facts.now - facts.uptime),
        "ready": facts.health.is_ready,
        "reasons": list(facts.health.against(HealthAspect.READY)),
        "engine_connected": facts.docker,
        "document_good": facts.document,
        "runner": facts.backrest
        and {
            "name": _public_id(facts.backrest.name),
            "known": facts.backrest.is_known,
            "seen": _iso_or_none(facts.backrest.seen_at),
        },
        "last_pass": last
        and {
            "at": iso(last.at),
            "seconds": round(last.seconds, 6),
            "result": last.result,
            "hints": list(last.hints),
        },
        "last_good_pass": _iso_or_none(good),
        "next_resync": _iso_or_none(facts.next_resync),
        **_plans_json(facts),
        "apply": facts.apply and {"result": facts.apply[0], "at": iso(facts.apply[1])},
    }


def _plans_json(facts: ReconcilerStatus) -> dict[str, Any]:
    return {
        "plans": facts.plans,
        "workloads": [
            {
                "workload": _public_id(item.workload, _KEY_FORM),
                "plan": _public_id(item.plan),
                "problems": list(item.reasons),
            }
            for item in facts.workloads
        ],
        "problems": {reason: count for reason, count in facts.problems.items() if count},
        "orphans_held": facts.are_orphans_held,
        "orphans": [
            {"plan": _public_id(plan), "since": iso(since)}
            for plan, since in sorted(facts.orphans.items())
        ],
        "drift": [
            {"plan": _public_id(plan), "key": key, "times": times, "last": iso(at)}
            for (plan, key), (times, at) in sorted(facts.drift.items())
        ],
        "contested": [
            {"plan": _public_id(plan), "key": key} for plan, key in sorted(facts.contested)
        ],
    }


def _public_id(name: str, form: re.Pattern[str] = _ID_FORM) -> str:
    """Return an id; empty for a name to which labels gave another form: it may be a secret."""
    return name if form.fullmatch(name) else ""


def _iso_or_none(at: float | None) -> str | None:
    return None if at is None else iso(at)
