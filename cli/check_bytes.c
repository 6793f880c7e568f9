/* The bytes of snakepit worker-check: written, and read with nothing believed. See check.h. */
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { DEPTH = 256 };

static uint8_t *room(struct bytes *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (b->room - b->n < n) {
        size_t wanted = 2 * (b->n + n);
        uint8_t *data = realloc(b->data, wanted);
        b->failed = data == NULL;
        if (data == NULL)
            return NULL;
        b->data = data;
        b->room = wanted;
    }
    b->n += n;
    return b->data + b->n - n;
}

void bytes_put(struct bytes *b, const void *data, size_t n)
{
    uint8_t *to = n != 0 ? room(b, n) : NULL;

    if (to != NULL)
        memcpy(to, data, n);
}

static unsigned nibble(char digit)
{
    return digit <= '9' ? (unsigned)(digit - '0') : (unsigned)(digit - 'a' + 10);
}

void bytes_put_hex(struct bytes *b, const char *hex)
{
    for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
        uint8_t byte = (uint8_t)(nibble(hex[0]) << 4 | nibble(hex[1]));
        bytes_put(b, &byte, 1);
    }
}

void bytes_put_little(struct bytes *b, uint64_t u, int bytes)
{
    uint8_t *to = room(b, (size_t)bytes);

    for (int i = 0; to != NULL && i < bytes; i++)
        to[i] = (uint8_t)(u >> 8 * i);
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

/* ---- writing ---- */

static void put_head(struct bytes *b, unsigned first, uint64_t number, int bytes)
{
    uint8_t *to = room(b, (size_t)bytes + 1);

    if (to == NULL)
        return;
    *to++ = (uint8_t)first;
    while (bytes-- > 0)
        *to++ = (uint8_t)(number >> 8 * bytes);
}

/* The least of 1, 2, 4 and 8 bytes for u, as a power of two. */
static unsigned log_size(uint64_t u)
{
    return u <= UINT8_MAX ? 0 : u <= UINT16_MAX ? 1 : u <= UINT32_MAX ? 2 : 3;
}

void put_int(struct bytes *b, int64_t i)
{
    uint64_t u = (uint64_t)i;
    unsigned size = log_size(i < 0 ? 2 * ~u + 1 : u); /* a sign takes a bit */

    if (i >= -32 && i < 128)
        put_head(b, (unsigned)(u & 0xff), 0, 0);
    else
        put_head(b, (i < 0 ? 0xd0 : 0xcc) + size, u, 1 << size);
}

void put_text(struct bytes *b, const char *text)
{
    size_t n = strlen(text);
    unsigned size = log_size(n);

    if (n < 32)
        put_head(b, 0xa0 | (unsigned)n, 0, 0);
    else
        put_head(b, 0xd9 + size, n, 1 << size);
    bytes_put(b, text, n);
}

void put_map(struct bytes *b, unsigned n)
{
    put_head(b, 0x80 | n, 0, 0);
}

void put_list(struct bytes *b, unsigned n)
{
    put_head(b, 0x90 | n, 0, 0);
}

void put_bool(struct bytes *b, bool yes)
{
    put_head(b, yes ? 0xc3 : 0xc2, 0, 0);
}

void put_blob(struct bytes *b, const void *data, size_t n)
{
    unsigned size = log_size(n);

    put_head(b, 0xc4 + size, n, 1 << size);
    bytes_put(b, data, n);
}

/* ---- reading ---- */

struct head {
    char kind;       /* N nil, B bool, I int, F float, S str, Y bytes, A list, M map, X extension, - none */
    uint64_t number; /* of B and I; the bytes of S, Y, X; the items of A, M */
    bool negative;
};

static struct head take_head(struct span *v)
{
    static const char kinds[] = "N-BBYYYXXXFFIIIIIIIIXXXXXSSSAAMM",
                      sizes[] = "00001241244812481248000001242424"; /* of c0 to df */
    unsigned first = v->n != 0 ? *v->p : 0xc1u;

    if (v->n == 0 || first == 0xc1)
        return (struct head){.kind = '-'};
    v->p++;
    v->n--;
    if (first < 0x80 || first >= 0xe0)
        return (struct head){'I', (uint64_t)(int64_t)(int8_t)first, first >= 0xe0};
    if (first < 0xc0)
        return (struct head){first < 0x90 ? 'M' : first < 0xa0 ? 'A' : 'S', first & (first < 0xa0 ? 15u : 31u), false};
    size_t bytes = (size_t)(sizes[first - 0xc0] - '0');
    struct head h = {.kind = kinds[first - 0xc0]};
    size_t all = bytes + (h.kind == 'X');
    if (v->n < all)
        return (struct head){.kind = '-'};
    for (size_t i = 0; i < bytes; i++)
        h.number = h.number << 8 | v->p[i];
    v->p += all;
    v->n -= all;
    if (h.kind == 'X' && bytes == 0)
        h.number = UINT64_C(1) << (first - 0xd4);
    if (h.kind == 'B')
        h.number = first & 1;
    if (first >= 0xd0 && first <= 0xd3) {
        unsigned shift = (unsigned)(64 - 8 * bytes);
        h.number = (uint64_t)((int64_t)(h.number << shift) >> shift);
        h.negative = (int64_t)h.number < 0;
    }
    return h;
}

static bool skip(struct span *v, int depth)
{
    struct head h = take_head(v);
    uint64_t items = h.kind == 'A' || h.kind == 'M' ? h.number : 0;

    if (h.kind == '-' || depth == 0)
        return false;
    if (h.kind == 'S' || h.kind == 'Y' || h.kind == 'X') {
        if (h.number > v->n)
            return false;
        v->p += h.number;
        v->n -= (size_t)h.number;
    }
    if (items > v->n)
        return false;
    for (items = h.kind == 'M' ? 2 * items : items; items > 0; items--)
        if (!skip(v, depth - 1))
            return false;
    return true;
}

bool take_value(struct span *v, struct span *ret)
{
    struct span from = *v;

    if (!skip(v, DEPTH))
        return false;
    *ret = (struct span){from.p, from.n - v->n};
    return true;
}

bool read_int(struct span v, int64_t *ret)
{
    struct head h = take_head(&v);

    *ret = (int64_t)h.number;
    return h.kind == 'I' && (h.negative || h.number <= INT64_MAX);
}

bool read_bool(struct span v, bool *ret)
{
    struct head h = take_head(&v);

    *ret = h.number != 0;
    return h.kind == 'B';
}

static bool read_bytes(struct span v, char kind, struct span *ret)
{
    struct head h = take_head(&v);

    *ret = (struct span){v.p, (size_t)h.number};
    return h.kind == kind && h.number <= v.n;
}

bool read_text(struct span v, struct span *ret)
{
    return read_bytes(v, 'S', ret);
}

bool read_blob(struct span v, struct span *ret)
{
    return read_bytes(v, 'Y', ret);
}

bool is_map(struct span v)
{
    struct span rest = v;

    return skip(&rest, DEPTH) && rest.n == 0 && take_head(&v).kind == 'M';
}

int64_t list_items(struct span *v)
{
    struct head h = take_head(v);

    return h.kind == 'A' ? (int64_t)h.number : -1;
}

bool map_get(struct span map, const char *key, struct span *ret)
{
    struct head h = take_head(&map);
    struct span name, item;

    for (uint64_t i = 0; h.kind == 'M' && i < h.number; i++) {
        if (!take_value(&map, &name) || !take_value(&map, &item))
            return false;
        if (read_text(name, &name) && span_is(name, key)) {
            *ret = item;
            return true;
        }
    }
    return false;
}

bool span_is(struct span s, const char *text)
{
    return span_equal(s, (struct span){(const uint8_t *)text, strlen(text)});
}

bool span_equal(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
