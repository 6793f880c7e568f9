/* Values as keys: Python's equality, an order over it, and equality of whole values. index.c makes use of the order.
 *
 * Invariants
 *  1. The order is total over hashable values and exact: an integer of any size is compared with a float without rounding, and a decimal or
 *     complex number that equals an integer or a float is that number (decimal.c).
 *  2. Two frozensets are compared item by item in the order of their indexes: in the time that it takes to look at them once.
 *
 * Failure: none. Thread: any, on frozen values. Recursion is bounded by a value's height. */
#include <math.h>
#include <string.h>

#include "wire/value.h"

bool value_hashable(const pit_value *v)
{
    if (v == NULL)
        return false;
    if (v->kind == PIT_KIND_TUPLE) {
        for (size_t i = 0; i < v->n; i++)
            if (!value_hashable(value_item(v, i)))
                return false;
        return true;
    }
    if (v->kind <= PIT_KIND_BYTES)
        return true;
    if (v->kind == PIT_KIND_SET)
        return (v->flags & VALUE_FROZENSET) != 0;
    if (v->kind == PIT_KIND_DECIMAL)
        return value_decimal_hashable(v);
    return v->kind >= PIT_KIND_DATETIME && v->kind <= PIT_KIND_COMPLEX;
}

static int order_sign(bool less, bool greater)
{
    return greater - less;
}

/* What is compared with what. A decimal that is a number of another kind, and a complex number that is a real one, go with the numbers. */
enum { RANK_NIL, RANK_NUMBER, RANK_DECIMAL, RANK_COMPLEX, RANK_STR, RANK_BYTES, RANK_TUPLE, RANK_SET, RANK_TIME };

static int rank(const pit_value *v)
{
    switch (v->kind) {
    case PIT_KIND_NIL:
        return RANK_NIL;
    case PIT_KIND_BOOL:
    case PIT_KIND_INT:
    case PIT_KIND_FLOAT:
        return RANK_NUMBER;
    case PIT_KIND_STR:
        return RANK_STR;
    case PIT_KIND_BYTES:
        return RANK_BYTES;
    case PIT_KIND_TUPLE:
        return RANK_TUPLE;
    case PIT_KIND_DECIMAL:
        return value_decimal_plain(v) != NULL ? RANK_NUMBER : RANK_DECIMAL;
    case PIT_KIND_COMPLEX:
        return v->complex[1] == 0 ? RANK_NUMBER : RANK_COMPLEX;
    case PIT_KIND_SET:
        return RANK_SET;
    default:
        return RANK_TIME + v->kind - PIT_KIND_DATETIME;
    }
}

/* A bool or an int of at most 64 bits. */
static __int128 small_int(const pit_value *v)
{
    if (v->kind == PIT_KIND_BOOL)
        return v->truth;
    return (v->flags & VALUE_UNSIGNED) != 0 ? (__int128)v->u : (__int128)v->i;
}

static bool is_big(const pit_value *v)
{
    return v->kind == PIT_KIND_INT && (v->flags & VALUE_BIG) != 0;
}

static int order_int_float(const pit_value *a, double x)
{
    if (isnan(x))
        return 1; /* NaN comes before every number */
    if (is_big(a))
        return value_big_order_double(a->big, x);
    if (x >= 0x1p64 || x < -0x1p63)
        return x > 0 ? -1 : 1;
    __int128 whole = (__int128)x, i = small_int(a);
    if (i != whole)
        return order_sign(i<whole, i> whole);
    double rest = x - (double)whole;
    return order_sign(rest > 0, rest < 0);
}

/* NaN is before every number, and all NaNs are one. */
static int order_floats(double a, double b)
{
    if (isnan(a) || isnan(b))
        return order_sign(isnan(a) && !isnan(b), !isnan(a) && isnan(b));
    return order_sign(a<b, a> b);
}

static int order_numbers(const pit_value *a, const pit_value *b)
{
    if (a->kind == PIT_KIND_FLOAT && b->kind == PIT_KIND_FLOAT)
        return order_floats(a->f, b->f);
    if (b->kind == PIT_KIND_FLOAT)
        return order_int_float(a, b->f);
    if (a->kind == PIT_KIND_FLOAT)
        return -order_int_float(b, a->f);
    if (is_big(a))
        return is_big(b) ? value_big_order(a->big, b->big) : a->big->negative ? -1 : 1;
    if (is_big(b))
        return b->big->negative ? 1 : -1;
    __int128 x = small_int(a), y = small_int(b);
    return order_sign(x<y, x> y);
}

/* The number that a key of that rank is; `real` is room for one. */
static const pit_value *number_of(const pit_value *v, pit_value *real)
{
    if (v->kind == PIT_KIND_DECIMAL)
        return value_decimal_plain(v);
    if (v->kind != PIT_KIND_COMPLEX)
        return v;
    *real = (pit_value){.kind = PIT_KIND_FLOAT, .f = v->complex[0]};
    return real;
}

static int order_plain(const pit_value *a, const pit_value *b)
{
    pit_value x, y;
    return order_numbers(number_of(a, &x), number_of(b, &y));
}

static int order_complex(const pit_value *a, const pit_value *b)
{
    int order = order_floats(a->complex[0], b->complex[0]);
    return order != 0 ? order : order_floats(a->complex[1], b->complex[1]);
}

static int order_sets(const pit_value *a, const pit_value *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    const uint32_t *x = value_set_order(a), *y = value_set_order(b);
    for (size_t i = 0; i < a->n; i++) {
        int order = value_key_order(value_item(a, x[i]), value_item(b, y[i]));
        if (order != 0)
            return order;
    }
    return 0;
}

static int order_tuples(const pit_value *a, const pit_value *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (size_t i = 0; i < a->n; i++) {
        int order = value_key_order(value_item(a, i), value_item(b, i));
        if (order != 0)
            return order;
    }
    return 0;
}

int value_key_order(const pit_value *a, const pit_value *b)
{
    int ra = rank(a), rb = rank(b);
    if (ra != rb)
        return ra < rb ? -1 : 1;
    switch (ra) {
    case RANK_NIL:
        return 0;
    case RANK_NUMBER:
        return order_plain(a, b);
    case RANK_STR:
    case RANK_BYTES:
        return value_data_order(a, b);
    case RANK_TUPLE:
        return order_tuples(a, b);
    case RANK_DECIMAL:
        return value_decimal_order(a, b);
    case RANK_COMPLEX:
        return order_complex(a, b);
    case RANK_SET:
        return order_sets(a, b);
    default:
        return value_time_order(a, b);
    }
}

/* ---- equality of values ---- */

static bool equal_items(const pit_value *a, const pit_value *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!pit_value_equal(value_item(a, i), value_item(b, i)))
            return false;
    return true;
}

static bool equal_maps(const pit_value *a, const pit_value *b)
{
    for (size_t i = 0; i < a->n; i++) {
        int64_t at = value_map_find(b, value_item(a, i * 2));
        if (at < 0 || !pit_value_equal(value_item(a, i * 2 + 1), value_item(b, (size_t)at * 2 + 1)))
            return false;
    }
    return true;
}

static bool equal_sets(const pit_value *a, const pit_value *b)
{
    if (a->n != b->n || (a->flags & VALUE_FROZENSET) != (b->flags & VALUE_FROZENSET))
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (value_map_find(b, value_item(a, i)) < 0)
            return false;
    return true;
}

static bool equal_floats(double a, double b)
{
    return isnan(a) || isnan(b) ? isnan(a) && isnan(b) : a == b && signbit(a) == signbit(b);
}

static bool equal_leaves(const pit_value *a, const pit_value *b)
{
    switch (a->kind) {
    case PIT_KIND_DECIMAL:
        return value_decimal_equal(a, b);
    case PIT_KIND_COMPLEX:
        return equal_floats(a->complex[0], b->complex[0]) && equal_floats(a->complex[1], b->complex[1]);
    case PIT_KIND_TENSOR:
        return value_tensor_equal(a, b);
    case PIT_KIND_TABLE:
    case PIT_KIND_BATCH:
        return value_data_order(a, b) == 0;
    case PIT_KIND_REF:
    case PIT_KIND_MARKER:
        return equal_items(a, b, a->n);
    default:
        return value_time_equal(a, b);
    }
}

bool pit_value_equal(const pit_value *a, const pit_value *b)
{
    if (a == b)
        return true;
    if (a == NULL || b == NULL || a->kind != b->kind)
        return false;
    switch (a->kind) {
    case PIT_KIND_NIL:
        return true;
    case PIT_KIND_BOOL:
    case PIT_KIND_INT:
        return order_numbers(a, b) == 0;
    case PIT_KIND_FLOAT:
        return equal_floats(a->f, b->f);
    case PIT_KIND_STR:
    case PIT_KIND_BYTES:
        return value_data_order(a, b) == 0;
    case PIT_KIND_LIST:
    case PIT_KIND_TUPLE:
    case PIT_KIND_EXCEPTION:
    case PIT_KIND_ARGS:
        return a->n == b->n && equal_items(a, b, a->n);
    case PIT_KIND_SET:
        return equal_sets(a, b);
    case PIT_KIND_MAP:
        return a->n == b->n && equal_maps(a, b);
    case PIT_KIND_FAILED:
        return a->n == b->n; /* the same code */
    default:
        return equal_leaves(a, b);
    }
}
