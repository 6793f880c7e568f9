/* Leaves: the switch between their families, and the small ones: complex numbers, tables and batches. See leaf.h. */
#include "wire/leaf.h"

#include <string.h>

pit_value *leaf_new(int kind, size_t extra)
{
    pit_value *v = value_new(kind, extra);
    if (v == NULL)
        return value_failed(PIT_E_ALLOCATION_FAILED);
    v->flags = VALUE_FROZEN;
    return v;
}

pit_value *pit_complex(double re, double im)
{
    pit_value *v = leaf_new(PIT_KIND_COMPLEX, 2 * sizeof re);
    if (v->kind != PIT_KIND_COMPLEX)
        return v;
    v->complex = (double *)(void *)(v + 1);
    v->complex[0] = re;
    v->complex[1] = im;
    return v;
}

bool pit_value_get_complex(const pit_value *v, double *ret_re, double *ret_im)
{
    if (v == NULL || v->kind != PIT_KIND_COMPLEX)
        return false;
    if (ret_re != NULL)
        *ret_re = v->complex[0];
    if (ret_im != NULL)
        *ret_im = v->complex[1];
    return true;
}

int leaf_check(struct leaf_payload *p, struct leaf_room *room)
{
    if (p->key && p->ext >= MP_EXT_TENSOR) {
        p->why = "a tensor, table, ref or marker as a key";
        return PIT_E_INVALID_PARAMETER;
    }
    switch (p->ext) {
    case MP_EXT_DECIMAL:
        return decimal_check(p, room);
    case MP_EXT_COMPLEX:
        room->words += 2;
        p->why = "a complex number of another size than 16 bytes";
        return p->n == 16 ? 0 : PIT_E_DESERIALIZATION_FAILED;
    case MP_EXT_TENSOR:
        return tensor_check(p, room);
    case MP_EXT_TABLE:
    case MP_EXT_BATCH:
        room->bytes += p->n + 1;
        return 0;
    case MP_EXT_REF:
    case MP_EXT_MARKER:
        return record_check(p, room);
    default:
        return time_check(p, room);
    }
}

static void complex_fill(pit_value *v, const uint8_t *data, struct leaf_place *place)
{
    const uint64_t bits[2] = {mp_be64(data), mp_be64(data + 8)};
    v->kind = PIT_KIND_COMPLEX;
    v->complex = memcpy(leaf_take_words(place, sizeof bits), bits, sizeof bits);
}

static void table_fill(pit_value *v, int ext, const uint8_t *data, size_t n, struct leaf_place *place)
{
    v->kind = ext == MP_EXT_TABLE ? PIT_KIND_TABLE : PIT_KIND_BATCH;
    v->n = (uint32_t)n;
    v->text = memcpy(place->byte, data, n);
    place->byte[n] = '\0';
    place->byte += n + 1;
}

void leaf_fill(pit_value *v, int ext, const uint8_t *data, size_t n, struct leaf_place *place)
{
    switch (ext) {
    case MP_EXT_DECIMAL:
        decimal_fill(v, data, n, place);
        break;
    case MP_EXT_COMPLEX:
        complex_fill(v, data, place);
        break;
    case MP_EXT_TENSOR:
        tensor_fill(v, data, n, place);
        break;
    case MP_EXT_TABLE:
    case MP_EXT_BATCH:
        table_fill(v, ext, data, n, place);
        break;
    case MP_EXT_REF:
    case MP_EXT_MARKER:
        record_fill(v, ext, data, n, place);
        break;
    default:
        time_fill(v, ext, data, n, place);
        break;
    }
}

static const int8_t codes[] = {
    [PIT_KIND_DATETIME] = MP_EXT_DATETIME, [PIT_KIND_DATE] = MP_EXT_DATE,       [PIT_KIND_TIME] = MP_EXT_TIME,
    [PIT_KIND_DURATION] = MP_EXT_DURATION, [PIT_KIND_DECIMAL] = MP_EXT_DECIMAL, [PIT_KIND_COMPLEX] = MP_EXT_COMPLEX,
    [PIT_KIND_TENSOR] = MP_EXT_TENSOR,     [PIT_KIND_TABLE] = MP_EXT_TABLE,     [PIT_KIND_REF] = MP_EXT_REF,
    [PIT_KIND_MARKER] = MP_EXT_MARKER,     [PIT_KIND_BATCH] = MP_EXT_BATCH,
};
int8_t leaf_code(const pit_value *v)
{
    return v->kind < sizeof codes ? codes[v->kind] : 0;
}

int leaf_kind(int ext)
{
    for (size_t kind = 0; kind < sizeof codes; kind++)
        if (codes[kind] == ext)
            return (int)kind;
    return PIT_KIND_NONE;
}

size_t leaf_size(const pit_value *v)
{
    switch (v->kind) {
    case PIT_KIND_DECIMAL:
        return decimal_size(v);
    case PIT_KIND_COMPLEX:
        return 16;
    case PIT_KIND_TENSOR:
        return tensor_size(v);
    case PIT_KIND_TABLE:
    case PIT_KIND_BATCH:
        return v->n;
    case PIT_KIND_REF:
    case PIT_KIND_MARKER:
        return record_size(v);
    default:
        return time_size(v);
    }
}

uint8_t *leaf_put(uint8_t *p, const pit_value *v)
{
    uint64_t bits[2];
    switch (v->kind) {
    case PIT_KIND_DECIMAL:
        return decimal_put(p, v);
    case PIT_KIND_COMPLEX:
        memcpy(bits, v->complex, sizeof bits);
        return leaf_put64(leaf_put64(p, bits[0]), bits[1]);
    case PIT_KIND_TENSOR:
        return tensor_put(p, v);
    case PIT_KIND_TABLE:
    case PIT_KIND_BATCH:
        memcpy(p, v->text, v->n);
        return p + v->n;
    case PIT_KIND_REF:
    case PIT_KIND_MARKER:
        return record_put(p, v);
    default:
        return time_put(p, v);
    }
}
