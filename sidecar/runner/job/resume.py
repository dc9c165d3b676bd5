"""What a run leaves for the next start of the runner, in case it does not come to its end.

It holds the repository and the plan as they were when the run began, hooks and all, so
that what was stopped is started again though the document has changed since. There are
secrets in it: it goes into the journal, which only its owner can read, and nowhere else.
"""

from dataclasses import dataclass, field

from pydantic import RootModel, ValidationError

from sidecar.backrest.reading import Repo, RunPlan


@dataclass(frozen=True, slots=True)
class Resume:
    """The repository and the plan of a run, and the name that the document's instance had."""

    repo: Repo
    plan: RunPlan | None = None
    instance: str = field(default="")


_BYTES = RootModel[Resume]


def render_resume(resume: Resume) -> str:
    """Give the text for the journal."""
    return _BYTES(resume).model_dump_json()


def parse_resume(text: str) -> Resume | None:
    """Read a text of the journal; None if it is not one."""
    try:
        return _BYTES.model_validate_json(text).root
    except ValidationError:
        return None
