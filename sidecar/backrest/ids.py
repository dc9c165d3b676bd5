"""What Backrest accepts as an id."""


def check_id(text: str, longest: int = 0) -> str:
    """Say what is wrong with a non-empty id, or give the empty string.

    `longest` counts UTF-8 bytes; 0 means no limit. Backrest checks no characters:
    ids with commas load, though restic then splits the tag at them.
    """
    if text.startswith("_") and text.endswith("_"):
        return f"{text!r} starts and ends with `_`, which Backrest keeps for itself"
    if longest and len(text.encode("utf-8", "replace")) > longest:
        return f"{text!r} is longer than {longest} bytes"
    return ""
