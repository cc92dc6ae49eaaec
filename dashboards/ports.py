"""What the pages and the report need from other rooms; the roof passes it in."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from driftline.results import (
    Alert,
    ColumnShape,
    Page,
    Result,
    Revision,
    SamplePayload,
    StreamKey,
    StreamSummary,
    WindowKey,
    WindowLabels,
)


class Reader(Protocol):
    """Where results and stored rows are read."""

    def streams(self) -> Sequence[StreamSummary]:
        """Every stream at a glance."""
        ...

    def results(self, stream: StreamKey, since_s: float, until_s: float) -> Sequence[Result]:
        """Newest revision of each result, by window start, segment, column, detector."""
        ...

    def samples(self, stream: StreamKey, since_s: float, until_s: float, limit: int) -> Sequence[SamplePayload]:
        """Stored rows, the most telling first."""
        ...

    def shapes(self, key: WindowKey) -> Sequence[ColumnShape]:
        """The distributions of a window's columns."""
        ...

    def label_windows(
        self, namespace: str, model: str, since_s: float, *, segments: bool = False
    ) -> Sequence[WindowLabels]:
        """Rows, labels and delays of a model's windows that end after ``since_s``; with each segment's own."""
        ...

    def revisions(self, key: WindowKey) -> Sequence[Revision]:
        """Every evaluation of a window, the oldest first."""
        ...


class PageStore(Protocol):
    """Where pages are kept."""

    def save_page(self, page: Page) -> None:
        """Keep a page; one of the same id is replaced."""
        ...

    def pages(self, limit: int) -> Sequence[Page]:
        """The newest pages first."""
        ...

    def page(self, page_id: str) -> Page | None:
        """One page, None when there is none of that id."""
        ...


class Evidence(Protocol):
    """Builds the page behind an alert."""

    def __call__(self, alert: Alert, since_s: float | None) -> Page:
        """The page with everything known about the alert's stream.

        ``since_s``: since when its incident is known to be bad; None where the alert begins one.
        """
        ...


#: Reads Alertmanager's webhook body; raises PermanentError or ValueError naming the field.
ParseWebhook = Callable[[dict[str, Any]], Sequence[Alert]]
