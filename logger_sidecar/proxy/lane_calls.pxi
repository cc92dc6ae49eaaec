# Part of lane.pyx: what it asks of the system.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

cdef extern from *:
    """
    /* As list.pop() of a list that is not empty, whose memory stays as it is: the next one is about to be appended. */
    static PyObject *driftline_last_of(PyObject *list) {
        Py_ssize_t size = PyList_GET_SIZE(list) - 1;
        PyObject *last = PyList_GET_ITEM(list, size);
        Py_SET_SIZE((PyVarObject *) list, size);
        return last;
    }
    """
    object driftline_last_of(list of)

cdef extern from "<sys/epoll.h>" nogil:
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL
    unsigned int EPOLLET, EPOLLIN, EPOLLRDHUP
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        unsigned int events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int room, int timeout)

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    ssize_t recv(int fd, void *data, size_t room, int flags)
    ssize_t recvmsg(int fd, msghdr *message, int flags)
    ssize_t send(int fd, const void *data, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)

cdef enum:
    _NS_PER_S = 1000000000


cdef ssize_t _sent(int fd, char *data, ssize_t head_bytes, bytes body, bint is_apart) noexcept:
    """As ``send`` of a head and this body, which stands behind it where it is not apart."""
    cdef iovec pieces[2]
    cdef msghdr message
    if not is_apart:
        return send(fd, data, head_bytes + PyBytes_GET_SIZE(body), MSG_DONTWAIT | MSG_NOSIGNAL)
    pieces[0].iov_base, pieces[0].iov_len = data, head_bytes
    pieces[1].iov_base, pieces[1].iov_len = PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body)
    memset(&message, 0, sizeof(message))
    message.msg_iov, message.msg_iovlen = pieces, 2
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)


cdef ssize_t _received(int fd, iovec *pieces, size_t count) noexcept:
    """As ``recv`` into several places."""
    cdef msghdr message
    memset(&message, 0, sizeof(message))
    message.msg_iov, message.msg_iovlen = pieces, count
    return recvmsg(fd, &message, MSG_DONTWAIT)


cdef long long _since_1970_ns() noexcept:
    """As ``time.time_ns``."""
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec * <long long> _NS_PER_S + now.tv_nsec


cdef double _monotonic() noexcept:
    """As ``time.monotonic``."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9
