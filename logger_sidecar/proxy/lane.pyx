"""The fast lane: what most requests are, without the loop's transports and without an object that is not kept.

Only the compiled build has it, on uvloop's loop. It owns an epoll descriptor, on which it waits in the loop's stead
(``lane_waits.pxi``). A connection is *in the lane* while its transport does not read and its socket is registered there. What comes on it is received into a buffer. A request
that says what the last one on its connection said, but in a few places (``http1.sameness``), goes with one ``send`` to
a connection of the pool; its answer, where the same is true of it and it came whole, goes with one ``send`` back. Of a
request whose body comes in pieces each is received where it is kept, and goes on at once (``lane_pieces.pxi``).

Every step leaves the two protocols in the state that ``ClientConnection.data_received`` and ``answer_whole`` would have
left them in, or for pieces ``_begin`` and ``_more_body``. So whatever is different (an end, an error, another head,
bytes ahead of their turn, a full socket, the end of the sidecar) is no case of its own here: both connections leave the
lane, the bytes in hand are given to ``data_received`` or to ``transport.write``, and their transports read on from there.

In the lane a transport may hold bytes to be written, an error that a timeout wrote for example; a client whose
transport does leaves the lane, so that nothing overtakes them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.unistd cimport close

from logger_sidecar.http1.exchange cimport Exchange
from logger_sidecar.http1.heads cimport Head
from logger_sidecar.proxy.client cimport ClientConnection
from logger_sidecar.proxy.parts cimport ProxyParts
from logger_sidecar.proxy.upstream cimport UpstreamConnection
from logger_sidecar.recording.event_ids cimport EventIds
from logger_sidecar.recording.shared_bytes cimport first_of, new_bytes

import os

import uvloop

from driftline.clock import system_clock
from logger_sidecar.http1.request_ids import body_id

include "lane_calls.pxi"
include "lane_ids.pxi"
include "lane_lines.pxi"
include "lane_loop.pxi"
include "lane_sameness.pxi"

cdef enum:
    _EVENTS = 64
    #: Longest answer that is taken here, and what is received of a message into the buffer.
    _MESSAGE_BYTES = 73728
    #: A body of so many bytes is received where it is kept, and sent from there; a shorter one is sooner copied.
    _LARGE_BODY_BYTES = 4096
    #: Longest piece of a body that is received at once, and lies in one place.
    _PIECE_BYTES = 524288
    _NS_PER_MS = 1000000
    #: Room behind a message for the line that names its id, which capture bounds by this many bytes.
    _LINE_BYTES = 1024
    #: After so many usual requests a client that could not be taken is tried again, and at most after so many one that
    #: was found unusual each time it was taken, unless as many as these were passed here before.
    _NEXT_TRY = 16
    _LONGEST_WAIT = 1024
    _WORTH_IT = 16


cdef class Lane:
    """Part of fast_lane.FastLane."""

    cdef ProxyParts _parts
    #: Whether the deployment's clock is the system's, which is asked without an object.
    cdef bint _is_system_clock
    cdef object _loop
    #: With which the lane waits in the loop's stead; NULL until the first connection comes.
    cdef Waiting *_waiting
    cdef int _epoll
    cdef char *_data
    #: A piece of a body that is not kept is received here; only pages that are written to take memory.
    cdef char *_passing
    #: The body of the message in hand where it was received apart, and is not in the buffer; else None.
    cdef bytes _apart
    #: Whether what was received last left no room, so there may be more.
    cdef bint _is_full
    #: By descriptor: the connections in the lane.
    cdef list _connections
    cdef dict _watches
    #: What the newest client that was taken says, and what follows from it; None: nobody was taken since ``forget``.
    cdef Head _usual
    cdef object _usual_route
    cdef ssize_t _usual_room
    cdef bint _usual_looks_for_id

    def __cinit__(self):
        self._epoll = -1
        self._data = <char *> malloc(_MESSAGE_BYTES + _LINE_BYTES)
        self._passing = <char *> malloc(_PIECE_BYTES)
        if self._data == NULL or self._passing == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self._data)
        free(self._passing)
        if self._epoll >= 0:
            close(self._epoll)

    def __init__(self, ProxyParts parts):
        self._parts = parts
        self._is_system_clock = parts.clock is system_clock
        self._connections = []
        self._watches = {}

    def open(self, loop):
        """Part of fast_lane.FastLane."""
        if _find_libuv(loop):  # else, and where no descriptors are left, the loop does it all
            self._epoll = epoll_create1(EPOLL_CLOEXEC)
            self._loop = loop

    def close(self):
        """Part of fast_lane.FastLane."""
        if self._epoll < 0:
            return
        for connection in self._connections:
            if connection is not None:
                self.leave(connection)
        if self._waiting != NULL:
            _no_longer(self._waiting)
            self._waiting = NULL
        close(self._epoll)
        self._epoll = -1

    def forget(self):
        """Part of fast_lane.FastLane."""
        self._usual = None

    # --- who is in the lane -------------------------------------------------------------------------------------------
    def consider(self, ClientConnection client):
        """Part of fast_lane.FastLane."""
        client.lane_wait -= 1
        if client.lane_wait <= 0 and self._epoll >= 0:
            # Its answer is still with the transport; by the next turn of the loop it is with the kernel.
            self._loop.call_soon(self._take, client)

    def _take(self, ClientConnection client):
        cdef bint is_usual = client._exchange is None and not client._pending and not client._stalls
        if self._epoll < 0 or not is_usual or client._has_ended or self._parts.draining or client.lane_fd >= 0:
            return
        if client._head.whole_bytes and self._enter(client):
            _remember(self, client)
        else:
            client.lane_wait = _NEXT_TRY

    cpdef bint begin(self, ClientConnection client, bytes data) except -1:
        """Part of fast_lane.FastLane."""
        return _begin(self, client, data)

    cdef bint _enter(self, connection) except -1:
        cdef epoll_event event
        cdef int fd
        transport = connection.transport
        if transport.is_closing() or transport.get_write_buffer_size():
            return False
        if transport.get_protocol() is not connection or transport.get_extra_info("sslcontext") is not None:
            return False
        opened = transport.get_extra_info("socket")
        if opened is None:
            return False
        fd = opened.fileno()
        # Told of what is new only, so the kernel need not look again at what was read. Whatever is told of is either read
        # to its end, which a buffer that is not full shows, or left to the transport, which looks for itself.
        event.events = EPOLLIN | EPOLLRDHUP | EPOLLET
        event.data.fd = fd
        if self._waiting == NULL:
            self._waiting = _waiting_of(self)
        if fd < 0 or self._waiting == NULL or epoll_ctl(self._epoll, EPOLL_CTL_ADD, fd, &event) != 0:
            return False
        self._waiting.connections += 1
        transport.pause_reading()
        while len(self._connections) <= fd:
            self._connections.append(None)
        self._connections[fd] = connection
        connection.lane_fd = fd
        return True

    cpdef leave(self, connection):
        """Part of fast_lane.FastLane."""
        cdef epoll_event event
        cdef int fd
        if not isinstance(connection, (ClientConnection, UpstreamConnection)) or connection.lane_fd < 0:
            return
        fd = connection.lane_fd
        connection.lane_fd = -1
        self._connections[fd] = None
        epoll_ctl(self._epoll, EPOLL_CTL_DEL, fd, &event)
        self._waiting.connections -= 1
        self._waiting.has_left = True
        watch = self._watches.pop(connection, None)
        transport = connection.transport
        if not transport.is_closing():
            transport.resume_reading()
            if watch is not None:
                transport.set_protocol(watch)

    def watch(self, connection, watch):
        """Part of fast_lane.FastLane."""
        if connection.lane_fd < 0:
            return False
        self._watches[connection] = watch
        return True

    cdef _part(self, ClientConnection client):
        """This client and its answer leave the lane."""
        cdef UpstreamConnection connection = client._upstream
        self.leave(client)
        if connection is not None:
            self.leave(connection)

    # --- what comes ---------------------------------------------------------------------------------------------------
    cdef _come(self, int fd, unsigned int events):
        cdef epoll_event event
        connection = self._connections[fd]
        if connection is None:  # it left in this turn
            return
        watch = self._watches.pop(connection, None) if self._watches else None
        if watch is not None:
            watch.begin()
        try:
            if type(connection) is ClientConnection:
                self._from_client(<ClientConnection> connection, fd, events)
            else:
                self._from_server(<UpstreamConnection> connection, fd, events)
        except Exception as error:
            # As the loop does with what a protocol raises.
            self.leave(connection)
            connection.transport.abort()
            self._loop.call_exception_handler(
                {"message": "fatal error: the lane failed", "exception": error, "protocol": connection}
            )
        if watch is not None:
            watch.end()

    cdef ssize_t _receive(self, int fd, Head head, ssize_t most) except? -2:
        """As ``recv`` into the buffer. -1: an end or an error, 0: nothing is there yet.

        A large body, of a message that may say what the last one said, is received where it is kept: ``_apart``. At
        ``most`` so much of it, for what is longer than the buffer.
        """
        cdef iovec pieces[3]
        cdef ssize_t size, large = head.whole_bytes - head.size, room = _MESSAGE_BYTES, apart = min(large, most)
        cdef bint is_long = head.whole_bytes >= _MESSAGE_BYTES
        if large < _LARGE_BODY_BYTES or (is_long and not most):
            size = recv(fd, self._data, room, MSG_DONTWAIT)
        else:
            if not is_long:
                apart = large
            self._apart = new_bytes(apart)
            pieces[0].iov_base, pieces[0].iov_len = self._data, head.size
            pieces[1].iov_base, pieces[1].iov_len = PyBytes_AS_STRING(self._apart), apart
            # What comes behind it: of a long one at most what is not its own, for its next piece is received apart too.
            pieces[2].iov_base = self._data + (head.size if is_long else head.whole_bytes)
            pieces[2].iov_len = _MESSAGE_BYTES - (head.size if is_long else head.whole_bytes) if large == apart else 0
            room = head.size + apart + <ssize_t> pieces[2].iov_len
            size = _received(fd, pieces, 3)
        self._is_full = size == room
        if size <= 0:
            size = 0 if size < 0 and (errno == EAGAIN or errno == EINTR) else -1
            self._apart = None
        elif size != head.whole_bytes and size < _MESSAGE_BYTES:
            self._gather(head, size)
        elif self._apart is not None and size - head.size < apart:
            self._apart = first_of(self._apart, size - head.size)
        return size

    cdef _gather(self, Head head, ssize_t size):
        """What was received apart comes to where it would be without; it has room there."""
        cdef ssize_t apart = min(size, head.whole_bytes) - head.size
        if self._apart is not None and apart > 0:
            memcpy(self._data + head.size, PyBytes_AS_STRING(self._apart), apart)
        self._apart = None

    cdef bint _says_the_same(self, Head head, ssize_t size, Same *same) except -1:
        """``_is_same`` of what was received, in whichever way."""
        if self._apart is not None:
            if _is_same(self._data, head, size, head.size, same) and same.head_bytes == head.size:
                if size <= head.size + PyBytes_GET_SIZE(self._apart):
                    return True
            if head.whole_bytes >= _MESSAGE_BYTES:
                return False
            self._gather(head, size)
        return _is_same(self._data, head, size, size, same)

    cdef bytes _body(self, ssize_t head_bytes, ssize_t size):
        """Of a message that says the same."""
        if self._apart is not None:
            return self._apart
        return PyBytes_FromStringAndSize(self._data + head_bytes, size - head_bytes)

    cdef _from_client(self, ClientConnection client, int fd, unsigned int events):
        cdef ssize_t size = -1
        if events == EPOLLIN and not client.transport.is_closing():
            if client._request_open:
                _pass_pieces(self, client, fd)
                return
            size = self._receive(fd, client._head, min(_PIECE_BYTES, max(client._room_bytes, _MESSAGE_BYTES)))
            if size == 0:
                return
        if size < 0:
            if events != EPOLLIN | EPOLLRDHUP or not _end(self, client, fd):  # the transport finds it again
                self._part(client)
            return
        if client._exchange is None and self._pass(client, size):
            if self._is_full and client.lane_fd >= 0:
                _pass_pieces(self, client, fd)
            return
        data = _all_of_it(self, client._head, size)
        self._part(client)
        client.data_received(data)

    cdef bint _pass(self, ClientConnection client, ssize_t size) except -1:
        """As ``ClientConnection.data_received``, where this is a request for it; False: nothing was done.

        As ``_begin`` where it is a request that has not come whole.
        """
        cdef ProxyParts parts = self._parts
        cdef Head head = client._head
        cdef Same same
        if parts.draining or client._pending or client._stalls or client._has_ended:
            return False
        if not self._says_the_same(head, size, &same):
            self._find_unusual(client)
            return False
        if same.left < 0 or (same.left and size == same.head_bytes):  # the id may stand in the body that is on its way
            return False
        cdef ssize_t head_bytes = same.head_bytes
        cdef str request_id = head.request_id
        if same.id_end:
            request_id = self._data[same.id_start : same.id_end].decode("ascii")
        cdef UpstreamConnection connection = self._idle_one()
        if connection is None:
            return False
        if connection.lane_fd < 0 and not self._enter(connection):
            parts.pool.idle.append(connection)
            self._find_unusual(client)  # a model server behind TLS will not be read here the next time either
            return False
        cdef Exchange exchange = client._own_exchange
        cdef bytes body = self._body(head_bytes, size)
        if same.left:
            exchange.begin(head, client._route, client._room_bytes, _monotonic())
            exchange.request.append(body)
        else:
            exchange.begin_whole(head, client._route, client._room_bytes, _monotonic(), body)
        client._left = same.left
        client._request_open = same.left > 0
        exchange.traceparent = head.traceparent
        if same.trace_start:
            exchange.traceparent = self._data[same.trace_start : same.trace_start + _TRACE_BYTES].decode("ascii")
        client.silent_ticks = 0
        client._exchange = exchange
        client._answer_begun = False
        client._close_after = False
        client._upstream = connection
        cdef bytes end = None
        if client._route is not None:
            end = self._named(client, exchange, body, request_id)
        connection.ask(client, exchange, head)
        self._send_on(client, connection, exchange, end, head_bytes, body)
        return True

    cdef UpstreamConnection _idle_one(self):
        """As ``UpstreamPool.take_idle``. The transport of a connection in the lane is open: who closes one has it leave."""
        cdef list idle = self._parts.pool.idle
        cdef UpstreamConnection connection
        while idle:
            connection = <UpstreamConnection> driftline_last_of(idle)
            if connection.lane_fd >= 0 or not connection.transport.is_closing():
                return connection
        return None

    cdef bytes _named(self, ClientConnection client, Exchange exchange, bytes body, str request_id):
        """Name the exchange; returns the end of a head that tells the model server, None where that knows its name."""
        cdef ProxyParts parts = self._parts
        cdef EventIds ids = parts.event_ids
        cdef long long now_ns
        if self._is_system_clock:
            now_ns = _since_1970_ns()
            exchange.time_ns = now_ns
            exchange.event_id = new_id(ids, now_ns // _NS_PER_MS)
        else:
            time_ns = int(parts.clock() * 1e9)
            exchange.time_ns = time_ns
            exchange.event_id = ids.new(time_ns)
        if client._looks_for_id and _has_id_key(body):
            request_id = body_id(body)
        exchange.request_id = request_id or exchange.event_id
        exchange.id_end = _id_end(exchange.request_id)
        return None if request_id else exchange.id_end

    cdef _send_on(
        self,
        ClientConnection client,
        UpstreamConnection connection,
        Exchange exchange,
        bytes end,
        ssize_t head_bytes,
        bytes body,
    ):
        """Send the message in hand; its head gets this end, where there is one."""
        cdef ssize_t body_bytes = PyBytes_GET_SIZE(body), size, sent
        cdef bint is_apart = self._apart is not None
        self._apart = None
        if end is not None:
            size = head_bytes if is_apart else head_bytes + body_bytes
            head_bytes += _insert(self._data, self._data, size, head_bytes, end)
        exchange.held = PyBytes_FromStringAndSize(self._data, head_bytes)
        exchange.held_body = body
        size = head_bytes + body_bytes
        sent = _sent(connection.lane_fd, self._data, head_bytes, body, is_apart)
        if sent < size:  # no room, or an error that the transport will find again
            self._part(client)
            connection.transport.write((exchange.held + body)[max(sent, 0) :])

    cdef _find_unusual(self, ClientConnection client):
        client.lane_penalty = 2 if client.lane_passed >= _WORTH_IT else min(2 * client.lane_penalty, _LONGEST_WAIT)
        client.lane_wait = client.lane_penalty
        client.lane_passed = 0

    cdef _from_server(self, UpstreamConnection connection, int fd, unsigned int events):
        cdef ssize_t size = -1
        if events == EPOLLIN:
            size = self._receive(fd, connection._head, 0)
            if size == 0:
                return
            if 0 < size < _MESSAGE_BYTES and self._answer(connection, size):
                return
        data = _all_of_it(self, connection._head, size) if size > 0 else None
        caller = connection.caller
        if type(caller) is ClientConnection:
            if data is not None:
                self._find_unusual(<ClientConnection> caller)
            self._part(<ClientConnection> caller)
        self.leave(connection)
        if data is not None:
            connection.data_received(data)

    cdef bint _answer(self, UpstreamConnection connection, ssize_t size) except -1:
        """As ``ClientConnection.answer_whole``, where this is an answer for it; False: nothing was done."""
        cdef Head head = connection._head
        cdef Same same
        if not connection._in_head or not connection.may_be_whole or connection._pending:
            return False
        if connection.caller is None or not self._says_the_same(head, size, &same):
            return False
        if same.left:
            return False
        cdef ClientConnection client = connection.caller
        cdef ProxyParts parts = self._parts
        if client.lane_fd < 0 or client._close_after or client._request_open or parts.draining:
            return False
        if client._stalls or client._pending:
            return False
        cdef Exchange exchange = client._exchange
        if exchange.route is not None and PyBytes_GET_SIZE(exchange.id_end) > _LINE_BYTES:  # the buffer ends there
            return False
        cdef bytes body = self._body(same.head_bytes, size)
        connection.silent_ticks = 0
        connection.caller = None
        connection.has_served = True
        client._exchange = None
        client._upstream = None
        client.lane_passed += 1
        self._send_back(client, exchange, same.head_bytes, body)
        if exchange.route is not None:
            parts.capture.record_whole(exchange, head, body, _monotonic())
        exchange.release_whole()
        parts.pool.give_back(connection)
        return True

    cdef _send_back(self, ClientConnection client, Exchange exchange, ssize_t head_bytes, bytes body):
        """As ``_send_on``."""
        cdef ssize_t body_bytes = PyBytes_GET_SIZE(body), size, sent = 0
        cdef bint is_apart = self._apart is not None
        self._apart = None
        if exchange.route is not None:
            size = head_bytes if is_apart else head_bytes + body_bytes
            head_bytes += _insert(self._data, self._data, size, head_bytes, exchange.id_end)
        if not client.transport.get_write_buffer_size():
            sent = max(0, _sent(client.lane_fd, self._data, head_bytes, body, is_apart))
        if sent < head_bytes + body_bytes:
            self.leave(client)
            client.transport.write((PyBytes_FromStringAndSize(self._data, head_bytes) + body)[sent:])


include "lane_ends.pxi"
include "lane_pieces.pxi"
include "lane_waits.pxi"
