"""Templates, their filters, and Markdown that cannot carry markup of its own."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from dashboards import charts, words
from dashboards.incidents import severity_of
from driftline.p_values import p_text
from driftline.results import ALL_ROWS, Verdict

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_MARKUP = re.compile(r"[\\`*\[\]<|]")


def plain(text: object) -> str:
    r"""What Markdown shows as this text, on one line, whatever was sent to a model.

    >>> plain("a|b <img src=x>\n![](http://x)")
    'a\\|b \\<img src=x> !\\[\\](http://x)'
    """
    return _MARKUP.sub(r"\\\g<0>", " ".join(str(text).splitlines()))


class Renderer:
    """Renders the room's templates; what a template is not given is an error, not an empty place.

    ``sign_out``: offer to, on every page.
    """

    def __init__(self, *, sign_out: bool = False) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        # Raw HTML in a runbook is shown as text; links to scripts are refused by the parser's own rules.
        self._markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        self._templates.filters.update(
            count=words.count,
            share=words.share,
            number=words.number,
            effect=words.effect,
            p_text=p_text,
            age=words.age,
            moment=words.moment,
            date=words.date,
            markdown=self.markdown,
            plain=plain,
        )
        self._templates.globals.update(
            words=words,
            severity_of=severity_of,
            charts=charts,
            Verdict=Verdict,
            ALL_ROWS=ALL_ROWS,
            stylesheet=self.stylesheet,
            sign_out=sign_out,
        )

    def page(self, template: str, values: Mapping[str, Any]) -> str:
        """The template filled in."""
        return self._templates.get_template(template).render(values)

    def markdown(self, text: str) -> Markup:
        """Markdown as HTML; raw HTML in it is escaped."""
        return Markup(self._markdown.render(text))  # noqa: S704 - made by a renderer that escapes

    def stylesheet(self) -> Markup:
        """The style sheet, to put inside a report that travels as one file."""
        return Markup((STATIC / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
