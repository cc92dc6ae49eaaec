# Part of lane.pyx: how the lane waits for what comes. Were its epoll set a descriptor in the loop's, each message would wake
# two sets, both would be asked what came, and the loop's callbacks lie between: more than it costs to pass a short message
# on. So it is the other way round: the loop's set is a descriptor in the lane's. While connections are in the lane, it is
# the lane that waits whenever the loop would, until the loop has something to do; the loop only looks what that is. libuv
# has what this takes, for those who embed it: a callback before it waits (a prepare handle), for how long it would, and
# the descriptor that wakes it; and a handle that keeps it from waiting (idle).

from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef enum:
    #: What stands in an event in place of a connection's descriptor: the loop has something to do.
    _LOOP = -1


cdef Waiting *_waiting_of(Lane lane) except? NULL:
    """Have the lane wait in its loop's stead; NULL: there is no memory for it."""
    cdef epoll_event event
    cdef Waiting *waiting = <Waiting *> calloc(1, sizeof(Waiting))
    if waiting == NULL:
        return NULL
    waiting.loop = PyCapsule_GetPointer(uvloop.loop.libuv_get_loop_t_ptr(lane._loop), NULL)
    memset(&event, 0, sizeof(event))
    event.events = EPOLLIN
    event.data.fd = _LOOP
    if epoll_ctl(lane._epoll, EPOLL_CTL_ADD, _uv.backend_fd(waiting.loop), &event) != 0:
        free(waiting)
        return NULL
    waiting.lane = <PyObject *> lane
    Py_INCREF(lane)
    _uv.prepare_init(waiting.loop, waiting.prepare)
    _uv.idle_init(waiting.loop, waiting.idle)
    _uv.prepare_start(waiting.prepare, _before_waiting)
    _uv.unref(waiting.prepare)
    _uv.unref(waiting.idle)
    return waiting


cdef void _no_longer(Waiting *waiting) noexcept:
    """The loop waits by itself from now on."""
    _uv.close(waiting.prepare, _let_go_waiting)  # what is closed first is let go last
    _uv.close(waiting.idle, NULL)


cdef void _let_go_waiting(void *handle) noexcept nogil:
    with gil:
        Py_DECREF(<object> (<Waiting *> handle).lane)
    free(handle)


cdef void _at_once(void *handle) noexcept nogil:
    """That there is such a callback keeps the loop from waiting."""


cdef void _before_waiting(void *handle) noexcept nogil:
    """All that was to be written has been written when libuv calls this."""
    cdef Waiting *waiting = <Waiting *> handle
    _uv.idle_stop(waiting.idle)
    if waiting.connections:
        with gil:
            _wait(<Lane> waiting.lane, waiting)
        _uv.idle_start(waiting.idle, _at_once)


cdef _wait(Lane lane, Waiting *waiting):
    """Pass on what comes, until the loop has something to do."""
    cdef bint is_due = False
    cdef int left_ms = 1
    waiting.has_left = False
    while left_ms and not is_due and not waiting.has_left:
        _uv.update_time(waiting.loop)
        left_ms = _uv.backend_timeout(waiting.loop)
        is_due = _pass_next(lane, left_ms)


cdef bint _pass_next(Lane lane, int longest_ms) except -1:
    """Wait for what comes to the lane and pass it on; returns whether the loop has something to do."""
    cdef epoll_event events[_EVENTS]
    cdef int found, index
    cdef bint is_due = False
    with nogil:
        found = epoll_wait(lane._epoll, events, _EVENTS, longest_ms)
    for index in range(found):
        if events[index].data.fd == _LOOP:
            is_due = True
        else:
            lane._come(events[index].data.fd, events[index].events)
    return is_due
