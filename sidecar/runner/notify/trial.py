"""Send a test message to each address of --notify-url, at once and without the queue."""

import socket
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from sidecar.lib.process import ProcessRunner
from sidecar.lib.zones import local_zone
from sidecar.runner.notify.addresses import fault_of_form, name_address
from sidecar.runner.notify.messages import AppriseRequest
from sidecar.runner.notify.notices import Notice, NoticeEvent, render_notice
from sidecar.runner.notify.sender import ProcessSender


def send_tests(urls: Sequence[str], environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Send them; return the name of each address and why it failed, empty if it did not."""
    sender, zone = ProcessSender(ProcessRunner(environ)), local_zone(environ)[0]
    at = datetime.fromtimestamp(time.time(), zone)
    notice = Notice(NoticeEvent.SUCCESS, "test", "notifications", "sent", at)
    title, body = render_notice(notice, socket.gethostname())
    found = []
    for number, url in enumerate(urls, 1):
        reason = fault_of_form(url)
        if not reason:
            failure = sender.send(AppriseRequest(url, title, body))
            reason = "" if failure is None else failure.reason
        found.append((name_address(url, number), reason))
    return found
