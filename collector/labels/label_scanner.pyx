"""Labels as columns, one label after the other instead of one field of all labels after the other.

Only the compiled build has it. Nothing is refused here: of a batch in which any label is not what nearly all are,
nothing is read, and the ways that there are in Python say what is wrong with it.
"""

from cpython.dict cimport PyDict_GetItem
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_AsLong, PyLong_CheckExact
from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t

from types import MemberDescriptorType

from driftline.events import Label

cdef extern from "structmember.h":
    ctypedef struct PyMemberDef:
        Py_ssize_t offset

    ctypedef struct PyMemberDescrObject:
        PyMemberDef *d_member


cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const unsigned char *PyUnicode_1BYTE_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    PyObject *PyList_GET_ITEM(object values, Py_ssize_t place)
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define driftline_fetch(address) __builtin_prefetch(address)
    #else
    #define driftline_fetch(address) ((void) (address))
    #endif
    """
    void driftline_fetch(const void *address)

cdef enum:
    UUID_LETTERS = 36
    CACHE_LINE_BYTES = 64
    # So many labels ahead a label is fetched, and after it what it points to.
    LABELS_AHEAD = 16
    VALUES_AHEAD = 8
    NO_DIGIT = 255

cdef uint8_t[256] DIGITS
cdef int _letter
for _letter in range(256):
    DIGITS[_letter] = NO_DIGIT
for _letter in range(16):
    DIGITS[b"0123456789abcdef"[_letter]] = _letter


cdef Py_ssize_t _offset(str field) except -1:
    """Where a label has a field: its struct keeps each in a slot, as ``__slots__`` would."""
    cdef object slot = vars(Label)[field]
    if type(slot) is not MemberDescriptorType:
        raise TypeError(f"'{field}' of a label is not in a slot")
    return (<PyMemberDescrObject *> slot).d_member.offset


cdef Py_ssize_t VALUE = _offset("value")
cdef Py_ssize_t OBSERVED = _offset("observed_at_s")
cdef Py_ssize_t MODEL = _offset("model")
cdef Py_ssize_t NAMESPACE = _offset("namespace")
cdef Py_ssize_t REQUEST_ID = _offset("request_id")
cdef Py_ssize_t ROW = _offset("row")
cdef Py_ssize_t KEY = _offset("key")
cdef Py_ssize_t REWARD = _offset("reward")


cdef inline object _said(object label, Py_ssize_t offset):
    """What a label says in a field; every label was given all of them."""
    return <object> (<PyObject **> (<char *> <PyObject *> label + offset))[0]


cdef bint _read_key(object text, uint8_t *key):
    """Read a UUID as ``collector.store.ids.key_of`` spells it; whether it is one."""
    cdef const unsigned char *letters
    cdef uint8_t high, low
    cdef int place, at = 0
    if type(text) is not str or not PyUnicode_IS_COMPACT_ASCII(text) or PyUnicode_GET_LENGTH(text) != UUID_LETTERS:
        return False
    letters = PyUnicode_1BYTE_DATA(text)
    for place in range(16):
        if place == 4 or place == 6 or place == 8 or place == 10:
            if letters[at] != c"-":
                return False
            at += 1
        high, low = DIGITS[letters[at]], DIGITS[letters[at + 1]]
        if high == NO_DIGIT or low == NO_DIGIT:
            return False
        key[place] = high << 4 | low
        at += 2
    return True


cdef inline void _fetch(PyObject *label) noexcept:
    driftline_fetch(label)
    driftline_fetch(<char *> label + CACHE_LINE_BYTES)


cdef inline void _fetch_values(PyObject *label) noexcept:
    """Let what a label says be at hand: labels come from all over the memory, and each would be waited for."""
    if <PyObject *> label.ob_type != <PyObject *> Label:
        return
    _fetch((<PyObject **> (<char *> label + REQUEST_ID))[0])
    driftline_fetch((<PyObject **> (<char *> label + OBSERVED))[0])


cdef bint _is_same(object one, object other):
    return one is other or one == other


def scan(
    list labels,
    object spell,
    double now_s,
    uint8_t[:, ::1] keys,
    int64_t[::1] rows,
    double[::1] observed_s,
    int32_t[::1] codes,
):
    """See ``scanning.LabelScanner``."""
    cdef Py_ssize_t place
    cdef int beyond = 0
    cdef object label
    cdef dict known = {}, numbers = {None: -1}
    cdef list request_ids = []
    cdef PyObject *code
    cdef object namespace = None, model = None, request_id, value, observed, row
    cdef Py_ssize_t count = len(labels)
    for place in range(count):
        if place + LABELS_AHEAD < count:
            _fetch(PyList_GET_ITEM(labels, place + LABELS_AHEAD))
        if place + VALUES_AHEAD < count:
            _fetch_values(PyList_GET_ITEM(labels, place + VALUES_AHEAD))
        label = labels[place]
        if type(label) is not Label:
            return None
        if place == 0:
            namespace, model = _said(label, NAMESPACE), _said(label, MODEL)
        if not _is_same(_said(label, MODEL), model) or not _is_same(_said(label, NAMESPACE), namespace):
            return None
        if _said(label, KEY) or _said(label, REWARD):
            return None
        request_id = _said(label, REQUEST_ID)
        if not _read_key(request_id, &keys[place, 0]):
            return None
        row, observed, value = _said(label, ROW), _said(label, OBSERVED), _said(label, VALUE)
        if not PyLong_CheckExact(row) or not (observed is None or PyFloat_Check(observed)):
            return None
        rows[place] = PyLong_AsLongLongAndOverflow(row, &beyond)
        if beyond or type(value) is float:  # 0.0 and -0.0 are one to a dictionary
            return None
        observed_s[place] = now_s if observed is None else PyFloat_AS_DOUBLE(observed)
        code = PyDict_GetItem(known, value)
        if code is NULL:
            known[value] = numbers.setdefault(spell(value), len(numbers) - 1)
            code = PyDict_GetItem(known, value)
        codes[place] = PyLong_AsLong(<object> code)
        request_ids.append(request_id)
    del numbers[None]
    return request_ids, list(numbers)
