# Part of lane.pyx: bodies that come in pieces. While a body comes it is one object that grows, where it lies in shared
# memory: then nothing is copied for the recorder. Nobody else has that object yet.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno

from logger_sidecar.http1.exchange cimport Exchange, Half
from logger_sidecar.http1.heads cimport Head
from logger_sidecar.proxy.client cimport ClientConnection
from logger_sidecar.proxy.upstream cimport UpstreamConnection
from logger_sidecar.recording.shared_bytes cimport first_of, grow, new_bytes, room_behind

cdef enum:
    #: So many pieces of one body are passed in a turn; behind them others have theirs.
    _PIECES = 16


cdef bytes _all_of_it(Lane lane, Head head, ssize_t size):
    """All that was received of a message."""
    cdef bytes apart = lane._apart
    if apart is None or head.whole_bytes < _MESSAGE_BYTES:
        lane._gather(head, size)
        return PyBytes_FromStringAndSize(lane._data, size)
    lane._apart = None
    cdef ssize_t behind = size - head.size - PyBytes_GET_SIZE(apart)
    cdef bytes start = PyBytes_FromStringAndSize(lane._data, head.size)
    return start + apart + PyBytes_FromStringAndSize(lane._data + head.size, behind)


cdef _pass_pieces(Lane lane, ClientConnection client, int fd):
    """As ``ClientConnection._more_body``, of all that is there of the body."""
    cdef UpstreamConnection connection = client._upstream
    cdef int passed = 0
    cdef bint goes_on = client._request_open and connection is not None and connection.lane_fd >= 0
    if client._stalls or client._pending:
        goes_on = False
    while goes_on and passed < _PIECES:
        passed += 1
        goes_on = _pass_piece(lane, client, connection, fd)
        if goes_on and not lane._is_full:
            return
    if goes_on:
        lane._loop.call_soon(_go_on, lane, client)
    else:
        lane._part(client)


def _go_on(Lane lane, ClientConnection client):
    """There may be more of the body, of which the kernel does not tell again."""
    if client.lane_fd >= 0:
        lane._come(client.lane_fd, EPOLLIN)


cdef bint _pass_piece(Lane lane, ClientConnection client, UpstreamConnection connection, int fd) except -1:
    """One of them; False: the connections' transports go on from here."""
    cdef iovec pieces[2]
    cdef Half request = client._exchange.request
    cdef ssize_t room = client._left, size, sent
    cdef char *start = lane._data
    cdef char *behind = lane._data
    cdef bytes growing = _last_with_room(request), piece = None, rest = None
    if request._room <= 0:  # what is not kept needs no memory of its own
        room = min(room, _PIECE_BYTES)
        start = lane._passing
    elif growing is not None:
        room = min(room, request._room, room_behind(growing))
        start = PyBytes_AS_STRING(growing) + PyBytes_GET_SIZE(growing)
    else:
        room = min(room, request._room, _PIECE_BYTES)
        piece = new_bytes(room)
        start = PyBytes_AS_STRING(piece)
    pieces[0].iov_base, pieces[0].iov_len = start, room
    pieces[1].iov_base = behind
    pieces[1].iov_len = _LARGE_BODY_BYTES if room == client._left else 0
    size = _received(fd, pieces, 2)
    lane._is_full = size == room + <ssize_t> pieces[1].iov_len
    if size <= 0:
        return size < 0 and (errno == EAGAIN or errno == EINTR)
    if size > room:
        client._pending = PyBytes_FromStringAndSize(behind, size - room)
        size = room
    sent = max(0, send(connection.lane_fd, start, size, MSG_DONTWAIT | MSG_NOSIGNAL))
    if sent < size:  # no room, or an error that the transport will find again
        rest = PyBytes_FromStringAndSize(start + sent, size - sent)
    _note_piece(client, connection, size)
    if piece is not None:
        request.append(piece if size == room else first_of(piece, size))
    elif growing is not None:
        grow(growing, size)
        request.seen_bytes += size
        request._room -= size
    else:
        request.seen_bytes += size
        request.truncated = True
    if rest is not None:
        lane._part(client)
        connection.transport.write(rest)
    return rest is None and not client._pending


cdef bytes _last_with_room(Half request):
    """The part of the body that the next piece can be received behind; None: there is none."""
    if request._room <= 0 or not request.parts:
        return None
    cdef bytes last = <bytes> request.parts[len(request.parts) - 1]
    if room_behind(last) <= 0:
        return None
    return last


cdef _note_piece(ClientConnection client, UpstreamConnection connection, ssize_t size):
    """So much more of the body went on."""
    client._left -= size
    client._request_open = client._left > 0
    client.silent_ticks = connection.silent_ticks = 0
    client._exchange.held = None
    client._exchange.held_body = b""
