"""The connections to one model server: used again newest first, bounded in number, waited for in order."""

import asyncio
import ssl
from collections.abc import Sequence

from logger_sidecar.http1.heads import HeaderNames
from logger_sidecar.proxy.dial import Dialer
from logger_sidecar.proxy.fast_lane import FastLane
from logger_sidecar.proxy.tls import tls_fault
from logger_sidecar.proxy.upstream import (
    REASON_CONNECT_TIMEOUT,
    REASON_QUEUE_TIMEOUT,
    REASON_REFUSED,
    REASON_TIMEOUT,
    REASON_TLS,
    Caller,
    UpstreamConnection,
)


class UpstreamPool:
    """All connections to one model server.

    ``max_connections``: how many may be open; 0 is as many as there are requests in flight. A request that finds all
    of them busy waits its turn, at most ``queue_timeout_s`` seconds. ``max_idle``: how many are kept unused.
    """

    def __init__(
        self,
        dialer: Dialer,
        *,
        header_names: HeaderNames,
        max_idle: int,
        max_head_bytes: int,
        max_connections: int = 0,
        queue_timeout_s: float = 30.0,
    ) -> None:
        self.dialer = dialer
        self.header_names = header_names
        self.max_head_bytes = max_head_bytes
        self.lane: FastLane | None = None
        #: How many connections are kept that nobody uses.
        self.max_idle: int = max_idle
        self._max_connections = max_connections
        self._queue_timeout_s = queue_timeout_s
        #: The connections that nobody uses, newest last.
        self.idle: list[UpstreamConnection] = []
        self._all: set[UpstreamConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        #: Who waits for a connection, first come first, and until when (the loop's clock).
        self.awaiting: dict[Caller, float] = {}

    @property
    def address(self) -> str:
        """Where the model server is, as messages name it."""
        return self.dialer.address

    @property
    def open_connections(self) -> int:
        """How many connections there are, those being made included."""
        return len(self._all) + len(self._connecting)

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return len(self.awaiting)

    @property
    def connections(self) -> Sequence[UpstreamConnection]:
        """The connections that are open now."""
        return list(self._all)

    def counts(self) -> dict[str, int]:
        """How many connections are busy, idle, being opened, and awaited by requests because all are busy."""
        idle = len(self.idle)
        return {
            "busy": len(self._all) - idle,
            "idle": idle,
            "opening": len(self._connecting),
            "awaited": len(self.awaiting),
        }

    def follow(self, *, connect_timeout_s: float, max_idle: int) -> None:
        """Go by these settings, and by changed header names, from now on."""
        self.dialer.timeout_s = connect_timeout_s
        self.max_idle = max_idle
        for connection in self._all:
            connection.read_anew()

    def take_idle(self) -> UpstreamConnection | None:
        """A connection that nobody uses, if there is one."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    def connect(self, caller: Caller) -> None:
        """Get the caller a connection of its own: ``use`` is called when it is there, or ``failed``."""
        loop = asyncio.get_running_loop()
        if self._max_connections and self.open_connections >= self._max_connections:
            self.awaiting[caller] = loop.time() + self._queue_timeout_s
            return
        task = loop.create_task(self._connect(caller))
        self._connecting.add(task)
        task.add_done_callback(self._connected)

    def leave(self, caller: Caller) -> None:
        """The caller no longer waits for a connection."""
        self.awaiting.pop(caller, None)

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep the connection for the next one."""
        if self.awaiting and not connection.transport.is_closing():
            caller = next(iter(self.awaiting))
            del self.awaiting[caller]
            caller.use(connection)
        elif len(self.idle) < self.max_idle:
            self.idle.append(connection)
        else:
            connection.transport.abort()

    def forget(self, connection: UpstreamConnection) -> None:
        """It is closed."""
        if self.lane is not None:
            self.lane.leave(connection)
        self._all.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self._serve_waiting()

    def tick(self, response_ticks: int, idle_ticks: int) -> None:
        """Called regularly: gives up what has been silent for too many ticks, and who has waited for too long."""
        for connection in list(self._all):
            connection.silent_ticks += 1
            if connection.is_busy and connection.silent_ticks > response_ticks:
                connection.fail(REASON_TIMEOUT, "the model server did not answer in time")
            elif not connection.is_busy and connection.silent_ticks > idle_ticks:
                if self.lane is not None:
                    self.lane.leave(connection)
                connection.transport.close()
        now_s = asyncio.get_running_loop().time()
        for caller, until_s in list(self.awaiting.items()):
            if until_s > now_s:
                break
            if self.awaiting.pop(caller, None) is not None:
                detail = f"all {self._max_connections} connections to the model server were busy for too long"
                caller.failed(REASON_QUEUE_TIMEOUT, detail, fresh=True)

    def close(self) -> None:
        """Close every connection."""
        self.awaiting.clear()
        for connection in list(self._all):
            connection.transport.abort()
        for task in self._connecting:
            task.cancel()

    async def _connect(self, caller: Caller) -> None:
        try:
            _, connection = await self.dialer.connect(lambda: UpstreamConnection(self))
        except TimeoutError:
            detail = f"no connection to the model server at {self.address} within {self.dialer.timeout_s:g} s"
            caller.failed(REASON_CONNECT_TIMEOUT, detail, fresh=True)
        except ssl.SSLError as error:
            detail = f"no TLS with the model server at {self.address}: {tls_fault(error)}"
            caller.failed(REASON_TLS, detail, fresh=True)
        except OSError as error:
            detail = f"the model server at {self.address} cannot be reached: {error.strerror or error}"
            caller.failed(REASON_REFUSED, detail, fresh=True)
        else:
            self._all.add(connection)
            caller.use(connection)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self.awaiting and self.open_connections < self._max_connections:
            caller = next(iter(self.awaiting))
            del self.awaiting[caller]
            self.connect(caller)
