# Part of lane.pyx: how a client comes into the lane with its first request, and how it ends there.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcpy

from logger_sidecar.http1.heads cimport Head
from logger_sidecar.proxy.client cimport ClientConnection
from logger_sidecar.recording.shared_bytes cimport first_of, new_bytes


cdef _remember(Lane lane, ClientConnection client):
    """The next client that comes may say the same as this one, from its first request on."""
    lane._usual = client._head
    lane._usual_route = client._route
    lane._usual_room = client._room_bytes
    lane._usual_looks_for_id = client._looks_for_id


cdef bint _begin(Lane lane, ClientConnection client, bytes data) except -1:
    """Whether these first bytes of a client were passed on; else nothing was done but to remember what they say."""
    cdef Head head = lane._usual
    cdef Same same
    cdef ssize_t size = PyBytes_GET_SIZE(data)
    if head is None or not head.whole_bytes or lane._epoll < 0 or client.lane_fd >= 0 or not lane._parts.pool.idle:
        return False
    if not _is_same(PyBytes_AS_STRING(data), head, size, size, &same) or same.left < 0:
        return False
    if not _lay_out(lane, head, data, &same) or not lane._enter(client):
        lane._apart = None
        return False
    client._reader._newest = client._head = head
    client._route = lane._usual_route
    client._room_bytes = lane._usual_room
    client._looks_for_id = lane._usual_looks_for_id
    if lane._pass(client, size):
        return True
    lane._apart = None
    lane.leave(client)
    return False


cdef bint _lay_out(Lane lane, Head head, bytes data, Same *same):
    """Lay a message where ``_receive`` would have laid it; False: it has no room there."""
    cdef ssize_t size = PyBytes_GET_SIZE(data), apart = size - head.size
    lane._apart = None
    if same.head_bytes == head.size and apart >= _LARGE_BODY_BYTES:
        memcpy(lane._data, PyBytes_AS_STRING(data), head.size)
        lane._apart = first_of(new_bytes(max(apart, min(head.whole_bytes - head.size, _PIECE_BYTES))), apart)
        memcpy(PyBytes_AS_STRING(lane._apart), PyBytes_AS_STRING(data) + head.size, apart)
        return True
    if size >= _MESSAGE_BYTES:
        return False
    memcpy(lane._data, PyBytes_AS_STRING(data), size)
    return True


cdef bint _end(Lane lane, ClientConnection client, int fd) except -1:
    """Whether an idle client has said all that it wanted, and was closed as its transport would have closed it."""
    if client._exchange is not None or client._pending or client._request_open or client.transport.is_closing():
        return False
    cdef ssize_t size = recv(fd, lane._data, _MESSAGE_BYTES, MSG_DONTWAIT | MSG_PEEK)
    if size != 0:
        return False
    client.transport.close()
    lane.leave(client)
    return True
