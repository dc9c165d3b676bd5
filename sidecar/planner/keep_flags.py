"""A keep label as restic's own flags: `backup-once` also takes spans and short spellings."""

from sidecar.labels.retention import KEYS, WITHIN_KEYS, parse_retention

_SHORT = {key[0]: key for key in KEYS[1:]}
_SHORT_WITHIN = {f"within-{letter}": f"within-{key}" for letter, key in _SHORT.items()}
_MEANT = _SHORT | _SHORT_WITHIN
# Its grammar wants a count, for Backrest knows no spans; restic is content with these.
_COUNTED = "last=1"


def render_keep_flags(text: str) -> tuple[str, ...]:
    """Give the `--keep-*` flags of a keep label; none for `all`: nothing is forgotten.

    Spans (`within=30d`) may stand alone, and `h d w m y` for the words that begin so.
    Raises SpecInvalid as `parse_retention` does.
    """
    pairs = [_parse_pair(item) for item in text.split(",")]
    spelt = ",".join(f"{key}={value}" if equals else key for key, equals, value in pairs)
    are_spans = all(key in WITHIN_KEYS for key, _, _ in pairs)
    retention, _ = parse_retention(f"{spelt},{_COUNTED}" if are_spans else spelt)
    if retention.keep_all:
        return ()
    return tuple(word for key, _, value in pairs for word in (f"--keep-{key}", value))


def _parse_pair(item: str) -> tuple[str, str, str]:
    key, equals, value = (part.strip() for part in item.partition("="))
    return _MEANT.get(key, key), equals, value
