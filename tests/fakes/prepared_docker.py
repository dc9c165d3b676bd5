"""A client of Docker that answers what a test has prepared."""

import json
from collections.abc import Mapping
from typing import Any

from sidecar.docker.client import DockerClient


class PreparedDocker(DockerClient):
    """Prepared answers by path, an exception among them is raised; what is done is noted in `done`.

    That is a path, with the body behind it where there is one.
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__("unix:///nowhere.sock")
        self.answers = dict(answers)
        self.done: list[str] = []

    def find(self, path: str, method: str = "GET") -> bytes | None:
        """Answer, or fail where an exception was prepared."""
        del method
        answer = self.answers.get(path)
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else json.dumps(answer).encode()

    def get(self, path: str) -> bytes:
        """Answer what must be there."""
        return json.dumps(self.answers[path]).encode()

    def act(
        self, path: str, body: object = None, *, method: str = "POST", timeout: float | None = None
    ) -> bytes | None:
        """Note it; fail where that was prepared."""
        del method, timeout
        if isinstance(answer := self.answers.get(path), Exception):
            raise answer
        self.done.append(path if body is None else f"{path} {json.dumps(body)}")
        return b""
