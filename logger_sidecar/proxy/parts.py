"""What all client connections share, and what the server asks of each of them."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from driftline.clock import Clock, system_clock
from logger_sidecar.http1.heads import HeaderNames
from logger_sidecar.http1.routes import RouteTable
from logger_sidecar.proxy.fast_lane import FastLane
from logger_sidecar.proxy.upstream_pool import UpstreamPool
from logger_sidecar.recording.capture import Capture
from logger_sidecar.recording.event_ids import EventIds
from logger_sidecar.recording.meters import Meters


class OpenConnection(Protocol):
    """A client's connection, whatever is spoken on it."""

    transport: asyncio.Transport

    @property
    def calls_in_flight(self) -> int:
        """How many requests are being read or answered."""

    def tick(self, idle_ticks: int) -> None:
        """Called regularly: ends a connection that has been silent for too many ticks."""

    def drain(self) -> None:
        """Answer what is in flight, then close."""


class ProxyParts:
    """What all client connections share. ``draining``: the end has begun.

    ``http2``: makes the protocol that takes over a connection whose client speaks HTTP/2, from its first bytes on.
    """

    def __init__(
        self,
        *,
        pool: UpstreamPool,
        routes: RouteTable,
        header_names: HeaderNames,
        capture: Capture,
        meters: Meters,
        clock: Clock,
        event_ids: EventIds,
        max_body_bytes: int,
        max_head_bytes: int,
    ) -> None:
        self.pool: UpstreamPool = pool
        self.routes = routes
        self.header_names = header_names
        self.capture: Capture = capture
        self.meters: Meters = meters
        self.clock = clock
        #: As ``clock``, in nanoseconds.
        self.clock_ns: Callable[[], int] = time.time_ns if clock is system_clock else partial(_nanoseconds, clock)
        self.event_ids: EventIds = event_ids
        self.http2: Callable[[], asyncio.Protocol] | None = None
        self.lane: FastLane | None = None
        self.max_body_bytes = max_body_bytes
        self.max_head_bytes = max_head_bytes
        self.draining = False
        self.connections: set[OpenConnection] = set()
        #: Set whenever the last connection has gone.
        self.emptied = asyncio.Event()

    def opened(self, connection: OpenConnection) -> None:
        """There is one more connection."""
        self.connections.add(connection)

    def closed(self, connection: OpenConnection) -> None:
        """It is closed, both ways, or its transport belongs to another protocol now."""
        if self.lane is not None:
            self.lane.leave(connection)
        self.connections.discard(connection)
        if not self.connections:
            self.emptied.set()


def _nanoseconds(clock: Clock) -> int:
    return int(clock() * 1e9)
