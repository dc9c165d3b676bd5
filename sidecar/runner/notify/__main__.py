"""The process that sends: one request as JSON on standard input, the answer on standard output."""

import json
import sys
from dataclasses import asdict
from typing import TextIO

from sidecar.runner.notify.messages import Failure, parse_request
from sidecar.runner.notify.send import check_addresses, send_request


def answer(question: str) -> str:
    """Return the answer to a question; both are JSON.

    `{"kind", "request"}` is sent; the answer has the fields of a Failure, with an empty reason if
    that succeeded. `{"urls"}` are checked; the answer is `{"wrong"}`, a sentence for each.
    """
    plain = json.loads(question)
    if "urls" in plain:
        return json.dumps({"wrong": check_addresses(plain["urls"])})
    failure = send_request(parse_request(plain["kind"], plain["request"]))
    return json.dumps(asdict(failure or Failure("")))


def main(source: TextIO = sys.stdin, target: TextIO = sys.stdout) -> None:
    """Answer one question."""
    # A library that prints must not be taken for us.
    sys.stdout = sys.stderr
    print(answer(source.read()), file=target)


if __name__ == "__main__":
    main()
