"""One pass over the counts of several columns where NumPy needs many: what only the compiled build has.

Each function fills the arrays it is given with what the code beside its call in Python gives, to the last digit: the
same operations on the same numbers, and sums only of whole numbers and halves, whose order does not matter.
"""

cimport cython
from libc.math cimport fabs, sqrt
from libc.stdint cimport int64_t, uint8_t


@cython.boundscheck(False)
@cython.wraparound(False)
def cumulate(const int64_t[:, ::1] counts, int64_t[:, ::1] below) -> None:
    """Rows up to and with each bin, shape (columns, bins)."""
    cdef Py_ssize_t column, bin
    cdef int64_t rows
    with nogil:
        for column in range(counts.shape[0]):
            rows = 0
            for bin in range(counts.shape[1]):
                rows += counts[column, bin]
                below[column, bin] = rows


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def compare(
    const double[:, ::1] before,
    const int64_t[:, ::1] below,
    double[:, ::1] gaps,
    double[::1] largest_before,
    double[::1] largest_now,
    double[::1] distances,
) -> None:
    """By how much shares up to and with each bin differ, and both shares at each column's first largest difference."""
    cdef Py_ssize_t column, bin, place, last = below.shape[1] - 1
    cdef int64_t known
    cdef double rows, now, gap, largest
    with nogil:
        for column in range(below.shape[0]):
            rows = <double>below[column, last]
            place, largest = 0, -1.0
            known, now = 0, 0.0
            for bin in range(last + 1):
                # Nothing is added by an empty bin, nor by those after a column's last.
                if below[column, bin] != known:
                    known = below[column, bin]
                    now = <double>known / rows
                gap = fabs(before[column, bin] - now)
                gaps[column, bin] = gap
                if gap > largest:
                    place, largest = bin, gap
            largest_before[column] = before[column, place]
            largest_now[column] = <double>below[column, place] / rows
            distances[column] = largest


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def tabulate(
    const int64_t[:, ::1] known,
    const int64_t[:, ::1] known_now,
    const int64_t[:, ::1] apart,
    const int64_t[:, ::1] apart_now,
    const double[::1] share,
    double minimum_expected,
    double[:, ::1] reference,
    double[:, ::1] current,
    uint8_t[:, ::1] dense,
    uint8_t[:, ::1] sparse,
) -> None:
    """Known cells, those apart, and the sparse known ones pooled, with which cells are dense and which sparse."""
    cdef Py_ssize_t column, cell, cells = known.shape[1], others = apart.shape[1]
    cdef int64_t pooled, pooled_now
    cdef double expected
    with nogil:
        for column in range(known.shape[0]):
            pooled = pooled_now = 0
            for cell in range(cells):
                if <double>(known[column, cell] + known_now[column, cell]) * share[column] >= minimum_expected:
                    reference[column, cell] = <double>known[column, cell]
                    current[column, cell] = <double>known_now[column, cell]
                else:
                    reference[column, cell] = current[column, cell] = 0.0
                    pooled += known[column, cell]
                    pooled_now += known_now[column, cell]
            for cell in range(others):
                reference[column, cells + cell] = <double>apart[column, cell]
                current[column, cells + cell] = <double>apart_now[column, cell]
            reference[column, cells + others] = <double>pooled
            current[column, cells + others] = <double>pooled_now
            for cell in range(cells + others + 1):
                expected = (reference[column, cell] + current[column, cell]) * share[column]
                dense[column, cell] = expected >= minimum_expected
                sparse[column, cell] = (expected > 0) & (expected < minimum_expected)


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def weigh(const double[:, ::1] counts, const uint8_t[:, ::1] used, double[:, ::1] shares) -> None:
    """Shares of the used cells, half a row added to each; the others are one."""
    cdef Py_ssize_t column, cell
    cdef double rows
    with nogil:
        for column in range(counts.shape[0]):
            rows = 0.0
            for cell in range(counts.shape[1]):
                if used[column, cell]:
                    rows += counts[column, cell] + 0.5
            if rows < 0.5:
                rows = 0.5
            for cell in range(counts.shape[1]):
                shares[column, cell] = (counts[column, cell] + 0.5) / rows if used[column, cell] else 1.0


@cython.boundscheck(False)
@cython.wraparound(False)
def smallest(
    const double[::1] p_values,
    const uint8_t[::1] tested,
    const double[::1] others,
    const int64_t[::1] cells,
    double[::1] found,
) -> None:
    """The smallest of each column's p-value, where ``tested``, and the others', times how many ``cells`` they are of."""
    cdef Py_ssize_t column
    cdef double p_value
    cdef int64_t tests
    with nogil:
        for column in range(p_values.shape[0]):
            p_value, tests = others[column], cells[column]
            if tested[column]:
                tests += 1
                # What is no number stays none.
                if not p_values[column] >= p_value:
                    p_value = p_values[column]
            elif p_value > 1.0:
                p_value = 1.0
            if tests > 1:
                p_value = p_value * <double>tests
            found[column] = 1.0 if p_value > 1.0 else p_value


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def enclose(
    const double[::1] before,
    const double[::1] now,
    const int64_t[::1] rows_before,
    const int64_t[::1] rows,
    const double[::1] chance_squares,
    const double[::1] doubtful,
    double z,
    double[:, ::1] found,
) -> None:
    """Effects and both ends of their intervals, shape (3, columns)."""
    cdef Py_ssize_t column
    cdef double raw, value, low, half, first, second
    with nogil:
        for column in range(before.shape[0]):
            raw = fabs(now[column] - before[column])
            value = raw * raw - chance_squares[column]
            value = sqrt(value if value > 0.0 else 0.0)
            first = (before[column] * <double>rows_before[column] + 1.0) / (<double>rows_before[column] + 2.0)
            second = (now[column] * <double>rows[column] + 1.0) / (<double>rows[column] + 2.0)
            first = first * (1.0 - first) / (<double>rows_before[column] + 2.0)
            second = second * (1.0 - second) / (<double>rows[column] + 2.0)
            first = first + second
            half = z * sqrt(first if first > 0.0 else 0.0)
            low = raw - doubtful[column]
            low = (value if value < low else low) - half
            found[0, column] = value
            found[1, column] = low if low > 0.0 else 0.0
            found[2, column] = raw + half if raw + half < 1.0 else 1.0
