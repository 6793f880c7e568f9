/* Values to MessagePack.
 *
 * Invariants
 *  1. The buffer grows by whole tokens; on failure it is cut back to where it was.
 *  2. Recursion is bounded by a value's height, at most MP_MAX_DEPTH and one for the arguments of a call.
 *
 * Failure: a failed part, a call's arguments inside another value (which cannot be built), memory: typed, with the path to the leaf.
 * Thread: any, on frozen values or the builder's own. */
#include <stdio.h>
#include <string.h>

#include "wire/codec.h"
#include "wire/leaf.h"
#include "wire/path.h"
#include "wire/value.h"

struct encoder {
    struct buf *out;
    const char *why;
    const pit_value *failed;                   /* the part that was no value; NULL: something else went wrong */
    const pit_value *inside[MP_MAX_DEPTH + 2]; /* the containers around the current value */
    uint32_t at[MP_MAX_DEPTH + 2];             /* and which item of each it is */
    unsigned depth;
};

static inline uint8_t *room(struct encoder *e, size_t n)
{
    struct buf *b = e->out;
    return b->cap - b->len >= n && !b->failed ? b->data + b->len : buf_reserve(b, n);
}

static inline int done(struct encoder *e, const uint8_t *end)
{
    e->out->len = (size_t)(end - e->out->data);
    return 0;
}

static int encode_value(struct encoder *e, const pit_value *v);

static int encode_data(struct encoder *e, const pit_value *v)
{
    uint8_t *p = room(e, MP_HEAD + (size_t)v->n);
    if (p == NULL)
        return PIT_E_ALLOCATION_FAILED;
    p = v->kind == PIT_KIND_STR ? mp_put_str_head(p, v->n) : mp_put_bin_head(p, v->n);
    memcpy(p, v->text, v->n);
    return done(e, p + v->n);
}

static int encode_int(struct encoder *e, const pit_value *v)
{
    bool big = (v->flags & VALUE_BIG) != 0;
    uint32_t n = big ? value_twos_size(v->big) : 0;
    uint8_t *p = room(e, MP_HEAD + (size_t)n);
    if (p == NULL)
        return PIT_E_ALLOCATION_FAILED;
    if (!big)
        return done(e, (v->flags & VALUE_UNSIGNED) != 0 ? mp_put_uint(p, v->u) : mp_put_int(p, v->i));
    p = mp_put_ext(p, MP_EXT_BIGINT, n);
    value_twos_put(v->big, p);
    return done(e, p + n);
}

/* The items of v without a head. On failure `depth` stays where it happened. */
static int encode_items(struct encoder *e, const pit_value *v, size_t count)
{
    if (e->depth >= MP_MAX_DEPTH + 1) {
        e->why = VALUE_TOO_DEEP;
        return PIT_E_LIMIT_EXCEEDED;
    }
    e->inside[e->depth++] = v;
    for (size_t i = 0; i < count; i++) {
        e->at[e->depth - 1] = (uint32_t)i;
        int rc = encode_value(e, value_item(v, i));
        if (rc != 0)
            return rc;
    }
    e->depth--;
    int rc = pit_value_error(v); /* failed in a way that left no failed part */
    if (rc != 0)
        e->why = pit_value_error_text(v);
    return rc;
}

static int encode_head(struct encoder *e, const pit_value *v)
{
    uint8_t *p = room(e, MP_HEAD);
    if (p == NULL)
        return PIT_E_ALLOCATION_FAILED;
    return done(e, v->kind == PIT_KIND_MAP ? mp_put_map(p, v->n) : mp_put_array(p, v->n));
}

static int encode_exception(struct encoder *e, const pit_value *v)
{
    uint8_t *p = room(e, MP_HEAD);
    if (p == NULL)
        return PIT_E_ALLOCATION_FAILED;
    done(e, mp_put_map(p, EXCEPTION_FIELDS));
    e->inside[e->depth++] = v;
    for (uint32_t i = 0; i < EXCEPTION_FIELDS; i++) {
        e->at[e->depth - 1] = i;
        uint32_t n = (uint32_t)strlen(value_exception_fields[i]);
        p = room(e, MP_HEAD + (size_t)n);
        if (p == NULL)
            return PIT_E_ALLOCATION_FAILED;
        done(e, mp_put_str(p, value_exception_fields[i], n));
        int rc = encode_value(e, value_item(v, i));
        if (rc != 0)
            return rc;
    }
    e->depth--;
    return 0;
}

/* Tuples, sets and exceptions: extensions around values. */
static int encode_extension(struct encoder *e, const pit_value *v, int8_t code)
{
    uint8_t *p = room(e, MP_EXT_OPEN);
    if (p == NULL)
        return PIT_E_ALLOCATION_FAILED;
    done(e, mp_open_ext(p, code));
    size_t payload = e->out->len;
    int rc = code == MP_EXT_EXCEPTION ? encode_exception(e, v) : encode_head(e, v);
    if (rc == 0 && code != MP_EXT_EXCEPTION)
        rc = encode_items(e, v, v->n);
    if (rc == 0 && e->out->len - payload > UINT32_MAX)
        rc = PIT_E_LIMIT_EXCEEDED;
    if (rc == 0)
        mp_close_ext(e->out->data + payload, e->out->data + e->out->len);
    return rc;
}

/* The positional arguments travel as an array, whatever they are. */
static int encode_args(struct encoder *e, const pit_value *v)
{
    const pit_value *positional = value_item(v, 0);
    uint8_t *p = room(e, MP_EXT_OPEN);
    if (p == NULL)
        return PIT_E_ALLOCATION_FAILED;
    done(e, mp_open_ext(p, MP_EXT_ARGS));
    size_t payload = e->out->len;
    e->inside[e->depth++] = v;
    e->at[0] = 0;
    int rc = positional->kind == PIT_KIND_NIL ? encode_value(e, positional) : encode_head(e, positional);
    if (rc == 0 && positional->kind != PIT_KIND_NIL)
        rc = encode_items(e, positional, positional->n);
    if (rc == 0) {
        e->at[0] = 1;
        rc = encode_value(e, value_item(v, 1));
    }
    if (rc != 0)
        return rc;
    e->depth--;
    mp_close_ext(e->out->data + payload, e->out->data + e->out->len);
    return 0;
}

static int encode_leaf(struct encoder *e, const pit_value *v)
{
    size_t n = leaf_size(v);
    uint8_t *p = room(e, MP_HEAD + n);
    int8_t code = leaf_code(v);
    if (p == NULL)
        return PIT_E_ALLOCATION_FAILED;
    if (!leaf_is_open(code))
        return done(e, leaf_put(mp_put_ext(p, code, (uint32_t)n), v));
    uint8_t *payload = mp_open_ext(p, code), *end = leaf_put(payload, v);
    mp_close_ext(payload, end);
    return done(e, end);
}

static int encode_value(struct encoder *e, const pit_value *v)
{
    uint8_t *p;
    int rc;
    switch (v->kind) {
    case PIT_KIND_INT:
        return encode_int(e, v);
    case PIT_KIND_STR:
    case PIT_KIND_BYTES:
        return encode_data(e, v);
    case PIT_KIND_LIST:
        rc = encode_head(e, v);
        return rc == 0 ? encode_items(e, v, v->n) : rc;
    case PIT_KIND_MAP:
        rc = encode_head(e, v);
        return rc == 0 ? encode_items(e, v, (size_t)v->n * 2) : rc;
    case PIT_KIND_TUPLE:
        return encode_extension(e, v, MP_EXT_TUPLE);
    case PIT_KIND_EXCEPTION:
        return encode_extension(e, v, MP_EXT_EXCEPTION);
    case PIT_KIND_SET:
        return encode_extension(e, v, (v->flags & VALUE_FROZENSET) != 0 ? MP_EXT_FROZENSET : MP_EXT_SET);
    case PIT_KIND_ARGS:
        return encode_args(e, v); /* only the root: containers refuse it */
    case PIT_KIND_FAILED:
        e->why = value_failed_why(v);
        e->failed = v;
        return pit_value_error(v);
    case PIT_KIND_NIL:
    case PIT_KIND_BOOL:
    case PIT_KIND_FLOAT:
        break;
    default:
        return encode_leaf(e, v);
    }
    p = room(e, MP_HEAD);
    if (p == NULL)
        return PIT_E_ALLOCATION_FAILED;
    return done(e, v->kind == PIT_KIND_NIL    ? mp_put_nil(p)
                   : v->kind == PIT_KIND_BOOL ? mp_put_bool(p, v->truth)
                                              : mp_put_float(p, v->f));
}

/* The path to where the encoder stopped. */
static void describe(const struct encoder *e, struct codec_error *err)
{
    path_begin(err->path);
    for (unsigned i = 0; i < e->depth; i++)
        path_add_item(err->path, CODEC_PATH, e->inside[i], e->at[i]);
    if (e->failed != NULL)
        path_add_path(err->path, CODEC_PATH, value_failed_path(e->failed));
}

enum { FETCHED_ITEMS = 8 };

void codec_fetch(const pit_value *v)
{
    if (v == NULL)
        return;
    __builtin_prefetch(v);
    __builtin_prefetch(v + 2); /* of a small container: its items, behind the node */
}

void codec_fetch_items(const pit_value *v)
{
    if (v == NULL || !value_is_container(v) || (v->flags & VALUE_INLINE) != 0)
        return;
    size_t count = value_count(v);
    for (size_t i = 0; i < count && i < FETCHED_ITEMS; i++)
        __builtin_prefetch(v->items->v[i]);
}

int codec_encode(struct buf *out, const pit_value *v, struct codec_error *err)
{
    struct encoder e; /* the stack is filled as far as it is used */
    e.out = out;
    e.why = NULL;
    e.failed = NULL;
    e.depth = 0;
    size_t before = out->len;
    int rc = out->failed ? PIT_E_ALLOCATION_FAILED : encode_value(&e, v != NULL ? v : pit_nil());
    if (rc == 0) {
        value_freeze(v);
        return 0;
    }
    if (err != NULL) {
        err->code = rc;
        describe(&e, err);
        snprintf(err->text, sizeof err->text, "%s", e.why != NULL ? e.why : value_failed(rc)->text);
    }
    out->len = before;
    return rc;
}
