"""The CloudEvents sink: events over HTTP, so that what reads KServe's payload events reads ours.

An event is taken when all its parts were answered with 2xx. What a batch already delivered is not sent again when the
rest of the batch is tried again; a crash in between repeats it under the same ids. Answers that only say that the
server is not well (408, 425, 429, 5xx), does not let us in (401, 403, 407) or is elsewhere (404, 405, and redirects,
which are not followed), which is a matter of configuration and not of the event, are waited out; any other refusal is
counted as ``http_STATUS``, and the event is given up.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from driftline.errors import UnavailableError
from driftline.events import InferenceEvent, decode_frame
from logger_sidecar.shipping.cloud_events import HttpEvent, binary_event, kserve_events, structured_event
from logger_sidecar.shipping.http_post import Poster
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import SinkUrl
from logger_sidecar.shipping.sinks import BatchBounds

_WAITED_OUT = frozenset({*range(300, 400), 401, 403, 404, 405, 407, 408, 425, 429})
_NOT_TRIED = "not tried"

Encode = Callable[[InferenceEvent], Sequence[HttpEvent]]


def open_sink(url: SinkUrl, _settings: ShipperSettings) -> "HttpSink":
    """Part of sinks: the sink of this URL; raises SettingsError when its certificates cannot be read."""
    return HttpSink(url, time.time)


class HttpSink:
    """Posts events over a bounded number of connections. ``now_s``: seconds since the epoch, when an event is sent."""

    def __init__(self, url: SinkUrl, now_s: Callable[[], float]) -> None:
        options = url.options
        self.name = url.name
        self.bounds = BatchBounds(options["batch_events"], options["batch_bytes"])
        self._address = url.address
        self._encode = _encoder(url, now_s)
        self._poster = Poster(url)
        self._connections: int = options["connections"]
        self._threads: ThreadPoolExecutor | None = None
        #: Of the batch that is being tried again: how many parts of an event arrived, and what was refused.
        self._arrived: dict[str, int] = {}
        self._refused: dict[str, str] = {}

    def read(self, frame: bytes) -> InferenceEvent:
        """Part of sinks.Sink."""
        return decode_frame(frame)

    def deliver(self, events: Sequence[InferenceEvent]) -> Mapping[int, str]:
        """Part of sinks.Sink."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._connections, thread_name_prefix=self.name)
        given_up = threading.Event()
        futures = [self._threads.submit(self._deliver, event, given_up) for event in events]
        faults = [fault for future in futures if (fault := future.result())]
        if faults:
            raise UnavailableError(self.name, next((fault for fault in faults if fault != _NOT_TRIED), _NOT_TRIED))
        refused = {index: self._refused[event.id] for index, event in enumerate(events) if event.id in self._refused}
        self._arrived.clear()
        self._refused.clear()
        return refused

    def close(self) -> None:
        """Part of sinks.Sink."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        self._poster.renew()

    def _deliver(self, event: InferenceEvent, given_up: threading.Event) -> str:
        """Deliver what is missing of one event; returns why that must be tried again, empty when it need not."""
        if event.id in self._refused:
            return ""
        for number, part in enumerate(self._encode(event)):
            if number < self._arrived.get(event.id, 0):
                continue
            if given_up.is_set():  # another one found that the sink is away; nobody else need wait for that
                return _NOT_TRIED
            try:
                reply = self._poster.post(part)
            except UnavailableError as error:
                given_up.set()
                return error.detail
            if 200 <= reply.status < 300:
                self._arrived[event.id] = number + 1
            elif reply.status in _WAITED_OUT or reply.status >= 500:
                given_up.set()
                return f"{self._address} answered {reply.status} {reply.reason}"
            else:
                self._refused[event.id] = f"http_{reply.status}"
                return ""
        return ""


def _encoder(url: SinkUrl, now_s: Callable[[], float]) -> Encode:
    form, service, component = (url.options[name] for name in ("form", "inference_service", "component"))
    if form == "binary":
        return lambda event: (binary_event(event),)
    if form == "structured":
        return lambda event: (structured_event(event),)
    return lambda event: kserve_events(event, inference_service=service, component=component, sent_at_s=now_s())
