# The grammar of JSON (RFC 8259), read once from end to end without making anything of it.

cdef extern from *:
    """
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #include <string.h>
    static inline uint64_t alike(const __m128i *four, char byte) {
        const __m128i wanted = _mm_set1_epi8(byte);
        uint64_t found = 0;
        for (int part = 0; part < 4; part++)
            found |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(four[part], wanted)) << (16 * part);
        return found;
    }

    /* Past plain numbers with commas, and blanks behind these, between them; at: where a number begins. Returns where
       the last number begins that was looked at: what stands before it is as it should be.

       Each bit of a mask is a byte of sixty-four. What may stand there is asked of the byte before it; that a number has
       one point at most, by adding: what is carried through the digits behind a point must not come out at a point. */
    static const uint8_t *past_numbers(const uint8_t *at, const uint8_t *end) {
        const uint8_t *start = at;
        uint64_t was_digit = 0, was_point = 0, was_minus = 0, was_separator = 1, was_leading_zero = 0, carried = 0;
        while (end - at >= 64) {
            __m128i four[4];
            uint64_t digits = 0, points, minuses, commas, blanks, zeros, separators, others, seen, wrong;
            memcpy(four, at, 64);
            for (int part = 0; part < 4; part++) {
                /* 0 to 9 become the ten least numbers that there are. */
                __m128i moved = _mm_add_epi8(four[part], _mm_set1_epi8((char)(-128 - '0')));
                __m128i found = _mm_cmplt_epi8(moved, _mm_set1_epi8(-128 + 10));
                digits |= (uint64_t)(unsigned)_mm_movemask_epi8(found) << (16 * part);
            }
            points = alike(four, '.'), minuses = alike(four, '-'), commas = alike(four, ','), blanks = alike(four, ' ');
            zeros = alike(four, '0'), separators = commas | blanks;
            others = ~(digits | points | minuses | separators);
            seen = others ? (others & -others) - 1 : ~0ULL;
            {
                const uint64_t behind_digit = digits << 1 | was_digit, behind_point = points << 1 | was_point;
                const uint64_t behind_minus = minuses << 1 | was_minus;
                const uint64_t behind_separator = separators << 1 | was_separator;
                const uint64_t leading = zeros & (behind_separator | behind_minus);
                const uint64_t fractions = digits & behind_point;
                uint64_t sum = digits + fractions, over = sum < digits;
                over |= sum + carried < sum;
                sum += carried;
                wrong = (digits & (leading << 1 | was_leading_zero)) | ((points | commas) & ~behind_digit)
                    | (points & sum & ~digits) | (minuses & ~behind_separator) | (blanks & ~behind_separator)
                    | (~digits & (behind_point | behind_minus));
                if (wrong & seen) break;
                if (others) {
                    at += __builtin_ctzll(others);
                    break;
                }
                was_digit = digits >> 63, was_point = points >> 63, was_minus = minuses >> 63;
                was_separator = separators >> 63, was_leading_zero = leading >> 63, carried = over;
            }
            at += 64;
        }
        while (at > start && at[-1] != ',') at--;
        return at;
    }

    /* Past what is no end of a text, no escape and no control character, sixteen bytes at a time. */
    static const uint8_t *past_plain(const uint8_t *at, const uint8_t *end) {
        const __m128i quotation = _mm_set1_epi8('"'), escape = _mm_set1_epi8(92), control = _mm_set1_epi8(31);
        while (end - at >= 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)at);
            __m128i found = _mm_or_si128(_mm_cmpeq_epi8(bytes, quotation), _mm_cmpeq_epi8(bytes, escape));
            int mask = _mm_movemask_epi8(_mm_or_si128(found, _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes)));
            if (mask) return at + __builtin_ctz(mask);
            at += 16;
        }
        return at;
    }
    #else
    static const uint8_t *past_numbers(const uint8_t *at, const uint8_t *end) { return at; }
    static const uint8_t *past_plain(const uint8_t *at, const uint8_t *end) { return at; }
    #endif
    """
    const uint8_t *past_numbers(const uint8_t *at, const uint8_t *end) noexcept nogil
    const uint8_t *past_plain(const uint8_t *at, const uint8_t *end) noexcept nogil

cdef enum:
    #: What is nested deeper is no JSON here: it travels as base64, which any reader can take.
    _DEEPEST = 512

cdef bint is_document(const uint8_t *at, const uint8_t *end) noexcept nogil:
    """Whether there is one value from ``at`` to ``end``, and nothing around it."""
    cdef uint8_t[_DEEPEST] ends  # of what the value stands in
    cdef int depth = 0
    cdef uint8_t byte, closing
    while at < end:
        at = _past_blanks(at, end) if depth else at
        if at == end:
            return False
        byte = at[0]
        if byte == b"{" or byte == b"[":
            closing = byte + 2  # so ASCII has them
            at = _past_blanks(at + 1, end)
            if at == end:
                return False
            if at[0] == closing:
                at += 1
            else:
                if depth == _DEEPEST:
                    return False
                ends[depth] = closing
                depth += 1
                if closing == b"}":
                    at = _past_name(at, end)
                    if at == NULL:
                        return False
                continue
        else:
            if depth and ends[depth - 1] == b"]" and (b"0" <= byte <= b"9" or byte == b"-"):
                at = _past_blanks(past_numbers(at, end), end)
                if at == end:
                    return False
            at = _past_scalar(at, end)
            if at == NULL:
                return False
        while True:  # behind a value: the end of what it stands in, or the next one
            if depth == 0:
                return at == end
            at = _past_blanks(at, end)
            if at == end:
                return False
            closing = ends[depth - 1]
            if at[0] == b",":
                at += 1
                if closing == b"}":
                    at = _past_name(_past_blanks(at, end), end)
                    if at == NULL:
                        return False
                break
            if at[0] != closing:
                return False
            depth -= 1
            at += 1
    return False


cdef inline const uint8_t *_past_blanks(const uint8_t *at, const uint8_t *end) noexcept nogil:
    while at < end and (at[0] == b" " or at[0] == b"\n" or at[0] == b"\r" or at[0] == b"\t"):
        at += 1
    return at


cdef const uint8_t *_past_name(const uint8_t *at, const uint8_t *end) noexcept nogil:
    """Past a member's name and its colon; NULL where there is none."""
    if at == end or at[0] != b'"':
        return NULL
    at = _past_text(at + 1, end)
    if at == NULL:
        return NULL
    at = _past_blanks(at, end)
    return at + 1 if at < end and at[0] == b":" else NULL


cdef inline const uint8_t *_past_scalar(const uint8_t *at, const uint8_t *end) noexcept nogil:
    cdef uint8_t byte = at[0]
    if b"0" <= byte <= b"9" or byte == b"-":
        return _past_number(at, end)
    if byte == b'"':
        return _past_text(at + 1, end)
    if byte == b"t":
        return at + 4 if end - at >= 4 and memcmp(at, b"true", 4) == 0 else NULL
    if byte == b"f":
        return at + 5 if end - at >= 5 and memcmp(at, b"false", 5) == 0 else NULL
    if byte == b"n":
        return at + 4 if end - at >= 4 and memcmp(at, b"null", 4) == 0 else NULL
    return NULL


cdef inline const uint8_t *_past_digits(const uint8_t *at, const uint8_t *end) noexcept nogil:
    while at < end and b"0" <= at[0] <= b"9":
        at += 1
    return at


cdef inline const uint8_t *_past_number(const uint8_t *at, const uint8_t *end) noexcept nogil:
    cdef const uint8_t *start
    at += at[0] == b"-"
    if at < end and at[0] == b"0":
        at += 1
    else:
        start = at
        at = _past_digits(at, end)
        if at == start:
            return NULL
    if at < end and at[0] == b".":
        start = at + 1
        at = _past_digits(start, end)
        if at == start:
            return NULL
    if at < end and (at[0] | 32) == b"e":
        at += 1
        at += at < end and (at[0] == b"-" or at[0] == b"+")
        start = at
        at = _past_digits(at, end)
        if at == start:
            return NULL
    return at


cdef const uint8_t *_past_text(const uint8_t *at, const uint8_t *end) noexcept nogil:
    """``at``: behind the first quotation mark. Whether the bytes are UTF-8 is asked of a whole document."""
    cdef int unit
    while True:
        at = past_plain(at, end)
        if at == end:
            return NULL
        if at[0] == b'"':
            return at + 1
        if at[0] < 32:
            return NULL
        if at[0] != b"\\":
            at += 1
            continue
        at += 1
        if at == end:
            return NULL
        if at[0] == b"u":
            unit = _unit(at, end)
            at += 5
            if 0xD800 <= unit < 0xDC00:  # the first half of a pair
                if end - at < 2 or at[0] != b"\\" or not 0xDC00 <= _unit(at + 1, end) < 0xE000:
                    return NULL
                at += 6
            elif unit < 0 or 0xDC00 <= unit < 0xE000:
                return NULL
        elif at[0] in b'"\\/bfnrt':
            at += 1
        else:
            return NULL


cdef int _unit(const uint8_t *at, const uint8_t *end) noexcept nogil:
    """The four digits behind a "u"; -1 where there are none."""
    cdef int place, found = 0
    if end - at < 5 or at[0] != b"u":
        return -1
    for place in range(1, 5):
        if b"0" <= at[place] <= b"9":
            found = found << 4 | (at[place] - 48)
        elif b"a" <= (at[place] | 32) <= b"f":
            found = found << 4 | ((at[place] | 32) - 87)
        else:
            return -1
    return found


cdef bint is_ascii(const uint8_t *at, const uint8_t *end) noexcept nogil:
    cdef uint64_t word, all_of = 0
    while end - at >= 8:
        memcpy(&word, at, 8)
        all_of |= word
        at += 8
    while at < end:
        all_of |= (<uint64_t> at[0]) << 56
        at += 1
    return all_of & 0x8080808080808080ULL == 0


cdef bint is_json_text(const uint8_t *at, const uint8_t *end) except -1:
    """Whether there is a document of JSON without blanks around it, in UTF-8."""
    if not is_document(at, end):
        return False
    if is_ascii(at, end):
        return True
    try:
        PyUnicode_DecodeUTF8(<const char *> at, end - at, NULL)
    except UnicodeDecodeError:
        return False
    return True
