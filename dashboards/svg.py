"""The few SVG shapes that the charts are made of; every text and attribute is escaped."""

from collections.abc import Sequence

from markupsafe import Markup

Point = tuple[float, float]


def svg(width: float, height: float, inside: Sequence[Markup], classes: str, label: str) -> Markup:
    """The picture; ``label`` is read to those who do not see it."""
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        classes, width, height, label, Markup("").join(inside)
    )


def rect(
    classes: str, x: float, y: float, width: float, height: float, *, title: str = "", rx: float = 0, opacity: float = 1
) -> Markup:
    """A bar, with a tooltip where ``title`` is given."""
    tooltip = Markup("<title>{}</title>").format(title) if title else ""
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="{:g}" opacity="{:.2f}">{}</rect>'
    ).format(classes, x, y, max(width, 0.0), max(height, 0.0), rx, opacity, tooltip)


def line(classes: str, start: Point, end: Point) -> Markup:
    """A straight line."""
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(classes, *start, *end)


def text(classes: str, x: float, y: float, words: str) -> Markup:
    """A line of text."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(classes, x, y, words)


def polyline(classes: str, points: Sequence[Point], *, closed: bool = False) -> Markup:
    """A line through points, or the area within them."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    shape = Markup('<polygon class="{}" points="{}"/>') if closed else Markup('<polyline class="{}" points="{}"/>')
    return shape.format(classes, places)


def titled(title: str, *parts: Markup) -> Markup:
    """Shapes that share one tooltip."""
    return Markup("<g><title>{}</title>{}</g>").format(title, Markup("").join(parts))
