"""Policy: the operator's defaults and limits, by which labels become plans."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class HookPolicy(StrEnum):
    """Which hooks labels may ask for."""

    ALL = "all"
    TEMPLATES = "templates"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """Operator defaults; every field has the flag of the same name.

    `runner_container` and `own_container_id` name the two containers that no
    template may stop. `secrets` holds the resolved secret references by their
    text (`file:/run/secrets/x`, `env:BACKREST_SECRET_X`).
    """

    label_prefix: str = "backrest."
    plan_id_prefix: str = "backrest_sidecar_"
    include_project_name: bool = True
    default_repo: str = ""
    default_schedule: str = "0 2 * * *"
    default_retention: str = "daily=7,weekly=4"
    docker_root: str = "/var/lib/docker"
    volume_prefix: str = ""
    path_map: tuple[tuple[str, str], ...] = ()
    exclude_bind_mounts: bool = False
    hook_policy: HookPolicy = HookPolicy.ALL
    trust_image_labels: bool = False
    enforce_defaults: bool = False
    runner_container: str = "backrest"
    own_container_id: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)
