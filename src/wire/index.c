/* The index of a map or a set.
 *
 * Invariants
 *  1. An index is an array of entry numbers in runs whose lengths are the binary digits of its length, longest first, each run in order of the
 *     keys. Adding merges equal runs (O(log n) amortized), a look-up searches each run; an array that is in order as a whole is also in
 *     runs. No hash function, so no keys can collide on purpose.
 *  2. Decoded maps and sets, and sets that are frozen, have one that is in order as a whole.
 *
 * Failure: none. Thread: any, on frozen values. */
#include <string.h>

#include "wire/value.h"

/* The key of an entry of a map; the item of a set. */
static const pit_value *key_at(const pit_value *map, uint32_t entry)
{
    return value_item(map, (size_t)entry << (map->kind == PIT_KIND_MAP));
}

static const uint32_t *inline_index(const pit_value *v)
{
    return (const uint32_t *)(const void *)(v->nodes + value_count(v));
}

static int64_t search_run(const pit_value *map, const uint32_t *run, uint32_t n, const pit_value *key)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = value_text_order(key_at(map, run[middle]), key);
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
    for (uint32_t i = 0; i < map->n; i++)
        if (value_text_order(key_at(map, i), key) == 0)
            return i;
    return -1;
}

int64_t value_map_find(const pit_value *map, const pit_value *key)
{
    if (map->n <= VALUE_LINEAR)
        return find_linear(map, key);
    if ((map->flags & VALUE_INLINE) != 0)
        return search_run(map, inline_index(map), map->n, key);
    const uint32_t *run = map->items->index;
    if (map->kind == PIT_KIND_SET && pit_value_is_immutable(map))
        return search_run(map, run, map->n, key);
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
        bool first = value_text_order(key_at(map, scratch[a]), key_at(map, run[b])) <= 0;
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
        if (value_text_order(key_at(map, index[i - 1]), key_at(map, index[i])) == 0) {
            *ret_twice = index[i]; /* the merge is stable: the later of the two */
            return false;
        }
    return true;
}

void value_index_finish(const pit_value *set)
{
    if ((set->flags & VALUE_INLINE) != 0 || set->n == 0)
        return;
    uint32_t *index = set->items->index, *scratch = index + set->items->cap;
    uint32_t done = set->n & (0 - set->n); /* the last run is the shortest; it is merged into the one before it, and so on */
    for (uint32_t left = set->n - done; left != 0;) {
        uint32_t run = left & (0 - left);
        left -= run;
        merge(set, index + left, run, run + done, scratch);
        done += run;
    }
}

const uint32_t *value_set_order(const pit_value *set)
{
    return (set->flags & VALUE_INLINE) != 0 ? inline_index(set) : set->items->index;
}
