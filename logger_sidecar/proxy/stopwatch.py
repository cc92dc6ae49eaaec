"""How long the sidecar holds bytes, and which requests took how long: measured on a few, at no cost to the others.

Once a second a stopwatch is put in front of some connections, where it stands for one piece of data: it lets the
connection work in its stead and takes the time from the bytes read to their being passed on, capture included (not the
wait for a new connection to the model server). Connections without a stopwatch do not know that there are any.

A stopwatch on a connection to the model server also sees which inference its answer ended: those requests become the
exemplars of the latency histogram. Requests that have taken long already are always among the chosen.
"""

import asyncio
import random
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from prometheus_client.core import Metric

from driftline import names
from driftline.metric_families import cumulated, histogram_family
from logger_sidecar.http1.exchange import Exchange
from logger_sidecar.proxy.client import ClientConnection
from logger_sidecar.proxy.fast_lane import FastLane
from logger_sidecar.proxy.upstream import Caller, UpstreamConnection
from logger_sidecar.recording.meters import Meters

_T = TypeVar("_T")
#: Who waits for the answer on a connection, and the exchange that it belongs to.
_Serving = tuple[Caller, Exchange] | None
_BUCKETS_S = names.SIDECAR_OVERHEAD.buckets_s
_CHOSEN = 16
_SLOW_S = 0.25


class OverheadMeters:
    """The histogram of the time added, one per direction; a Prometheus collector."""

    def __init__(self) -> None:
        self._buckets = {direction: [0] * (len(_BUCKETS_S) + 1) for direction in ("in", "out")}
        self._seconds = {"in": 0.0, "out": 0.0}

    def add(self, direction: str, seconds: float) -> None:
        """One piece of data was held this long."""
        self._buckets[direction][bisect_left(_BUCKETS_S, seconds)] += 1
        self._seconds[direction] += seconds

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        family = histogram_family(names.SIDECAR_OVERHEAD)
        for direction, buckets in self._buckets.items():
            family.add_metric([direction], cumulated(_BUCKETS_S, buckets), self._seconds[direction])
        yield family


class Stopwatch(asyncio.Protocol):
    """Stands in front of a connection for one piece of data, then gives its place back."""

    def __init__(self, connection: ClientConnection | UpstreamConnection, took: Callable[[float], None]) -> None:
        self._connection = connection
        self._took = took
        self._began_s = 0.0

    def begin(self) -> None:
        """Part of fast_lane.Watch."""
        self._began_s = time.perf_counter()

    def end(self) -> None:
        """Part of fast_lane.Watch."""
        self._took(time.perf_counter() - self._began_s)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._connection.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._connection.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """Part of asyncio.Protocol."""
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self._connection.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        connection = self._connection
        # Before it works: it may hand its place on to another protocol.
        connection.transport.set_protocol(connection)
        self.begin()
        connection.data_received(data)
        self.end()


class AnswerStopwatch(Stopwatch):
    """One in front of a connection to the model server; ``served`` is told whose answer the piece belonged to."""

    def __init__(
        self, connection: UpstreamConnection, took: Callable[[float], None], served: Callable[[_Serving], None]
    ) -> None:
        super().__init__(connection, took)
        self._upstream = connection
        self._served = served
        self._serving: _Serving = None

    def begin(self) -> None:
        """Part of fast_lane.Watch."""
        self._serving = self._upstream.serving
        super().begin()

    def end(self) -> None:
        """Part of fast_lane.Watch."""
        super().end()
        serving, self._serving = self._serving, None
        self._served(serving)


class Stopwatches:
    """Chooses whom to measure. ``rng`` chooses; ``wall_s``: seconds since the epoch, for the exemplars."""

    def __init__(
        self,
        overhead: OverheadMeters,
        meters: Meters,
        rng: random.Random,
        wall_s: Callable[[], float],
        lane: FastLane | None = None,
    ) -> None:
        self._lane = lane
        self._overhead = overhead
        self._meters = meters
        self._rng = rng
        self._wall_s = wall_s
        self._new = _CHOSEN

    def first(self, connection: ClientConnection) -> asyncio.Protocol:
        """What the transport of a new connection shall talk to: the first few of each second are measured."""
        if self._new <= 0:
            return connection
        self._new -= 1
        return self._of_client(connection)

    def tick(self, clients: Sequence[object], upstreams: Sequence[UpstreamConnection]) -> None:
        """Called about once a second: chooses among the open connections."""
        self._new = _CHOSEN
        for client in self._some([each for each in clients if isinstance(each, ClientConnection)]):
            self._watch(client, self._of_client(client))
        now_s = time.monotonic()
        slow = [each for each in upstreams if _is_slow(each, now_s)][:_CHOSEN]
        for upstream in {*self._some(upstreams), *slow}:
            self.watch_answer(upstream)

    def _of_client(self, client: ClientConnection) -> Stopwatch:
        return Stopwatch(client, lambda seconds: self._overhead.add("in", seconds))

    def watch_answer(self, upstream: UpstreamConnection) -> None:
        """Measure the next piece that comes from the model server, and the request that it ends."""

        # Nothing here may refer to the stopwatch: of one that goes round in a circle the memory never comes back, since
        # the sidecar hardly ever looks for circles.
        def served(serving: _Serving) -> None:
            client, exchange = serving or (None, None)
            if exchange is None or not isinstance(client, ClientConnection):
                return
            if client.is_idle:
                self._example(exchange)
            elif not upstream.transport.is_closing():
                self.watch_answer(upstream)  # there is more of this answer to come

        self._watch(upstream, AnswerStopwatch(upstream, lambda seconds: self._overhead.add("out", seconds), served))

    def _watch(self, connection: ClientConnection | UpstreamConnection, watch: Stopwatch) -> None:
        if self._lane is not None and self._lane.watch(connection, watch):
            return
        transport = connection.transport
        if not transport.is_closing() and transport.get_protocol() is connection:
            transport.set_protocol(watch)

    def _some(self, connections: Sequence[_T]) -> Sequence[_T]:
        return connections if len(connections) <= _CHOSEN else self._rng.sample(connections, _CHOSEN)

    def _example(self, exchange: Exchange) -> None:
        route = exchange.route
        if route is not None:
            seconds = time.monotonic() - exchange.started_s
            stream = self._meters.stream(
                route.model, route.version, exchange.response.head.variant or self._meters.variant, exchange.status
            )
            stream.example(seconds, self._wall_s(), exchange.request_id, exchange.traceparent)


def _is_slow(upstream: UpstreamConnection, now_s: float) -> bool:
    serving = upstream.serving
    return serving is not None and now_s - serving[1].started_s > _SLOW_S
