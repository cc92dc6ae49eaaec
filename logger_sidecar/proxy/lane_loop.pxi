# Part of lane.pyx: what it asks of libuv, which uvloop's loop stands on and whose library has it.

from cpython.object cimport PyObject

cdef extern from "<dlfcn.h>" nogil:
    int RTLD_NOLOAD, RTLD_NOW
    void *dlopen(const char *path, int flags)
    void *dlsym(void *library, const char *name)

ctypedef void (*_Callback)(void *) noexcept nogil

cdef enum:
    #: More than ``uv_prepare_t`` and ``uv_idle_t`` have.
    _HANDLE_BYTES = 256

cdef struct Libuv:
    int (*backend_fd)(void *) noexcept nogil
    int (*backend_timeout)(void *) noexcept nogil
    void (*update_time)(void *) noexcept nogil
    void (*unref)(void *) noexcept nogil
    int (*prepare_init)(void *, void *) noexcept nogil
    int (*prepare_start)(void *, _Callback) noexcept nogil
    int (*idle_init)(void *, void *) noexcept nogil
    int (*idle_start)(void *, _Callback) noexcept nogil
    int (*idle_stop)(void *) noexcept nogil
    void (*close)(void *, _Callback) noexcept nogil

cdef struct Waiting:
    #: Of libuv, which gives it back to the callbacks: so it is the first.
    char prepare[_HANDLE_BYTES]
    char idle[_HANDLE_BYTES]
    void *loop
    #: Whose it is; a reference is held.
    PyObject *lane
    #: How many connections are in the lane.
    int connections
    #: Whether one has left it since it began to wait.
    bint has_left

cdef Libuv _uv


cdef bint _find_libuv(loop) except -1:
    """Whether this loop stands on libuv, and shows it."""
    if not isinstance(loop, uvloop.Loop) or not hasattr(uvloop.loop, "libuv_get_loop_t_ptr"):
        return False
    cdef bytes path = os.fsencode(uvloop.loop.__file__)
    cdef void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD)
    cdef void **found = <void **> &_uv
    cdef int index
    names = (
        b"uv_backend_fd",
        b"uv_backend_timeout",
        b"uv_update_time",
        b"uv_unref",
        b"uv_prepare_init",
        b"uv_prepare_start",
        b"uv_idle_init",
        b"uv_idle_start",
        b"uv_idle_stop",
        b"uv_close",
    )
    for index, name in enumerate(names):
        found[index] = NULL if library == NULL else dlsym(library, <bytes> name)
        if found[index] == NULL:
            return False
    return True
