/* Refs (an object that stays in its worker) and markers (what stands for a value that could not be sent): a few named fields each.
 *
 * Invariants
 *  1. The fields are VALUE_INLINE nodes in the order of the tables below; one that is absent is nil.
 *
 * Failure: failed values; payloads: deserialization_failed, duplicate_key, invalid_utf8. Thread: any. */
#include "wire/record.h"

#include <string.h>

#include "wire/leaf.h"

#define MOST_FIELDS REF_FIELDS

static const struct field {
    const char *name;
    uint8_t kind;       /* STR or INT (not negative) */
    bool may_be_absent; /* from the payload */
    bool may_be_nil;
} ref_fields[REF_FIELDS] =
    {
        [REF_ID] = {"id", PIT_KIND_STR, false, false},
        [REF_TYPE] = {"type", PIT_KIND_STR, false, false},
        [REF_WORKER] = {"worker", PIT_KIND_STR, false, false},
        [REF_SESSION] = {"session", PIT_KIND_STR, false, true},
        [REF_GENERATION] = {"generation", PIT_KIND_INT, false, false},
},
  marker_fields[MARKER_FIELDS] = {
      [MARKER_TYPE] = {"type", PIT_KIND_STR, false, false},
      [MARKER_REPR] = {"repr", PIT_KIND_STR, true, false},
};

static const struct field *fields_of(int kind, unsigned *ret_count)
{
    *ret_count = kind == PIT_KIND_REF ? REF_FIELDS : MARKER_FIELDS;
    return kind == PIT_KIND_REF ? ref_fields : marker_fields;
}

/* ---- making and reading ---- */

static bool field_fits(const struct field *field, const pit_value *part)
{
    uint64_t n;
    int kind = pit_value_kind(part);
    if (kind == PIT_KIND_NONE || kind == PIT_KIND_NIL)
        return field->may_be_absent || field->may_be_nil;
    return kind == field->kind && (kind == PIT_KIND_STR || pit_value_get_uint(part, &n));
}

pit_value *record_new(int kind, const pit_value *const *parts)
{
    unsigned count;
    size_t bytes = 0;
    const struct field *fields = fields_of(kind, &count);
    for (unsigned i = 0; i < count; i++) {
        if (!field_fits(&fields[i], parts[i]))
            return value_failed(PIT_E_INVALID_PARAMETER);
        bytes += pit_value_kind(parts[i]) == PIT_KIND_STR ? pit_value_len(parts[i]) + 1 : 0;
    }
    pit_value *v = leaf_new(kind, count * sizeof *v + bytes);
    if (v->kind != kind)
        return v;
    char *text = (char *)(v + 1 + count);
    v->flags |= VALUE_INLINE;
    v->n = count;
    v->nodes = v + 1;
    for (unsigned i = 0; i < count; i++) {
        v->nodes[i] = parts[i] != NULL ? *parts[i] : (pit_value){.kind = PIT_KIND_NIL};
        v->nodes[i].tree = v->tree;
        v->nodes[i].flags |= VALUE_FROZEN;
        if (v->nodes[i].kind != PIT_KIND_STR)
            continue;
        v->nodes[i].text = memcpy(text, parts[i]->text, (size_t)parts[i]->n + 1);
        text += (size_t)parts[i]->n + 1;
    }
    return v;
}

const pit_value *value_record_get(const pit_value *v, const char *name)
{
    unsigned count;
    const struct field *fields = fields_of(v->kind, &count);
    for (unsigned i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &v->nodes[i];
    return NULL;
}

bool record_is_marker_map(const pit_value *v)
{
    bool flag = false;
    if (v == NULL || v->kind != PIT_KIND_MAP || v->n < 2 || v->n > 3)
        return false;
    return pit_value_get_bool(pit_value_get(v, MARKER_JSON_FLAG), &flag) && flag &&
           pit_value_str(pit_value_get(v, MARKER_JSON_TYPE)) != NULL &&
           (v->n == 2 || pit_value_str(pit_value_get(v, MARKER_JSON_REPR)) != NULL);
}

bool pit_value_is_unserializable(const pit_value *v)
{
    return pit_value_kind(v) == PIT_KIND_MARKER || record_is_marker_map(v);
}

int pit_value_unserializable_info(const pit_value *v, const char **ret_type, const char **ret_repr)
{
    const pit_value *type, *repr;
    if (pit_value_kind(v) == PIT_KIND_MARKER) {
        type = &v->nodes[MARKER_TYPE];
        repr = &v->nodes[MARKER_REPR];
    } else if (record_is_marker_map(v)) {
        type = pit_value_get(v, MARKER_JSON_TYPE);
        repr = pit_value_get(v, MARKER_JSON_REPR);
    } else {
        return PIT_E_NOT_FOUND;
    }
    if (ret_type != NULL)
        *ret_type = pit_value_str(type);
    if (ret_repr != NULL)
        *ret_repr = pit_value_str(repr);
    return 0;
}

/* ---- payload: a map ---- */

struct parsed {
    struct mp_token part[MOST_FIELDS];
    unsigned seen; /* bits */
    const char *why;
};

static int refuse(struct parsed *r, int code, const char *why)
{
    r->why = why;
    return code;
}

static int parse_field(struct parsed *r, const struct field *fields, unsigned count, const uint8_t **p, const uint8_t *end)
{
    struct mp_token key, *part;
    unsigned i = 0;
    if (mp_read(p, end, &key) != MP_OK || key.type != MP_STR)
        return refuse(r, PIT_E_DESERIALIZATION_FAILED, "a ref or marker with a key that is no text");
    while (i < count && (strlen(fields[i].name) != key.n || memcmp(fields[i].name, key.data, key.n) != 0))
        i++;
    if (i == count)
        return refuse(r, PIT_E_DESERIALIZATION_FAILED, "a ref or marker with a key that does not exist");
    if ((r->seen & 1u << i) != 0)
        return refuse(r, PIT_E_DUPLICATE_KEY, "a key stands twice in a ref or marker");
    r->seen |= 1u << i;
    part = &r->part[i];
    bool good =
        mp_read(p, end, part) == MP_OK && (part->type == MP_NIL   ? fields[i].may_be_nil
                                           : part->type == MP_STR ? fields[i].kind == PIT_KIND_STR
                                           : part->type == MP_INT ? fields[i].kind == PIT_KIND_INT && part->i >= 0
                                                                  : part->type == MP_UINT && fields[i].kind == PIT_KIND_INT);
    if (!good)
        return refuse(r, PIT_E_DESERIALIZATION_FAILED, "a part of a ref or marker is of the wrong kind");
    if (part->type == MP_STR && !mp_utf8_valid(part->data, part->n, NULL))
        return refuse(r, PIT_E_INVALID_UTF8, "a text is not valid UTF-8");
    return 0;
}

static int parse(struct parsed *r, int ext, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    struct mp_token map;
    unsigned count;
    const struct field *fields = fields_of(ext == MP_EXT_REF ? PIT_KIND_REF : PIT_KIND_MARKER, &count);
    if (mp_read(&p, end, &map) != MP_OK || map.type != MP_MAP)
        return refuse(r, PIT_E_DESERIALIZATION_FAILED, "a ref or marker is no map");
    for (uint32_t i = 0; i < map.n; i++) {
        int rc = parse_field(r, fields, count, &p, end);
        if (rc != 0)
            return rc;
    }
    for (unsigned i = 0; i < count; i++)
        if ((r->seen & 1u << i) == 0 && !fields[i].may_be_absent)
            return refuse(r, PIT_E_DESERIALIZATION_FAILED, "a part of a ref or marker is missing");
    return p == end ? 0 : refuse(r, PIT_E_DESERIALIZATION_FAILED, "an extension has bytes that belong to nothing");
}

int record_check(struct leaf_payload *p, struct leaf_room *room)
{
    struct parsed r = {0};
    int rc = parse(&r, p->ext, p->data, p->n);
    p->why = r.why;
    if (rc != 0)
        return rc;
    room->nodes += p->ext == MP_EXT_REF ? REF_FIELDS : MARKER_FIELDS;
    for (unsigned i = 0; i < MOST_FIELDS; i++)
        room->bytes += r.part[i].type == MP_STR ? (size_t)r.part[i].n + 1 : 0;
    return 0;
}

void record_fill(pit_value *v, int ext, const uint8_t *data, size_t n, struct leaf_place *place)
{
    struct parsed r = {0}; /* an absent part reads as nil */
    parse(&r, ext, data, n);
    v->kind = ext == MP_EXT_REF ? PIT_KIND_REF : PIT_KIND_MARKER;
    v->flags |= VALUE_INLINE;
    v->n = ext == MP_EXT_REF ? REF_FIELDS : MARKER_FIELDS;
    v->nodes = place->node;
    place->node += v->n;
    for (unsigned i = 0; i < v->n; i++) {
        const struct mp_token *t = &r.part[i];
        pit_value *node = &v->nodes[i];
        *node = (pit_value){.kind = PIT_KIND_NIL, .flags = VALUE_FROZEN, .tree = v->tree};
        if (t->type == MP_STR) {
            node->kind = PIT_KIND_STR;
            node->n = t->n;
            node->text = memcpy(place->byte, t->data, t->n);
            place->byte[t->n] = '\0';
            place->byte += (size_t)t->n + 1;
        } else if (t->type != MP_NIL) {
            node->kind = PIT_KIND_INT;
            node->flags |= t->type == MP_UINT ? VALUE_UNSIGNED : 0;
            node->u = t->u;
        }
    }
}

size_t record_size(const pit_value *v)
{
    size_t n = MP_HEAD;
    for (unsigned i = 0; i < v->n; i++)
        n += 2 * MP_HEAD + 16 + (v->nodes[i].kind == PIT_KIND_STR ? v->nodes[i].n : 0);
    return n;
}

uint8_t *record_put(uint8_t *p, const pit_value *v)
{
    unsigned count, there = 0;
    const struct field *fields = fields_of(v->kind, &count);
    for (unsigned i = 0; i < count; i++)
        there += !(fields[i].may_be_absent && v->nodes[i].kind == PIT_KIND_NIL);
    p = mp_put_map(p, there);
    for (unsigned i = 0; i < count; i++) {
        const pit_value *node = &v->nodes[i];
        if (fields[i].may_be_absent && node->kind == PIT_KIND_NIL)
            continue;
        p = mp_put_str(p, fields[i].name, (uint32_t)strlen(fields[i].name));
        if (node->kind == PIT_KIND_STR)
            p = mp_put_str(p, node->text, node->n);
        else
            p = node->kind == PIT_KIND_NIL ? mp_put_nil(p) : mp_put_uint(p, node->u);
    }
    return p;
}
