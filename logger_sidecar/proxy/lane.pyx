"""The fast lane: what most requests are, without the loop's transports and without an object that is not kept.

Only the compiled build has it. It owns an epoll descriptor that the loop watches. A connection is *in the lane* while
its transport does not read and its socket is registered there. What comes on it is received into a buffer. A request
that says what the last one on its connection said, but for id and body, and came whole, goes with one ``send`` to a
connection of the pool; its answer, where it says what the last one said and came whole, goes with one ``send`` back.

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
    _ID_LIMIT_BYTES = 512
    #: Room behind a message for the line that names its id, which capture bounds by this many bytes.
    _LINE_BYTES = 1024
    #: After so many usual requests a client that could not be taken is tried again, and at most after so many one that
    #: was found unusual each time it was taken.
    _NEXT_TRY = 16
    _LONGEST_WAIT = 1024

cdef bytes _ID_START = names.HEADER_REQUEST_ID.encode() + b": "
cdef Py_ssize_t _LOOK_BYTES = LOOK_BYTES


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
        cdef int found = epoll_wait(self._epoll, events, _EVENTS, 0)
        cdef int index
        for index in range(found):
            self._come(events[index].data.fd, events[index].events)

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
        cdef ssize_t head_bytes
        cdef str request_id
        if parts.draining or client._pending or client._stalls or client._has_ended:
            return False
        if size == head.whole_bytes and memcmp(self._data, PyBytes_AS_STRING(head.raw), head.size) == 0:
            request_id = head.request_id
            head_bytes = head.size
        else:
            request_id = self._other_id(head, size)
            head_bytes = head.size - len(head.request_id) + len(request_id)
            if not request_id:
                self._find_unusual(client)
                return False
        cdef UpstreamConnection connection = parts.pool.take_idle()
        if connection is None:
            return False
        if connection.lane_fd < 0 and not self._enter(connection):
            parts.pool._idle.append(connection)
            self._find_unusual(client)  # a model server behind TLS will not be read here the next time either
            return False
        cdef Exchange exchange = client._own_exchange
        cdef bytes body = PyBytes_FromStringAndSize(self._data + head_bytes, size - head_bytes)
        exchange.begin_whole(head, client._route, client._room_bytes, _monotonic(), body)
        client.silent_ticks = 0
        client._exchange = exchange
        client._answer_begun = False
        client._close_after = False
        client._upstream = connection
        exchange.held = self._named(client, exchange, body, request_id, size, head_bytes)
        connection.ask(client, exchange, head)
        self._send_on(client, connection, exchange.held)
        return True

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
        if client._looks_for_id and body.find(b'"id"', 0, _LOOK_BYTES) >= 0:
            request_id = body_id(body)
        exchange.request_id = request_id or exchange.event_id
        exchange.id_line = _ID_START + exchange.request_id.encode("latin-1") + b"\r\n"
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

    cdef str _other_id(self, Head head, ssize_t size):
        """As ``heads.other_id``."""
        cdef ssize_t start = PyBytes_GET_SIZE(head.before_id)
        cdef ssize_t rest = PyBytes_GET_SIZE(head.behind_id)
        cdef ssize_t body = head.whole_bytes - head.size
        cdef ssize_t end = size - body - rest
        cdef ssize_t index
        if start == 0 or end <= start or end - start > _ID_LIMIT_BYTES:
            return ""
        if memcmp(self._data, PyBytes_AS_STRING(head.before_id), start) != 0:
            return ""
        if memcmp(self._data + end, PyBytes_AS_STRING(head.behind_id), rest) != 0:
            return ""
        for index in range(start, end):
            if not 0x21 <= <unsigned char> self._data[index] <= 0x7E:
                return ""
        return self._data[start:end].decode("ascii")

    cdef _find_unusual(self, ClientConnection client):
        client.lane_wait = client.lane_penalty = min(2 * client.lane_penalty, _LONGEST_WAIT)

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
        if size != head.whole_bytes or not connection._in_head or not connection._may_be_whole or connection._pending:
            return False
        if memcmp(self._data, PyBytes_AS_STRING(head.raw), head.size) != 0 or connection._caller is None:
            return False
        cdef ClientConnection client = connection._caller
        cdef ProxyParts parts = self._parts
        if client.lane_fd < 0 or client._close_after or client._stalls or client._pending or parts.draining:
            return False
        cdef Exchange exchange = client._exchange
        if exchange.route is not None and PyBytes_GET_SIZE(exchange.id_line) > _LINE_BYTES:  # the buffer ends there
            return False
        cdef bytes body = PyBytes_FromStringAndSize(self._data + head.size, size - head.size)
        connection.silent_ticks = 0
        connection._caller = None
        connection.served += 1
        client._exchange = None
        client._upstream = None
        if exchange.route is not None:
            _insert(self._data, self._data, size, head.size - 2, exchange.id_line)
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


cdef void _insert(char *out, char *data, ssize_t size, ssize_t place, bytes line) noexcept:
    """The message with a line at this place; ``out`` may be where it stands already."""
    cdef ssize_t added = PyBytes_GET_SIZE(line)
    memmove(out + place + added, data + place, size - place)
    memcpy(out + place, PyBytes_AS_STRING(line), added)
    if out != data:
        memcpy(out, data, place)


cdef double _monotonic() noexcept:
    """As ``time.monotonic``."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9
