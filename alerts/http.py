"""HTTP for the embedded evaluation: reads ``/metrics`` pages and posts alerts to the page desk.

The only module of this room that imports an HTTP client.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from alerts.evaluator import Sample
from alerts.webhook import make_webhook
from driftline.errors import PermanentError, UnavailableError
from driftline.results import Alert

_log = logging.getLogger(__name__)

#: Like Prometheus, the page a sample came from is a label, so that two replicas are two series.
INSTANCE = "instance"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class _Connected:
    """Holds connections, which the end of a ``with`` closes."""

    _client: httpx.Client

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class MetricsScraper(_Connected):
    """Reads the metrics pages of several targets; one that does not answer is a gap, not an error.

    ``failures`` counts unanswered or unreadable pages by target.
    """

    def __init__(
        self,
        targets: Sequence[str],
        timeout_s: float = 2.0,
        client: httpx.Client | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self._targets = tuple(targets)
        self._client = client or httpx.Client(timeout=timeout_s, trust_env=False, headers=headers)
        self.failures: dict[str, int] = dict.fromkeys(targets, 0)
        self._silent: set[str] = set()

    def __call__(self) -> Iterator[Sample]:
        """The present samples of every target that answers."""
        for target in self._targets:
            try:
                samples = self._read(target)
            except (httpx.HTTPError, ValueError) as error:
                self._note_failure(target, error)
            else:
                self._silent.discard(target)
                yield from samples

    def _read(self, target: str) -> list[Sample]:
        answer = self._client.get(target)
        answer.raise_for_status()
        return [
            Sample(sample.name, {**sample.labels, INSTANCE: target}, sample.value)
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        ]

    def _note_failure(self, target: str, error: Exception) -> None:
        self.failures[target] += 1
        if target not in self._silent:  # said once per silence, not once per scrape
            _log.warning("no metrics from %s: %s", target, error)
        self._silent.add(target)


class WebhookDelivery(_Connected):
    """Posts alerts to the page desk, trying a few times with growing pauses.

    Raises UnavailableError when the desk does not take them now, PermanentError when it refuses them (4xx).
    """

    def __init__(
        self,
        url: str,
        external_url: str,
        *,
        timeout_s: float = 5.0,
        attempts: int = 3,
        pause_s: float = 0.2,
        sleep: Callable[[float], None] = time.sleep,
        client: httpx.Client | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self._url = url
        self._external_url = external_url
        self._attempts = attempts
        self._pause_s = pause_s
        self._sleep = sleep
        self._client = client or httpx.Client(timeout=timeout_s, trust_env=False, headers=headers)

    def __call__(self, alerts: Sequence[Alert]) -> None:
        """Deliver, or raise."""
        message = make_webhook(alerts, self._external_url)
        fault = "no attempt was allowed"
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(self._pause_s * 2 ** (attempt - 1))
            try:
                answer = self._client.post(self._url, json=message)
            except httpx.HTTPError as error:
                fault = f"{type(error).__name__} {error}"
                continue
            if answer.is_success:
                return
            fault = f"it answered {answer.status_code}"
            if answer.is_client_error and answer.status_code not in (408, 429):
                raise PermanentError(f"the page desk {self._url} refuses the alerts: {fault}")
        raise UnavailableError("page desk", f"{self._url} took no alert in {self._attempts} attempts: {fault}")
