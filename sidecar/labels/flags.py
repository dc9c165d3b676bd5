"""backup-flags: which of them a label may pass without full trust."""

from collections.abc import Sequence

from sidecar.labels.values import split_flags

_VALUED = frozenset(
    {
        "--exclude-larger-than",
        "--exclude-if-present",
        "--tag",
        "--read-concurrency",
        "--compression",
    }
)
_PLAIN = frozenset({"--exclude-caches", "--one-file-system", "--skip-if-unchanged"})


def allowed_flags(items: Sequence[str]) -> tuple[str, ...]:
    """Keep the items whose every word is an allowed flag or the value of one.

    A flag and its value may stand in one item or in two that follow each other;
    a flag without its value, and a word that is no flag (a further path), are not
    allowed.
    """
    kept: list[str] = []
    waiting: list[str] = []
    for item in items:
        verdict = _judge(split_flags(item), wants_value=bool(waiting))
        if verdict is None:
            waiting = []
        elif verdict:
            waiting = [*waiting, item]
        else:
            kept += [*waiting, item]
            waiting = []
    return tuple(kept)


def _judge(words: Sequence[str], *, wants_value: bool) -> bool | None:
    """Whether these words leave a flag waiting for its value; None: not allowed."""
    for word in words:
        if wants_value:
            wants_value = False
            continue
        name, equals, _ = word.partition("=")
        if name in _VALUED:
            wants_value = not equals
        elif name not in _PLAIN:
            return None
    return wants_value
