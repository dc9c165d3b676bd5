"""A queue of notifications that keeps them for the test, and sends none."""

from sidecar.runner.notify.messages import QueuedMessage


class MessageList(list[QueuedMessage]):
    """The messages in the order in which they were queued."""

    def post(self, message: QueuedMessage) -> None:
        """Keep a message."""
        self.append(message)
