/* Leaves: the kinds that travel as an extension and hold no further values that a program could reach: times, decimals, complex
 * numbers, tensors, tables, refs and markers. A family is a file (time.c, decimal.c, tensor.c, record.c; the small ones in leaf.c); this header is
 * what the codec sees of them.
 *
 * The payload is read twice, like everything else: leaf_check() judges it and says what it takes, leaf_fill() makes the value of what has been
 * accepted. Thread: any; no state. */
#ifndef PIT_WIRE_LEAF_H
#define PIT_WIRE_LEAF_H

#include "wire/value.h"

/* What a leaf takes in the block of a decoded value, beyond its own node. */
struct leaf_room {
    size_t nodes, words, bytes; /* words: of 8 bytes */
};

/* Where that is; each function takes what it needs from the front. */
struct leaf_place {
    struct value_tree *tree;
    pit_value *node;
    uint64_t *word;
    char *byte;
};

/* A payload that is being judged. */
struct leaf_payload {
    int ext;
    bool key; /* it stands for a key or an item of a set */
    const uint8_t *data;
    size_t n;
    const char *why; /* what is wrong with it */
};

/* Is this extension a leaf? */
static inline bool leaf_is(int ext)
{
    return ext >= MP_EXT_DATETIME && ext <= MP_EXT_MARKER;
}

/* 0, or the PIT_E_* for which the payload is refused, with p->why. Adds to *room. */
int leaf_check(struct leaf_payload *p, struct leaf_room *room);
/* v: frozen, its tree set. */
void leaf_fill(pit_value *v, int ext, const uint8_t *data, size_t n, struct leaf_place *place);
/* The code of a leaf's extension; 0 for the other kinds. */
int8_t leaf_code(const pit_value *v);
/* The kind that goes with a leaf's extension. */
int leaf_kind(int ext);
/* Holds its payload as a map, whose length is known afterwards: written with mp_open_ext(). */
static inline bool leaf_is_open(int ext)
{
    return ext == MP_EXT_TENSOR || ext >= MP_EXT_REF;
}
/* Bytes of the payload; an upper bound when it is open. */
size_t leaf_size(const pit_value *v);
/* Writes it; returns the new end. */
uint8_t *leaf_put(uint8_t *p, const pit_value *v);

/* ---- what families share ---- */

/* A frozen leaf with `extra` bytes behind its node; a failed value when memory ran out. */
pit_value *leaf_new(int kind, size_t extra);
static inline uint8_t *leaf_put32(uint8_t *p, uint32_t x)
{
    x = __builtin_bswap32(x);
    memcpy(p, &x, 4);
    return p + 4;
}

static inline uint8_t *leaf_put64(uint8_t *p, uint64_t x)
{
    x = __builtin_bswap64(x);
    memcpy(p, &x, 8);
    return p + 8;
}

/* Takes n bytes, rounded up to whole words. */
static inline void *leaf_take_words(struct leaf_place *place, size_t n)
{
    void *taken = place->word;
    place->word += (n + 7) / 8;
    return taken;
}

/* ---- the families ---- */

int time_check(struct leaf_payload *p, struct leaf_room *room); /* DATETIME, DATE, TIME, DURATION */
void time_fill(pit_value *v, int ext, const uint8_t *data, size_t n, struct leaf_place *place);
size_t time_size(const pit_value *v);
uint8_t *time_put(uint8_t *p, const pit_value *v);

int decimal_check(struct leaf_payload *p, struct leaf_room *room);
void decimal_fill(pit_value *v, const uint8_t *data, size_t n, struct leaf_place *place);
size_t decimal_size(const pit_value *v);
uint8_t *decimal_put(uint8_t *p, const pit_value *v);

int tensor_check(struct leaf_payload *p, struct leaf_room *room);
void tensor_fill(pit_value *v, const uint8_t *data, size_t n, struct leaf_place *place);
size_t tensor_size(const pit_value *v);
uint8_t *tensor_put(uint8_t *p, const pit_value *v);

int record_check(struct leaf_payload *p, struct leaf_room *room); /* REF, MARKER */
void record_fill(pit_value *v, int ext, const uint8_t *data, size_t n, struct leaf_place *place);
size_t record_size(const pit_value *v);
uint8_t *record_put(uint8_t *p, const pit_value *v);

#endif
