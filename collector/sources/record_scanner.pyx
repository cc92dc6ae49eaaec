"""Kafka's records and what templates ask of them, one after the other instead of step by step for all of them.

Only the compiled build has it. Nothing is decided here: where a record is not what it should be, nothing is found, and
the ways that there are in Python say what is wrong with it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp

import numpy as np

cdef extern from "<string.h>":
    void *memmem(const void *text, size_t size, const void *wanted, size_t wanted_size) noexcept

cdef enum:
    #: Bytes of the longest number, a time of 64 bits.
    _LONGEST = 10


cdef Py_ssize_t _varint(const unsigned char *text, Py_ssize_t size, Py_ssize_t at, int64_t *number) noexcept:
    """Read a number in zigzag and sevens of bits; where the next begins, or -1."""
    cdef uint64_t found = 0
    cdef int place
    if at < 0:
        return -1
    for place in range(_LONGEST):
        if at >= size:
            return -1
        found |= <uint64_t> (text[at] & 127) << (7 * place)
        at += 1
        if text[at - 1] < 128:
            if found >> 63:
                return -1
            number[0] = <int64_t> (found >> 1) ^ -<int64_t> (found & 1)
            return at
    return -1


def record_spans(bytes text, Py_ssize_t size, Py_ssize_t at, Py_ssize_t count):
    """Of each of ``count`` records from ``at`` on its offset in the batch, and where value, headers and record end.

    Rows: offsets, where values begin, where headers begin, where records end. None where not all are records that end
    before ``size``; ``text`` may go on behind it.
    """
    found = np.empty((4, count), np.int64)
    cdef int64_t[:, ::1] spans = found
    cdef const unsigned char *letters = <const unsigned char *> PyBytes_AS_STRING(text)
    cdef Py_ssize_t room = PyBytes_GET_SIZE(text), record, end
    cdef int64_t number = 0
    for record in range(count):
        at = _varint(letters, room, at, &number)
        end = at + number
        if at < 0 or not at < end <= size:
            return None
        spans[3, record] = end
        at = _varint(letters, room, at + 1, &number)  # past attributes, then the time
        at = _varint(letters, room, at, &spans[0, record])
        at = _varint(letters, room, at, &number)
        if at < 0 or number > size:
            return None
        at = _varint(letters, room, at + max(0, number), &number)
        if at < 0 or number > size or at + max(0, number) >= end:
            return None
        spans[1, record] = at
        spans[2, record] = at + max(0, number)
        at = end
    return found


def fitting_blocks(bytes text, starts, ends, tuple pieces):
    """Which blocks of headers are ``pieces`` with a gap between each two, and where the gaps of those begin and end.

    Each gap is its length in one byte, doubled, then so many bytes. A mask, and two arrays of shape (fitting, gaps).
    """
    cdef const Py_ssize_t[::1] first = np.ascontiguousarray(starts), last = np.ascontiguousarray(ends)
    cdef const char *letters = PyBytes_AS_STRING(text)
    cdef Py_ssize_t blocks = first.shape[0], gaps = len(pieces) - 1, block, fitting = 0, gap, at, size
    cdef unsigned char length
    cdef bytes piece
    fits = np.zeros(blocks, np.bool_)
    begins, finishes = np.empty((blocks, gaps), np.intp), np.empty((blocks, gaps), np.intp)
    cdef unsigned char[::1] is_fit = fits.view(np.uint8)
    cdef Py_ssize_t[:, ::1] begin = begins, finish = finishes
    for block in range(blocks):
        at = first[block]
        if not 0 <= at <= last[block] <= PyBytes_GET_SIZE(text):
            continue
        for gap in range(gaps + 1):
            piece = <bytes> pieces[gap]
            size = PyBytes_GET_SIZE(piece)
            if last[block] - at < size or memcmp(letters + at, PyBytes_AS_STRING(piece), size) != 0:
                break
            at += size
            if gap == gaps:
                is_fit[block] = at == last[block]
                fitting += is_fit[block]
                break
            length = letters[at]  # one past the end is a zero, at the least
            if length & 0x81:
                break
            begin[fitting, gap] = at + 1
            at += 1 + (length >> 1)
            finish[fitting, gap] = at
    return fits, begins[:fitting], finishes[:fitting]


def fitting_values(bytes text, starts, ends, bytes before, bytes between, bytes behind, bytes name):
    """Which values are ``before``, a body, ``between``, a body, ``behind``, with ``name`` once, and that in ``between``.

    A mask of the values, and of each where its two bodies begin and end, shape (values, 4).
    """
    cdef const Py_ssize_t[::1] first = np.ascontiguousarray(starts), last = np.ascontiguousarray(ends)
    cdef const char *letters = PyBytes_AS_STRING(text)
    cdef Py_ssize_t values = first.shape[0], value, at, middle, response, end
    cdef Py_ssize_t ahead = between.find(name)
    fits = np.zeros(values, np.bool_)
    bodies = np.zeros((values, 4), np.intp)
    cdef unsigned char[::1] is_fit = fits.view(np.uint8)
    cdef Py_ssize_t[:, ::1] body = bodies
    for value in range(values):
        if not 0 <= first[value] <= last[value] <= PyBytes_GET_SIZE(text):
            continue
        at = _only(letters, first[value], last[value], name)
        middle = at - ahead
        response = middle + PyBytes_GET_SIZE(between)
        end = last[value] - PyBytes_GET_SIZE(behind)
        body[value, 0] = first[value] + PyBytes_GET_SIZE(before)
        body[value, 1], body[value, 2], body[value, 3] = middle, response, end
        is_fit[value] = (
            at >= 0
            and body[value, 0] < middle
            and response < end
            and _stands(letters + first[value], before)
            and _stands(letters + middle, between)
            and _stands(letters + end, behind)
        )
    return fits, bodies


cdef Py_ssize_t _only(const char *letters, Py_ssize_t start, Py_ssize_t end, bytes name) noexcept:
    """Where a name stands that stands once; -1 where it does not."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    cdef const char *wanted = PyBytes_AS_STRING(name)
    cdef const char *found = <const char *> memmem(letters + start, end - start, wanted, size)
    if found == NULL:
        return -1
    start = found + size - letters
    return -1 if memmem(letters + start, end - start, wanted, size) != NULL else found - letters


cdef bint _stands(const char *at, bytes piece) noexcept:
    return memcmp(at, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece)) == 0
