# Part of lane.pyx: the end of a head that names an exchange, whose line is added to heads.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy, memmove

from driftline import names

cdef extern from "Python.h":
    Py_ssize_t PyUnicode_GET_LENGTH(str text)

cdef bytes _ID_START = names.HEADER_REQUEST_ID.encode() + b": "


cdef bytes _id_end(str request_id):
    """The header line that names it, and the blank line; an id has no character beyond latin-1, as nothing in a head has."""
    cdef Py_ssize_t start = PyBytes_GET_SIZE(_ID_START), size = PyUnicode_GET_LENGTH(request_id)
    cdef bytes end = PyBytes_FromStringAndSize(NULL, start + size + 4)
    cdef char *out = PyBytes_AS_STRING(end)
    memcpy(out, PyBytes_AS_STRING(_ID_START), start)
    memcpy(out + start, PyUnicode_1BYTE_DATA(request_id), size)
    memcpy(out + start + size, b"\r\n\r\n", 4)
    return end


cdef ssize_t _insert(char *out, char *data, ssize_t size, ssize_t head_bytes, bytes end) noexcept:
    """The message with the line of this end in its head; returns how long the line is.

    ``out`` may be where the message stands already.
    """
    cdef ssize_t place = head_bytes - 2, added = PyBytes_GET_SIZE(end) - 2
    memmove(out + place + added, data + place, size - place)
    memcpy(out + place, PyBytes_AS_STRING(end), added)
    if out != data:
        memcpy(out, data, place)
    return added
