"""Bodies of one kind, read in one pass each: what a template asks of them is compared, and what its gaps hold is read.

Only the compiled build has it. It reads what is most frequent: gaps of plain numbers, of plain texts, and an id. A body
that holds anything else in a gap, or anything else around its gaps, does not fit here and takes the other ways. What
does fit means what ``msgspec`` reads of it: numbers are the float64 nearest to what is written, texts hold no escapes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport NAN
from libc.stdint cimport int32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, strncmp

import numpy as np

from driftline.columns import CodedTexts
from serving.body_scanners import NUMBERS, TEXTS, Scanned

cdef extern from *:
    """
    /* digits / 10**places, rounded to the nearest float64, a tie to the even one. digits > 0, places from 0 to 19.

    The quotient is worked out in whole numbers to at least 64 bits, with one bit for "and something more"; its upper
    54 bits and that one decide the rounding. */
    static double divided(unsigned long long digits, int places) {
        static const unsigned long long powers[20] = {
            1ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL, 1000000ULL, 10000000ULL, 100000000ULL, 1000000000ULL,
            10000000000ULL, 100000000000ULL, 1000000000000ULL, 10000000000000ULL, 100000000000000ULL,
            1000000000000000ULL, 10000000000000000ULL, 100000000000000000ULL, 1000000000000000000ULL,
            10000000000000000000ULL};
        int shift = __builtin_clzll(digits);
        unsigned __int128 dividend = (unsigned __int128)(digits << shift) << 64;
        unsigned __int128 quotient = dividend / powers[places];
        int above = (quotient >> 64) ? 64 - __builtin_clzll((unsigned long long)(quotient >> 64)) : 0;
        unsigned long long upper = (unsigned long long)(quotient >> above);
        int is_more = (quotient & (((unsigned __int128)1 << above) - 1)) != 0 || quotient * powers[places] != dividend;
        /* upper has 64 bits, the first of them set: 53 of them are kept, 11 round. */
        unsigned long long kept = upper >> 11, rest = upper & 2047;
        if (rest > 1024 || (rest == 1024 && (is_more || (kept & 1)))) kept += 1;
        return __builtin_ldexp((double)kept, 11 + above - 64 - shift);
    }
    """
    double divided(uint64_t digits, int places) noexcept

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *text, char **end, void *overflow) except? -1.0

cdef enum:
    #: Digits that a whole number of 64 bits holds for certain, and longest number that is read here.
    _DIGITS = 19
    #: Whole numbers up to here, and powers of ten up to here, are float64 without rounding.
    _EXACT_BITS = 53
    _EXACT_POWER = 22
    _LONGEST_ID = 64
    _FIRST_ROOM = 64

cdef double[23] _POWERS
for _power in range(23):
    _POWERS[_power] = float(10**_power)


cdef struct Known:
    const char *text
    Py_ssize_t length
    int32_t code


cdef class _Texts:
    """The different texts of one gap, in the order in which they were met."""

    cdef Known *_known
    cdef Py_ssize_t _room
    cdef list texts

    def __cinit__(self):
        self._room = _FIRST_ROOM
        self._known = <Known *> calloc(self._room, sizeof(Known))
        if self._known == NULL:
            raise MemoryError
        self.texts = []

    def __dealloc__(self):
        free(self._known)

    cdef int32_t code(self, const char *text, Py_ssize_t length) except -2:
        """The number of a text; -1 where it is none. It must stay where it is."""
        cdef uint64_t place = _place(text, length)
        cdef Known *found
        while True:
            found = &self._known[place & (self._room - 1)]
            if found.text == NULL:
                break
            if found.length == length and memcmp(found.text, text, length) == 0:
                return found.code
            place += 1
        try:
            self.texts.append(PyUnicode_DecodeUTF8(text, length, NULL))
        except UnicodeDecodeError:
            return -1
        found.text, found.length, found.code = text, length, <int32_t> (len(self.texts) - 1)
        if 2 * len(self.texts) > self._room:
            self._grow()
        return <int32_t> (len(self.texts) - 1)

    cdef int _grow(self) except -1:
        cdef Known *old = self._known
        cdef Py_ssize_t room = self._room, at
        cdef uint64_t place
        cdef Known *known = <Known *> calloc(2 * room, sizeof(Known))
        if known == NULL:
            raise MemoryError
        for at in range(room):
            if old[at].text == NULL:
                continue
            place = _place(old[at].text, old[at].length)
            while known[place & (2 * room - 1)].text != NULL:
                place += 1
            known[place & (2 * room - 1)] = old[at]
        self._known, self._room = known, 2 * room
        free(old)
        return 0


cdef uint64_t _place(const char *text, Py_ssize_t length) noexcept:
    cdef uint64_t found = 14695981039346656037ULL  # FNV-1a
    cdef Py_ssize_t at
    for at in range(length):
        found = (found ^ <unsigned char> text[at]) * 1099511628211ULL
    return found ^ (found >> 32)


cdef const char *_past_blanks(const char *at) noexcept:
    while at[0] == b" " or at[0] == b"\n" or at[0] == b"\t" or at[0] == b"\r":
        at += 1
    return at


cdef const char *_number(const char *at, double *found) except? NULL:
    """Read a number of JSON, or null; NULL where it is neither. A text ends with a zero, so that no number does."""
    cdef const char *start = at
    cdef uint64_t digits = 0
    cdef int count = 0, places = 0, power = 0
    cdef bint is_negative = at[0] == b"-", is_below_one
    if at[0] == b"n":
        found[0] = NAN
        return at + 4 if strncmp(at, b"null", 4) == 0 else NULL
    at += is_negative
    is_below_one = at[0] == b"0"
    if is_below_one:
        at += 1
    else:
        while b"0" <= at[0] <= b"9":
            digits = digits * 10 + (at[0] - 48)
            count += 1
            at += 1
        if not count:
            return NULL
    if at[0] != b"." and at[0] != b"e" and at[0] != b"E":
        # A whole number: as text it is spelt with all of its digits, which a float64 of this size has not lost.
        found[0] = -<double> digits if is_negative and digits else <double> digits
        return at if count <= 15 else NULL
    if at[0] == b".":
        at += 1
        if not b"0" <= at[0] <= b"9":
            return NULL
        while b"0" <= at[0] <= b"9":
            digits = digits * 10 + (at[0] - 48)
            count += 1 if digits else 0
            places += 1
            at += 1
    if at[0] == b"e" or at[0] == b"E":
        at = _power_of_ten(at + 1, &power)
        if at == NULL:
            return NULL
    power -= places
    if digits == 0 and count == 0:
        found[0] = 0.0
    elif count > _DIGITS:
        return _long_way(start, at, found)
    elif digits >> _EXACT_BITS == 0 and -_EXACT_POWER <= power <= _EXACT_POWER:
        found[0] = digits / _POWERS[-power] if power < 0 else digits * _POWERS[power]
    elif -_DIGITS <= power <= 0:
        found[0] = divided(digits, -power)
    else:
        return _long_way(start, at, found)
    if is_negative:
        found[0] = -found[0]
    return at


cdef const char *_power_of_ten(const char *at, int *power) noexcept:
    cdef bint is_negative = at[0] == b"-"
    cdef int count = 0
    at += at[0] == b"-" or at[0] == b"+"
    while b"0" <= at[0] <= b"9":
        power[0] = power[0] * 10 + (at[0] - 48)
        count += 1
        if count > 4:
            return NULL
        at += 1
    if is_negative:
        power[0] = -power[0]
    return at if count else NULL


cdef const char *_long_way(const char *start, const char *end, double *found) except? NULL:
    cdef bytes text = start[: end - start]
    found[0] = PyOS_string_to_double(PyBytes_AS_STRING(text), NULL, NULL)
    # Beyond the largest number there is: the other ways say so.
    return end if found[0] - found[0] == 0 else NULL


cdef class Scanner:
    """Part of body_scanners.Scanner."""

    cdef tuple _pieces
    cdef Py_ssize_t _gaps
    cdef Py_ssize_t _numbers
    cdef Py_ssize_t _texts
    cdef int *_kinds
    cdef Py_ssize_t *_counts

    def __cinit__(self, tuple pieces, list gaps):
        cdef Py_ssize_t at
        self._pieces, self._gaps = pieces, len(gaps)
        self._kinds = <int *> malloc(max(1, self._gaps) * sizeof(int))
        self._counts = <Py_ssize_t *> malloc(max(1, self._gaps) * sizeof(Py_ssize_t))
        if self._kinds == NULL or self._counts == NULL:
            raise MemoryError
        for at in range(self._gaps):
            self._kinds[at], self._counts[at] = gaps[at]
            self._numbers += self._counts[at] if self._kinds[at] == NUMBERS else 0
            self._texts += self._counts[at] if self._kinds[at] == TEXTS else 0

    def __dealloc__(self):
        free(self._kinds)
        free(self._counts)

    def scan(self, bytes text, starts, ends):
        """Part of body_scanners.Scanner."""
        cdef const Py_ssize_t[::1] first = np.ascontiguousarray(starts), last = np.ascontiguousarray(ends)
        cdef Py_ssize_t bodies = first.shape[0], body
        fits = np.zeros(bodies, np.bool_)
        numbers = np.empty((bodies, self._numbers))
        codes = np.empty((bodies, self._texts), np.int32)
        cdef unsigned char[::1] is_fit = fits.view(np.uint8)
        cdef double[:, ::1] number_rows = numbers
        cdef int32_t[:, ::1] code_rows = codes
        cdef list tables = [_Texts() if self._kinds[gap] == TEXTS else None for gap in range(self._gaps)]
        cdef const char *start = PyBytes_AS_STRING(text)
        cdef double *number = NULL
        cdef int32_t *code = NULL
        for body in range(bodies):
            if self._numbers:
                number = &number_rows[body, 0]
            if self._texts:
                code = &code_rows[body, 0]
            if 0 <= first[body] <= last[body] <= PyBytes_GET_SIZE(text):
                is_fit[body] = self._read(start + first[body], start + last[body], number, code, tables)
        return self._scanned(fits, numbers, codes, tables)

    cdef bint _read(
        self, const char *at, const char *end, double *number, int32_t *code, list tables
    ) except -1:
        cdef Py_ssize_t gap = 0, size
        cdef bytes piece
        while True:
            piece = <bytes> self._pieces[gap]
            size = PyBytes_GET_SIZE(piece)
            if end - at < size or memcmp(at, PyBytes_AS_STRING(piece), size) != 0:
                return False
            at += size
            if gap == self._gaps:
                return at == end
            if self._kinds[gap] == NUMBERS:
                at = _read_numbers(at, self._counts[gap], number)
                number += self._counts[gap]
            elif self._kinds[gap] == TEXTS:
                at = _read_texts(at, self._counts[gap], code, <_Texts> tables[gap])
                code += self._counts[gap]
            else:
                at = _read_id(at)
            if at == NULL or at > end:
                return False
            gap += 1

    def _scanned(self, fits, numbers, codes, list tables):
        if not fits.all():
            numbers, codes = numbers[fits], codes[fits]
        found = []
        cdef Py_ssize_t gap, count, number = 0, code = 0
        for gap in range(self._gaps):
            count = self._counts[gap]
            if self._kinds[gap] == NUMBERS:
                found.append(numbers[:, number : number + count].reshape(-1))
                number += count
            elif self._kinds[gap] == TEXTS:
                found.append(CodedTexts((<_Texts> tables[gap]).texts, codes[:, code : code + count].reshape(-1)))
                code += count
        return Scanned(fits, found)


cdef const char *_read_numbers(const char *at, Py_ssize_t count, double *number) except? NULL:
    cdef Py_ssize_t place
    for place in range(count):
        if place:
            if at[0] != b",":
                return NULL
            at += 1
        at = _number(_past_blanks(at), &number[place])
        if at == NULL:
            return NULL
        at = _past_blanks(at)
    return at


cdef const char *_read_texts(const char *at, Py_ssize_t count, int32_t *code, _Texts known) except? NULL:
    cdef Py_ssize_t place
    cdef const char *start
    for place in range(count):
        if place:
            if at[0] != b",":
                return NULL
            at += 1
        at = _past_blanks(at)
        if at[0] == b"n":
            if strncmp(at, b"null", 4) != 0:
                return NULL
            code[place] = -1
            at = _past_blanks(at + 4)
            continue
        if at[0] != b'"':
            return NULL
        at += 1
        start = at
        while at[0] != b'"':
            if at[0] == b"\\" or <unsigned char> at[0] < 32:  # an escape, an end of the text, or no JSON
                return NULL
            at += 1
        code[place] = known.code(start, at - start)
        if code[place] < 0:
            return NULL
        at = _past_blanks(at + 1)
    return at


cdef const char *_read_id(const char *at) noexcept:
    cdef int size
    for size in range(_LONGEST_ID):
        if at[0] == b'"' or at[0] == b"\\" or not 32 <= <unsigned char> at[0] < 127:
            return at
        at += 1
    return at
