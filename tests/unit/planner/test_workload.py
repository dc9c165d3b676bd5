"""Workloads that share their natural key have one order, whatever Docker's."""

from sidecar.docker.models import Container, Inventory
from sidecar.labels.policy import Policy
from sidecar.planner.workload import group_workloads

LONE = Container("a" * 64, "web", labels={"backrest.enable": "true"})
TASK = Container("b" * 64, "web.1.x", labels={"com.docker.swarm.service.name": "web"})
COMPOSE = {"com.docker.compose.project": "demo"}
SERVICE = Container("c" * 64, "demo-db-1", labels={**COMPOSE, "com.docker.compose.service": "db"})
MEMBER = Container(
    "d" * 64,
    "demo-app-1",
    labels={**COMPOSE, "com.docker.compose.service": "app", "backrest.group": "db"},
)


def test_equal_keys_have_an_order_of_their_own() -> None:
    """A container and a Swarm service of one name, a group and a service: the order is fixed."""
    listed = (LONE, TASK, SERVICE, MEMBER)
    one = group_workloads(Inventory(listed), Policy())
    other = group_workloads(Inventory(listed[::-1]), Policy())
    assert one == other
    assert [workload.key for workload in one] == ["demo/db", "demo/db", "web", "web"]
