"""What all client connections share, and what the server asks of each of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from driftline.clock import Clock
from logger_sidecar.http1.heads import HeaderNames
from logger_sidecar.http1.routes import RouteTable
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


@dataclass(slots=True)
class ProxyParts:
    """What all client connections share."""

    pool: UpstreamPool
    routes: RouteTable
    header_names: HeaderNames
    capture: Capture
    meters: Meters
    clock: Clock
    event_ids: EventIds
    #: Makes the protocol that takes over a connection whose client speaks HTTP/2, from its first bytes on.
    http2: Callable[[], asyncio.Protocol] | None
    max_body_bytes: int
    max_head_bytes: int
    draining: bool = False
    connections: set[OpenConnection] = field(default_factory=set)
    #: Set whenever the last connection has gone.
    emptied: asyncio.Event = field(default_factory=asyncio.Event)

    def opened(self, connection: OpenConnection) -> None:
        """There is one more connection."""
        self.connections.add(connection)

    def closed(self, connection: OpenConnection) -> None:
        """It is closed, both ways, or its transport belongs to another protocol now."""
        self.connections.discard(connection)
        if not self.connections:
            self.emptied.set()
