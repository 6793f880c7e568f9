/* Where in a value the bytes are that a decoder has refused: the path to them.
 *
 * Nothing but the offset is known when decoding fails; this goes over the bytes once more, as far as the offset, and remembers on the way in which
 * item of which container it is. It believes no more than the decoder: a length that does not fit ends it.
 *
 * Failure: none; a path may end early. Thread: any. */
#include "wire/codec.h"
#include "wire/leaf.h"
#include "wire/path.h"

/* A container around the bytes that are looked at. */
struct place {
    uint32_t at;         /* item; of a map keys and items */
    struct mp_token key; /* of a map: the last one, as far as it goes */
    bool map;
};

struct locator {
    const uint8_t *p, *end, *target;
    unsigned depth;
    struct place inside[MP_MAX_DEPTH + 2];
};

static bool go(struct locator *l);

/* The items of a container; true when the target lies in one of them, which `inside` then says. */
static bool go_through(struct locator *l, uint32_t count, bool map)
{
    if (l->depth == sizeof l->inside / sizeof l->inside[0])
        return true;
    struct place *place = &l->inside[l->depth++];
    *place = (struct place){.map = map};
    for (; place->at < count; place->at++) {
        const uint8_t *p = l->p;
        if (map && place->at % 2 == 0 && mp_read(&p, l->end, &place->key) != MP_OK)
            return true;
        if (go(l))
            return true;
    }
    l->depth--;
    return false;
}

static bool go_into(struct locator *l, const struct mp_token *t)
{
    struct mp_token inner;
    if (t->type == MP_MAP)
        return t->n > UINT32_MAX / 2 || go_through(l, t->n * 2, true);
    if (t->type == MP_ARRAY)
        return go_through(l, t->n, false);
    if (leaf_is(t->ext) || t->ext == MP_EXT_BIGINT) {
        l->p = t->data + t->n;
        return l->p >= l->target;
    }
    if (mp_read(&l->p, l->end, &inner) != MP_OK || inner.type < MP_ARRAY || inner.type == MP_EXT || l->p >= l->target)
        return true;
    return go_into(l, &inner);
}

/* The value at p, stepped over; true when the target is in it, at its end, or out of reach. */
static bool go(struct locator *l)
{
    struct mp_token t;
    if (mp_read(&l->p, l->end, &t) != MP_OK || l->p >= l->target)
        return true;
    return t.type >= MP_ARRAY && go_into(l, &t);
}

/* The key of an entry as a value, as far as a path shows it. */
static pit_value key_of(const struct mp_token *t)
{
    pit_value key = {.kind = PIT_KIND_NONE};
    switch (t->type) {
    case MP_NIL:
        key.kind = PIT_KIND_NIL;
        break;
    case MP_BOOL:
        key.kind = PIT_KIND_BOOL;
        break;
    case MP_INT:
    case MP_UINT:
        key = (pit_value){.kind = PIT_KIND_INT, .flags = t->type == MP_UINT ? VALUE_UNSIGNED : 0, .u = t->u};
        break;
    case MP_FLOAT:
        key.kind = PIT_KIND_FLOAT;
        break;
    case MP_STR:
        if (mp_utf8_valid(t->data, t->n, NULL))
            key = (pit_value){.kind = PIT_KIND_STR, .n = t->n, .text = (const char *)t->data};
        break;
    case MP_BIN:
        key.kind = PIT_KIND_BYTES;
        break;
    case MP_EXT:
        key.kind = (uint8_t)(t->ext == MP_EXT_TUPLE       ? PIT_KIND_TUPLE
                             : t->ext == MP_EXT_FROZENSET ? PIT_KIND_SET
                                                          : leaf_kind(t->ext));
        break;
    default:
        break;
    }
    return key;
}

void codec_locate(char path[CODEC_PATH], const uint8_t *p, size_t n, size_t offset)
{
    struct locator l; /* the places are filled as far as they are used */
    l.p = p;
    l.end = p + n;
    l.target = p + offset;
    l.depth = 0;
    path_begin(path);
    if (!go(&l))
        return;
    for (unsigned i = 0; i < l.depth; i++) {
        const struct place *place = &l.inside[i];
        pit_value key = key_of(&place->key);
        if (!place->map)
            path_add_index(path, CODEC_PATH, place->at);
        else if (place->at % 2 != 0 || i + 1 < l.depth) /* a key that is wrong itself has no name */
            path_add_key(path, CODEC_PATH, &key);
    }
}
