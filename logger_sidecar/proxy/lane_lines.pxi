# Part of lane.pyx: the line that names an exchange, which is added to heads.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy, memmove

from driftline import names

cdef extern from "Python.h":
    Py_ssize_t PyUnicode_GET_LENGTH(str text)

cdef bytes _ID_START = names.HEADER_REQUEST_ID.encode() + b": "


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
