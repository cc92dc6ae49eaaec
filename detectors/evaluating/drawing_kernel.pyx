"""Bars of columns' distributions, drawn without a matrix between: what only the compiled build has.

As ``shapes.py`` draws them, to the last digit.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t

# Bars at most: the largest known categories, all others, unseen, missing; of values, MAXIMUM_BARS of shapes.py.
cdef enum:
    PLAIN = 16
    MOST = 20


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def draw_values(
    const int64_t[:, ::1] below,
    const int64_t[:, ::1] upper,
    const int64_t[:, ::1] lower,
    const uint8_t[:, ::1] first,
    const double[:, ::1] reference,
    uint8_t[:, ::1] bars,
    list heights not None,
) -> None:
    """Each column's heights of the bars that are above zero here or in the reference; ``bars`` tells which they are.

    ``heights``: a list that they are appended to. All else are the fields of ``shapes.Axes``.
    """
    cdef Py_ssize_t column, bar, count, last = below.shape[1] - 1
    cdef const int64_t* rows_below = &below[0, 0]
    cdef int64_t rows
    cdef double height
    cdef double drawn[MOST]
    for column in range(below.shape[0]):
        count = 0
        for bar in range(MOST):
            rows = rows_below[upper[column, bar]]
            if not first[column, bar]:
                rows -= rows_below[lower[column, bar]]
            height = <double>rows / <double>below[column, last]
            bars[column, bar] = height > 0 or reference[column, bar] > 0
            if bars[column, bar]:
                drawn[count] = height
                count += 1
        heights.append(tuple([drawn[bar] for bar in range(count)]))


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def draw_categories(
    const int64_t[:, ::1] counts,
    const int64_t[:, ::1] current,
    const int64_t[::1] rows_before,
    const int64_t[::1] rows,
    const int64_t[::1] unseen,
    list categories not None,
    list bins not None,
    list reference not None,
    list heights not None,
) -> None:
    """Each column's bars with rows on either side: names, heights in the reference and now, appended to the last three.

    ``unseen``: the bin of unseen values, which that of missing ones follows. ``categories``: their names, by column.
    """
    cdef Py_ssize_t column, place
    cdef int64_t bin, others_before, others
    cdef int64_t largest[PLAIN]
    cdef double weights[PLAIN]
    cdef int found
    cdef double weight
    for column in range(counts.shape[0]):
        found = 0
        for bin in range(unseen[column]):
            weight = (
                <double>counts[column, bin] / <double>rows_before[column]
                + <double>current[column, bin] / <double>rows[column]
            )
            if found == PLAIN and not weight > weights[PLAIN - 1]:
                continue
            # Of equal ones the first stays first.
            place = found if found < PLAIN else PLAIN - 1
            while place > 0 and weights[place - 1] < weight:
                weights[place], largest[place] = weights[place - 1], largest[place - 1]
                place -= 1
            weights[place], largest[place] = weight, bin
            if found < PLAIN:
                found += 1
        names, before, now = [], [], []
        known = <tuple>categories[column]
        others_before, others = rows_before[column], rows[column]
        for place in range(found):
            bin = largest[place]
            others_before -= counts[column, bin]
            others -= current[column, bin]
            if counts[column, bin] or current[column, bin]:
                names.append(known[bin])
                before.append(<double>counts[column, bin] / <double>rows_before[column])
                now.append(<double>current[column, bin] / <double>rows[column])
        bin = unseen[column]
        others_before -= counts[column, bin] + counts[column, bin + 1]
        others -= current[column, bin] + current[column, bin + 1]
        if others_before or others:
            names.append("all others")
            before.append(<double>others_before / <double>rows_before[column])
            now.append(<double>others / <double>rows[column])
        for place, name in enumerate(("unseen", "missing")):
            if counts[column, bin + place] or current[column, bin + place]:
                names.append(name)
                before.append(<double>counts[column, bin + place] / <double>rows_before[column])
                now.append(<double>current[column, bin + place] / <double>rows[column])
        bins.append(tuple(names))
        reference.append(tuple(before))
        heights.append(tuple(now))
