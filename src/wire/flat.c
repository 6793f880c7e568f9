/* The short ways from and to bytes: one list or map of few scalars and texts, which is what most answers and arguments are.
 *
 * Invariants
 *  1. They give exactly what the long ways (decode.c, pack.c) give, or say that it is not flat and have done nothing: whatever is nested, long,
 *     malformed or to be refused is for the long way, which alone knows how to say what is wrong.
 *  2. A decoded value stands in one block of the same layout as any other: tree, nodes, texts.
 *
 * Failure: PIT_E_ALLOCATION_FAILED. Thread: any. */
#include "wire/flat.h"

#include <string.h>

#include "base/alloc.h"
#include "wire/value.h"

/* ---- decoding ---- */

enum { MOST = 2 * VALUE_LINEAR }; /* items; keys are compared each with each, and there is no index */

struct flat {
    struct mp_token head, items[MOST];
    uint32_t count;
    size_t bytes; /* of texts, with their NULs */
};

static inline bool read_item(const uint8_t **p, const uint8_t *end, struct flat *f, struct mp_token *t)
{
    if (mp_read(p, end, t) != MP_OK || t->type >= MP_ARRAY || (t->type == MP_STR && !mp_utf8_valid(t->data, t->n, NULL)))
        return false;
    f->bytes += t->type >= MP_STR ? (size_t)t->n + 1 : 0;
    return true;
}

/* The keys of a map are different texts, as far as the one at `i`. */
static inline bool key_is_good(const struct flat *f, uint32_t i)
{
    const struct mp_token *key = &f->items[i];
    if (key->type != MP_STR)
        return false;
    for (uint32_t j = 0; j < i; j += 2)
        if (f->items[j].n == key->n && memcmp(f->items[j].data, key->data, key->n) == 0)
            return false;
    return true;
}

static inline bool read_all(const uint8_t *p, const uint8_t *end, struct flat *f)
{
    if (mp_read(&p, end, &f->head) != MP_OK)
        return false;
    bool map = f->head.type == MP_MAP;
    if ((!map && f->head.type != MP_ARRAY) || f->head.n > (map ? MOST / 2 : MOST))
        return false;
    f->count = map ? f->head.n * 2 : f->head.n;
    f->bytes = 0;
    for (uint32_t i = 0; i < f->count; i++)
        if (!read_item(&p, end, f, &f->items[i]) || (map && i % 2 == 0 && !key_is_good(f, i)))
            return false;
    return p == end;
}

static inline char *fill(pit_value *v, const struct mp_token *t, struct value_tree *tree, char *to)
{
    static const uint8_t kinds[] = {PIT_KIND_NIL, PIT_KIND_BOOL, PIT_KIND_INT, PIT_KIND_INT, PIT_KIND_FLOAT};
    *v = (pit_value){.flags = VALUE_FROZEN, .tree = tree};
    if (t->type < MP_STR) {
        v->kind = kinds[t->type];
        v->flags = (uint8_t)(VALUE_FROZEN | (t->type == MP_UINT ? VALUE_UNSIGNED : 0));
        v->u = t->u;
        return to;
    }
    v->kind = t->type == MP_STR ? PIT_KIND_STR : PIT_KIND_BYTES;
    v->n = t->n;
    v->text = to;
    memcpy(to, t->data, t->n);
    to[t->n] = '\0';
    return to + t->n + 1;
}

int decode_flat(const uint8_t *p, size_t n, size_t budget, pit_value **ret)
{
    struct flat f; /* filled as far as it is used */
    if (!read_all(p, p + n, &f))
        return NOT_FLAT;
    size_t total = sizeof(struct value_tree) + (1 + (size_t)f.count) * sizeof(pit_value) + f.bytes;
    if (total > budget)
        return NOT_FLAT;
    struct value_tree *tree = mem_alloc(total);
    if (tree == NULL)
        return PIT_E_ALLOCATION_FAILED;
    *tree = (struct value_tree){.refs = 1};
    pit_value *root = (pit_value *)(void *)(tree + 1), *items = root + 1;
    char *to = (char *)(items + f.count);
    *root = (pit_value){.kind = f.head.type == MP_MAP ? PIT_KIND_MAP : PIT_KIND_LIST,
                        .flags = VALUE_FROZEN | VALUE_INLINE,
                        .height = 1,
                        .n = f.head.n,
                        .tree = tree,
                        .nodes = items};
    for (uint32_t i = 0; i < f.count; i++)
        to = fill(&items[i], &f.items[i], tree, to);
    *ret = root;
    return 0;
}

/* ---- packing ---- */

/* Where the next item goes, and where the room ends. */
struct place {
    uint8_t *p, *end;
};

static inline bool put_text(struct place *to, const char *text)
{
    size_t n = text != NULL ? strlen(text) : SIZE_MAX;
    if (n > FLAT_BYTES || (size_t)(to->end - to->p) < MP_HEAD + n || !mp_utf8_valid((const uint8_t *)text, n, NULL))
        return false;
    to->p = mp_put_str_head(to->p, (uint32_t)n);
    memcpy(to->p, text, n);
    to->p += n;
    return true;
}

static inline bool put_argument(struct place *to, char letter, va_list *ap)
{
    if (letter == 's')
        return put_text(to, va_arg(*ap, const char *));
    if ((size_t)(to->end - to->p) < MP_HEAD)
        return false;
    switch (letter) {
    case 'b':
        to->p = mp_put_bool(to->p, va_arg(*ap, int) != 0);
        return true;
    case 'i':
        to->p = mp_put_int(to->p, va_arg(*ap, int));
        return true;
    case 'I':
        to->p = mp_put_int(to->p, va_arg(*ap, int64_t));
        return true;
    case 'u':
        to->p = mp_put_int(to->p, (int64_t)va_arg(*ap, unsigned));
        return true;
    case 'f':
        to->p = mp_put_float(to->p, va_arg(*ap, double));
        return true;
    default:
        return false;
    }
}

/* The entries of `{s:.,s:.}`, from behind its bracket. Their number, -1: it is not flat. */
static inline int put_entries(struct place *to, const char *at, va_list *ap)
{
    const uint8_t *keys[MOST / 2];
    for (int n = 0;; n++) {
        while (*at == ',' || *at == ' ')
            at++;
        if (*at == '}')
            return at[1] == '\0' ? n : -1;
        if (n == MOST / 2 || at[0] != 's' || at[1] != ':')
            return -1;
        const uint8_t *key = keys[n] = to->p;
        if (!put_text(to, va_arg(*ap, const char *)))
            return -1;
        for (int i = 0; i < n; i++) /* heads and all: the same bytes are the same key */
            if (memcmp(keys[i], key, (size_t)(to->p - key)) == 0)
                return -1;
        if (!put_argument(to, at[2], ap))
            return -1;
        at += 3;
    }
}

bool pack_flat(struct buf *out, const char *format, va_list ap)
{
    if (format == NULL || format[0] != '{' || out->failed || out->cap - out->len < MP_HEAD)
        return false;
    struct place to = {.p = out->data + out->len + 1, .end = out->data + out->cap};
    va_list copy; /* the long way may need them from the beginning */
    va_copy(copy, ap);
    int n = put_entries(&to, format + 1, &copy);
    va_end(copy);
    if (n < 0)
        return false;
    mp_put_map(out->data + out->len, (uint32_t)n);
    out->len = (size_t)(to.p - out->data);
    return true;
}
