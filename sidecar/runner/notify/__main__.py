"""The process that sends: one request as JSON on standard input, the answer on standard output."""

import json
import sys
from typing import TextIO

from sidecar.runner.notify.messages import parse_request
from sidecar.runner.notify.send import check_addresses, send_request


def answer(question: str) -> str:
    """Return the answer to a question; both are JSON.

    `{"kind", "request"}` is sent; the answer is `{"reason", "is_down"}`, with an empty reason if
    that succeeded. `{"urls"}` are checked; the answer is `{"wrong"}`, a sentence for each.
    """
    plain = json.loads(question)
    if "urls" in plain:
        return json.dumps({"wrong": check_addresses(plain["urls"])})
    failure = send_request(parse_request(plain["kind"], plain["request"]))
    if failure is None:
        return json.dumps({"reason": "", "is_down": False})
    return json.dumps({"reason": failure.reason, "is_down": failure.is_down})


def main(source: TextIO = sys.stdin, target: TextIO = sys.stdout) -> None:
    """Answer one question."""
    # A library that prints must not be taken for us.
    sys.stdout = sys.stderr
    print(answer(source.read()), file=target)


if __name__ == "__main__":
    main()
