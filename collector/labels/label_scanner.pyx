"""Labels as columns, one label after the other instead of one field of all labels after the other.

Only the compiled build has it. Nothing is refused here: of a batch in which any label is not what nearly all are,
nothing is read, and the ways that there are in Python say what is wrong with it.
"""

from cpython.dict cimport PyDict_GetItem
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_CheckExact
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t

from msgspec.structs import astuple

from driftline.events import Label

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const unsigned char *PyUnicode_1BYTE_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1

cdef enum:
    UUID_LETTERS = 36
    NO_DIGIT = 255

cdef uint8_t[256] DIGITS
cdef int _letter
for _letter in range(256):
    DIGITS[_letter] = NO_DIGIT
for _letter in range(16):
    DIGITS[b"0123456789abcdef"[_letter]] = _letter

cdef tuple _FIELDS = Label.__struct_fields__
cdef Py_ssize_t VALUE = _FIELDS.index("value")
cdef Py_ssize_t OBSERVED = _FIELDS.index("observed_at_s")
cdef Py_ssize_t MODEL = _FIELDS.index("model")
cdef Py_ssize_t NAMESPACE = _FIELDS.index("namespace")
cdef Py_ssize_t REQUEST_ID = _FIELDS.index("request_id")
cdef Py_ssize_t ROW = _FIELDS.index("row")
cdef Py_ssize_t KEY = _FIELDS.index("key")
cdef Py_ssize_t REWARD = _FIELDS.index("reward")


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


cdef bint _is_same(object one, object other):
    return one is other or one == other


def scan(
    list labels,
    object spell,
    double now_s,
    uint8_t[:, ::1] keys,
    int64_t[::1] rows,
    double[::1] observed_s,
    object[::1] texts,
):
    """See ``scanning.LabelScanner``."""
    cdef Py_ssize_t place
    cdef int beyond = 0
    cdef tuple said
    cdef dict known = {}
    cdef list request_ids = []
    cdef PyObject *spelt
    cdef object namespace = None, model = None, value, observed, row
    for place in range(len(labels)):
        if type(labels[place]) is not Label:
            return None
        said = astuple(labels[place])
        if place == 0:
            namespace, model = said[NAMESPACE], said[MODEL]
        if not _is_same(said[MODEL], model) or not _is_same(said[NAMESPACE], namespace) or said[KEY] or said[REWARD]:
            return None
        if not _read_key(said[REQUEST_ID], &keys[place, 0]):
            return None
        row, observed, value = said[ROW], said[OBSERVED], said[VALUE]
        if not PyLong_CheckExact(row) or not (observed is None or PyFloat_Check(observed)):
            return None
        rows[place] = PyLong_AsLongLongAndOverflow(row, &beyond)
        if beyond or type(value) is float:  # 0.0 and -0.0 are one to a dictionary
            return None
        observed_s[place] = now_s if observed is None else PyFloat_AS_DOUBLE(observed)
        spelt = PyDict_GetItem(known, value)
        if spelt is NULL:
            known[value] = spell(value)
            spelt = PyDict_GetItem(known, value)
        texts[place] = <object> spelt
        request_ids.append(said[REQUEST_ID])
    return request_ids, None not in known.values()
