"""Reads a page strictly enough to find tags left open, and tells what it holds."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "link", "br", "hr", "img", "input"}
_SHAPES = {"rect", "line", "circle", "polygon", "polyline", "path"}


@dataclass
class Found:
    """What a page holds."""

    faults: list[str] = field(default_factory=list)
    text: str = ""
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    tags: dict[str, int] = field(default_factory=dict)
    sections: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found = Found()
        self.open: list[str] = []
        self.section_starts: list[int] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.found.tags[tag] = self.found.tags.get(tag, 0) + 1
        if tag == "a" and values.get("href"):
            self.found.links.append(values["href"])
        loads = values.get("src") or (values.get("href") if tag == "link" else None)
        if loads:
            self.found.loads.append(loads)
        if tag not in _VOID:
            self.open.append(tag)
        if tag in ("section", "article"):
            self.section_starts.append(len(self.found.text))

    def handle_startendtag(self, tag, attrs):
        self.found.tags[tag] = self.found.tags.get(tag, 0) + 1
        if tag not in _SHAPES | _VOID:
            self.found.faults.append(f"<{tag}/>")

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.found.faults.append(f"</{tag}> closes {self.open[-3:]}")
            return
        self.open.pop()
        if tag in ("section", "article"):
            self.found.sections.append(self.found.text[self.section_starts.pop() :])

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.found.text += data


def read_html(text: str) -> Found:
    """The page's text, links and what it loads; ``faults`` is empty when every tag is closed in order."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    if reader.open:
        reader.found.faults.append(f"left open: {reader.open}")
    return reader.found
