"""Connections from clients: requests are read, passed on and answered in order, without a task for any of them."""

import asyncio
from time import monotonic
from typing import cast

from driftline import names
from logger_sidecar.http1.answer_heads import answer_head
from logger_sidecar.http1.chunked import ChunkedScanner, ChunkError
from logger_sidecar.http1.error_answers import ERROR_HEAD
from logger_sidecar.http1.exchange import Exchange
from logger_sidecar.http1.head_grammar import HeadError, is_hopeless, without_empty_lines
from logger_sidecar.http1.heads import NO_HEAD, Head, RequestReader, rewritten
from logger_sidecar.http1.request_ids import BEGINNING, ID_KEY, PROTOCOLS_WITH_BODY_ID, body_id, id_end
from logger_sidecar.http1.routes import Route
from logger_sidecar.http1.sameness import same_but
from logger_sidecar.proxy.client_flow import CLIENT_FULL, CONNECTING, PIPELINED, SERVER_FULL, ClientFlow
from logger_sidecar.proxy.parts import ProxyParts
from logger_sidecar.proxy.splice import Splice
from logger_sidecar.proxy.upstream import REASON_BAD_RESPONSE, REASON_CLOSED, STATUS_OF_REASON, UpstreamConnection
from logger_sidecar.recording.capture import STATUS_CLIENT_GONE

_MAX_PIPELINED_BYTES = 256 * 1024


class ClientConnection(ClientFlow):
    """One client: reads a request, passes it on, passes the answer back, then looks at the next request."""

    def __init__(self, parts: ProxyParts) -> None:
        super().__init__(parts)
        self._reader = RequestReader(parts.header_names)
        # The newest head, and what follows from it: so much need not be worked out for the next that says the same.
        self._head: Head = NO_HEAD
        self._route: Route | None = None
        self._room_bytes = 0
        self._looks_for_id = False
        self._own_exchange = Exchange()
        self._first_byte_s = 0.0
        self._left = 0
        self._chunks: ChunkedScanner | None = None
        self._outbox: list[bytes] = []

    # --- the client's transport -----------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)  # a base class of uvloop's own by duck typing only
        self._parts.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._parts.closed(self)
        if self._exchange is not None:
            self._give_up(self._exchange, STATUS_CLIENT_GONE)

    def eof_received(self) -> bool:
        """Part of asyncio.Protocol; a client that has said all it wants may still wait for its answers."""
        if self._request_open or (self._exchange is None and not self._pending):
            return False
        self._has_ended = True
        if not self._pending:
            self._close_after = True
        elif self._exchange is None:
            asyncio.get_running_loop().call_soon(self._take_pending)
        return True

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        self.silent_ticks = 0
        head = self._head
        if self._exchange is not None or self._pending:
            self._take_more(data)
            return
        if len(data) == head.whole_bytes and (body := data.removeprefix(head.raw)) is not data:
            open_end, request_id, traceparent = head.open_end, head.request_id, head.traceparent
        elif head.stretches and (found := same_but(head, data)) is not None:
            end = found.head_bytes
            open_end, body, request_id, traceparent = data[: end - 2], data[end:], found.request_id, found.traceparent
        else:
            self._take_head(data)
            return
        # It is whole and says what the newest head says. Here stands what others have methods for: calls are dear here.
        parts = self._parts
        exchange = self._own_exchange
        route = self._route
        request = exchange.request
        exchange.route = route
        exchange.room_bytes = room_bytes = self._room_bytes
        exchange.traceparent = traceparent
        exchange.started_s = monotonic()
        request.head = head
        request.seen_bytes = size = len(body)
        if size <= room_bytes:
            request.whole = body
        else:
            request.cut(body, room_bytes)
        self._exchange = exchange
        self._close_after = parts.draining
        if route is not None:
            clock_ns = parts.clock_ns
            exchange.time_ns = time_ns = clock_ns()
            if self._looks_for_id and body[BEGINNING].partition(ID_KEY)[1]:  # a bound makes ``find`` dearer than this
                request_id = body_id(body)
            if request_id:
                exchange.event_id = parts.event_ids.new(time_ns)
                exchange.request_id = request_id
                exchange.id_end = id_end(request_id)
            else:
                exchange.event_id, exchange.id_end = parts.event_ids.new_with_end(time_ns)
                exchange.request_id = exchange.event_id
                data = open_end + exchange.id_end + body
        exchange.held = data
        if (
            self._stalls
            or parts.lane is not None
            or not (idle := parts.pool.idle)
            or (connection := idle.pop()).transport.is_closing()
        ):
            self._send_held()
            return
        self._upstream = connection
        connection.caller = self
        connection.exchange = exchange
        connection.may_be_whole = head.takes_whole
        connection.silent_ticks = 0
        connection.transport.write(data)

    def _send_held(self) -> None:
        """Send what the exchange holds on a connection that nobody uses, or on a new one."""
        connection = self._parts.pool.take_idle()
        if connection is not None:
            self.use(connection)
        else:
            self._parts.pool.connect(self)

    def _take_more(self, data: bytes) -> None:
        """More came while a request is read or answered, or behind the beginning of a head."""
        if self._exchange is None:
            self._take_head(self._pending + data)
        elif self._request_open:
            self._more_body(data)
        else:
            self._pending += data
            if len(self._pending) > _MAX_PIPELINED_BYTES:
                self._hold(PIPELINED)

    def read_anew(self) -> None:
        """Settings have changed: what follows from a head is worked out again from the next request on."""
        self._reader.forget()

    # --- the request ----------------------------------------------------------------------------------------------
    def _take_head(self, data: bytes) -> None:
        if not (seen := len(self._pending)):
            if self._head is NO_HEAD and self._parts.lane is not None and self._parts.lane.begin(self, data):
                return
            self._first_byte_s = monotonic()
        self._pending = b""
        if self._head is NO_HEAD and data.startswith(b"PRI ") and self._becomes_http2(data):
            return
        if data.startswith(b"\r\n"):
            data = without_empty_lines(data)
        end, limit = data.find(b"\r\n\r\n") + 4, self._parts.max_head_bytes
        if end < 4 or end > limit:
            self._pending = data
            if end > limit or len(data) > limit:
                self._refuse(431, f"the head of the request is longer than {limit} bytes")
            elif is_hopeless(data, seen):
                self._refuse(400, "the head of the request has a CR, LF or control character by itself")
            return
        try:
            head = self._reader.read(data[:end])
        except HeadError as error:
            self._refuse(error.status, str(error))
            return
        if head is not self._head:
            self._settle(head)
        self._begin(head, data, end)

    def _settle(self, head: Head) -> None:
        """Work out what follows from a head alone."""
        parts = self._parts
        is_inference = head.method == b"POST" and not head.is_probe
        route = parts.routes.lookup(head.target) if is_inference else None
        if route is not None and names.HEADER_BINARY_LENGTH in head.headers and route.protocol == "v2":
            route = route._replace(protocol="v2-binary")
        self._head = head
        self._route = route
        self._room_bytes = parts.max_body_bytes if route is not None else 0
        self._looks_for_id = route is not None and not head.request_id and route.protocol in PROTOCOLS_WITH_BODY_ID

    def _begin(self, head: Head, data: bytes, end: int) -> None:
        has_body = head.chunked or head.content_length > 0
        if self._looks_for_id and has_body and len(data) == end and not head.expects_continue:
            self._pending = data  # the id may stand in the body, and the body is on its way: wait for its first bytes
            return
        exchange = self._own_exchange
        exchange.begin(head, self._route, self._room_bytes, self._first_byte_s)
        self._exchange = exchange
        self._answer_begun = False
        self._close_after = not head.keep_alive or self._parts.draining
        body_end = self._take_first_body(exchange, data, end)
        if self._has_ended and not self._pending:
            self._close_after = True
        if body_end >= 0:
            self._send_first(exchange, data, end, body_end)

    def _take_first_body(self, exchange: Exchange, data: bytes, end: int) -> int:
        """Where in ``data`` the part of this request ends; what follows is kept for later. -1: refused."""
        head = self._head
        if head.chunked:
            self._chunks = ChunkedScanner(self._parts.max_head_bytes)
            self._request_open = True
            return self._scan_chunks(exchange, data, end)
        if head.content_length <= 0:
            body_end = end
        else:
            body_end = end + head.content_length
            exchange.request.append(data[end:body_end])
            self._left = max(0, body_end - len(data))
            self._request_open = self._left > 0
            if self._request_open:
                return len(data)
        if body_end < len(data):
            self._pending = data[body_end:]
        return body_end

    def _scan_chunks(self, exchange: Exchange, data: bytes, position: int) -> int:
        assert self._chunks is not None  # noqa: S101 - tells the type checker
        try:
            end = self._chunks.feed(data, position, exchange.request)
        except ChunkError as error:
            self._refuse(400, f"the request is badly chunked: {error}")
            return -1
        if end < 0:
            return len(data)
        self._request_open = False
        self._chunks = None
        self._pending = data[end:]
        return end

    def _send_first(self, exchange: Exchange, data: bytes, end: int, body_end: int) -> None:
        head = self._head
        adds_id = exchange.route is not None and self._name_request(exchange, head.request_id)
        if head.must_rewrite:
            out = rewritten(head, added=exchange.id_line if adds_id else b"") + data[end:body_end]
        elif adds_id:
            out = b"".join((head.open_end, exchange.id_end, data[end:body_end]))
        else:
            out = data if body_end == len(data) else data[:body_end]
        exchange.held = out
        self._send_held()

    def _name_request(self, exchange: Exchange, request_id: str) -> bool:
        """Find or make the request's id; tells whether the model server must be told of it."""
        parts = self._parts
        exchange.time_ns = time_ns = parts.clock_ns()
        exchange.event_id = event_id = parts.event_ids.new(time_ns)
        if self._looks_for_id and exchange.request.parts:
            request_id = body_id(exchange.request.parts[0])
        exchange.request_id = request_id or event_id
        exchange.id_end = id_end(exchange.request_id)
        return not request_id

    def _more_body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if self._chunks is not None:
            end = self._scan_chunks(exchange, data, 0)
            if end < 0:
                return
        else:
            end = min(self._left, len(data))
            self._left -= end
            self._request_open = self._left > 0
            if end < len(data):
                self._pending = data[end:]
            exchange.request.append(data if end == len(data) else data[:end])
        piece = data if end == len(data) else data[:end]
        if self._upstream is None:  # still connecting
            self._outbox.append(piece)
            self._hold(CONNECTING)
            return
        exchange.held = None
        self._upstream.silent_ticks = 0
        self._upstream.transport.write(piece)

    # --- the model server -----------------------------------------------------------------------------------------
    def use(self, connection: UpstreamConnection) -> None:
        """Part of upstream.Caller."""
        exchange = self._exchange
        if exchange is None or exchange.held is None:  # the client left while we were connecting
            self._parts.pool.give_back(connection)
            return
        self._upstream = connection
        connection.begin(self, exchange, self._head)
        if self._stalls & CLIENT_FULL:
            connection.transport.pause_reading()
        connection.transport.write(exchange.held + exchange.held_body)
        if self._outbox:
            exchange.held = None
            connection.transport.writelines(self._outbox)
            self._outbox = []
            self._let_go(CONNECTING)

    def inform(self, head: Head) -> None:
        """Part of upstream.Caller; HTTP/1.0 knows no interim answers."""
        if self._head.minor:
            self.transport.write(rewritten(head) if head.must_rewrite else head.raw)

    def switch(self, connection: UpstreamConnection, raw: bytes, rest: bytes) -> None:
        """Part of upstream.Caller."""
        exchange, parts = self._exchange, self._parts
        assert exchange is not None  # noqa: S101 - an answer belongs to an exchange
        if self._request_open:
            connection.transport.abort()
            self.failed(REASON_BAD_RESPONSE, "the model server switched protocols within a request", fresh=True)
            return
        self._upstream = None
        exchange.status = 101
        self.transport.write(raw + rest)
        self._end(exchange)
        if self._pending:
            connection.transport.write(self._pending)
        self._let_go(PIPELINED | SERVER_FULL)
        splice = Splice(parts, self.transport, connection.transport, lambda: parts.pool.forget(connection))
        splice.begin(client_has_ended=self._has_ended)
        parts.closed(self)

    def answer_whole(
        self, connection: UpstreamConnection, head: Head, open_end: bytes, body: bytes, data: bytes
    ) -> None:
        """Part of upstream.Caller."""
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 - an answer belongs to an exchange
        if self._close_after or self._request_open:
            self.transport.write(self.answer(connection.read_head(open_end + b"\r\n")) + body)
            exchange.response.append(body)
            self.done(connection, reusable=True)
            return
        parts = self._parts
        request = exchange.request
        self._exchange = None
        self._upstream = None
        if exchange.route is None:
            self.transport.write(data)
        else:
            self.transport.write(open_end + exchange.id_end + body)
            parts.capture.record_whole(exchange, head, body, monotonic())
        # As Exchange.release_whole.
        exchange.held = None
        exchange.held_body = b""
        if request.whole is None:
            request.begin(0)
        else:
            request.whole = None
        if self._stalls:
            self._unstall(connection)
        pool = parts.pool
        if pool.awaiting or len(pool.idle) >= pool.max_idle:
            pool.give_back(connection)
        else:
            pool.idle.append(connection)
        if self._pending or parts.draining:
            self._next()
        elif parts.lane is not None:
            parts.lane.consider(self)

    def answer(self, head: Head) -> bytes:
        """Part of upstream.Caller."""
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 - an answer belongs to an exchange
        self._answer_begun = True
        exchange.status = head.status
        self._answer_endless = head.content_length < 0 and not head.chunked
        if self._answer_endless or self._request_open:
            self._close_after = True
        if exchange.route is not None:
            exchange.first_byte_s = monotonic()
            exchange.response.begin(exchange.room_bytes)
            exchange.response.head = head
            if head.is_stream:
                exchange.response.arrivals = []
        return answer_head(head, exchange, closes=self._close_after, keeps=not self._head.minor)

    def done(self, connection: UpstreamConnection, *, reusable: bool) -> None:
        """Part of upstream.Caller."""
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 - an answer belongs to an exchange
        self._upstream = None
        if self._stalls:
            self._unstall(connection)
        self._end(exchange)
        self._answer_begun = False
        if reusable and not self._request_open:
            self._parts.pool.give_back(connection)
        else:
            connection.transport.abort()
        self._after_answer()

    def failed(self, reason: str, detail: str, *, fresh: bool) -> None:
        """Part of upstream.Caller."""
        exchange = self._exchange
        if exchange is None:
            return
        self._upstream = None
        if not fresh and reason == REASON_CLOSED and exchange.may_be_repeated:
            # It had been idle and closed as we wrote: nothing was answered and all that was sent is still here.
            self._let_go(SERVER_FULL)
            self._parts.pool.connect(self)
            return
        self._parts.meters.upstream_error(reason)
        status = STATUS_OF_REASON.get(reason, 502)
        if self._answer_begun:
            self._give_up(exchange, status)
            self._cut()
            return
        self._close_after = self._close_after or self._request_open
        self._let_go(SERVER_FULL | CONNECTING)
        body = self._write_error(exchange, status, detail)
        exchange.status = status
        exchange.first_byte_s = monotonic()
        exchange.response.begin(exchange.room_bytes)
        exchange.response.head = ERROR_HEAD
        if exchange.route is not None:
            exchange.response.append(body)
        self._outbox = []
        self._end(exchange)
        self._after_answer()

    # --- the end --------------------------------------------------------------------------------------------------
    def _end(self, exchange: Exchange) -> None:
        self._exchange = None
        if exchange.route is not None:
            if self._request_open:  # answered, refused or given up before all of it had come
                exchange.request.truncated = True
            if not exchange.event_id:  # refused before it was named
                self._name_request(exchange, exchange.request.head.request_id)
            self._parts.capture.record(exchange, monotonic())
        exchange.release()

    def _give_up(self, exchange: Exchange, status: int) -> None:
        """The answer will never be whole."""
        self._leave_upstream()
        exchange.status = status
        exchange.response.truncated = exchange.response.truncated or self._answer_begun
        exchange.held = None
        self._outbox = []
        self._end(exchange)
        self._request_open = False

    def _leave_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.release()
        else:
            self._parts.pool.leave(self)

    def _after_answer(self) -> None:
        if not self._close_after:
            self._next()
        elif self._request_open or self._pending:
            self._linger()
        else:
            self.transport.close()

    def _next(self) -> None:
        if self._parts.draining or (self._has_ended and not self._pending):
            self.transport.close()
        elif self._pending:
            # Through the loop, not the stack: a client may have sent thousands of small requests at once.
            asyncio.get_running_loop().call_soon(self._take_pending)

    def _take_pending(self) -> None:
        if self._exchange is not None or self.transport.is_closing():
            return
        data, self._pending = self._pending, b""
        self._let_go(PIPELINED)
        self._take_head(data)
        if self._has_ended and (self._exchange is None or self._request_open):
            self.transport.close()  # what it still wanted to say will never be whole

    def _refuse(self, status: int, detail: str) -> None:
        """The request is not one that can be passed on; the connection cannot be read any further."""
        exchange = self._exchange
        self._close_after = True
        if exchange is None:
            exchange = self._own_exchange
            exchange.begin(NO_HEAD, None, 0, 0.0)
            self._answer_begun = False
        else:
            self._leave_upstream()
            exchange.status = status
            self._outbox = []
            self._end(exchange)
        if self._answer_begun:
            self._cut()
            return
        self._write_error(exchange, status, detail)
        self._linger()
