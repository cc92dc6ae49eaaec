"""The fast lane: what most requests are, without the loop's transports and without an object that is not kept.

Only the compiled build has it. It owns an epoll descriptor that the loop watches. A connection is *in the lane* while
its transport does not read and its socket is registered there. What comes on it is received into a buffer. A request
that says what the last one on its connection said, but in a few places (``http1.sameness``), and came whole, goes with
one ``send`` to a connection of the pool; its answer, where the same is true of it, goes with one ``send`` back.

Every step leaves the two protocols in the state that ``ClientConnection._pass_whole`` and ``answer_whole`` would have
left them in. So whatever is different (a piece, an end, an error, another head, bytes ahead of their turn, a full
socket, the end of the sidecar) is no case of its own here: both connections leave the lane, the bytes in hand are given
to ``data_received`` or to ``transport.write``, and their transports read on from there.

In the lane a transport may hold bytes to be written, an error that a timeout wrote for example; a client whose
transport does leaves the lane, so that nothing overtakes them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memmove
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

from logger_sidecar.http1.exchange cimport Exchange
from logger_sidecar.http1.heads cimport Head
from logger_sidecar.proxy.client cimport ClientConnection
from logger_sidecar.proxy.parts cimport ProxyParts
from logger_sidecar.proxy.upstream cimport UpstreamConnection

from driftline import names
from logger_sidecar.http1.request_ids import LOOK_BYTES, body_id
from logger_sidecar.http1.sameness import ID, ID_LIMIT_BYTES, LENGTH, STATE, TRACE

cdef extern from "Python.h":
    Py_ssize_t PyUnicode_GET_LENGTH(str text)
    unsigned char *PyUnicode_1BYTE_DATA(str text)

cdef extern from "<string.h>" nogil:
    #: Searches all of ``data``; glibc and musl have it.
    void *memmem(const void *data, size_t size, const void *sought, size_t sought_size)

cdef extern from "<sys/epoll.h>" nogil:
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL
    unsigned int EPOLLIN, EPOLLRDHUP
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        unsigned int events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int room, int timeout)

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT, MSG_NOSIGNAL
    ssize_t recv(int fd, void *data, size_t room, int flags)
    ssize_t send(int fd, const void *data, size_t size, int flags)

cdef enum:
    _EVENTS = 64
    #: Longest message that is taken here; longer ones hardly ever come whole.
    _MESSAGE_BYTES = 73728
    _LENGTH_DIGITS = 18
    _DATE_BYTES = 29
    _TRACE_BYTES = 55
    #: Room behind a message for the line that names its id, which capture bounds by this many bytes.
    _LINE_BYTES = 1024
    #: After so many usual requests a client that could not be taken is tried again, and at most after so many one that
    #: was found unusual each time it was taken, unless as many as these were passed here before.
    _NEXT_TRY = 16
    _LONGEST_WAIT = 1024
    _WORTH_IT = 16

cdef bytes _ID_START = names.HEADER_REQUEST_ID.encode() + b": "
cdef Py_ssize_t _LOOK_BYTES = LOOK_BYTES
cdef Py_ssize_t _ID_LIMIT_BYTES = ID_LIMIT_BYTES
cdef int _ID_PLACE = ID, _LENGTH_PLACE = LENGTH, _TRACE_PLACE = TRACE, _STATE_PLACE = STATE

cdef struct Same:
    #: What ``sameness.same_but`` finds; the id stands from ``id_start`` to ``id_end``, both 0 where it is no place, and
    #: the trace context at ``trace_start``, 0 where it is none.
    ssize_t head_bytes, id_start, id_end, trace_start


cdef class Lane:
    """Part of fast_lane.FastLane."""

    cdef ProxyParts _parts
    cdef object _loop
    cdef int _epoll
    cdef char *_data
    #: By descriptor: the connections in the lane.
    cdef list _connections
    cdef dict _watches

    def __cinit__(self):
        self._epoll = -1
        self._data = <char *> malloc(_MESSAGE_BYTES + _LINE_BYTES)
        if self._data == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self._data)
        if self._epoll >= 0:
            close(self._epoll)

    def __init__(self, ProxyParts parts):
        self._parts = parts
        self._connections = []
        self._watches = {}

    def open(self, loop):
        """Part of fast_lane.FastLane."""
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll >= 0:  # else there are no descriptors left, and the loop does it all
            self._loop = loop
            loop.add_reader(self._epoll, self._turn)

    def close(self):
        """Part of fast_lane.FastLane."""
        if self._epoll < 0:
            return
        for connection in self._connections:
            if connection is not None:
                self.leave(connection)
        self._loop.remove_reader(self._epoll)
        close(self._epoll)
        self._epoll = -1

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
        if not 0 < client._head.whole_bytes <= _MESSAGE_BYTES or not self._enter(client):
            client.lane_wait = _NEXT_TRY

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
        event.events = EPOLLIN | EPOLLRDHUP
        event.data.fd = fd
        if fd < 0 or epoll_ctl(self._epoll, EPOLL_CTL_ADD, fd, &event) != 0:
            return False
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
    def _turn(self):
        cdef epoll_event events[_EVENTS]
        cdef int left = _EVENTS, found, index
        while left > 0:
            found = epoll_wait(self._epoll, events, left, 0)
            for index in range(found):
                self._come(events[index].data.fd, events[index].events)
            if found <= 1:  # one that comes alone is most often followed by none, and asking costs a system call
                return
            left -= found  # while several are worked on others come; asking for them costs less than the loop's next turn

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

    cdef _from_client(self, ClientConnection client, int fd, unsigned int events):
        cdef ssize_t size = -1
        if events == EPOLLIN and not client.transport.is_closing():
            size = recv(fd, self._data, _MESSAGE_BYTES, MSG_DONTWAIT)
            if size < 0 and (errno == EAGAIN or errno == EINTR):
                return
        if size <= 0:  # an end or an error: the transport finds it again
            self._part(client)
            return
        if client._exchange is None and self._pass(client, size):
            return
        data = PyBytes_FromStringAndSize(self._data, size)
        self._part(client)
        client.data_received(data)

    cdef bint _pass(self, ClientConnection client, ssize_t size) except -1:
        """As ``ClientConnection._pass_whole``, where this is a request for it; False: nothing was done."""
        cdef ProxyParts parts = self._parts
        cdef Head head = client._head
        cdef Same same
        if parts.draining or client._pending or client._stalls or client._has_ended:
            return False
        if not self._is_same(head, size, &same):
            self._find_unusual(client)
            return False
        cdef ssize_t head_bytes = same.head_bytes
        cdef str request_id = head.request_id
        if same.id_end:
            request_id = self._data[same.id_start : same.id_end].decode("ascii")
        cdef UpstreamConnection connection = self._idle_one()
        if connection is None:
            return False
        if connection.lane_fd < 0 and not self._enter(connection):
            parts.pool._idle.append(connection)
            self._find_unusual(client)  # a model server behind TLS will not be read here the next time either
            return False
        cdef Exchange exchange = client._own_exchange
        cdef bytes body = PyBytes_FromStringAndSize(self._data + head_bytes, size - head_bytes)
        exchange.begin_whole(head, client._route, client._room_bytes, _monotonic(), body)
        exchange.traceparent = head.traceparent
        if same.trace_start:
            exchange.traceparent = self._data[same.trace_start : same.trace_start + _TRACE_BYTES].decode("ascii")
        client.silent_ticks = 0
        client._exchange = exchange
        client._answer_begun = False
        client._close_after = False
        client._upstream = connection
        exchange.held = self._named(client, exchange, body, request_id, size, head_bytes)
        connection.ask(client, exchange, head)
        self._send_on(client, connection, exchange.held)
        return True

    cdef UpstreamConnection _idle_one(self):
        """As ``UpstreamPool.take_idle``. The transport of a connection in the lane is open: who closes one has it leave."""
        cdef list idle = self._parts.pool._idle
        cdef UpstreamConnection connection
        while idle:
            connection = <UpstreamConnection> idle.pop()
            if connection.lane_fd >= 0 or not connection.transport.is_closing():
                return connection
        return None

    cdef bytes _named(
        self, ClientConnection client, Exchange exchange, bytes body, str request_id, ssize_t size, ssize_t head_bytes
    ):
        """Name the exchange; returns what the model server shall see."""
        cdef ProxyParts parts = self._parts
        if client._route is None:
            return PyBytes_FromStringAndSize(self._data, size)
        time_ns = int(parts.clock() * 1e9)
        exchange.time_ns = time_ns
        exchange.event_id = parts.event_ids.new(time_ns)
        if client._looks_for_id and _has_id_key(body):
            request_id = body_id(body)
        exchange.request_id = request_id or exchange.event_id
        exchange.id_line = _id_line(exchange.request_id)
        if request_id:
            return PyBytes_FromStringAndSize(self._data, size)
        cdef ssize_t added = PyBytes_GET_SIZE(exchange.id_line)
        cdef bytes out = PyBytes_FromStringAndSize(NULL, size + added)
        _insert(PyBytes_AS_STRING(out), self._data, size, head_bytes - 2, exchange.id_line)
        return out

    cdef _send_on(self, ClientConnection client, UpstreamConnection connection, bytes out):
        cdef ssize_t size = PyBytes_GET_SIZE(out)
        cdef ssize_t sent = send(connection.lane_fd, PyBytes_AS_STRING(out), size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < size:  # no room, or an error that the transport will find again
            self._part(client)
            connection.transport.write(out[sent:] if sent > 0 else out)

    cdef bint _is_same(self, Head head, ssize_t size, Same *same) noexcept:
        """As ``sameness.same_but``, whatever the date, and whether it says exactly the same."""
        same.head_bytes, same.id_start, same.id_end, same.trace_start = head.size, 0, 0, 0
        if size == head.whole_bytes and memcmp(self._data, PyBytes_AS_STRING(head.raw), head.size) == 0:
            return True
        cdef tuple stretches = <tuple> head.stretches
        cdef char *places = PyBytes_AS_STRING(head.places)
        cdef ssize_t count = PyBytes_GET_SIZE(head.places)
        cdef long long body_bytes = max(0, head.content_length)
        cdef ssize_t start, end = 0, index
        cdef bytes stretch
        for index in range(count + 1 if count else 0):
            stretch = <bytes> stretches[index]
            start = end
            if index:
                end = self._end_of_value(places[index - 1], start, size)
                if end < 0:
                    return False
                if places[index - 1] == _ID_PLACE:
                    same.id_start, same.id_end = start, end
                elif places[index - 1] == _TRACE_PLACE:
                    same.trace_start = start
                elif places[index - 1] == _LENGTH_PLACE:
                    body_bytes = _number(self._data + start, end - start)
            if size - end < PyBytes_GET_SIZE(stretch):
                return False
            if memcmp(self._data + end, PyBytes_AS_STRING(stretch), PyBytes_GET_SIZE(stretch)) != 0:
                return False
            end += PyBytes_GET_SIZE(stretch)
        same.head_bytes = end
        return count > 0 and size == end + body_bytes

    cdef ssize_t _end_of_value(self, char kind, ssize_t start, ssize_t size) noexcept:
        """Where the value that begins here ends, if one of this kind does; else -1."""
        if kind == _TRACE_PLACE:
            return start + _TRACE_BYTES if size - start >= _TRACE_BYTES and _is_trace(self._data + start) else -1
        cdef ssize_t longest = _DATE_BYTES
        cdef unsigned char lowest = 0x20, highest = 0x7E
        if kind == _ID_PLACE:
            longest, lowest = _ID_LIMIT_BYTES, 0x21
        elif kind == _STATE_PLACE:
            longest = _ID_LIMIT_BYTES
        elif kind == _LENGTH_PLACE:
            longest, lowest, highest = _LENGTH_DIGITS, 0x30, 0x39
        cdef ssize_t end = start
        while end < size and lowest <= <unsigned char> self._data[end] <= highest:
            end += 1
        if not start < end <= start + longest or (longest == _DATE_BYTES and end != start + longest):
            return -1
        if kind == _STATE_PLACE and (self._data[start] == c" " or self._data[end - 1] == c" "):
            return -1
        return end

    cdef _find_unusual(self, ClientConnection client):
        client.lane_penalty = 2 if client.lane_passed >= _WORTH_IT else min(2 * client.lane_penalty, _LONGEST_WAIT)
        client.lane_wait = client.lane_penalty
        client.lane_passed = 0

    cdef _from_server(self, UpstreamConnection connection, int fd, unsigned int events):
        cdef ssize_t size = -1
        if events == EPOLLIN:
            size = recv(fd, self._data, _MESSAGE_BYTES, MSG_DONTWAIT)
            if size < 0 and (errno == EAGAIN or errno == EINTR):
                return
            if size > 0 and self._answer(connection, size):
                return
        data = PyBytes_FromStringAndSize(self._data, size) if size > 0 else None
        caller = connection._caller
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
        if not connection._in_head or not connection._may_be_whole or connection._pending:
            return False
        if connection._caller is None or not self._is_same(head, size, &same):
            return False
        cdef ClientConnection client = connection._caller
        cdef ProxyParts parts = self._parts
        if client.lane_fd < 0 or client._close_after or client._stalls or client._pending or parts.draining:
            return False
        cdef Exchange exchange = client._exchange
        if exchange.route is not None and PyBytes_GET_SIZE(exchange.id_line) > _LINE_BYTES:  # the buffer ends there
            return False
        cdef bytes body = PyBytes_FromStringAndSize(self._data + same.head_bytes, size - same.head_bytes)
        connection.silent_ticks = 0
        connection._caller = None
        connection.served += 1
        client._exchange = None
        client._upstream = None
        client.lane_passed += 1
        if exchange.route is not None:
            _insert(self._data, self._data, size, same.head_bytes - 2, exchange.id_line)
            size += PyBytes_GET_SIZE(exchange.id_line)
        self._send_back(client, size)
        if exchange.route is not None:
            parts.capture.record_whole(exchange, head, body, _monotonic())
        exchange.release_whole()
        parts.pool.give_back(connection)
        return True

    cdef _send_back(self, ClientConnection client, ssize_t size):
        cdef ssize_t sent = 0
        if not client.transport.get_write_buffer_size():
            sent = max(0, send(client.lane_fd, self._data, size, MSG_DONTWAIT | MSG_NOSIGNAL))
        if sent < size:
            self.leave(client)
            client.transport.write(PyBytes_FromStringAndSize(self._data + sent, size - sent))


cdef bint _has_id_key(bytes body) noexcept:
    """Whether the key stands where ``request_ids.body_id`` looks for it."""
    cdef char *start = PyBytes_AS_STRING(body)
    return memmem(start, min(PyBytes_GET_SIZE(body), _LOOK_BYTES), b'"id"', 4) != NULL


cdef bytes _id_line(str request_id):
    """The header line that names it; an id has no character beyond latin-1, as nothing in a head has."""
    cdef Py_ssize_t start = PyBytes_GET_SIZE(_ID_START), size = PyUnicode_GET_LENGTH(request_id)
    cdef bytes line = PyBytes_FromStringAndSize(NULL, start + size + 2)
    cdef char *out = PyBytes_AS_STRING(line)
    memcpy(out, PyBytes_AS_STRING(_ID_START), start)
    memcpy(out + start, PyUnicode_1BYTE_DATA(request_id), size)
    memcpy(out + start + size, b"\r\n", 2)
    return line


cdef void _insert(char *out, char *data, ssize_t size, ssize_t place, bytes line) noexcept:
    """The message with a line at this place; ``out`` may be where it stands already."""
    cdef ssize_t added = PyBytes_GET_SIZE(line)
    memmove(out + place + added, data + place, size - place)
    memcpy(out + place, PyBytes_AS_STRING(line), added)
    if out != data:
        memcpy(out, data, place)


cdef bint _is_trace(char *text) noexcept:
    """As ``sameness.PLAIN_TRACE``, whose length these are."""
    cdef int index
    cdef bint names_trace = False, names_span = False
    for index in range(_TRACE_BYTES):
        if index == 2 or index == 35 or index == 52:
            if text[index] != c"-":
                return False
        elif not (c"0" <= text[index] <= c"9" or c"a" <= text[index] <= c"f"):
            return False
        elif text[index] != c"0":
            if index < 2:
                return False
            names_trace = names_trace or index < 35
            names_span = names_span or 35 < index < 52
    return names_trace and names_span


cdef long long _number(char *digits, ssize_t count) noexcept:
    cdef long long found = 0
    cdef ssize_t index
    for index in range(count):
        found = 10 * found + digits[index] - 48
    return found


cdef double _monotonic() noexcept:
    """As ``time.monotonic``."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9
