"""The flag rules of restic's command line (pflag), as far as backups need them: for tests only."""

VALUES = {
    *("--tag", "--exclude", "--host", "--option", "--password-file", "--repo", "--group-by"),
    *("--password-command", "--exclude-larger-than", "--exclude-if-present", "--compression"),
    *("--read-concurrency", "--limit-upload", "--limit-download", "--files-from"),
}
SHORT = {
    "e": "--exclude",
    "f": "--force",
    "g": "--group-by",
    "H": "--host",
    "n": "--dry-run",
    "o": "--option",
    "p": "--password-file",
    "q": "--quiet",
    "r": "--repo",
    "v": "--verbose",
    "x": "--one-file-system",
}


def parse(arguments: list[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return the flags with their values in order, and the other arguments.

    Raises ValueError where restic would say what is wrong and end.
    """
    flags: list[tuple[str, str | None]] = []
    others: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            others += words
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name[2:3] in ("", "-"):
                raise ValueError(word)
            if not equals and name in VALUES:
                value = _next(words)
            flags.append((name, value if equals or name in VALUES else None))
        elif word.startswith("-") and word != "-":
            _parse_short(word[1:], words, flags)
        else:
            others.append(word)
    return flags, others


def _parse_short(letters: str, words: list[str], flags: list[tuple[str, str | None]]) -> None:
    while letters:
        name, rest = SHORT.get(letters[0], ""), letters[1:]
        if not name:
            raise ValueError(letters)
        if len(letters) > 2 and rest[0] == "=":
            flags.append((name, rest[1:]))
            return
        if name in VALUES:
            flags.append((name, rest or _next(words)))
            return
        flags.append((name, None))
        letters = rest


def _next(words: list[str]) -> str:
    if not words:
        raise ValueError("a value is missing")
    return words.pop(0)
