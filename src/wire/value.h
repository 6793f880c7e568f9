/* The inside of a value. Only src/wire looks here, and whoever has to freeze one.
 *
 * Every value that is not static belongs to a tree: one block with a reference count, whose first node is the root. A scalar, text or
 * container made by a constructor is a tree of its own; a built container points to the trees of its items. A decoded value is one
 * tree in one block, items, keys and texts included (VALUE_INLINE): one allocation, one free, and a reference to any part keeps
 * the whole alive.
 *
 * Invariants
 *  1. A container that is put into another is frozen, and a frozen one is never changed: so there are no cycles, and `height`
 *     (levels of containers, 0 for a scalar) is exact from the moment that it can be put anywhere.
 *  2. height <= MP_MAX_DEPTH for every value that the library hands out, but for the inside of the JSON reader; recursion over a value is bounded by it.
 *  3. A map of more than VALUE_LINEAR entries and a set have an index, ordered by value_key_order(): no keys can make a look-up slow. The
 *     index of a set that is frozen is in order as a whole, so that two sets are compared item by item.
 *  4. Kinds from DATETIME on but ARGS are leaves: height 0, and their content is never changed.
 *
 * Thread: building is for one thread; frozen values may be read, shared and freed by any. */
#ifndef PIT_WIRE_VALUE_H
#define PIT_WIRE_VALUE_H

#include <snakepit/value.h>

#include "wire/mp.h"

enum {
    VALUE_FROZEN = 1,
    VALUE_INLINE = 2,   /* container: `nodes` hold the items */
    VALUE_UNSIGNED = 4, /* int: above INT64_MAX, in `u` */
    VALUE_BIG = 8,      /* int: beyond 64 bits, in `big` */
    VALUE_FROZENSET = 16
};

#define VALUE_FEW 4u    /* items (keys counted) that a built container holds without a block of its own for them */
#define VALUE_LINEAR 8u /* maps up to this many entries have no index; sets always have one */

/* A block that lives as long as its tree: decimal text made on demand. */
struct value_extra {
    struct value_extra *next;
    char text[];
};

struct value_tree {
    size_t refs;                /* atomic */
    struct value_extra *extras; /* atomic: pushed to by any thread */
    uint8_t *kept;              /* a block that a long text stayed in; NULL */
};

struct value_big {
    char *text; /* atomic; NULL until somebody asks */
    uint32_t n; /* bytes of the magnitude: big-endian, no zero in front */
    bool negative;
    uint8_t magnitude[];
};

/* What a built container holds. */
struct value_items {
    pit_value **v;   /* items; of a map key, item, key, item, ... */
    uint32_t cap;    /* of v */
    int err;         /* the first failure in building it */
    const char *why; /* of err, static; NULL: a failed item tells, or nothing but the code does */
    uint32_t *
        index; /* of a map with more than VALUE_LINEAR entries and of a set: see index.c; with as many words of scratch behind it */
    pit_value *few[VALUE_FEW]; /* what v points to while that is room enough, but not of a set: most are small */
};

/* Times: what a kind does not need is 0. */
struct value_time {
    int64_t sec; /* of a time: of the day */
    uint32_t ns;
    int32_t offset;  /* seconds, or PIT_NAIVE */
    uint32_t zone_n; /* 0: not known */
    char zone[];     /* NUL-terminated */
};

struct value_date {
    uint16_t year;
    uint8_t month, day;
};

enum { DECIMAL_FINITE, DECIMAL_INFINITY, DECIMAL_NAN, DECIMAL_SIGNALLING };

struct value_decimal; /* in decimal.c */
struct value_tensor;  /* in tensor.c */

struct pit_value {
    uint8_t kind;
    uint8_t flags; /* atomic, for VALUE_FROZEN */
    uint16_t height;
    uint32_t n;              /* bytes of a text or bytes, items, entries; FAILED: minus its code */
    struct value_tree *tree; /* NULL: static */
    union {
        bool truth;
        int64_t i;
        uint64_t u;
        double f;
        const char *text; /* STR, BYTES, TABLE, BATCH (NUL behind the end), FAILED */
        struct value_big *big;
        pit_value *nodes; /* VALUE_INLINE; of a map or set with an index, that follows the nodes. Fields of a REF or MARKER */
        struct value_items *items;
        struct value_date date;
        struct value_time *time; /* DATETIME, TIME, DURATION */
        struct value_decimal *decimal;
        double *complex; /* real and imaginary part */
        struct value_tensor *tensor;
    };
};

_Static_assert(sizeof(pit_value) == 24, "a node is three words");

enum { EXCEPTION_TYPE, EXCEPTION_MESSAGE, EXCEPTION_TRACEBACK, EXCEPTION_NOTES, EXCEPTION_CAUSE, EXCEPTION_FIELDS };
#define VALUE_UNHASHABLE "cannot be hashed: take a tuple for a list, a frozenset for a set"
#define VALUE_UNHASHABLE_KEY "a key " VALUE_UNHASHABLE
#define VALUE_TOO_DEEP "more than 128 levels of containers" /* as a worker says it */

extern const char *const value_exception_fields[EXCEPTION_FIELDS];

static inline bool value_is_container(const pit_value *v)
{
    return (v->kind >= PIT_KIND_LIST && v->kind <= PIT_KIND_SET) || v->kind == PIT_KIND_ARGS;
}

/* Items of v->items->v or v->nodes. */
static inline size_t value_count(const pit_value *v)
{
    return v->kind == PIT_KIND_MAP ? (size_t)v->n * 2 : v->n;
}

/* The i-th item; of a map the keys are the even ones, the items the odd ones. */
static inline const pit_value *value_item(const pit_value *v, size_t i)
{
    return (v->flags & VALUE_INLINE) != 0 ? &v->nodes[i] : v->items->v[i];
}

/* A new mutable tree of one node with `extra` bytes behind it; NULL when memory ran out. */
pit_value *value_new(int kind, size_t extra);
/* A static failed value; code is one of those that constructors give. */
pit_value *value_failed(int code);
/* The same with a static text: VALUE_FAILED initializes a static const pit_value, which value_static() hands out. */
#define VALUE_FAILED(code, why)                                                                                                \
    {                                                                                                                          \
        .kind = PIT_KIND_FAILED, .flags = VALUE_FROZEN, .n = (uint32_t) - (code), .text = (why)                                \
    }
pit_value *value_static(const pit_value *v);
/* A failed value with a text of its own, and the path to what failed ("" if it is the whole); both copied. The static one when memory ran
 * out. */
pit_value *value_failed_text(int code, const char *path, const char *text);
/* Of a FAILED value: the two parts of pit_value_error_text(). */
const char *value_failed_path(const pit_value *v);
const char *value_failed_why(const pit_value *v);
/* Immutable from now on: what sending does. NULL is fine. */
void value_freeze(const pit_value *v);
/* Keeps a text made on demand: *slot (in v's tree) gets extra's text, unless another thread was first. Takes extra; returns what is kept. */
const char *value_keep_text(const pit_value *v, char **slot, struct value_extra *extra);
/* Marks a mutable container as failed; the first mark stays. why: static; NULL: as struct value_items says. Returns code. */
int value_spoil(pit_value *container, int code, const char *why);
/* What value_spoil() was told; NULL when it was told nothing, or v is no built container. */
const char *value_spoiled_why(const pit_value *v);
/* A text or bytes of n bytes that are filled in by the caller through *ret_data; failed on failure. */
pit_value *value_new_data(int kind, size_t n, char **ret_data);
/* An exception from its parts (taken; NULL: absent): type, message and traceback texts, notes a list, cause an exception. Failed with
 * invalid_parameter when they are something else. */
pit_value *value_new_exception(pit_value *parts[EXCEPTION_FIELDS]);
/* "" or what is wrong with the part of an exception. NULL and nil are absent. */
const char *value_exception_flaw(int field, const pit_value *part);

/* container.c: as pit_list_append_take and pit_map_put_take, but an entry that is there already is duplicate_key, and without a bound
 * on height when `deep`. */
int value_append_take(pit_value *list_or_set, pit_value *item, bool deep);
int value_put_new_take(pit_value *map, pit_value *key, pit_value *item, bool deep);

/* key.c */
bool value_hashable(const pit_value *v);
/* A total order of hashable values that says 0 exactly when Python says that they are one key (and for two NaNs). Frozensets must be
 * frozen. */
int value_key_order(const pit_value *a, const pit_value *b);

static inline int value_data_order(const pit_value *a, const pit_value *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    return memcmp(a->text, b->text, a->n);
}

/* The same, for where most keys are texts. */
static inline int value_text_order(const pit_value *a, const pit_value *b)
{
    return a->kind == PIT_KIND_STR && b->kind == PIT_KIND_STR ? value_data_order(a, b) : value_key_order(a, b);
}

/* index.c */
/* Entry of the map with this key, item of the set that equals it, or -1. */
int64_t value_map_find(const pit_value *map_or_set, const pit_value *key);
/* Entry n - 1 has been added: orders the index. scratch: n words. */
void value_index_add(const pit_value *map_or_set, uint32_t *index, uint32_t n, uint32_t *scratch);
/* Orders all n entries; false when two have the same key (*ret_twice, the later of them). scratch: n words. */
bool value_index_sort(const pit_value *map_or_set, uint32_t *index, uint32_t n, uint32_t *scratch, uint32_t *ret_twice);
/* Makes one run of those that value_index_add() has left. */
void value_index_finish(const pit_value *set);
/* The index of a set that is frozen: its items in order. */
const uint32_t *value_set_order(const pit_value *set);

/* bigint.c: magnitudes are big-endian bytes without zeros in front */
/* An int in canonical form (64 bits where they do). */
pit_value *value_int_from_magnitude(const uint8_t *magnitude, size_t n, bool negative);
/* A magnitude that fits 64 bits as an int in *ret; false when it does not fit. */
bool value_int_small(pit_value *ret, const uint8_t *magnitude, size_t n, bool negative);
/* Integers from n decimal digits (at least 1, nothing else). */
pit_value *value_int_from_digits(const char *digits, size_t n, bool negative);
/* From two's complement: the magnitude (at most n bytes) into out; its length. */
size_t value_magnitude(const uint8_t *twos, size_t n, uint8_t *out, bool *ret_negative);
unsigned value_magnitude_bits(const uint8_t *magnitude, size_t n);
/* Bytes of the two's complement form; written to out (MP_MAX_BIGINT_BYTES) by the second. */
uint32_t value_twos_size(const struct value_big *big);
void value_twos_put(const struct value_big *big, uint8_t *out);
int value_big_order(const struct value_big *a, const struct value_big *b);
int value_big_order_double(const struct value_big *a, double x); /* x is no NaN */
/* false when no double has exactly this value. */
bool value_big_to_double(const struct value_big *big, double *ret);
/* Decimal text of an integer beyond 64 bits. */
const char *value_big_text(const pit_value *v);

/* decimal.c */
/* The number as a value of kind INT or FLOAT if there is one that equals it exactly, else NULL; see decimal.c for what it may be asked of. */
const pit_value *value_decimal_plain(const pit_value *v);
bool value_decimal_hashable(const pit_value *v);
bool value_decimal_equal(const pit_value *a, const pit_value *b);
/* The order by value of two decimals that have no plain form. */
int value_decimal_order(const pit_value *a, const pit_value *b);
const char *value_decimal_text(const pit_value *v);

/* tensor.c */
bool value_tensor_equal(const pit_value *a, const pit_value *b);
/* The last reference has gone. */
void value_tensor_release(const pit_value *v);

/* record.c: refs and markers. The fields are VALUE_INLINE nodes. */
/* The field of this name, or NULL. */
const pit_value *value_record_get(const pit_value *v, const char *name);

/* time.c */
bool value_time_equal(const pit_value *a, const pit_value *b);
int value_time_order(const pit_value *a, const pit_value *b); /* of one kind, as Python compares them; naive ones first */

#endif
