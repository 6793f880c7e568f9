/* MessagePack to values: one pass that checks and measures, one allocation, one pass that fills it.
 *
 * Invariants
 *  1. The first pass looks at every byte, under explicit bounds and an explicit stack: nesting, lengths, text, kinds of keys. Nothing has
 *     been allocated when it refuses. Its sums are exact upper bounds of what the second pass takes. Payloads of leaves are judged by leaf.h.
 *  2. The second pass meets only bytes that the first has accepted (the caller owns them; they do not change). All that it can still refuse are
 *     keys that stand twice and exceptions whose parts are of the wrong kind.
 *  3. The result is one block: tree, nodes (an index behind those of a set or of a map with many entries), words of bigints and leaves, texts.
 *     A long text or bytes may stay where it was read instead: the tree then owns that block too.
 *
 * Failure: typed, with a text that names the offset. Thread: any. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/codec.h"
#include "wire/flat.h"
#include "wire/leaf.h"
#include "wire/value.h"

#define DEFAULT_EXTRA_BYTES ((size_t)64 << 20)
#define LARGE (64u << 10)
#define LARGE_WITHIN 256 /* tokens: where there are more, a text is a small part of the work */

/* A container that is being measured. */
struct level {
    const uint8_t *end; /* of the bytes in which its items must lie */
    uint32_t left;      /* items still to come; of a map keys and items */
    uint16_t depth;
    bool map;
    bool exact;     /* an extension: its items must end at `end` */
    bool hashable;  /* inside a key */
    bool exception; /* the map inside an exception */
};

struct measure {
    const uint8_t *begin, *p;
    size_t entries; /* of maps and sets */
    struct leaf_room room;
    struct level stack[2 * MP_MAX_DEPTH + 2];
    unsigned top;
    int code;
    const char *why;
    int ext; /* the code of an extension that is not for us */
};

static bool refuse(struct measure *m, int code, const char *why)
{
    m->code = code;
    m->why = why;
    return false;
}

/* Nodes that an index takes, behind those of the entries. */
static size_t index_nodes(size_t entries)
{
    return (entries * sizeof(uint32_t) + sizeof(pit_value) - 1) / sizeof(pit_value);
}

static size_t map_index_nodes(size_t entries)
{
    return entries > VALUE_LINEAR ? index_nodes(entries) : 0;
}

#define TOO_MANY_ENTRIES "more than 2^20 entries in maps and sets"

static bool count_entries(struct measure *m, size_t n)
{
    m->entries += n;
    return m->entries <= CODEC_MAX_ENTRIES || refuse(m, PIT_E_LIMIT_EXCEEDED, TOO_MANY_ENTRIES);
}

/* Opens a container of `count` items (keys and items of a map). */
static bool open_level(struct measure *m, uint32_t count, bool map, const uint8_t *end, bool exact)
{
    const struct level *outer = &m->stack[m->top];
    /* The notes of an exception do not count as a level. */
    bool notes = outer->exception && !map && !exact;
    unsigned depth = outer->depth + (notes ? 0u : 1u);
    if (depth > MP_MAX_DEPTH)
        return refuse(m, PIT_E_LIMIT_EXCEEDED, "more than 128 levels of containers");
    m->room.nodes += count + (map ? map_index_nodes(count / 2) : 0);
    m->entries += map ? count / 2 : 0;
    if (m->entries > CODEC_MAX_ENTRIES)
        return refuse(m, PIT_E_LIMIT_EXCEEDED, TOO_MANY_ENTRIES);
    m->stack[++m->top] = (struct level){.end = end,
                                        .left = count,
                                        .depth = (uint16_t)depth,
                                        .map = map,
                                        .exact = exact,
                                        .hashable = outer->hashable || (outer->map && (outer->left & 1) != 0)};
    return true;
}

/* An extension that holds values: the head of its one array or map. */
static bool open_extension(struct measure *m, const struct mp_token *ext, enum mp_type type)
{
    const uint8_t *end = ext->data + ext->n;
    struct mp_token t;
    if (mp_read(&m->p, end, &t) != MP_OK || t.type != type)
        return refuse(m, PIT_E_DESERIALIZATION_FAILED, "an extension does not hold what it should");
    bool map = type == MP_MAP;
    if (map && t.n > UINT32_MAX / 2)
        return refuse(m, PIT_E_LIMIT_EXCEEDED, "too many entries");
    if (!open_level(m, map ? t.n * 2 : t.n, map, end, true))
        return false;
    if (map) {
        m->stack[m->top].exception = true;
        m->room.nodes += EXCEPTION_FIELDS + 1; /* and the map that is read first */
    }
    return true;
}

/* A set: as a tuple, with an index behind its items, each of which is a key. */
static bool open_set(struct measure *m, const struct mp_token *t)
{
    if (!open_extension(m, t, MP_ARRAY))
        return false;
    struct level *level = &m->stack[m->top];
    level->hashable = true;
    m->room.nodes += index_nodes(level->left);
    return count_entries(m, level->left);
}

/* What a decimal counts for as a key: it takes longer to find out which number it is than to sort it. */
#define DECIMAL_KEY_ENTRIES 16

static bool measure_leaf(struct measure *m, const struct mp_token *t, bool key)
{
    struct leaf_payload p = {.ext = t->ext, .key = key, .data = t->data, .n = t->n};
    int rc = leaf_check(&p, &m->room);
    if (rc != 0)
        return refuse(m, rc, p.why);
    m->p += t->n;
    return !key || t->ext != MP_EXT_DECIMAL || count_entries(m, DECIMAL_KEY_ENTRIES);
}

static bool measure_extension(struct measure *m, const struct mp_token *t, bool key)
{
    if (leaf_is(t->ext))
        return measure_leaf(m, t, key);
    switch (t->ext) {
    case MP_EXT_BIGINT:
        if (t->n == 0)
            return refuse(m, PIT_E_DESERIALIZATION_FAILED, "an integer without bytes");
        if (t->n > MP_MAX_BIGINT_BYTES)
            return refuse(m, PIT_E_LIMIT_EXCEEDED, "an integer of more than 2^20 bits");
        m->room.words += (sizeof(struct value_big) + t->n + 7) / 8;
        m->p += t->n;
        return true;
    case MP_EXT_TUPLE:
        return open_extension(m, t, MP_ARRAY);
    case MP_EXT_SET:
        return key ? refuse(m, PIT_E_INVALID_PARAMETER, "a set as a key") : open_set(m, t);
    case MP_EXT_FROZENSET:
        return open_set(m, t);
    case MP_EXT_EXCEPTION:
        if (key)
            return refuse(m, PIT_E_INVALID_PARAMETER, "an exception as a key");
        return open_extension(m, t, MP_MAP);
    default:
        m->ext = t->ext;
        return refuse(m, PIT_E_DESERIALIZATION_FAILED, NULL);
    }
}

/* A container, or what holds one, as an item of the innermost container. */
static bool measure_container(struct measure *m, const struct mp_token *t, bool key)
{
    const uint8_t *end = m->stack[m->top].end;
    switch (t->type) {
    case MP_ARRAY:
        return key ? refuse(m, PIT_E_INVALID_PARAMETER, "a list as a key") : open_level(m, t->n, false, end, false);
    case MP_MAP:
        if (key)
            return refuse(m, PIT_E_INVALID_PARAMETER, "a map as a key");
        if (t->n > UINT32_MAX / 2)
            return refuse(m, PIT_E_LIMIT_EXCEEDED, "too many entries");
        return open_level(m, t->n * 2, true, end, false);
    default:
        return measure_extension(m, t, key);
    }
}

/* The items of the innermost container, up to its end or to where another one opens. Most items are scalars and texts, and most of
 * the time is spent here: position and count stay in registers. */
static bool measure_items(struct measure *m)
{
    struct level *level = &m->stack[m->top];
    const uint8_t *p = m->p, *end = level->end;
    uint32_t left = level->left;
    size_t bytes = 0;
    int rc = MP_OK;
    bool utf8 = true;
    struct mp_token t;
    while (left != 0 && (rc = mp_read(&p, end, &t)) == MP_OK && t.type < MP_ARRAY) {
        left--;
        if (t.type < MP_STR)
            continue;
        if (t.type == MP_STR && !(utf8 = mp_utf8_valid(t.data, t.n, NULL)))
            break;
        bytes += (size_t)t.n + 1;
    }
    m->p = p;
    m->room.bytes += bytes;
    level->left = left;
    if (rc != MP_OK)
        return refuse(m, PIT_E_DESERIALIZATION_FAILED,
                      rc == MP_TRUNCATED ? "the bytes end too early" : "a byte that begins no value");
    if (!utf8)
        return refuse(m, PIT_E_INVALID_UTF8, "a text is not valid UTF-8");
    if (left == 0)
        return true;
    bool key = level->hashable || (level->map && (left & 1) == 0);
    level->left--;
    return measure_container(m, &t, key);
}

static bool measure_value(struct measure *m, const uint8_t *p, size_t n, size_t budget)
{
    m->begin = m->p = p;
    m->entries = 0;
    m->room = (struct leaf_room){.nodes = 1};
    m->top = 0;
    m->ext = 0;
    m->stack[0] = (struct level){.end = p + n, .left = 1};
    for (;;) {
        struct level *level = &m->stack[m->top];
        if (level->left != 0) {
            if (!measure_items(m))
                return false;
            continue;
        }
        if (level->exact && m->p != level->end)
            return refuse(m, PIT_E_DESERIALIZATION_FAILED, "an extension has bytes that belong to nothing");
        if (m->top == 0)
            break;
        m->top--;
    }
    size_t nodes, total;
    if (__builtin_mul_overflow(m->room.nodes, sizeof(pit_value), &nodes) ||
        __builtin_add_overflow(nodes, m->room.words * 8 + m->room.bytes + sizeof(struct value_tree), &total) ||
        total > budget) {
        m->p = m->begin;
        return refuse(m, PIT_E_LIMIT_EXCEEDED, "the value takes more memory than it may");
    }
    return true;
}

/* ---- the second pass ---- */

struct fill {
    const uint8_t *begin, *p, *end;
    const uint8_t *kept; /* a text that is not copied */
    struct leaf_place place;
    int code;
    const char *why;
};

static inline bool fill_value(struct fill *f, pit_value *v);

static bool stop(struct fill *f, int code, const char *why)
{
    f->code = code;
    f->why = why;
    return false;
}

/* A token that the first pass has seen. */
static bool next(struct fill *f, struct mp_token *t)
{
    return mp_read(&f->p, f->end, t) == MP_OK ||
           stop(f, PIT_E_DESERIALIZATION_FAILED, "the bytes changed while they were read");
}

static inline void fill_data(struct fill *f, pit_value *v, const struct mp_token *t)
{
    v->kind = t->type == MP_STR ? PIT_KIND_STR : PIT_KIND_BYTES;
    v->n = t->n;
    if (t->n >= LARGE && t->data == f->kept) {
        v->text = (const char *)t->data;
        return;
    }
    v->text = f->place.byte;
    memcpy(f->place.byte, t->data, t->n);
    f->place.byte[t->n] = '\0';
    f->place.byte += (size_t)t->n + 1;
}

static bool fill_bigint(struct fill *f, pit_value *v, const struct mp_token *t)
{
    struct value_big *big = (struct value_big *)(void *)f->place.word;
    bool negative;
    size_t n = value_magnitude(t->data, t->n, big->magnitude, &negative);
    f->p = t->data + t->n;
    if (value_int_small(v, big->magnitude, n, negative))
        return true;
    if (value_magnitude_bits(big->magnitude, n) > MP_MAX_BIGINT_BITS)
        return stop(f, PIT_E_LIMIT_EXCEEDED, "an integer of more than 2^20 bits");
    big->text = NULL;
    big->n = (uint32_t)n;
    big->negative = negative;
    v->kind = PIT_KIND_INT;
    v->flags |= VALUE_BIG;
    v->big = big;
    f->place.word += (sizeof(struct value_big) + n + 7) / 8;
    return true;
}

/* Fills `count` nodes of v, which are taken first. */
static bool fill_items(struct fill *f, pit_value *v, size_t count, size_t index)
{
    pit_value *node = f->place.node;
    v->flags |= VALUE_INLINE;
    v->nodes = node;
    f->place.node += count + index;
    unsigned height = 0;
    for (const pit_value *end = node + count; node != end; node++) {
        if (!fill_value(f, node))
            return false;
        if (node->height > height)
            height = node->height;
    }
    v->height = (uint16_t)(height + 1);
    return true;
}

static bool keys_differ(const pit_value *map)
{
    for (size_t i = 1; i < map->n; i++)
        for (size_t j = 0; j < i; j++)
            if (value_text_order(value_item(map, i * 2), value_item(map, j * 2)) == 0)
                return false;
    return true;
}

static bool stop_twice(struct fill *f, const pit_value *v, const uint8_t *at)
{
    f->p = at;
    return stop(f, PIT_E_DUPLICATE_KEY,
                v->kind == PIT_KIND_SET ? "an item stands twice in the set" : "a key stands twice in the map");
}

/* The index of a map or set whose items are there; `at`: where they began. */
static bool fill_index(struct fill *f, pit_value *v, const uint8_t *at)
{
    uint32_t *index = (uint32_t *)(void *)(v->nodes + value_count(v)), few[VALUE_LINEAR], twice;
    uint32_t *scratch = v->n <= VALUE_LINEAR ? few : mem_alloc(v->n * sizeof *scratch);
    if (scratch == NULL)
        return stop(f, PIT_E_ALLOCATION_FAILED, "out of memory");
    bool good = value_index_sort(v, index, v->n, scratch, &twice);
    if (scratch != few)
        mem_free(scratch);
    return good || stop_twice(f, v, at);
}

static bool fill_map(struct fill *f, pit_value *v, uint32_t n)
{
    const uint8_t *at = f->p;
    v->kind = PIT_KIND_MAP;
    v->n = n;
    if (!fill_items(f, v, (size_t)n * 2, map_index_nodes(n)))
        return false;
    if (n > VALUE_LINEAR)
        return fill_index(f, v, at);
    return n < 2 || keys_differ(v) || stop_twice(f, v, at);
}

static bool fill_set(struct fill *f, pit_value *v, const struct mp_token *t, bool frozen)
{
    const uint8_t *at = f->p;
    v->kind = PIT_KIND_SET;
    v->flags |= frozen ? VALUE_FROZENSET : 0;
    v->n = t->n;
    return fill_items(f, v, t->n, index_nodes(t->n)) && fill_index(f, v, at);
}

/* The map inside an exception, then the exception over its parts. */
static bool fill_exception(struct fill *f, pit_value *v)
{
    const uint8_t *at = f->p;
    pit_value *nodes = f->place.node, *map = nodes + EXCEPTION_FIELDS;
    f->place.node += EXCEPTION_FIELDS + 1;
    struct mp_token t = {0};
    *map = (pit_value){.flags = VALUE_FROZEN, .tree = f->place.tree};
    if (!next(f, &t) || !fill_map(f, map, t.n))
        return false;
    for (int i = 0; i < EXCEPTION_FIELDS; i++) {
        const pit_value *part = pit_value_get(map, value_exception_fields[i]);
        const char *flaw = value_exception_flaw(i, part);
        if (flaw[0] != '\0') {
            f->p = at;
            return stop(f, PIT_E_DESERIALIZATION_FAILED, flaw);
        }
        bool absent = part == NULL || part->kind == PIT_KIND_NIL;
        nodes[i] = absent ? (pit_value){.kind = PIT_KIND_NIL, .flags = VALUE_FROZEN, .tree = f->place.tree} : *part;
        if (absent && i == EXCEPTION_MESSAGE) {
            nodes[i].kind = PIT_KIND_STR;
            nodes[i].text = "";
        } else if (absent && i == EXCEPTION_NOTES) {
            nodes[i] =
                (pit_value){.kind = PIT_KIND_LIST, .flags = VALUE_FROZEN | VALUE_INLINE, .height = 1, .tree = f->place.tree};
        }
    }
    v->kind = PIT_KIND_EXCEPTION;
    v->flags |= VALUE_INLINE;
    v->n = EXCEPTION_FIELDS;
    v->nodes = nodes;
    v->height = (uint16_t)(nodes[EXCEPTION_CAUSE].height + 1);
    return true;
}

static bool fill_extension(struct fill *f, pit_value *v, struct mp_token *t)
{
    if (t->ext == MP_EXT_BIGINT)
        return fill_bigint(f, v, t);
    if (t->ext == MP_EXT_EXCEPTION)
        return fill_exception(f, v);
    if (leaf_is(t->ext)) {
        leaf_fill(v, t->ext, t->data, t->n, &f->place);
        f->p = t->data + t->n;
        return true;
    }
    int ext = t->ext;
    if (!next(f, t))
        return false;
    if (ext != MP_EXT_TUPLE)
        return fill_set(f, v, t, ext == MP_EXT_FROZENSET);
    v->kind = PIT_KIND_TUPLE;
    v->n = t->n;
    return fill_items(f, v, t->n, 0);
}

static bool fill_container(struct fill *f, pit_value *v, struct mp_token *t)
{
    switch (t->type) {
    case MP_ARRAY:
        v->kind = PIT_KIND_LIST;
        v->n = t->n;
        return fill_items(f, v, t->n, 0);
    case MP_MAP:
        return fill_map(f, v, t->n);
    default:
        return fill_extension(f, v, t);
    }
}

static inline bool fill_value(struct fill *f, pit_value *v)
{
    /* Kinds of the tokens whose content is one word, in the order of enum mp_type. */
    static const uint8_t kinds[] = {PIT_KIND_NIL, PIT_KIND_BOOL, PIT_KIND_INT, PIT_KIND_INT, PIT_KIND_FLOAT};
    struct mp_token t = {0};
    if (!next(f, &t))
        return false;
    *v = (pit_value){.flags = VALUE_FROZEN, .tree = f->place.tree};
    if (t.type < MP_STR) {
        v->kind = kinds[t.type];
        v->flags = (uint8_t)(VALUE_FROZEN | (t.type == MP_UINT ? VALUE_UNSIGNED : 0));
        v->u = t.u; /* the same word, whichever member it is; of nil nobody reads it */
        return true;
    }
    if (t.type < MP_ARRAY) {
        fill_data(f, v, &t);
        return true;
    }
    return fill_container(f, v, &t);
}

/* What is wrong with the bytes at p, at an offset; ext: an extension that is not known, when there is no other reason. */
static int explain(struct codec_error *err, const uint8_t *p, size_t n, int code, const char *why, size_t offset, int ext)
{
    if (err == NULL)
        return code;
    err->code = code;
    codec_locate(err->path, p, n, offset);
    if (why != NULL)
        snprintf(err->text, sizeof err->text, "%s (at byte %zu)", why, offset);
    else
        snprintf(err->text, sizeof err->text, "extension %d is not a kind of value that this version reads (at byte %zu)", ext,
                 offset);
    return code;
}

/* A text or bytes that is worth to be kept where it is: *ret_n is its length. The bytes have been measured. */
static const uint8_t *find_large(const uint8_t *p, const uint8_t *end, size_t *ret_n)
{
    struct mp_token t;
    for (int i = 0; i < LARGE_WITHIN && mp_read(&p, end, &t) == MP_OK; i++) {
        if ((t.type == MP_STR || t.type == MP_BIN) && t.n >= LARGE) {
            *ret_n = t.n;
            return t.data;
        }
        if (t.type == MP_EXT && (leaf_is(t.ext) || t.ext == MP_EXT_BIGINT))
            p += t.n;
    }
    return NULL;
}

/* One function for both forms: with a second caller its parts would not be inlined, which short answers feel. */
int codec_decode_block(uint8_t **block, const uint8_t *p, size_t n, const struct codec_limits *limits, pit_value **ret,
                       size_t *ret_used, struct codec_error *err)
{
    size_t budget = limits != NULL && limits->max_bytes != 0 ? limits->max_bytes : DEFAULT_EXTRA_BYTES, kept_n = 0;
    if ((limits == NULL || limits->max_bytes == 0) && n < SIZE_MAX / 16)
        budget += n * 8;
    if (n <= FLAT_BYTES && ret_used == NULL) {
        int rc = decode_flat(p, n, budget, ret);
        if (rc != NOT_FLAT)
            return rc == 0 ? 0 : explain(err, p, 0, rc, "out of memory", 0, 0);
    }
    struct measure m; /* large, and filled as far as it is used */
    if (!measure_value(&m, p, n, budget))
        return explain(err, p, n, m.code, m.why, (size_t)(m.p - p), m.ext);
    if (ret_used == NULL && m.p != p + n)
        return explain(err, p, 0, PIT_E_DESERIALIZATION_FAILED, "there are bytes behind the value", (size_t)(m.p - p), 0);

    const uint8_t *kept = block != NULL ? find_large(p, m.p, &kept_n) : NULL;
    if (kept != NULL)
        m.room.bytes -= kept_n + 1;

    struct value_tree *tree = mem_alloc(sizeof *tree + m.room.nodes * sizeof(pit_value) + m.room.words * 8 + m.room.bytes);
    if (tree == NULL)
        return explain(err, p, 0, PIT_E_ALLOCATION_FAILED, "out of memory", 0, 0);
    *tree = (struct value_tree){.refs = 1};
    pit_value *root = (pit_value *)(void *)(tree + 1);
    struct fill f = {.begin = p, .p = p, .end = p + n, .kept = kept, .place = {.tree = tree, .node = root + 1}};
    f.place.word = (uint64_t *)(void *)(root + m.room.nodes);
    f.place.byte = (char *)(f.place.word + m.room.words);
    if (!fill_value(&f, root)) {
        mem_free(tree);
        return explain(err, p, n, f.code, f.why, (size_t)(f.p - p), 0);
    }
    if (kept != NULL) {
        (*block)[(size_t)(kept - *block) + kept_n] = '\0'; /* what began there has been read */
        tree->kept = *block;
        *block = NULL;
    }
    if (ret_used != NULL)
        *ret_used = (size_t)(m.p - p);
    *ret = root;
    return 0;
}
