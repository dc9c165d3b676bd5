"""google/shlex, by which Backrest splits flags, as a table: for tests only.

A row says, for a state, what each class of characters leads to, and whether the character
itself becomes part of the word. A class that a row does not name is `other`.
"""

_CLASSES = dict.fromkeys(" \t\r\n", "space") | {
    '"': "double",
    "'": "single",
    "\\": "escape",
    "#": "comment",
}
_TABLE: dict[str, dict[str, tuple[str, bool]]] = {
    "start": {
        "space": ("start", False),
        "double": ("double", False),
        "single": ("single", False),
        "escape": ("escape", False),
        "comment": ("comment", False),
        "other": ("word", True),
    },
    "word": {
        "space": ("start", False),
        "double": ("double", False),
        "single": ("single", False),
        "escape": ("escape", False),
        "other": ("word", True),
    },
    "escape": {"other": ("word", True)},
    "double-escape": {"other": ("double", True)},
    "double": {
        "double": ("word", False),
        "escape": ("double-escape", False),
        "other": ("double", True),
    },
    "single": {"single": ("word", False), "other": ("single", True)},
    "comment": {"other": ("comment", False)},
}


def split(text: str) -> list[str] | None:
    """Return the words of a text, None where a quote or an escape is left open."""
    words: list[str] = []
    state, word = "start", ""
    for character in text:
        row = _TABLE[state]
        before = state
        state, is_part = row.get(_CLASSES.get(character, "other"), row["other"])
        if before == "comment" and character == "\n":
            state = "start"
        if is_part:
            word += character
        if before == "word" and state == "start":
            words.append(word)
            word = ""
    if state == "word":
        words.append(word)
    return words if state in ("start", "word", "comment") else None
