// Scans over bytes that Swift cannot yet express as well: pure Swift SIMD has no move-mask.
//
// Everything here is `static inline`, so that the importer folds it into the Swift loop that calls it. No function
// reads outside `p[0 ..< n]`. What answers a length says how many bytes may be passed over: `n` if nothing stops the scan.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define MARTLET_INLINE static inline __attribute__((always_inline))

/// Whether a byte ends a run of plain text: `<`, `&`, `]`, a control character, or the start of a multi-byte sequence.
MARTLET_INLINE _Bool cscan_stops_text(uint8_t c) {
    return c < 0x20 || c >= 0x80 || c == '<' || c == '&' || c == ']';
}

/// Whether a byte ends a run of plain attribute value: the quote, `<`, `&`, a control character, or a multi-byte sequence.
MARTLET_INLINE _Bool cscan_stops_value(uint8_t c, uint8_t quote) {
    return c < 0x20 || c >= 0x80 || c == quote || c == '<' || c == '&';
}

/// Whether a byte needs a second look before it is written as text or in an attribute: markup, the quotes the writer uses, a control
/// character, or a multi-byte sequence.
MARTLET_INLINE _Bool cscan_stops_escape(uint8_t c) {
    return c < 0x20 || c >= 0x80 || c == '<' || c == '>' || c == '&' || c == '\'';
}

#if defined(__SSE2__)

// The signed comparison finds control characters and bytes above 0x7F in one operation.

MARTLET_INLINE size_t cscan_text(const uint8_t *_Nonnull p, size_t n) {
    size_t i = 0;
    const __m128i space = _mm_set1_epi8(0x20);
    const __m128i less = _mm_set1_epi8('<');
    const __m128i ampersand = _mm_set1_epi8('&');
    const __m128i bracket = _mm_set1_epi8(']');
    for (; i + 16 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
        __m128i m = _mm_or_si128(
            _mm_or_si128(_mm_cmplt_epi8(v, space), _mm_cmpeq_epi8(v, less)),
            _mm_or_si128(_mm_cmpeq_epi8(v, ampersand), _mm_cmpeq_epi8(v, bracket)));
        unsigned mask = (unsigned)_mm_movemask_epi8(m);
        if (mask) return i + (size_t)__builtin_ctz(mask);
    }
    while (i < n && !cscan_stops_text(p[i])) i++;
    return i;
}

MARTLET_INLINE size_t cscan_value(const uint8_t *_Nonnull p, size_t n, uint8_t quote) {
    size_t i = 0;
    const __m128i space = _mm_set1_epi8(0x20);
    const __m128i less = _mm_set1_epi8('<');
    const __m128i ampersand = _mm_set1_epi8('&');
    const __m128i quotes = _mm_set1_epi8((char)quote);
    for (; i + 16 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
        __m128i m = _mm_or_si128(
            _mm_or_si128(_mm_cmplt_epi8(v, space), _mm_cmpeq_epi8(v, less)),
            _mm_or_si128(_mm_cmpeq_epi8(v, ampersand), _mm_cmpeq_epi8(v, quotes)));
        unsigned mask = (unsigned)_mm_movemask_epi8(m);
        if (mask) return i + (size_t)__builtin_ctz(mask);
    }
    while (i < n && !cscan_stops_value(p[i], quote)) i++;
    return i;
}

/// A bit for each of the sixteen bytes at `p` that needs a second look.
MARTLET_INLINE unsigned cscan_escape_mask(const uint8_t *_Nonnull p) {
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(
        _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)), _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(1)), _mm_set1_epi8('\''))),
        _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('<')), _mm_cmpeq_epi8(v, _mm_set1_epi8('>')))));
}

MARTLET_INLINE size_t cscan_escape(const uint8_t *_Nonnull p, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        unsigned mask = cscan_escape_mask(p + i);
        if (mask) return i + (size_t)__builtin_ctz(mask);
    }
    if (i > 0 && i < n) {
        // The last sixteen, of which some have been looked at.
        unsigned mask = cscan_escape_mask(p + n - 16);
        return mask ? n - 16 + (size_t)__builtin_ctz(mask) : n;
    }
    while (i < n && !cscan_stops_escape(p[i])) i++;
    return i;
}

#elif defined(__aarch64__) && defined(__ARM_NEON)

// Narrowing by four bits turns a byte mask into 64 bits, four for each byte.

MARTLET_INLINE uint64_t cscan_mask(uint8x16_t m) {
    return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(m), 4)), 0);
}

MARTLET_INLINE size_t cscan_text(const uint8_t *_Nonnull p, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        uint8x16_t v = vld1q_u8(p + i);
        uint8x16_t m = vorrq_u8(
            vorrq_u8(vcltq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8(0x20)), vceqq_u8(v, vdupq_n_u8('<'))),
            vorrq_u8(vceqq_u8(v, vdupq_n_u8('&')), vceqq_u8(v, vdupq_n_u8(']'))));
        uint64_t mask = cscan_mask(m);
        if (mask) return i + (size_t)(__builtin_ctzll(mask) >> 2);
    }
    while (i < n && !cscan_stops_text(p[i])) i++;
    return i;
}

MARTLET_INLINE size_t cscan_value(const uint8_t *_Nonnull p, size_t n, uint8_t quote) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        uint8x16_t v = vld1q_u8(p + i);
        uint8x16_t m = vorrq_u8(
            vorrq_u8(vcltq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8(0x20)), vceqq_u8(v, vdupq_n_u8('<'))),
            vorrq_u8(vceqq_u8(v, vdupq_n_u8('&')), vceqq_u8(v, vdupq_n_u8(quote))));
        uint64_t mask = cscan_mask(m);
        if (mask) return i + (size_t)(__builtin_ctzll(mask) >> 2);
    }
    while (i < n && !cscan_stops_value(p[i], quote)) i++;
    return i;
}

MARTLET_INLINE size_t cscan_escape(const uint8_t *_Nonnull p, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        uint8x16_t v = vld1q_u8(p + i);
        uint8x16_t m = vorrq_u8(
            vorrq_u8(vcltq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8(0x20)), vceqq_u8(v, vdupq_n_u8('\''))),
            vorrq_u8(vceqq_u8(v, vdupq_n_u8('&')), vorrq_u8(vceqq_u8(v, vdupq_n_u8('<')), vceqq_u8(v, vdupq_n_u8('>')))));
        uint64_t mask = cscan_mask(m);
        if (mask) return i + (size_t)(__builtin_ctzll(mask) >> 2);
    }
    while (i < n && !cscan_stops_escape(p[i])) i++;
    return i;
}

#else

MARTLET_INLINE size_t cscan_text(const uint8_t *_Nonnull p, size_t n) {
    size_t i = 0;
    while (i < n && !cscan_stops_text(p[i])) i++;
    return i;
}

MARTLET_INLINE size_t cscan_value(const uint8_t *_Nonnull p, size_t n, uint8_t quote) {
    size_t i = 0;
    while (i < n && !cscan_stops_value(p[i], quote)) i++;
    return i;
}

MARTLET_INLINE size_t cscan_escape(const uint8_t *_Nonnull p, size_t n) {
    size_t i = 0;
    while (i < n && !cscan_stops_escape(p[i])) i++;
    return i;
}

#endif

/// ASCII name characters without the colon, one bit each (XML 1.0 §2.3 [4a]): `-`, `.`, digits, letters, `_`.
MARTLET_INLINE _Bool cscan_is_name(uint8_t c) {
    static const uint64_t low = 0x03FF600000000000ULL;   // 0x2D '-', 0x2E '.', 0x30-0x39
    static const uint64_t high = 0x07FFFFFE87FFFFFEULL;  // 'A'-'Z', '_', 'a'-'z'
    return c < 0x40 ? (low >> c) & 1 : c < 0x80 ? (high >> (c & 0x3F)) & 1 : 0;
}

/// The same without what may not come first: `-`, `.` and digits (XML 1.0 §2.3 [4]).
MARTLET_INLINE _Bool cscan_is_name_start(uint8_t c) {
    return c >= 0x40 && cscan_is_name(c);
}

#if defined(__SSE2__)
/// A bit for each of the sixteen bytes at `p` that is no ASCII name character.
MARTLET_INLINE unsigned cscan_no_name(const uint8_t *_Nonnull p) {
    // Ranges by one signed comparison each, after moving their first byte to -128. `-`, `.`, `/` and the digits are one range.
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    __m128i folded = _mm_or_si128(v, _mm_set1_epi8(0x20));
    __m128i letter = _mm_cmplt_epi8(_mm_add_epi8(folded, _mm_set1_epi8((char)(128 - 'a'))), _mm_set1_epi8(-128 + 26));
    __m128i range = _mm_cmplt_epi8(_mm_add_epi8(v, _mm_set1_epi8((char)(128 - '-'))), _mm_set1_epi8(-128 + 13));
    __m128i digit = _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('/')), range);
    __m128i name = _mm_or_si128(_mm_or_si128(letter, digit), _mm_cmpeq_epi8(v, _mm_set1_epi8('_')));
    return ~(unsigned)_mm_movemask_epi8(name) & 0xFFFF;
}
#endif

/// Length of the run of ASCII name characters at `p`; colons and multi-byte sequences end it.
MARTLET_INLINE size_t cscan_name(const uint8_t *_Nonnull p, size_t n) {
    size_t i = 0;
#if defined(__SSE2__)
    // Nearly all names end within the first sixteen bytes.
    if (n >= 16) {
        unsigned mask = cscan_no_name(p);
        if (mask) return (size_t)__builtin_ctz(mask);
        i = 16;
    }
#endif
    while (i < n && cscan_is_name(p[i])) i++;
    return i;
}

/// Whether `a` and `b` hold the same `n` bytes: for names, which are too short to be worth a call.
MARTLET_INLINE _Bool cscan_same(const uint8_t *_Nonnull a, const uint8_t *_Nonnull b, size_t n) {
    if (n >= 8) {
        uint64_t x, y;
        for (size_t i = 0; i + 8 < n; i += 8) {
            __builtin_memcpy(&x, a + i, 8);
            __builtin_memcpy(&y, b + i, 8);
            if (x != y) return 0;
        }
        // The last eight, some of which may have been compared.
        __builtin_memcpy(&x, a + n - 8, 8);
        __builtin_memcpy(&y, b + n - 8, 8);
        return x == y;
    }
    if (n >= 4) {
        uint32_t x, y, z, w;
        __builtin_memcpy(&x, a, 4);
        __builtin_memcpy(&y, b, 4);
        __builtin_memcpy(&z, a + n - 4, 4);
        __builtin_memcpy(&w, b + n - 4, 4);
        return x == y && z == w;
    }
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i]) return 0;
    }
    return 1;
}

/// Length of the run of ASCII letters at `p`.
MARTLET_INLINE size_t cscan_letters(const uint8_t *_Nonnull p, size_t n) {
    size_t i = 0;
#if defined(__SSE2__)
    for (; i + 16 <= n; i += 16) {
        __m128i folded = _mm_or_si128(_mm_loadu_si128((const __m128i *)(p + i)), _mm_set1_epi8(0x20));
        __m128i moved = _mm_add_epi8(folded, _mm_set1_epi8((char)(128 - 'a')));
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(moved, _mm_set1_epi8(-128 + 25)));
        if (mask) return i + (size_t)__builtin_ctz(mask);
    }
#elif defined(__aarch64__) && defined(__ARM_NEON)
    for (; i + 16 <= n; i += 16) {
        uint8x16_t folded = vorrq_u8(vld1q_u8(p + i), vdupq_n_u8(0x20));
        uint64_t mask = cscan_mask(vcgtq_u8(vsubq_u8(folded, vdupq_n_u8('a')), vdupq_n_u8(25)));
        if (mask) return i + (size_t)(__builtin_ctzll(mask) >> 2);
    }
#endif
    while (i < n && (uint8_t)((p[i] | 0x20) - 'a') < 26) i++;
    return i;
}

/// Length of the run at `p` that is plain in an attribute whichever its quotes are.
MARTLET_INLINE size_t cscan_either_value(const uint8_t *_Nonnull p, size_t n) {
    size_t i = 0;
#if defined(__SSE2__)
    for (; i + 16 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
        // `&` and `'` differ in one bit.
        __m128i m = _mm_or_si128(
            _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)), _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(1)), _mm_set1_epi8('\''))),
            _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('<'))));
        unsigned mask = (unsigned)_mm_movemask_epi8(m);
        if (mask) return i + (size_t)__builtin_ctz(mask);
    }
#elif defined(__aarch64__) && defined(__ARM_NEON)
    for (; i + 16 <= n; i += 16) {
        uint8x16_t v = vld1q_u8(p + i);
        uint8x16_t m = vorrq_u8(
            vorrq_u8(vcltq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8(0x20)), vceqq_u8(vorrq_u8(v, vdupq_n_u8(1)), vdupq_n_u8('\''))),
            vorrq_u8(vceqq_u8(v, vdupq_n_u8('"')), vceqq_u8(v, vdupq_n_u8('<'))));
        uint64_t mask = cscan_mask(m);
        if (mask) return i + (size_t)(__builtin_ctzll(mask) >> 2);
    }
#endif
    while (i < n && !cscan_stops_value(p[i], '"') && p[i] != '\'') i++;
    return i;
}

/// Lengths of the parts of an attribute; `name` is 0 if there is none of the kind that was looked for.
struct cscan_attribute {
    size_t name;
    size_t value;
};

/// The attribute at `p` if all of it is there and it is written as most are: one space, a name of ASCII letters, `=`, a quote, plain
/// characters without quotes, and the same quote.
MARTLET_INLINE struct cscan_attribute cscan_attribute(const uint8_t *_Nonnull p, size_t n) {
    const struct cscan_attribute none = {0, 0};
    if (n == 0 || p[0] != ' ') return none;
    size_t name = cscan_letters(p + 1, n - 1);
    size_t start = 1 + name + 2;
    if (start >= n || p[start - 2] != '=' || (p[start - 1] != '\'' && p[start - 1] != '"')) return none;
    size_t value = cscan_either_value(p + start, n - start);
    if (start + value >= n || p[start + value] != p[start - 1]) return none;
    return (struct cscan_attribute){name, value};
}
