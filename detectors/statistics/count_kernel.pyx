"""One pass over the counts of several columns where NumPy needs many: what only the compiled build has.

Each function fills the arrays it is given with what the code beside its call in Python gives, to the last digit: the
same operations on the same numbers, and sums in the same order wherever it matters, which is not so of whole numbers and
halves.
"""

cimport cython
from libc.math cimport NAN, fabs, sqrt
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy


@cython.boundscheck(False)
@cython.wraparound(False)
def gather(
    const int64_t[::1] vector,
    const int64_t[:, ::1] at,
    const int64_t[::1] bins,
    int64_t[:, ::1] current,
    int64_t[:, ::1] below,
) -> None:
    """Each column's bins, which stand side by side in ``vector``, and rows up to and with each; shape (columns, bins)."""
    cdef Py_ssize_t column, bin
    cdef int64_t rows, first
    for column in range(at.shape[0]):
        first = at[column, 0]
        if first < 0 or first + bins[column] > vector.shape[0] or bins[column] > at.shape[1]:
            raise IndexError(f"bins up to {first + bins[column]} of {vector.shape[0]}")
        rows = 0
        for bin in range(bins[column]):
            rows += vector[first + bin]
            current[column, bin] = vector[first + bin]
            below[column, bin] = rows
        for bin in range(bins[column], at.shape[1]):
            current[column, bin] = 0
            below[column, bin] = rows


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
    const int64_t[:, ::1] apart,
    const int64_t[:, ::1] current,
    const int64_t[:, ::1] below,
    const int64_t[:, ::1] ends,
    const int64_t[::1] known_bins,
    const int64_t[:, ::1] special,
    const int64_t[::1] rows_before,
    const int64_t[::1] rows,
    double minimum_expected,
    double[:, ::1] reference,
    double[:, ::1] now,
    uint8_t[:, ::1] dense,
    uint8_t[:, ::1] sparse,
    int64_t[::1] dense_cells,
    int64_t[::1] freedom,
) -> int:
    """Known cells, those apart, and the sparse known ones pooled, with which are dense, how many, and which sparse.

    Known cells lie between neighbouring ``ends``; where there are none, they are the first ``known_bins``. How many
    are sparse is returned.
    """
    cdef Py_ssize_t column, cell, cells = known.shape[1], others = apart.shape[1]
    cdef const int64_t* counts = &current[0, 0]
    cdef const int64_t* up_to = &below[0, 0]
    cdef int64_t pooled, pooled_now, here, fewer
    cdef double expected, share
    cdef bint grouped = ends.shape[1] > 0
    cdef int64_t all_sparse = 0
    with nogil:
        for column in range(known.shape[0]):
            fewer = rows_before[column] if rows_before[column] < rows[column] else rows[column]
            share = <double>fewer / <double>(rows_before[column] + rows[column])
            pooled = pooled_now = 0
            for cell in range(cells):
                if grouped:
                    here = up_to[ends[column, cell + 1]] - up_to[ends[column, cell]]
                else:
                    here = current[column, cell] if cell < known_bins[column] else 0
                if <double>(known[column, cell] + here) * share >= minimum_expected:
                    reference[column, cell] = <double>known[column, cell]
                    now[column, cell] = <double>here
                else:
                    reference[column, cell] = now[column, cell] = 0.0
                    pooled += known[column, cell]
                    pooled_now += here
            for cell in range(others):
                reference[column, cells + cell] = <double>apart[column, cell]
                now[column, cells + cell] = <double>counts[special[column, cell]]
            reference[column, cells + others] = <double>pooled
            now[column, cells + others] = <double>pooled_now
            here = 0
            for cell in range(cells + others + 1):
                expected = (reference[column, cell] + now[column, cell]) * share
                dense[column, cell] = expected >= minimum_expected
                sparse[column, cell] = (expected > 0) & (expected < minimum_expected)
                here += dense[column, cell]
                all_sparse += sparse[column, cell]
            dense_cells[column] = here
            freedom[column] = here - 1 if here > 1 else 1
    return all_sparse


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
cdef void weigh_one(
    const double* counts, const uint8_t* used, const uint8_t* others, double* shares, Py_ssize_t cells
) noexcept nogil:
    cdef Py_ssize_t cell
    cdef double rows = 0.0
    for cell in range(cells):
        if used[cell] or others[cell]:
            rows += counts[cell] + 0.5
    if rows < 0.5:
        rows = 0.5
    for cell in range(cells):
        shares[cell] = (counts[cell] + 0.5) / rows if used[cell] or others[cell] else 1.0


@cython.boundscheck(False)
@cython.wraparound(False)
def weigh(
    const double[:, :, ::1] tables,
    const uint8_t[:, ::1] used,
    const uint8_t[:, ::1] others,
    const int64_t[::1] more,
    double[:, :, ::1] shares,
) -> None:
    """Shares of the used cells of both sides, half a row added to each; the unused are one.

    Behind all columns those at ``more`` once again, with all cells that are used or among ``others``.
    """
    cdef Py_ssize_t side, column, place, columns = tables.shape[1], cells = tables.shape[2]
    with nogil:
        for side in range(2):
            for column in range(columns):
                weigh_one(&tables[side, column, 0], &used[column, 0], &used[column, 0], &shares[side, column, 0], cells)
            for place in range(more.shape[0]):
                column = more[place]
                weigh_one(
                    &tables[side, column, 0],
                    &used[column, 0],
                    &others[column, 0],
                    &shares[side, columns + place, 0],
                    cells,
                )


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def find_rare(
    const double[:, :, ::1] tables,
    const uint8_t[:, ::1] sparse,
    const int64_t[::1] rows_before,
    const int64_t[::1] rows,
    int64_t[::1] columns,
    double[:, ::1] asked,
) -> None:
    """The ``columns`` of sparse cells, and what the incomplete beta function is ``asked`` of each; shape (3, cells)."""
    cdef Py_ssize_t column, cell, place = 0
    cdef double hits, missed, share
    with nogil:
        for column in range(tables.shape[1]):
            share = <double>rows[column] / <double>(rows_before[column] + rows[column])
            for cell in range(tables.shape[2]):
                if not sparse[column, cell] or place == columns.shape[0]:
                    continue
                hits, missed = tables[1, column, cell], tables[0, column, cell]
                columns[place] = column
                if not hits >= (hits + missed) * share:
                    hits, missed, share = missed, hits, 1.0 - share
                # Of any number of rows, none or more is sure: the function of one is one.
                asked[0, place] = hits if hits > 1.0 else 1.0
                asked[1, place] = missed + 1.0
                asked[2, place] = share if hits > 0.0 else 1.0
                share = <double>rows[column] / <double>(rows_before[column] + rows[column])
                place += 1


@cython.boundscheck(False)
@cython.wraparound(False)
def keep_smallest(
    const int64_t[::1] columns, const double[::1] tails, double[::1] smallest, int64_t[::1] cells
) -> None:
    """Each column's smallest p-value, twice the smallest of its tails, at most 1, and of how many; 1 without any."""
    cdef Py_ssize_t place, column
    with nogil:
        for column in range(smallest.shape[0]):
            smallest[column], cells[column] = 1.0, 0
        for place in range(columns.shape[0]):
            column = columns[place]
            cells[column] += 1
            if 2.0 * tails[place] < smallest[column]:
                smallest[column] = 2.0 * tails[place]


cdef double total(const double* values, Py_ssize_t count) noexcept nogil:
    """A sum of fractions, added up in the order of NumPy's, by halves down to 128 of them."""
    cdef Py_ssize_t place, half
    cdef double found
    cdef double parts[8]
    if count < 8:
        found = 0.0
        for place in range(count):
            found += values[place]
        return found
    if count > 128:
        half = count // 2
        half -= half % 8
        return total(values, half) + total(values + half, count - half)
    for place in range(8):
        parts[place] = values[place]
    for place in range(8, count - count % 8, 8):
        for half in range(8):
            parts[half] += values[place + half]
    found = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]))
    for place in range(count - count % 8, count):
        found += values[place]
    return found


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def homogenise(
    const double[:, :, ::1] tables, const uint8_t[:, ::1] used, double almost_none, double[::1] room, double[::1] found
) -> None:
    """Pearson's chi-square of the used cells of both sides. ``room``: for as many numbers as there are cells."""
    cdef Py_ssize_t column, cell, cells = tables.shape[2]
    cdef double before, now, rows, share, expected, miss
    with nogil:
        for column in range(tables.shape[1]):
            before = now = 0.0
            for cell in range(cells):
                if used[column, cell]:
                    before += tables[0, column, cell]
                    now += tables[1, column, cell]
            rows = before + now
            share = now / (rows if rows > 1.0 else 1.0)
            for cell in range(cells):
                room[cell] = 0.0
                if used[column, cell]:
                    expected = (tables[0, column, cell] + tables[1, column, cell]) * share
                    miss = tables[1, column, cell] - expected
                    room[cell] = miss * miss / (expected if expected > almost_none else almost_none)
            found[column] = total(&room[0], cells) * rows / (before if before > 1.0 else 1.0)


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def grow(
    const double[:, ::1] before,
    const int64_t[:, ::1] counts,
    const int64_t[:, ::1] current,
    const int64_t[::1] rows_before,
    const int64_t[::1] rows,
    double[:, ::1] room,
    double[:, ::1] found,
) -> None:
    """Both shares of all rows in the cells whose shares grew, and what chance spreads them by; shape (3, columns).

    ``before``: the reference's shares. ``room``: for three times as many numbers as there are cells.
    """
    cdef Py_ssize_t column, cell, cells = counts.shape[1]
    cdef double now, together, every
    with nogil:
        for column in range(counts.shape[0]):
            every = <double>(rows_before[column] + rows[column])
            for cell in range(cells):
                now = <double>current[column, cell] / <double>rows[column]
                room[0, cell] = before[column, cell] if now > before[column, cell] else 0.0
                room[1, cell] = now if now > before[column, cell] else 0.0
                together = <double>counts[column, cell] + <double>current[column, cell]
                room[2, cell] = sqrt(together * (every - together))
            found[0, column] = total(&room[0, 0], cells)
            found[1, column] = total(&room[1, 0], cells)
            found[2, column] = total(&room[2, 0], cells) / every


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def rank(
    const double[::1] areas,
    const int64_t[::1] ordered,
    const int64_t[::1] ends,
    const int64_t[::1] draws,
    int64_t[::1] hits,
    double[::1] chances,
) -> None:
    """How many simulated areas are at least as large as each column's, and so how probable; no number without any.

    ``ordered``: all columns' areas, one column's after the other's, ``draws`` of each; their bits as whole numbers,
    which order as they do, with the column's number before.
    """
    cdef Py_ssize_t column
    cdef int64_t low, high, middle, asked
    cdef float area
    cdef uint32_t bits
    with nogil:
        for column in range(areas.shape[0]):
            area = <float>areas[column]
            memcpy(&bits, &area, sizeof(bits))
            asked = (<int64_t>column << 32) | <int64_t>bits
            low, high = ends[column] - draws[column], ends[column]
            while low < high:
                middle = (low + high) // 2
                if ordered[middle] < asked:
                    low = middle + 1
                else:
                    high = middle
            hits[column] = ends[column] - low
            chances[column] = (<double>hits[column] + 1.0) / <double>(draws[column] + 1) if draws[column] else NAN


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
