"""Spans of the collector's own work: what it does and how long, linked to the requests that the events are of.

The vendor's part is ``collector.operating.otel``, loaded by the roof only where an endpoint is configured.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Attributes = Mapping[str, str | int | float]


class Span(Protocol):
    """A span that is open."""

    def note(self, name: str, value: str | int | float) -> None:
        """Set an attribute."""
        ...


class Tracing(Protocol):
    """Makes spans; ``maximum_links``: traceparents that one span is linked to at most, 0 where nobody traces."""

    maximum_links: int

    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        links: Sequence[str] = (),
        parent: str | None = None,
        start_ns: int | None = None,
    ) -> AbstractContextManager[Span]:
        """A span that lasts as long as the block; inside another one, its child. An error is noted and goes on.

        ``links``, ``parent``: W3C traceparents; malformed ones are ignored. ``start_ns``: it began earlier.
        """
        ...

    def past(self, name: str, start_ns: int, end_ns: int) -> None:
        """A child that is over already; nanoseconds since the epoch."""
        ...

    def close(self) -> None:
        """Deliver what is left."""
        ...


class _Nothing:
    """A span that nobody sees."""

    def note(self, name: str, value: str | int | float) -> None:
        """Forget it."""


class NoTracing:
    """Makes no spans."""

    maximum_links = 0

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        links: Sequence[str] = (),
        parent: str | None = None,
        start_ns: int | None = None,
    ) -> Iterator[Span]:
        """Nothing."""
        yield _Nothing()

    def past(self, name: str, start_ns: int, end_ns: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


NO_TRACING = NoTracing()
