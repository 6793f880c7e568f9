/* Decimal numbers: digits and an exponent, as Python's Decimal has them; and what it takes to find them among other numbers.
 *
 * Python says that Decimal("0.5") == 0.5 and Decimal("100") == 100, so as keys they must be one; but a comparison of a decimal with a float or a
 * large integer is too dear to be made over and over while an index is sorted. So each decimal is asked once, when it is made, whether there
 * is an integer or a float that equals it exactly: its `plain` form. In the order of keys a decimal with a plain form is that number; one
 * without equals no number of another kind, and is compared with its like only (key.c).
 *
 * Invariants
 *  1. digits: no zero in front; finite: at least one; infinity: none.
 *  2. plain is exact. A finite decimal without one equals no integer and no float, unless it is 10^1024 or larger: those are not hashable, so
 *     that nobody compares them.
 *
 * Failure: failed values. Thread: any; the text is made when it is first asked for, and kept. */
#include "wire/decimal.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/leaf.h"

#define MAX_DIGITS (1u << 20)
#define KEY_DIGITS 1024                    /* before the point, of a decimal that may be a key */
#define FLOAT_DIGITS 767                   /* no float has more significant ones */
#define FLOAT_PLACES 1074                  /* nor more behind the point */
#define KEY_WORDS 56                       /* of 64 bits: KEY_DIGITS digits, more than a float's, and one factor below 2^64 */
#define FIFTH UINT64_C(0xcccccccccccccccd) /* 5 * FIFTH == 1 modulo 2^64 */

struct value_decimal {
    char *text;      /* atomic; NULL until somebody asks */
    pit_value plain; /* kind NONE: there is none */
    int32_t exponent;
    uint32_t n; /* digits */
    uint8_t class;
    bool negative, hashable;
    char digits[];
};

/* Bytes of a decimal of n digits, without the integer that its plain form may need behind them. */
static size_t struct_size(size_t n)
{
    return (sizeof(struct value_decimal) + n + 7) / 8 * 8;
}

/* The digits without zeros at the end, and the exponent that goes with them. */
static void significant(const struct decimal_parts *d, uint32_t *ret_n, int64_t *ret_exponent)
{
    uint32_t n = d->n;
    while (n > 1 && d->digits[n - 1] == '0')
        n--;
    *ret_n = n;
    *ret_exponent = (int64_t)d->exponent + (d->n - n);
}

static bool is_zero(const char *digits, uint32_t n)
{
    return n == 1 && digits[0] == '0';
}

/* Bytes for the integer that a decimal equals, if there is one beyond 64 bits. */
static size_t plain_size(const struct decimal_parts *d)
{
    uint32_t n;
    int64_t exponent;
    if (d->class != DECIMAL_FINITE)
        return 0;
    significant(d, &n, &exponent);
    if (exponent < 0 || n + exponent < 19 || n + exponent > KEY_DIGITS)
        return 0;
    return (sizeof(struct value_big) + (size_t)(n + exponent) * 27 / 64 + 1 + 7) / 8 * 8; /* log256(10) < 27/64 */
}

/* ---- the plain form ---- */

/* words * by + add, in place; returns the new size. There is room for one more. */
static unsigned words_multiply_add(uint64_t *words, unsigned size, uint64_t by, uint64_t add)
{
    for (unsigned i = 0; i < size; i++) {
        unsigned __int128 t = (unsigned __int128)words[i] * by + add;
        words[i] = (uint64_t)t;
        add = (uint64_t)(t >> 64);
    }
    if (add != 0)
        words[size++] = add;
    return size;
}

/* n digits as a number of words, the least significant first; returns how many: one at least. */
static unsigned words_from_digits(const char *digits, uint32_t n, uint64_t *words)
{
    unsigned size = 1;
    words[0] = 0;
    for (uint32_t i = 0; i < n;) {
        uint64_t part = 0, power = 1;
        for (uint32_t end = n - i < 19 ? n : i + 19; i < end; i++, power *= 10)
            part = part * 10 + (uint64_t)(digits[i] - '0');
        size = words_multiply_add(words, size, power, part);
    }
    return size;
}

/* words * 5^count, in place; returns the new size. It stops early when that is above `limit`. */
static unsigned words_times_fives(uint64_t *words, unsigned size, int64_t count, unsigned limit)
{
    for (int64_t i = 0; i < count && size <= limit;) {
        uint64_t power = 1;
        for (int64_t end = count - i < 27 ? count : i + 27; i < end; i++)
            power *= 5; /* 5^27 fits 63 bits */
        size = words_multiply_add(words, size, power, 0);
    }
    return size;
}

/* 10^exponent is a power of five and a shift. */
static void set_plain_integer(struct value_decimal *d, uint32_t n, int64_t exponent, void *big)
{
    uint64_t words[KEY_WORDS], bytes[KEY_WORDS] = {0};
    unsigned low = (unsigned)exponent / 64, size = words_from_digits(d->digits, n, words);
    size = words_times_fives(words, size, exponent, KEY_WORDS);
    size = words_multiply_add(words, size, UINT64_C(1) << exponent % 64, 0);
    for (unsigned i = 0; i < size; i++)
        bytes[i] = __builtin_bswap64(words[size - 1 - i]);
    const uint8_t *magnitude = (const uint8_t *)bytes;
    size_t count = (size + low) * sizeof *bytes;
    for (; count != 0 && *magnitude == 0; magnitude++)
        count--;
    d->plain.flags = VALUE_FROZEN;
    if (value_int_small(&d->plain, magnitude, count, d->negative))
        return;
    d->plain.kind = PIT_KIND_INT;
    d->plain.flags |= VALUE_BIG;
    d->plain.big = big;
    *d->plain.big = (struct value_big){.n = (uint32_t)count, .negative = d->negative};
    memcpy(d->plain.big->magnitude, magnitude, count);
}

/* Of the decimals that pass as floats modulo 2^64 this is the proof: is the number odd * 5^places? */
static bool is_product(const uint64_t *number, unsigned n, uint64_t odd, int64_t places)
{
    uint64_t product[KEY_WORDS] = {odd};
    return words_times_fives(product, 1, places, n) == n && memcmp(product, number, n * sizeof *number) == 0;
}

/* digits * 10^-places equals a float exactly when digits / 5^places is an integer below 2^53. The last digit is no zero, so that integer is odd,
 * and the division is a multiplication by the inverse of 5^places modulo 2^64. That tells what the integer would be, and nearly always that
 * it is none; the cost is that of reading the digits. */
static void set_plain_float(struct value_decimal *d, uint32_t n, int64_t places)
{
    uint64_t number[KEY_WORDS];
    if (d->digits[n - 1] != '5' || n > FLOAT_DIGITS || places > FLOAT_PLACES)
        return;
    unsigned size = words_from_digits(d->digits, n, number);
    uint64_t odd = number[0], inverse = FIFTH;
    for (int64_t left = places; left != 0; left >>= 1, inverse *= inverse)
        odd *= (left & 1) != 0 ? inverse : 1;
    if (odd >> 53 != 0 || !is_product(number, size, odd, places))
        return;
    double x = ldexp((double)odd, -(int)places);
    d->plain = (pit_value){.kind = PIT_KIND_FLOAT, .flags = VALUE_FROZEN, .f = d->negative ? -x : x};
}

static void set_plain(struct value_decimal *d, void *big)
{
    uint32_t n;
    int64_t exponent;
    const double special = d->class == DECIMAL_INFINITY ? HUGE_VAL : (double)NAN;
    d->hashable = d->class != DECIMAL_SIGNALLING;
    d->plain = (pit_value){.kind = PIT_KIND_NONE};
    if (d->class != DECIMAL_FINITE) {
        d->plain = (pit_value){.kind = PIT_KIND_FLOAT, .flags = VALUE_FROZEN, .f = d->negative ? -special : special};
        return;
    }
    significant(&(struct decimal_parts){.digits = d->digits, .n = d->n, .exponent = d->exponent}, &n, &exponent);
    if (is_zero(d->digits, n)) {
        d->plain = (pit_value){.kind = PIT_KIND_INT, .flags = VALUE_FROZEN};
        return;
    }
    d->hashable = n + exponent <= KEY_DIGITS;
    if (d->hashable && exponent >= 0)
        set_plain_integer(d, n, exponent, big);
    else if (exponent < 0)
        set_plain_float(d, n, -exponent);
}

static void set_decimal(pit_value *v, const struct decimal_parts *parts, void *where)
{
    struct value_decimal *d = where;
    d->text = NULL;
    d->exponent = parts->exponent;
    d->n = parts->n;
    d->class = parts->class;
    d->negative = parts->negative;
    if (parts->n != 0)
        memcpy(d->digits, parts->digits, parts->n);
    set_plain(d, (char *)where + struct_size(parts->n));
    v->decimal = d;
}

pit_value *decimal_new(const struct decimal_parts *parts)
{
    static const pit_value too_long = VALUE_FAILED(PIT_E_LIMIT_EXCEEDED, "a decimal of more than 2^20 digits");
    if (parts->n > MAX_DIGITS)
        return value_static(&too_long);
    pit_value *v = leaf_new(PIT_KIND_DECIMAL, struct_size(parts->n) + plain_size(parts));
    if (v->kind == PIT_KIND_DECIMAL)
        set_decimal(v, parts, v + 1);
    return v;
}

void decimal_get(const pit_value *v, struct decimal_parts *ret)
{
    const struct value_decimal *d = v->decimal;
    *ret = (struct decimal_parts){d->digits, d->n, d->exponent, d->class, d->negative};
}

/* ---- comparison ---- */

const pit_value *value_decimal_plain(const pit_value *v)
{
    return v->decimal->plain.kind != PIT_KIND_NONE ? &v->decimal->plain : NULL;
}

bool value_decimal_hashable(const pit_value *v)
{
    return v->decimal->hashable;
}

bool value_decimal_equal(const pit_value *a, const pit_value *b)
{
    const struct value_decimal *x = a->decimal, *y = b->decimal;
    return x->class == y->class && x->negative == y->negative && x->exponent == y->exponent && x->n == y->n &&
           memcmp(x->digits, y->digits, x->n) == 0;
}

int value_decimal_order(const pit_value *a, const pit_value *b)
{
    const struct value_decimal *x = a->decimal, *y = b->decimal;
    if (x->negative != y->negative)
        return x->negative ? -1 : 1;
    int sign = x->negative ? -1 : 1;
    int64_t ex = (int64_t)x->exponent + x->n, ey = (int64_t)y->exponent + y->n;
    if (ex != ey)
        return ex < ey ? -sign : sign;
    uint32_t both = x->n < y->n ? x->n : y->n;
    int order = memcmp(x->digits, y->digits, both);
    if (order != 0)
        return order < 0 ? -sign : sign;
    const struct value_decimal *longer = x->n > y->n ? x : y;
    for (uint32_t i = both; i < longer->n; i++)
        if (longer->digits[i] != '0')
            return longer == x ? sign : -sign;
    return 0;
}

/* ---- text ---- */

const char *value_decimal_text(const pit_value *v)
{
    struct value_decimal *d = v->decimal;
    char *text = __atomic_load_n(&d->text, __ATOMIC_ACQUIRE);
    if (text != NULL)
        return text;
    struct decimal_parts parts;
    decimal_get(v, &parts);
    struct value_extra *extra = mem_alloc(sizeof *extra + parts.n + DECIMAL_TEXT_MORE);
    if (extra == NULL)
        return NULL;
    decimal_put_text(extra->text, &parts);
    return value_keep_text(v, &d->text, extra);
}

/* ---- payload: u8 sign and class, i32 exponent, digits ---- */

static struct decimal_parts parse(const uint8_t *p, size_t n)
{
    return (struct decimal_parts){
        .digits = (const char *)p + 5,
        .n = (uint32_t)(n - 5),
        .exponent = (int32_t)mp_be32(p + 1),
        .class = p[0] >> 1 & 3,
        .negative = p[0] & 1,
    };
}

int decimal_check(struct leaf_payload *p, struct leaf_room *room)
{
    p->why = "a decimal that is too short";
    if (p->n < 5)
        return PIT_E_DESERIALIZATION_FAILED;
    struct decimal_parts d = parse(p->data, p->n);
    p->why = "a decimal of more than 2^20 digits";
    if (p->n - 5 > MAX_DIGITS)
        return PIT_E_LIMIT_EXCEEDED;
    bool finite = d.class == DECIMAL_FINITE;
    p->why = "a decimal whose parts do not fit each other";
    if ((p->data[0] & ~7) != 0 || (finite && d.n == 0) || (!finite && d.exponent != 0) ||
        (d.class == DECIMAL_INFINITY && d.n != 0) || (d.n != 0 && d.digits[0] == '0' && !(finite && d.n == 1)))
        return PIT_E_DESERIALIZATION_FAILED;
    p->why = "a decimal with a byte that is no digit";
    for (uint32_t i = 0; i < d.n; i++)
        if (d.digits[i] < '0' || d.digits[i] > '9')
            return PIT_E_DESERIALIZATION_FAILED;
    room->words += (struct_size(d.n) + plain_size(&d)) / 8;
    if (!p->key)
        return 0;
    p->why = "a signalling NaN as a key";
    if (d.class == DECIMAL_SIGNALLING)
        return PIT_E_INVALID_PARAMETER;
    p->why = "a decimal of 10^1024 or more as a key";
    return finite && !is_zero(d.digits, d.n) && (int64_t)d.n + d.exponent > KEY_DIGITS ? PIT_E_INVALID_PARAMETER : 0;
}

void decimal_fill(pit_value *v, const uint8_t *data, size_t n, struct leaf_place *place)
{
    struct decimal_parts parts = parse(data, n);
    v->kind = PIT_KIND_DECIMAL;
    set_decimal(v, &parts, leaf_take_words(place, struct_size(parts.n) + plain_size(&parts)));
}

size_t decimal_size(const pit_value *v)
{
    return 5 + (size_t)v->decimal->n;
}

uint8_t *decimal_put(uint8_t *p, const pit_value *v)
{
    const struct value_decimal *d = v->decimal;
    *p++ = (uint8_t)(d->class << 1 | d->negative);
    p = leaf_put32(p, (uint32_t)d->exponent);
    memcpy(p, d->digits, d->n);
    return p + d->n;
}
