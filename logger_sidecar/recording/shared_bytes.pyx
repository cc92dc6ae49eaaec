"""Bytes whose memory the recorder has open, too: a body that was received there need not be copied for it.

They are ``bytes`` in all that is asked of them, but of a type of their own, whose objects lie in a file of memory that is
shared: head and characters, as Python lays them out. One of them that is freed leaves its place to the next.

The memory is one per process, and stays as long as it: objects may live to the end. Its places have a power of two of
pages, and one for the head: only pages that are written to take memory. Of each size the newest free place is given
first, for it may still be in the processor's caches. Where no place is left, ``new_bytes`` gives usual bytes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy

import os

cdef extern from *:
    """
    #include <stddef.h>
    static PyTypeObject driftline_shared_type = {
        PyVarObject_HEAD_INIT(NULL, 0)
        .tp_name = "logger_sidecar.recording.shared_bytes.SharedBytes",
        .tp_doc = "Bytes in shared memory.",
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    };

    static int driftline_ready_shared_type(destructor let_go) {
        driftline_shared_type.tp_base = &PyBytes_Type;
        driftline_shared_type.tp_dealloc = let_go;
        return PyType_Ready(&driftline_shared_type);
    }

    static int driftline_is_shared(PyObject *object) {
        return Py_TYPE(object) == &driftline_shared_type;
    }

    /* As PyBytes_FromStringAndSize(NULL, size), where they lie there. */
    static PyObject *driftline_bytes_at(char *there, Py_ssize_t size) {
        PyBytesObject *made = (PyBytesObject *) there;
        PyObject_InitVar((PyVarObject *) made, &driftline_shared_type, size);
    _Py_COMP_DIAG_PUSH
    _Py_COMP_DIAG_IGNORE_DEPR_DECLS
        made->ob_shash = -1;
    _Py_COMP_DIAG_POP
        made->ob_sval[size] = 0;
        return (PyObject *) made;
    }

    static void driftline_set_size(PyObject *made, Py_ssize_t size) {
        Py_SET_SIZE((PyVarObject *) made, size);
        ((PyBytesObject *) made)->ob_sval[size] = 0;
    }
    """
    enum: _HEAD_BYTES "((Py_ssize_t) offsetof(PyBytesObject, ob_sval) + 1)"
    int driftline_ready_shared_type(void (*let_go)(PyObject *) noexcept) except -1
    bint driftline_is_shared(object one)
    object driftline_bytes_at(char *there, Py_ssize_t size)
    void driftline_set_size(object made, Py_ssize_t size)

cdef extern from "<sys/mman.h>" nogil:
    int PROT_READ, PROT_WRITE, MAP_SHARED
    void *MAP_FAILED
    void *mmap(void *address, size_t size, int protection, int flags, int descriptor, long long start)

cdef extern from "<fcntl.h>" nogil:
    int FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
    int fallocate(int descriptor, int mode, long long start, long long size)

cdef enum:
    _PAGE_BYTES = 4096
    _PAGES = 16384
    #: Places have 2 to the power of at most so many pages, and one more.
    _LARGEST = 7
    #: So much free memory is kept.
    _KEPT_PAGES = 256

#: Of all places together.
SHARED_BYTES = _PAGES * _PAGE_BYTES

cdef char *_start = NULL
#: Pages that were ever given out.
cdef Py_ssize_t _given = 0
#: By size: the first pages of free places, how many these are, and how many have been free since the last ``rest``.
cdef uint32_t *_free[_LARGEST + 1]
cdef Py_ssize_t _count[_LARGEST + 1]
cdef Py_ssize_t _unused[_LARGEST + 1]
#: By first page: the size of its place, and whether it takes memory.
cdef unsigned char *_size_of = NULL
cdef unsigned char *_is_there = NULL


cdef int _open() except -2:
    """The memory's descriptor; -1: there is none to be had."""
    global _start, _size_of, _is_there
    driftline_ready_shared_type(_let_go)
    try:
        opened = os.memfd_create("driftline-bodies")
        os.ftruncate(opened, SHARED_BYTES)
    except OSError:
        return -1
    cdef int descriptor = opened
    cdef void *mapped = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
    if mapped == MAP_FAILED:
        os.close(descriptor)
        return -1
    cdef int size
    for size in range(_LARGEST + 1):
        _free[size] = <uint32_t *> calloc(_PAGES // _pages_of(size), sizeof(uint32_t))
        if _free[size] == NULL:
            raise MemoryError()
    _size_of = <unsigned char *> calloc(_PAGES, 1)
    _is_there = <unsigned char *> calloc(_PAGES, 1)
    if _size_of == NULL or _is_there == NULL:
        raise MemoryError()
    _start = <char *> mapped
    return descriptor


cdef inline Py_ssize_t _pages_of(int power) noexcept:
    return (<Py_ssize_t> 1 << power) + 1


cdef bytes new_bytes(Py_ssize_t size):
    """As ``PyBytes_FromStringAndSize(NULL, size)``: for whoever makes them to fill."""
    global _given
    cdef Py_ssize_t pages = (size + _HEAD_BYTES + _PAGE_BYTES - 1) // _PAGE_BYTES, page
    cdef int power = 0
    while power <= _LARGEST and _pages_of(power) < pages:
        power += 1
    if _start == NULL or power > _LARGEST:
        return PyBytes_FromStringAndSize(NULL, size)
    if _count[power]:
        _count[power] -= 1
        _unused[power] = min(_unused[power], _count[power])
        page = _free[power][_count[power]]
    elif _given + _pages_of(power) <= _PAGES:
        page = _given
        _given += _pages_of(power)
        _size_of[page] = power
    else:
        return PyBytes_FromStringAndSize(NULL, size)
    _is_there[page] = True
    return <bytes> driftline_bytes_at(_start + page * _PAGE_BYTES, size)


cdef bytes first_of(bytes made, Py_ssize_t size):
    """So much of what ``new_bytes`` gave, which nobody else has yet."""
    if not driftline_is_shared(made):
        return made[:size]
    driftline_set_size(made, size)
    return made


cdef Py_ssize_t room_behind(bytes made) noexcept:
    """How many bytes more there is room for in the place of these; 0: they are usual bytes."""
    if not driftline_is_shared(made):
        return 0
    cdef Py_ssize_t page = (<char *> <PyObject *> made - _start) // _PAGE_BYTES
    return _pages_of(_size_of[page]) * _PAGE_BYTES - _HEAD_BYTES - PyBytes_GET_SIZE(made)


cdef void grow(bytes made, Py_ssize_t size) noexcept:
    """So much, which was written there, belongs to them from now on; nobody else has them yet, and there is room."""
    driftline_set_size(made, PyBytes_GET_SIZE(made) + size)


cdef void _let_go(PyObject *one) noexcept:
    """Its last reference is gone: the place is free."""
    cdef Py_ssize_t page = (<char *> one - _start) // _PAGE_BYTES
    cdef int power = _size_of[page]
    _free[power][_count[power]] = <uint32_t> page
    _count[power] += 1


def descriptor() -> int:
    """Of the file that has them; -1: there is none, and ``new_bytes`` gives usual bytes."""
    return _descriptor


cdef Py_ssize_t place(one) noexcept:
    """Where in the file these bytes begin; -1: they are not there."""
    return PyBytes_AS_STRING(one) - _start if driftline_is_shared(one) else -1


def place_of(one) -> int:
    """As ``place``."""
    return place(one)


def made(data, Py_ssize_t room=0) -> bytes:
    """The same bytes, there; made with room for so many, of which the rest was given back."""
    cdef bytes given = bytes(data), copied = new_bytes(max(room, PyBytes_GET_SIZE(given)))
    memcpy(PyBytes_AS_STRING(copied), PyBytes_AS_STRING(given), PyBytes_GET_SIZE(given))
    return first_of(copied, PyBytes_GET_SIZE(given)) if room else copied


def held_bytes() -> int:
    """How much memory is taken at most: all that was given out and not given back to the system."""
    cdef Py_ssize_t page = 0, pages = 0
    while page < _given:
        if _is_there[page]:
            pages += _pages_of(_size_of[page])
        page += _pages_of(_size_of[page])
    return pages * _PAGE_BYTES


def rest() -> None:
    """Called now and then: give back what was free all the time since the last call, but for 1 MiB."""
    cdef Py_ssize_t kept = 0, index, page
    cdef int power
    for power in range(_LARGEST + 1):
        for index in range(_unused[power]):
            page = _free[power][index]
            if not _is_there[page]:
                continue
            kept += _pages_of(power)
            if kept > _KEPT_PAGES and not fallocate(
                _descriptor,
                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                <long long> page * _PAGE_BYTES,
                <long long> _PAGE_BYTES * _pages_of(power),
            ):
                _is_there[page] = False
        _unused[power] = _count[power]


cdef int _descriptor = _open()
