/* pit_pack: a format and arguments to a value, or straight to bytes.
 *
 * Invariants
 *  1. codec_pack() writes exactly what codec_encode(pit_pack()) would. It does so by itself while all keys are texts and few enough to be
 *     compared at once; for the rest it takes the way over values.
 *
 * Failure: typed, the buffer cut back, nothing leaks. Thread: any. */
#include <stdio.h>
#include <string.h>

#include "wire/codec.h"
#include "wire/flat.h"
#include "wire/format.h"
#include "wire/value.h"

/* ---- to a value ---- */

struct builder {
    unsigned depth;
    pit_value *root;
    pit_value *open[MP_MAX_DEPTH];     /* the containers that are being filled */
    pit_value *keys[MP_MAX_DEPTH + 1]; /* the key that waits for its item, of each */
};

/* Puts a finished value (taken) where it belongs. */
static int place(struct builder *b, pit_value *v, bool key, const char **why)
{
    if (b->depth == 0) {
        b->root = v;
        return pit_value_error(v);
    }
    pit_value *container = b->open[b->depth - 1];
    if (container->kind != PIT_KIND_MAP) {
        int rc = pit_list_append_take(container, v);
        *why = value_spoiled_why(container);
        return rc;
    }
    if (key) {
        b->keys[b->depth - 1] = v;
        if (pit_value_error(v) == 0 && !value_hashable(v)) {
            *why = VALUE_UNHASHABLE_KEY;
            return PIT_E_INVALID_PARAMETER;
        }
        return pit_value_error(v);
    }
    pit_value *waiting = b->keys[b->depth - 1];
    b->keys[b->depth - 1] = NULL;
    int rc = value_put_new_take(container, waiting, v, false);
    *why = value_spoiled_why(container);
    return rc;
}

static int build_item(void *user, const struct format_item *item, const char **why)
{
    pit_value *v;
    switch (item->kind) {
    case PIT_KIND_NIL:
        v = pit_nil();
        break;
    case PIT_KIND_BOOL:
        v = pit_bool(item->truth);
        break;
    case PIT_KIND_INT:
        v = item->is_unsigned ? pit_uint(item->u) : pit_int(item->i);
        break;
    case PIT_KIND_FLOAT:
        v = pit_float(item->f);
        break;
    case PIT_KIND_STR:
        v = pit_strn(item->data, item->n);
        break;
    case PIT_KIND_BYTES:
        v = pit_bytes(item->data, item->n);
        break;
    default:
        v = pit_value_ref(item->value);
        break;
    }
    return place(user, v, item->key, why);
}

static int build_open(void *user, int kind, bool key, const char **why)
{
    struct builder *b = user;
    pit_value *v = kind == PIT_KIND_LIST ? pit_list() : kind == PIT_KIND_TUPLE ? pit_tuple() : pit_map();
    if (pit_value_error(v) != 0)
        return pit_value_error(v);
    if (key && kind != PIT_KIND_TUPLE) {
        pit_value_free(v);
        *why = VALUE_UNHASHABLE_KEY;
        return PIT_E_INVALID_PARAMETER;
    }
    b->keys[b->depth] = NULL;
    b->open[b->depth++] = v;
    return 0;
}

static int build_close(void *user, uint32_t count, bool key, const char **why)
{
    (void)count;
    struct builder *b = user;
    return place(b, b->open[--b->depth], key, why);
}

static int build(const char *format, va_list ap, pit_value **ret, struct codec_error *err)
{
    static const struct format_ops ops = {build_item, build_open, build_close};
    struct builder b; /* filled as far as it is used */
    b.depth = 0;
    b.root = NULL;
    int rc = format_walk(format, ap, &ops, &b, err);
    if (rc == 0) {
        *ret = b.root;
        return 0;
    }
    for (unsigned i = 0; i < b.depth; i++) {
        pit_value_free(b.keys[i]);
        pit_value_free(b.open[i]);
    }
    pit_value_free(b.root);
    return rc;
}

pit_value *pit_packv(const char *format, va_list ap)
{
    struct codec_error err;
    pit_value *v;
    int rc = build(format, ap, &v, &err);
    if (rc == 0)
        return v;
    return value_failed_text(rc, err.path, err.text);
}

pit_value *pit_pack(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    pit_value *v = pit_packv(format, ap);
    va_end(ap);
    return v;
}

/* ---- to bytes ---- */

#define KEYS_KEPT 32     /* keys of all open maps together */
enum { USE_VALUES = 1 }; /* what this form cannot judge */

struct packer {
    struct buf *out;
    unsigned depth, n_keys;
    struct {
        uint32_t head; /* offset of the container's head */
        uint16_t kind;
        uint16_t keys; /* where its keys begin */
    } open[MP_MAX_DEPTH];
    struct {
        const void *text;
        size_t n;
    } keys[KEYS_KEPT];
};

static inline uint8_t *room(struct buf *b, size_t n)
{
    return b->cap - b->len >= n && !b->failed ? b->data + b->len : buf_reserve(b, n);
}

static int pack_key(struct packer *k, const struct format_item *item)
{
    if (item->kind != PIT_KIND_STR || k->n_keys == KEYS_KEPT)
        return USE_VALUES;
    for (unsigned i = k->open[k->depth - 1].keys; i < k->n_keys; i++)
        if (k->keys[i].n == item->n && memcmp(k->keys[i].text, item->data, item->n) == 0)
            return PIT_E_DUPLICATE_KEY;
    k->keys[k->n_keys].text = item->data;
    k->keys[k->n_keys++].n = item->n;
    return 0;
}

static int pack_item(void *user, const struct format_item *item, const char **why)
{
    (void)why;
    struct packer *k = user;
    int rc = item->key ? pack_key(k, item) : 0;
    if (rc != 0)
        return rc;
    if (item->kind == PIT_KIND_NONE) /* a value may be nested more deeply than there is room for: the other way judges that */
        return k->depth + item->value->height > MP_MAX_DEPTH || (k->depth != 0 && item->value->kind == PIT_KIND_ARGS)
                   ? USE_VALUES
                   : codec_encode(k->out, item->value, NULL);
    bool data = item->kind == PIT_KIND_STR || item->kind == PIT_KIND_BYTES;
    if (data && item->n >= UINT32_MAX)
        return PIT_E_LIMIT_EXCEEDED;
    uint8_t *p = room(k->out, MP_HEAD + (data ? item->n : 0));
    if (p == NULL)
        return PIT_E_ALLOCATION_FAILED;
    switch (item->kind) {
    case PIT_KIND_NIL:
        p = mp_put_nil(p);
        break;
    case PIT_KIND_BOOL:
        p = mp_put_bool(p, item->truth);
        break;
    case PIT_KIND_INT:
        p = item->is_unsigned ? mp_put_uint(p, item->u) : mp_put_int(p, item->i);
        break;
    case PIT_KIND_FLOAT:
        p = mp_put_float(p, item->f);
        break;
    default:
        p = item->kind == PIT_KIND_STR ? mp_put_str_head(p, (uint32_t)item->n) : mp_put_bin_head(p, (uint32_t)item->n);
        if (item->n != 0)
            memcpy(p, item->data, item->n);
        p += item->n;
        break;
    }
    k->out->len = (size_t)(p - k->out->data);
    return 0;
}

/* Heads are written for a short container and widened if it turns out to be long. */
static int pack_open(void *user, int kind, bool key, const char **why)
{
    (void)why;
    struct packer *k = user;
    if (key)
        return USE_VALUES;
    uint8_t *p = room(k->out, MP_EXT_OPEN + 1);
    if (p == NULL || k->out->len > UINT32_MAX / 2)
        return PIT_E_ALLOCATION_FAILED;
    if (kind == PIT_KIND_TUPLE)
        p = mp_open_ext(p, MP_EXT_TUPLE);
    k->open[k->depth].head = (uint32_t)(p - k->out->data);
    k->open[k->depth].kind = (uint16_t)kind;
    k->open[k->depth++].keys = (uint16_t)k->n_keys;
    k->out->len = (size_t)(p - k->out->data) + 1;
    return 0;
}

static int pack_close(void *user, uint32_t count, bool key, const char **why)
{
    (void)key;
    (void)why;
    struct packer *k = user;
    k->depth--;
    k->n_keys = k->open[k->depth].keys;
    size_t at = k->open[k->depth].head;
    bool map = k->open[k->depth].kind == PIT_KIND_MAP;
    uint32_t n = map ? count / 2 : count;
    uint8_t head[MP_HEAD];
    size_t size = (size_t)((map ? mp_put_map(head, n) : mp_put_array(head, n)) - head);
    if (size > 1) {
        if (room(k->out, size) == NULL)
            return PIT_E_ALLOCATION_FAILED;
        memmove(k->out->data + at + size, k->out->data + at + 1, k->out->len - at - 1);
        k->out->len += size - 1;
    }
    memcpy(k->out->data + at, head, size);
    if (k->open[k->depth].kind == PIT_KIND_TUPLE)
        mp_close_ext(k->out->data + at, k->out->data + k->out->len);
    return 0;
}

int codec_pack(struct buf *out, const char *format, va_list ap, struct codec_error *err)
{
    static const struct format_ops ops = {pack_item, pack_open, pack_close};
    if (pack_flat(out, format, ap))
        return 0;
    struct packer k; /* filled as far as it is used */
    k.out = out;
    k.depth = k.n_keys = 0;
    size_t before = out->len;
    int rc = format_walk(format, ap, &ops, &k, err);
    if (rc != 0)
        out->len = before;
    if (rc != USE_VALUES)
        return rc;
    pit_value *v;
    rc = build(format, ap, &v, err);
    if (rc == 0) {
        rc = codec_encode(out, v, err);
        pit_value_free(v);
    }
    return rc;
}
