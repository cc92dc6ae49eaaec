"""The few SVG shapes that the charts are made of; every text and attribute is escaped here and nowhere else.

A ``Shape`` is finished markup. Charts have thousands of them, so they are plain strings (formatting ``Markup`` is ten
times slower) and the type keeps unescaped text out.
"""

from collections.abc import Sequence
from html import escape
from typing import NewType

from markupsafe import Markup

Point = tuple[float, float]
Shape = NewType("Shape", str)


def svg(
    width: float, height: float, inside: Sequence[Shape], classes: str, label: str, *, stretch: bool = False
) -> Markup:
    """The picture; ``label`` is read to those who do not see it. ``stretch`` lets it fill any shape of box."""
    ratio = "none" if stretch else "xMidYMid meet"
    head = (
        f'<svg class="{escape(classes)}" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="{ratio}" '
        f'role="img" aria-label="{escape(label)}">'
    )
    return Markup(f"{head}{''.join(inside)}</svg>")  # noqa: S704 - made of shapes, which are escaped


def rect(
    classes: str, x: float, y: float, width: float, height: float, *, title: str = "", rx: float = 0, opacity: float = 1
) -> Shape:
    """A bar, with a tooltip where ``title`` is given."""
    rounded = f' rx="{rx:g}"' if rx else ""
    faded = f' opacity="{opacity:.2f}"' if opacity != 1 else ""
    tooltip = f"<title>{escape(title)}</title>" if title else ""
    return Shape(
        f'<rect class="{escape(classes)}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.0):.1f}" '
        f'height="{max(height, 0.0):.1f}"{rounded}{faded}>{tooltip}</rect>'
    )


def line(classes: str, start: Point, end: Point) -> Shape:
    """A straight line."""
    return Shape(
        f'<line class="{escape(classes)}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
    )


def circle(classes: str, centre: Point, radius: float) -> Shape:
    """A dot."""
    return Shape(f'<circle class="{escape(classes)}" cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{radius:g}"/>')


def text(classes: str, x: float, y: float, words: str) -> Shape:
    """A line of text."""
    return Shape(f'<text class="{escape(classes)}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>')


def polyline(classes: str, points: Sequence[Point], *, closed: bool = False) -> Shape:
    """A line through points, or the area within them."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Shape(f'<{"polygon" if closed else "polyline"} class="{escape(classes)}" points="{places}"/>')


def titled(title: str, *parts: Shape) -> Shape:
    """Shapes that share one tooltip."""
    return Shape(f"<g><title>{escape(title)}</title>{''.join(parts)}</g>")


def linked(address: str, shape: Shape) -> Shape:
    """A shape that leads somewhere."""
    return Shape(f'<a href="{escape(address)}">{shape}</a>')
