/* Values as map keys: Python's equality, an order over it, the index of a map, and equality of whole values.
 *
 * Invariants
 *  1. The order is total over hashable values and exact: an integer of any size is compared with a float without rounding.
 *  2. An index is an array of entry numbers in runs whose lengths are the binary digits of its length, longest first, each run in
 *     order. Adding merges equal runs (O(log n) amortized), a look-up searches each run; an array that is in order as a
 *     whole is also in runs. No hash function, so no keys can collide on purpose.
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
    return v->kind >= PIT_KIND_NIL && v->kind <= PIT_KIND_BYTES;
}

static int order_sign(bool less, bool greater)
{
    return greater - less;
}

static int rank(const pit_value *v)
{
    switch (v->kind) {
    case PIT_KIND_NIL:
        return 0;
    case PIT_KIND_BOOL:
    case PIT_KIND_INT:
    case PIT_KIND_FLOAT:
        return 1;
    case PIT_KIND_STR:
        return 2;
    case PIT_KIND_BYTES:
        return 3;
    default:
        return 4;
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

static int order_numbers(const pit_value *a, const pit_value *b)
{
    if (a->kind == PIT_KIND_FLOAT && b->kind == PIT_KIND_FLOAT) {
        if (isnan(a->f) || isnan(b->f))
            return order_sign(isnan(a->f) && !isnan(b->f), !isnan(a->f) && isnan(b->f));
        return order_sign(a->f<b->f, a->f> b->f);
    }
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

static int order_data(const pit_value *a, const pit_value *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    return memcmp(a->text, b->text, a->n);
}

int value_key_order(const pit_value *a, const pit_value *b)
{
    int ra = rank(a), rb = rank(b);
    if (ra != rb)
        return ra < rb ? -1 : 1;
    switch (ra) {
    case 0:
        return 0;
    case 1:
        return order_numbers(a, b);
    case 2:
    case 3:
        return order_data(a, b);
    default:
        break;
    }
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (size_t i = 0; i < a->n; i++) {
        int order = value_key_order(value_item(a, i), value_item(b, i));
        if (order != 0)
            return order;
    }
    return 0;
}

/* ---- the index ---- */

static const pit_value *key_at(const pit_value *map, uint32_t entry)
{
    return value_item(map, (size_t)entry * 2);
}

static int64_t search_run(const pit_value *map, const uint32_t *run, uint32_t n, const pit_value *key)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = value_key_order(key_at(map, run[middle]), key);
        if (order == 0)
            return run[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

static int64_t find_linear(const pit_value *map, const pit_value *key)
{
    for (uint32_t i = 0; i < map->n; i++) {
        const pit_value *k = key_at(map, i);
        bool same = key->kind == PIT_KIND_STR
                        ? k->kind == PIT_KIND_STR && k->n == key->n && memcmp(k->text, key->text, k->n) == 0
                        : value_key_order(k, key) == 0;
        if (same)
            return i;
    }
    return -1;
}

int64_t value_map_find(const pit_value *map, const pit_value *key)
{
    if (map->n <= VALUE_LINEAR)
        return find_linear(map, key);
    if ((map->flags & VALUE_INLINE) != 0)
        return search_run(map, (const uint32_t *)(const void *)(map->nodes + (size_t)map->n * 2), map->n, key);
    const uint32_t *run = map->items->index;
    for (uint32_t bit = UINT32_C(1) << 31; bit != 0; bit >>= 1) {
        if ((map->n & bit) == 0)
            continue;
        int64_t at = search_run(map, run, bit, key);
        if (at >= 0)
            return at;
        run += bit;
    }
    return -1;
}

/* Merges run[0 .. left) and run[left .. n) through scratch. */
static void merge(const pit_value *map, uint32_t *run, uint32_t left, uint32_t n, uint32_t *scratch)
{
    memcpy(scratch, run, left * sizeof *run);
    uint32_t a = 0, b = left, out = 0;
    while (a < left && b < n) {
        bool first = value_key_order(key_at(map, scratch[a]), key_at(map, run[b])) <= 0;
        run[out++] = first ? scratch[a++] : run[b++];
    }
    memcpy(run + out, scratch + a, (left - a) * sizeof *run);
}

void value_index_add(const pit_value *map, uint32_t *index, uint32_t n, uint32_t *scratch)
{
    index[n - 1] = n - 1;
    for (uint32_t size = 1; ((n - 1) & size) != 0; size *= 2)
        merge(map, index + n - 2 * size, size, 2 * size, scratch);
}

bool value_index_sort(const pit_value *map, uint32_t *index, uint32_t n, uint32_t *scratch, uint32_t *ret_twice)
{
    for (uint32_t i = 0; i < n; i++)
        index[i] = i;
    for (uint64_t size = 1; size < n; size *= 2)
        for (uint64_t at = 0; at + size < n; at += 2 * size) {
            uint64_t both = n - at < 2 * size ? n - at : 2 * size;
            merge(map, index + at, (uint32_t)size, (uint32_t)both, scratch);
        }
    for (uint32_t i = 1; i < n; i++)
        if (value_key_order(key_at(map, index[i - 1]), key_at(map, index[i])) == 0) {
            *ret_twice = index[i]; /* the merge is stable: the later of the two */
            return false;
        }
    return true;
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

static bool equal_floats(double a, double b)
{
    return isnan(a) || isnan(b) ? isnan(a) && isnan(b) : a == b && signbit(a) == signbit(b);
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
        return order_data(a, b) == 0;
    case PIT_KIND_LIST:
    case PIT_KIND_TUPLE:
    case PIT_KIND_EXCEPTION:
    case PIT_KIND_ARGS:
        return a->n == b->n && equal_items(a, b, a->n);
    case PIT_KIND_MAP:
        return a->n == b->n && equal_maps(a, b);
    default:
        return a->n == b->n; /* failed values with the same code */
    }
}
