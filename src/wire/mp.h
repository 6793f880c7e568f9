/* MessagePack, token by token: the one piece of the codec that the host and the Python extension share.
 *
 * Invariants
 *  1. The reader looks at no byte at or behind `end`; each length has been checked against what is left before it is handed out,
 *     and an array or map cannot claim more items than there are bytes. Each byte is read once.
 *  2. The writer's functions write at most MP_HEAD bytes (plus the data of mp_put_str and the like) and return the new end; the
 *     caller has made room.
 *  3. Integers, lengths and counts are written in their shortest form; any form is read. 0.0, -0.0 and every NaN keep their bits.
 *
 * Extension codes are in MP_EXT_LIST; docs/wire.md has the layout of each. Failure: MP_TRUNCATED or MP_INVALID; nothing to undo.
 * Thread: any; no state. */
#ifndef PIT_WIRE_MP_H
#define PIT_WIRE_MP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MP_HEAD 9                        /* bytes of the longest head or scalar */
#define MP_MAX_DEPTH 128                 /* 128 nested containers pass, 129 are limit_exceeded */
#define MP_MAX_BIGINT_BITS (1u << 20)    /* of the magnitude */
#define MP_MAX_BIGINT_BYTES (131072 + 1) /* two's complement: one more for the sign */

/* X(CONSTANT, name, code, layout). All numbers in payloads are big-endian. */
#define MP_EXT_LIST(X)                                                                                                         \
    X(BIGINT, bigint, 1, "two's complement, big-endian, shortest form, at least 1 byte; only integers beyond 64 bits")         \
    X(TUPLE, tuple, 2, "one array: the items")                                                                                 \
    X(ARGS, args, 3,                                                                                                           \
      "only as the arguments of a CALL: nil or an array (positional), then nil or a map with str keys (keywords)")             \
    X(EXCEPTION, exception, 4,                                                                                                 \
      "one map: type str, message str, traceback str or nil, notes array of str, cause exception or nil")                      \
    X(SET, set, 5, "one array: the items, hashable and distinct")                                                              \
    X(FROZENSET, frozenset, 6, "as set")                                                                                       \
    X(DATETIME, datetime, 7,                                                                                                   \
      "i64 seconds, u32 nanoseconds, u8 flags (1: has an offset); with flag 1 then i32 offset in seconds, and the zone's "     \
      "name in UTF-8, perhaps empty")                                                                                          \
    X(DATE, date, 8, "u16 year, u8 month, u8 day")                                                                             \
    X(TIME, time, 9,                                                                                                           \
      "u32 second of the day, u32 nanoseconds, u8 flags (1: has an offset); with flag 1 then i32 offset in seconds")           \
    X(DURATION, duration, 10, "i64 seconds, u32 nanoseconds")                                                                  \
    X(DECIMAL, decimal, 11,                                                                                                    \
      "u8 (bit 0 negative; bits 1 and 2: 0 finite, 1 infinity, 2 NaN, 3 signalling NaN), i32 exponent, then the digits in "    \
      "ASCII")                                                                                                                 \
    X(COMPLEX, complex, 12, "f64 real part, f64 imaginary part")                                                               \
    X(TENSOR, tensor, 13, "one map: dtype str, shape array of int, data bin")                                                  \
    X(TABLE, table, 14, "one Arrow IPC stream")                                                                                \
    X(BATCH, batch, 15, "one Arrow IPC stream of one record batch")                                                            \
    X(REF, ref, 16, "one map: id str, type str, worker str, session str or nil, generation int")                               \
    X(MARKER, marker, 17, "one map: type str, and perhaps repr str")

enum {
#define MP_EXT_ENUM(constant, name, code, layout) MP_EXT_##constant = code,
    MP_EXT_LIST(MP_EXT_ENUM)
#undef MP_EXT_ENUM
};

/* ---- reading ---- */

enum mp_type { MP_NIL, MP_BOOL, MP_INT, MP_UINT, MP_FLOAT, MP_STR, MP_BIN, MP_ARRAY, MP_MAP, MP_EXT };
enum { MP_OK = 0, MP_TRUNCATED = 1, MP_INVALID = 2 };

struct mp_token {
    enum mp_type type;
    int8_t ext; /* MP_EXT: its code */
    uint32_t n; /* STR, BIN, EXT: bytes; ARRAY: items; MAP: entries */
    union {
        bool truth;
        int64_t i;  /* MP_INT: whatever int64_t holds */
        uint64_t u; /* MP_UINT: only above INT64_MAX */
        double f;
        const uint8_t *data; /* STR, BIN, EXT: the payload, borrowed. Text is not yet checked: mp_utf8_valid() */
    };
};

static inline uint16_t mp_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t mp_be32(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
    return __builtin_bswap32(x);
}

static inline uint64_t mp_be64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return __builtin_bswap64(x);
}

static inline int mp_take_uint(struct mp_token *t, uint64_t u)
{
    t->u = u; /* the same bits as i */
    t->type = u > INT64_MAX ? MP_UINT : MP_INT;
    return MP_OK;
}

static inline int mp_take_int(struct mp_token *t, int64_t i)
{
    t->i = i;
    t->type = MP_INT;
    return MP_OK;
}

/* Payload of n bytes behind *p. Text and bytes are stepped over; of an extension *p stays at the payload, for it may hold values. */
static inline int mp_take_data(const uint8_t **p, const uint8_t *end, struct mp_token *t, enum mp_type type, uint32_t n)
{
    if (n > (size_t)(end - *p))
        return MP_TRUNCATED;
    t->type = type;
    t->n = n;
    t->data = *p;
    if (type != MP_EXT)
        *p += n;
    return MP_OK;
}

/* Each item takes at least one byte. */
static inline int mp_take_items(const uint8_t *p, const uint8_t *end, struct mp_token *t, enum mp_type type, uint32_t n)
{
    if ((type == MP_MAP ? (uint64_t)n * 2 : n) > (size_t)(end - p))
        return MP_TRUNCATED;
    t->type = type;
    t->n = n;
    return MP_OK;
}

/* A size of `width` (1, 2 or 4) bytes at *p, stepped over. */
static inline bool mp_take_size(const uint8_t **p, const uint8_t *end, unsigned width, uint32_t *n)
{
    if (width > (size_t)(end - *p))
        return false;
    *n = width == 1 ? **p : width == 2 ? mp_be16(*p) : mp_be32(*p);
    *p += width;
    return true;
}

static inline int mp_read_ext(const uint8_t **p, const uint8_t *end, struct mp_token *t, uint32_t n)
{
    if (*p == end)
        return MP_TRUNCATED;
    t->ext = (int8_t) * (*p)++;
    return mp_take_data(p, end, t, MP_EXT, n);
}

/* Numbers: cc..cf unsigned, d0..d3 signed, ca and cb floats; width in bytes. */
static inline int mp_read_number(const uint8_t **p, const uint8_t *end, struct mp_token *t, uint8_t c)
{
    unsigned width = c <= 0xcb ? 4u << (c - 0xca) : 1u << ((c - 0xcc) & 3);
    const uint8_t *q = *p;
    if (width > (size_t)(end - q))
        return MP_TRUNCATED;
    *p = q + width;
    switch (c) {
    case 0xca: {
        uint32_t bits = mp_be32(q);
        float x;
        memcpy(&x, &bits, 4);
        t->f = (double)x;
        t->type = MP_FLOAT;
        return MP_OK;
    }
    case 0xcb: {
        uint64_t bits = mp_be64(q);
        memcpy(&t->f, &bits, 8);
        t->type = MP_FLOAT;
        return MP_OK;
    }
    case 0xcc:
        return mp_take_uint(t, q[0]);
    case 0xcd:
        return mp_take_uint(t, mp_be16(q));
    case 0xce:
        return mp_take_uint(t, mp_be32(q));
    case 0xcf:
        return mp_take_uint(t, mp_be64(q));
    case 0xd0:
        return mp_take_int(t, (int8_t)q[0]);
    case 0xd1:
        return mp_take_int(t, (int16_t)mp_be16(q));
    case 0xd2:
        return mp_take_int(t, (int32_t)mp_be32(q));
    default:
        return mp_take_int(t, (int64_t)mp_be64(q));
    }
}

/* The long forms, c being the lead byte behind which *p stands. */
static inline int mp_read_long(const uint8_t **p, const uint8_t *end, struct mp_token *t, uint8_t c)
{
    uint32_t n;
    switch (c) {
    case 0xc0:
        t->type = MP_NIL;
        return MP_OK;
    case 0xc2:
    case 0xc3:
        t->type = MP_BOOL;
        t->truth = c & 1;
        return MP_OK;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return mp_take_size(p, end, 1u << (c - 0xc4), &n) ? mp_take_data(p, end, t, MP_BIN, n) : MP_TRUNCATED;
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return mp_take_size(p, end, 1u << (c - 0xc7), &n) ? mp_read_ext(p, end, t, n) : MP_TRUNCATED;
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return mp_read_ext(p, end, t, 1u << (c - 0xd4));
    case 0xd9:
    case 0xda:
    case 0xdb:
        return mp_take_size(p, end, 1u << (c - 0xd9), &n) ? mp_take_data(p, end, t, MP_STR, n) : MP_TRUNCATED;
    case 0xdc:
    case 0xdd:
        return mp_take_size(p, end, 2u << (c - 0xdc), &n) ? mp_take_items(*p, end, t, MP_ARRAY, n) : MP_TRUNCATED;
    case 0xde:
    case 0xdf:
        return mp_take_size(p, end, 2u << (c - 0xde), &n) ? mp_take_items(*p, end, t, MP_MAP, n) : MP_TRUNCATED;
    case 0xc1:
        return MP_INVALID;
    default:
        return mp_read_number(p, end, t, c);
    }
}

/* The next token at *p, which is moved behind it: behind the head of an array, map or extension, behind the whole of the rest. */
static inline int mp_read(const uint8_t **p, const uint8_t *end, struct mp_token *t)
{
    if (*p == end)
        return MP_TRUNCATED;
    uint8_t c = *(*p)++;
    if (c < 0x80 || c >= 0xe0)
        return mp_take_int(t, (int8_t)c);
    if (c >= 0xc0)
        return mp_read_long(p, end, t, c);
    if (c >= 0xa0)
        return mp_take_data(p, end, t, MP_STR, c & 0x1f);
    return mp_take_items(*p, end, t, c >= 0x90 ? MP_ARRAY : MP_MAP, c & 0x0f);
}

/* One sequence that is not ASCII: its length, 0 when it is malformed, overlong, a surrogate or beyond U+10FFFF. */
static inline size_t mp_utf8_sequence(const uint8_t *s, size_t n)
{
    uint8_t a = s[0], b = n > 1 ? s[1] : 0;
    if (a >= 0xc2 && a <= 0xdf)
        return (b & 0xc0) == 0x80 ? 2 : 0;
    if ((b & 0xc0) != 0x80 || n < 3 || (s[2] & 0xc0) != 0x80)
        return 0;
    if ((a & 0xf0) == 0xe0) {
        if ((a == 0xe0 && b < 0xa0) || (a == 0xed && b > 0x9f))
            return 0;
        return 3;
    }
    if (n < 4 || (s[3] & 0xc0) != 0x80 || a < 0xf0 || a > 0xf4)
        return 0;
    return (a == 0xf0 && b < 0x90) || (a == 0xf4 && b > 0x8f) ? 0 : 4;
}

/* Well-formed UTF-8 without surrogates? *ret_bad (may be NULL) gets the offset of the first bad byte. */
static inline bool mp_utf8_valid(const uint8_t *s, size_t n, size_t *ret_bad)
{
    size_t i = 0;
    while (i < n) {
        uint64_t word;
        if (n - i >= 8 && (memcpy(&word, s + i, 8), (word & UINT64_C(0x8080808080808080)) == 0)) {
            i += 8;
            continue;
        }
        size_t step = s[i] < 0x80 ? 1 : mp_utf8_sequence(s + i, n - i);
        if (step == 0) {
            if (ret_bad != NULL)
                *ret_bad = i;
            return false;
        }
        i += step;
    }
    return true;
}

/* ---- writing: each function returns the new end ---- */

static inline uint8_t *mp_put_be16(uint8_t *p, uint8_t lead, uint16_t x)
{
    p[0] = lead;
    p[1] = (uint8_t)(x >> 8);
    p[2] = (uint8_t)x;
    return p + 3;
}

static inline uint8_t *mp_put_be32(uint8_t *p, uint8_t lead, uint32_t x)
{
    p[0] = lead;
    x = __builtin_bswap32(x);
    memcpy(p + 1, &x, 4);
    return p + 5;
}

static inline uint8_t *mp_put_be64(uint8_t *p, uint8_t lead, uint64_t x)
{
    p[0] = lead;
    x = __builtin_bswap64(x);
    memcpy(p + 1, &x, 8);
    return p + 9;
}

static inline uint8_t *mp_put_nil(uint8_t *p)
{
    *p = 0xc0;
    return p + 1;
}

static inline uint8_t *mp_put_bool(uint8_t *p, bool truth)
{
    *p = truth ? 0xc3 : 0xc2;
    return p + 1;
}

static inline uint8_t *mp_put_uint(uint8_t *p, uint64_t x)
{
    if (x < 0x80) {
        *p = (uint8_t)x;
        return p + 1;
    }
    if (x <= UINT8_MAX) {
        p[0] = 0xcc;
        p[1] = (uint8_t)x;
        return p + 2;
    }
    if (x <= UINT16_MAX)
        return mp_put_be16(p, 0xcd, (uint16_t)x);
    if (x <= UINT32_MAX)
        return mp_put_be32(p, 0xce, (uint32_t)x);
    return mp_put_be64(p, 0xcf, x);
}

static inline uint8_t *mp_put_int(uint8_t *p, int64_t x)
{
    if (x >= 0)
        return mp_put_uint(p, (uint64_t)x);
    if (x >= -32) {
        *p = (uint8_t)x;
        return p + 1;
    }
    if (x >= INT8_MIN) {
        p[0] = 0xd0;
        p[1] = (uint8_t)x;
        return p + 2;
    }
    if (x >= INT16_MIN)
        return mp_put_be16(p, 0xd1, (uint16_t)x);
    if (x >= INT32_MIN)
        return mp_put_be32(p, 0xd2, (uint32_t)x);
    return mp_put_be64(p, 0xd3, (uint64_t)x);
}

static inline uint8_t *mp_put_float(uint8_t *p, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    return mp_put_be64(p, 0xcb, bits);
}

/* Only the head: n bytes of text follow. */
static inline uint8_t *mp_put_str_head(uint8_t *p, uint32_t n)
{
    if (n < 32) {
        *p = (uint8_t)(0xa0 | n);
        return p + 1;
    }
    if (n <= UINT8_MAX) {
        p[0] = 0xd9;
        p[1] = (uint8_t)n;
        return p + 2;
    }
    return n <= UINT16_MAX ? mp_put_be16(p, 0xda, (uint16_t)n) : mp_put_be32(p, 0xdb, n);
}

static inline uint8_t *mp_put_bin_head(uint8_t *p, uint32_t n)
{
    if (n <= UINT8_MAX) {
        p[0] = 0xc4;
        p[1] = (uint8_t)n;
        return p + 2;
    }
    return n <= UINT16_MAX ? mp_put_be16(p, 0xc5, (uint16_t)n) : mp_put_be32(p, 0xc6, n);
}

static inline uint8_t *mp_put_str(uint8_t *p, const char *s, uint32_t n)
{
    p = mp_put_str_head(p, n);
    memcpy(p, s, n);
    return p + n;
}

static inline uint8_t *mp_put_array(uint8_t *p, uint32_t n)
{
    if (n < 16) {
        *p = (uint8_t)(0x90 | n);
        return p + 1;
    }
    return n <= UINT16_MAX ? mp_put_be16(p, 0xdc, (uint16_t)n) : mp_put_be32(p, 0xdd, n);
}

static inline uint8_t *mp_put_map(uint8_t *p, uint32_t n)
{
    if (n < 16) {
        *p = (uint8_t)(0x80 | n);
        return p + 1;
    }
    return n <= UINT16_MAX ? mp_put_be16(p, 0xde, (uint16_t)n) : mp_put_be32(p, 0xdf, n);
}

/* Head of an extension whose payload is bytes of a known length (bigint). */
static inline uint8_t *mp_put_ext(uint8_t *p, int8_t code, uint32_t n)
{
    if (n == 1 || n == 2 || n == 4 || n == 8 || n == 16) {
        *p++ = (uint8_t)(0xd4 + __builtin_ctz(n));
    } else if (n <= UINT8_MAX) {
        *p++ = 0xc7;
        *p++ = (uint8_t)n;
    } else {
        p = n <= UINT16_MAX ? mp_put_be16(p, 0xc8, (uint16_t)n) : mp_put_be32(p, 0xc9, n);
    }
    *p = (uint8_t)code;
    return p + 1;
}

/* Head of an extension whose payload is values (tuple, args, exception): always MP_EXT_OPEN bytes, the length filled in when the
 * values have been written, by mp_close_ext(p returned by mp_open_ext, end of the payload). */
#define MP_EXT_OPEN 6
static inline uint8_t *mp_open_ext(uint8_t *p, int8_t code)
{
    p = mp_put_be32(p, 0xc9, 0);
    *p = (uint8_t)code;
    return p + 1;
}

static inline void mp_close_ext_of(uint8_t *payload, size_t n)
{
    mp_put_be32(payload - MP_EXT_OPEN, 0xc9, (uint32_t)n);
}

static inline void mp_close_ext(uint8_t *payload, const uint8_t *end)
{
    mp_close_ext_of(payload, (size_t)(end - payload));
}

#endif
