/* See call_digest.h. */
#include "worker/call_digest.h"

enum { PAGE = 4096 };

static bool read_frame(const struct call *c, struct frame *ret)
{
    return c->frame.len >= FRAME_HEADER && frame_parse(c->frame.data, c->frame.len, ret) == 0;
}

const uint8_t *call_content(const struct call *c, size_t *ret_n)
{
    struct frame f;
    bool good = read_frame(c, &f);
    *ret_n = good ? f.payload_n : 0;
    return good ? f.payload : NULL;
}

static void add(struct sha256 *s, const struct siphash_key *key, const uint8_t *p, size_t n)
{
    if (n <= DIGEST_EXACT) {
        sha256_add(s, p, n);
        return;
    }
    for (size_t at = 0; at < n; at += PAGE) {
        uint64_t sum = siphash(key, p + at, n - at < PAGE ? n - at : PAGE);
        sha256_add(s, &sum, sizeof sum);
    }
}

void call_digest(const struct call *c, const struct siphash_key *key, uint8_t out[SHA256_BYTES])
{
    struct sha256 s;
    struct frame f;
    const uint8_t *binary;
    size_t n;
    sha256_init(&s);
    if (read_frame(c, &f)) {
        add(&s, key, f.payload, f.payload_n);
        if (frame_field(&f, FIELD_BINARY, &binary, &n))
            add(&s, key, binary, n);
    }
    sha256_end(&s, out);
}
