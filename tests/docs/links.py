"""Links of Markdown pages, and the anchors that GitHub gives to headings."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.docs.blocks import prose_of

_INLINE = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_DEFINED = re.compile(r"^ {0,3}\[([^\]]+)\]:\s+<?(\S+?)>?\s*$", re.MULTILINE)
_USED = re.compile(r"\[[^\]\n]+\]\[([^\]\n]+)\]")
_HTML = re.compile(r"(?:href|src)=\"([^\"]+)\"")
_CODE = re.compile(r"(`+)(?:.|\n)*?\1")


def find_dead_links(page: Path, root: Path) -> Iterator[str]:
    """Yield what is wrong with the links of a page: no file, no anchor, no definition."""
    text = _CODE.sub("", prose_of(page.read_text(encoding="utf-8")))
    defined = {name.lower(): target for name, target in _DEFINED.findall(text)}
    for name in _USED.findall(text):
        if name.lower() not in defined:
            yield f"[{name}] is not defined"
    for target in (*_INLINE.findall(text), *defined.values(), *_HTML.findall(text)):
        if fault := _fault_of(target, page, root):
            yield f"{target}: {fault}"


def _fault_of(target: str, page: Path, root: Path) -> str:
    if target.startswith(("https://", "mailto:")):
        return ""
    if target.startswith("/") or re.match(r"[a-z][a-z+.-]*:", target):
        return "neither https nor relative"
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page.resolve()
    if not file.is_relative_to(root.resolve()):
        return "it leads out of the project"
    return _fault_there(file, anchor)


def _fault_there(file: Path, anchor: str) -> str:
    if not file.exists():
        return "no such file"
    if anchor and (file.suffix != ".md" or anchor not in anchors_of(file.read_text())):
        return "no such heading"
    return ""


def links_to_pages(page: Path) -> set[Path]:
    """Return the pages to which a page links."""
    text = _CODE.sub("", prose_of(page.read_text(encoding="utf-8")))
    found = (*_INLINE.findall(text), *(target for _, target in _DEFINED.findall(text)))
    paths = {target.partition("#")[0] for target in found if ":" not in target}
    return {(page.parent / path).resolve() for path in paths if path.endswith(".md")}


def anchors_of(text: str) -> set[str]:
    """Give the anchors of a page: of its headings by GitHub's rules, and those it names itself."""
    seen = Counter[str]()
    anchors = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    for heading in re.findall(r"^ {0,3}#{1,6} +(.+?)(?: +#+)? *$", prose_of(text), re.MULTILINE):
        slug = slug_of(heading)
        anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return anchors


def slug_of(heading: str) -> str:
    """Make the anchor of a heading: lower case, no punctuation, a hyphen for each blank."""
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    plain = re.sub(r"(?<!\w)[*_]{1,2}(\S.*?)[*_]{1,2}(?!\w)", r"\1", plain.replace("`", ""))
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
