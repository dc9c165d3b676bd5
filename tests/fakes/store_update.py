"""What every writer of the document does with the store: read, change, replace, and try again."""

import logging
from collections.abc import Callable
from contextlib import nullcontext

from sidecar.lib.errors import StoreError
from sidecar.reconciler.store.replace import Replacement, Store

ATTEMPTS = 20
_log = logging.getLogger(__name__)


def update(store: Store, change: Callable[[bytes], bytes | None]) -> bool:
    """Replace the content by what `change` makes of it; return whether it was written.

    None or the same bytes: nothing is written. What an interrupted write left is put in order
    first. Raises StoreError, also where each of ATTEMPTS attempts met another save.
    """
    for notice in store.recover():
        _log.warning("%s", notice)
    for attempt in range(ATTEMPTS):
        with store.turn() if attempt else nullcontext():
            stored = store.read()
            content = change(stored.content)
            if content is None or content == stored.content:
                return False
            if store.replace(stored, content) is Replacement.WRITTEN:
                return True
    raise StoreError(f"{store.path} was saved during each attempt", "try again")
