/* Values as MessagePack and back. docs/wire.md has the forms and the extension codes.
 *
 * Decoding trusts nothing: lengths are checked against the remaining bytes before anything is allocated, depth is capped (128), and a budget
 * bounds the memory that the result may take (a 64 MiB frame of nils is refused, not turned into gigabytes). No recursion on
 * hostile depth. A decoded value is immutable and lives in few blocks, so that freeing it is one or two frees. */
#ifndef PIT_WIRE_CODEC_H
#define PIT_WIRE_CODEC_H

#include <snakepit/value.h>

#include "base/buf.h"

#define CODEC_MAX_DEPTH 128
#define CODEC_MAX_BIGINT_BITS (1u << 20)
#define CODEC_MAX_ENTRIES (1u << 20) /* of all maps of a value: each costs a comparison sort its share */
#define CODEC_PATH 256

struct codec_error {
    int code;              /* PIT_E_* */
    char path[CODEC_PATH]; /* to the leaf, as Python writes it: ["a"][3] */
    char text[160];
};

struct codec_limits {
    size_t max_bytes; /* of memory for the result; 0: 8 times the input and 64 MiB */
};

/* Appends the encoding of v (NULL: nil), which counts as sent and is immutable from now on. 0, or a code that is also in *err (may be NULL); out is then cut back to its length before. */
int codec_encode(struct buf *out, const pit_value *v, struct codec_error *err);
/* v will be encoded, or freed, in a moment: where its memory has left the cache, it is fetched meanwhile. The second goes one level deeper, and reads
 * what the first has fetched. NULL is fine. */
void codec_fetch(const pit_value *v);
void codec_fetch_items(const pit_value *v);
/* Appends the encoding of what pit_pack(format, ap) would build, without building it. */
int codec_pack(struct buf *out, const char *format, va_list ap, struct codec_error *err);
/* Decodes the first value of n bytes; *ret_used (may be NULL) gets its length; without it trailing bytes are an error.
 * deserialization_failed, limit_exceeded, duplicate_key, invalid_utf8, invalid_parameter (unhashable key), allocation_failed; the text
 * names the offset, the path leads to the part.
 * block: NULL; or the bytes lie inside *block (the caller's, from mem_alloc; at least one byte of it follows them), and when there is a long
 * text or bytes among them the value may take it over instead of copying: *block is NULL then. */
int codec_decode_block(uint8_t **block, const uint8_t *p, size_t n, const struct codec_limits *limits, pit_value **ret,
                       size_t *ret_used, struct codec_error *err);
static inline int codec_decode(const uint8_t *p, size_t n, const struct codec_limits *limits, pit_value **ret, size_t *ret_used,
                               struct codec_error *err)
{
    return codec_decode_block(NULL, p, n, limits, ret, ret_used, err);
}

/* locate.c: the path to the value at or just before an offset where decoding has failed; "" for the whole. */
void codec_locate(char path[CODEC_PATH], const uint8_t *p, size_t n, size_t offset);

#endif
