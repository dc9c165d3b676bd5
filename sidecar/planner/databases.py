"""Databases whose files a plan copies although nothing stops, pauses or dumps them."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from sidecar.backrest.plan import Condition, Plan
from sidecar.docker.models import Container, Mount
from sidecar.labels.problem import Problem, problem_of
from sidecar.planner.excludes import left_out_by
from sidecar.planner.host_path import Locator, is_under, normal_path
from sidecar.planner.workload import Workload


class _Database(NamedTuple):
    """A kind of database: its images (their last names), where it keeps its files, its dump."""

    kind: str
    images: frozenset[str]
    homes: tuple[str, ...]
    template: str = ""


_DATABASES = (
    _Database(
        "PostgreSQL",
        frozenset(
            (
                *("postgres", "postgresql", "postgresql-repmgr", "postgis", "pgvector"),
                *("pgvecto-rs", "timescaledb", "timescaledb-ha"),
            )
        ),
        ("/var/lib/postgresql", "/bitnami/postgresql"),
        "postgres-dump",
    ),
    _Database(
        "MariaDB",
        frozenset(("mariadb", "mariadb-galera")),
        ("/bitnami/mariadb",),
        "mariadb-dump",
    ),
    _Database(
        "MySQL",
        frozenset(("mysql", "mysql-server", "percona", "percona-server")),
        ("/bitnami/mysql",),
        "mysql-dump",
    ),
    _Database("MariaDB or MySQL", frozenset(), ("/var/lib/mysql",), "mariadb-dump or mysql-dump"),
    _Database(
        "MongoDB",
        frozenset(
            (
                *("mongo", "mongodb", "mongodb-community-server"),
                *("mongodb-enterprise-server", "percona-server-mongodb"),
            )
        ),
        ("/data/db", "/bitnami/mongodb"),
        "mongodb-dump",
    ),
    _Database(
        "Redis",
        frozenset(("redis", "redis-stack", "redis-stack-server", "valkey", "keydb")),
        ("/bitnami/redis", "/bitnami/valkey"),
        "redis-save",
    ),
    _Database(
        "ClickHouse", frozenset(("clickhouse", "clickhouse-server")), ("/var/lib/clickhouse",)
    ),
    _Database(
        "InfluxDB",
        frozenset(("influxdb",)),
        (
            *("/var/lib/influxdb", "/var/lib/influxdb2", "/var/lib/influxdb3"),
            "/bitnami/influxdb",
        ),
    ),
    _Database(
        "Elasticsearch",
        frozenset(("elasticsearch",)),
        ("/usr/share/elasticsearch/data", "/bitnami/elasticsearch"),
    ),
    _Database(
        "OpenSearch",
        frozenset(("opensearch",)),
        ("/usr/share/opensearch/data", "/bitnami/opensearch"),
    ),
    _Database("Neo4j", frozenset(("neo4j",)), ("/var/lib/neo4j/data", "/bitnami/neo4j")),
    _Database("Meilisearch", frozenset(("meilisearch",)), ("/meili_data",)),
    _Database("CouchDB", frozenset(("couchdb",)), ("/opt/couchdb/data", "/bitnami/couchdb")),
    _Database("etcd", frozenset(("etcd",)), ("/etcd-data", "/bitnami/etcd", "/var/lib/etcd")),
)
_BY_IMAGE = {image: database for database in _DATABASES for image in database.images}

# What such containers mount besides their data: configuration, scripts, certificates, logs, dumps.
_BESIDE = re.compile(
    r"^/(?:etc|usr/local/etc|docker-entrypoint[^/]*|run|var/run|var/log|tmp|logs)(?:/|$)"
    r"|/(?:[^/]*(?:backup|dump|initdb|cert)[^/]*|conf|conf\.d|logs?|plugins|import)(?:/|$)"
    r"|\.(?:conf|cnf|ya?ml|json|sh|sql|pem|crt|key)$"
)


def live_databases(
    workload: Workload, plan: Plan, locator: Locator, prefix: str
) -> Iterator[Problem]:
    """Yield a warning for each database directory that the plan copies while it is written.

    A directory is known by its place in the container or by the container's image. Where a
    command of the plan runs before the snapshot nothing is yielded: it may be the dump.
    """
    if any(_prepares(hook.conditions, hook.action) for hook in plan.hooks):
        return
    told: set[str] = set()
    for container in workload.containers:
        for mount in container.mounts:
            destination = normal_path(mount.destination)
            database = _database_of(container, destination)
            if database is None or destination in told or not _holds(plan, mount, locator):
                continue
            told.add(destination)
            yield _problem(container, destination, database, prefix)


def _prepares(conditions: tuple[Condition, ...], action: str) -> bool:
    return Condition.SNAPSHOT_START in conditions and action == "actionCommand"


def _database_of(container: Container, destination: str) -> _Database | None:
    by_image = _BY_IMAGE.get(image_name(container.image))
    if by_image is not None:
        return None if _BESIDE.search(destination) else by_image
    for database in _DATABASES:
        if any(is_under(destination, home) for home in database.homes):
            return database
    return None


def image_name(reference: str) -> str:
    """Return the last name of an image reference: `lscr.io/linuxserver/mariadb:11` → `mariadb`."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()


def _holds(plan: Plan, mount: Mount, locator: Locator) -> bool:
    """Return whether the plan holds the whole mount; a part of it may be a dump."""
    host = locator.locate(mount).host
    path = locator.runner_path(host) if host else None
    if path is None or not any(is_under(path, root) for root in plan.paths):
        return False
    folded = [pattern.casefold() for pattern in plan.iexcludes]
    return not left_out_by(path, plan.excludes) and not left_out_by(path.casefold(), folded)


def _problem(container: Container, destination: str, database: _Database, prefix: str) -> Problem:
    template = f"{prefix}hooks.template"
    hint = f"set {template} to stop-start"
    if database.template:
        hint = (
            f"set {template} to {database.template} and {prefix}dump.path to a file in a mount, "
            "or the template to stop-start"
        )
    return problem_of(
        "data.live-database",
        f"{destination} looks like the files of a {database.kind} database, which are copied "
        "while it writes them",
        hint,
        container=container.name,
    )
