/* Integers beyond 64 bits: magnitude and sign, decimal text both ways, two's complement for the wire, exact comparison.
 *
 * Text is converted in chunks of 19 digits on 64-bit limbs: quadratic, and about half a second for the largest number that is allowed
 * (MP_MAX_BIGINT_BITS). Text is made when it is first asked for, and kept.
 *
 * Failure: failed values (allocation_failed, limit_exceeded); text NULL. Thread: any. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/value.h"

#define CHUNK_DIGITS 19
#define CHUNK UINT64_C(10000000000000000000) /* 10^19: its top bit is set, as divide_step() needs */
#define BITS_PER_DIGIT 3.3219280948873626    /* log2(10), rounded up */

unsigned value_magnitude_bits(const uint8_t *magnitude, size_t n)
{
    return n == 0 ? 0 : (unsigned)(n * 8) - (unsigned)__builtin_clz(magnitude[0]) + 24;
}

static void set_inner(pit_value *v, int64_t i, uint64_t u, bool is_unsigned)
{
    v->kind = PIT_KIND_INT;
    v->flags = (uint8_t)(VALUE_FROZEN | (is_unsigned ? VALUE_UNSIGNED : 0));
    if (is_unsigned)
        v->u = u;
    else
        v->i = i;
}

bool value_int_small(pit_value *ret, const uint8_t *magnitude, size_t n, bool negative)
{
    uint64_t u = 0;
    if (n > 8)
        return false;
    for (size_t i = 0; i < n; i++)
        u = u << 8 | magnitude[i];
    if (negative && u > UINT64_C(1) << 63)
        return false;
    if (negative)
        set_inner(ret, (int64_t)(0 - u), 0, false);
    else
        set_inner(ret, (int64_t)u, u, u > INT64_MAX);
    return true;
}

static const pit_value too_large = VALUE_FAILED(PIT_E_LIMIT_EXCEEDED, "an integer of more than 2^20 bits");

pit_value *value_int_from_magnitude(const uint8_t *magnitude, size_t n, bool negative)
{
    pit_value small;
    if (value_int_small(&small, magnitude, n, negative))
        return (small.flags & VALUE_UNSIGNED) != 0 ? pit_uint(small.u) : pit_int(small.i);
    if (value_magnitude_bits(magnitude, n) > MP_MAX_BIGINT_BITS)
        return value_static(&too_large);
    pit_value *v = value_new(PIT_KIND_INT, sizeof(struct value_big) + n);
    if (v == NULL)
        return value_failed(PIT_E_ALLOCATION_FAILED);
    v->flags = VALUE_FROZEN | VALUE_BIG;
    v->big = (struct value_big *)(void *)(v + 1);
    *v->big = (struct value_big){.n = (uint32_t)n, .negative = negative};
    memcpy(v->big->magnitude, magnitude, n);
    return v;
}

/* ---- two's complement ---- */

size_t value_magnitude(const uint8_t *twos, size_t n, uint8_t *out, bool *ret_negative)
{
    bool negative = n != 0 && (twos[0] & 0x80) != 0;
    *ret_negative = negative;
    unsigned carry = 1;
    for (size_t i = n; i-- > 0;) {
        unsigned byte = twos[i];
        if (negative) {
            byte = (byte ^ 0xff) + carry;
            carry = byte >> 8;
        }
        out[i] = (uint8_t)byte;
    }
    /* The most negative number of n bytes negates to itself, which is right when read unsigned. */
    size_t zeros = 0;
    while (zeros < n && out[zeros] == 0)
        zeros++;
    memmove(out, out + zeros, n - zeros);
    return n - zeros;
}

/* Does the magnitude take a further byte for the sign? -2^(8n-1) is the one number of its bits that does not. */
static bool needs_sign_byte(const struct value_big *big)
{
    if (big->magnitude[0] < 0x80)
        return false;
    if (!big->negative || big->magnitude[0] > 0x80)
        return true;
    for (uint32_t i = 1; i < big->n; i++)
        if (big->magnitude[i] != 0)
            return true;
    return false;
}

uint32_t value_twos_size(const struct value_big *big)
{
    return big->n + needs_sign_byte(big);
}

void value_twos_put(const struct value_big *big, uint8_t *out)
{
    if (needs_sign_byte(big))
        *out++ = big->negative ? 0xff : 0;
    unsigned carry = 1;
    for (size_t i = big->n; i-- > 0;) {
        unsigned byte = big->magnitude[i];
        if (big->negative) {
            byte = (byte ^ 0xff) + carry;
            carry = byte >> 8;
        }
        out[i] = (uint8_t)byte;
    }
}

/* ---- order ---- */

static int order_magnitudes(const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
    if (an != bn)
        return an < bn ? -1 : 1;
    return memcmp(a, b, an);
}

int value_big_order(const struct value_big *a, const struct value_big *b)
{
    if (a->negative != b->negative)
        return a->negative ? -1 : 1;
    int order = order_magnitudes(a->magnitude, a->n, b->magnitude, b->n);
    return a->negative ? -order : order;
}

/* The magnitude of a finite x that is at least 2^53 (and so whole): big-endian, at most 128 bytes. */
static size_t double_magnitude(double x, uint8_t out[136])
{
    int exponent;
    uint64_t mantissa = (uint64_t)ldexp(frexp(fabs(x), &exponent), 53);
    int shift = exponent - 53; /* |x| = mantissa << shift */
    size_t n = ((size_t)exponent + 7) / 8;
    unsigned __int128 top = (unsigned __int128)mantissa << (shift % 8);
    memset(out, 0, n);
    for (size_t i = n - (size_t)shift / 8; top != 0; top >>= 8)
        out[--i] = (uint8_t)top;
    return n;
}

int value_big_order_double(const struct value_big *a, double x)
{
    int sign = a->negative ? -1 : 1;
    if (fabs(x) < 0x1p62 || signbit(x) != a->negative)
        return sign;
    if (isinf(x))
        return -sign;
    uint8_t other[136];
    size_t n = double_magnitude(x, other);
    return sign * order_magnitudes(a->magnitude, a->n, other, n);
}

bool value_big_to_double(const struct value_big *big, double *ret)
{
    unsigned bits = value_magnitude_bits(big->magnitude, big->n);
    if (bits > 1024)
        return false;
    double x = 0;
    for (uint32_t i = 0; i < big->n && i < 16; i++) /* rounded perhaps: the comparison tells */
        x = x * 256 + big->magnitude[i];
    if (big->n > 16)
        x = ldexp(x, (int)(big->n - 16) * 8);
    x = big->negative ? -x : x;
    if (isinf(x) || value_big_order_double(big, x) != 0)
        return false;
    *ret = x;
    return true;
}

/* ---- decimal text ---- */

static void parse_chunk(const char *digits, size_t n, uint64_t *ret, uint64_t *ret_power)
{
    uint64_t x = 0, power = 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 10 + (uint64_t)(digits[i] - '0');
        power *= 10;
    }
    *ret = x;
    *ret_power = power;
}

/* n digits as big-endian bytes in limb, which holds n / CHUNK_DIGITS + 2 words; where they begin and how many they are. */
static const uint8_t *convert_digits(const char *digits, size_t n, uint64_t *limb, size_t *ret_size)
{
    size_t used = 0; /* limbs, the least significant first */
    for (size_t at = 0, step; at < n; at += step) {
        uint64_t carry, power;
        step = at == 0 && n % CHUNK_DIGITS != 0 ? n % CHUNK_DIGITS : CHUNK_DIGITS;
        parse_chunk(digits + at, step, &carry, &power);
        for (size_t i = 0; i < used; i++) {
            unsigned __int128 x = (unsigned __int128)limb[i] * power + carry;
            limb[i] = (uint64_t)x;
            carry = (uint64_t)(x >> 64);
        }
        if (carry != 0)
            limb[used++] = carry;
    }
    for (size_t i = 0; i < used / 2; i++) {
        uint64_t swap = limb[i];
        limb[i] = limb[used - 1 - i];
        limb[used - 1 - i] = swap;
    }
    for (size_t i = 0; i < used; i++)
        limb[i] = __builtin_bswap64(limb[i]);
    const uint8_t *bytes = (const uint8_t *)limb;
    size_t size = used * 8;
    for (; size != 0 && *bytes == 0; size--) /* NOLINT: the analyzer follows one limb and no more */
        bytes++;
    *ret_size = size;
    return bytes;
}

pit_value *value_int_from_digits(const char *digits, size_t n, bool negative)
{
    while (n > 1 && *digits == '0') {
        digits++;
        n--;
    }
    if ((double)(n - 1) * BITS_PER_DIGIT > MP_MAX_BIGINT_BITS + 4.0)
        return value_static(&too_large);
    uint64_t *limb = mem_array(n / CHUNK_DIGITS + 2, sizeof *limb);
    if (limb == NULL)
        return value_failed(PIT_E_ALLOCATION_FAILED);
    size_t size;
    const uint8_t *bytes = convert_digits(digits, n, limb, &size);
    pit_value *v = value_int_from_magnitude(bytes, size, negative);
    mem_free(limb);
    return v;
}

/* Divides high:low (high < CHUNK) by CHUNK with its reciprocal instead of a division: Möller and Granlund, "Improved division by
 * invariant integers" (2011), algorithm 4. */
static uint64_t divide_step(uint64_t high, uint64_t low, uint64_t *ret_rest)
{
    const uint64_t reciprocal = (uint64_t)(~(unsigned __int128)0 / CHUNK - ((unsigned __int128)1 << 64));
    unsigned __int128 q = (unsigned __int128)reciprocal * high + (((unsigned __int128)high << 64) | low);
    uint64_t quotient = (uint64_t)(q >> 64) + 1;
    uint64_t rest = low - quotient * CHUNK;
    if (rest > (uint64_t)q) {
        quotient--;
        rest += CHUNK;
    }
    if (rest >= CHUNK) {
        quotient++;
        rest -= CHUNK;
    }
    *ret_rest = rest;
    return quotient;
}

/* The limbs of a magnitude, the most significant first, and their number. */
static size_t load_limbs(const struct value_big *big, uint64_t *limb)
{
    size_t n = (big->n + 7u) / 8, gap = n * 8 - big->n;
    memset(limb, 0, gap);
    memcpy((uint8_t *)limb + gap, big->magnitude, big->n);
    for (size_t i = 0; i < n; i++)
        limb[i] = __builtin_bswap64(limb[i]);
    return n;
}

/* Writes the digits so that they end at `end`; returns where they begin. limb[0 .. n) is used up. */
static char *put_digits(char *end, uint64_t *limb, size_t n)
{
    while (n != 0) {
        uint64_t rest = 0;
        for (size_t i = 0; i < n; i++)
            limb[i] = divide_step(rest, limb[i], &rest);
        if (limb[0] == 0) {
            limb++;
            n--;
        }
        for (int i = 0; i < CHUNK_DIGITS && (n != 0 || rest != 0); i++) {
            *--end = (char)('0' + rest % 10);
            rest /= 10;
        }
    }
    return end;
}

static struct value_extra *make_text(const struct value_big *big)
{
    size_t digits = (size_t)(big->n * 8.0 / BITS_PER_DIGIT) + CHUNK_DIGITS + 4;
    struct value_extra *extra = mem_alloc(sizeof *extra + digits);
    uint64_t *limb = mem_array(big->n / 8u + 2, sizeof *limb);
    if (extra != NULL && limb != NULL) {
        char *end = extra->text + digits - 1;
        *end = '\0';
        char *begin = put_digits(end, limb, load_limbs(big, limb));
        if (big->negative)
            *--begin = '-';
        memmove(extra->text, begin, (size_t)(end - begin) + 1);
    } else {
        mem_free(extra);
        extra = NULL;
    }
    mem_free(limb);
    return extra;
}

const char *value_big_text(const pit_value *v)
{
    char *text = __atomic_load_n(&v->big->text, __ATOMIC_ACQUIRE);
    if (text != NULL)
        return text;
    struct value_extra *extra = make_text(v->big);
    return extra != NULL ? value_keep_text(v, &v->big->text, extra) : NULL;
}
