/* Hostile CREDIT frames, one after the other, between values that the host sends: whatever a worker grants, the host may never send more than the window, no
 * sum overflows, and what is refused changes nothing. The input: a window, then steps: how many values are sent, and the payload of a CREDIT. */
#include <snakepit/snakepit.h>
#include <stdlib.h>

#include "pool/pool_internal.h"
#include "pool/stream.h"
#include "wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { SENT = 100 /* bytes of a value */ };

/* The two numbers, read by the other decoder. */
static bool read_both(const uint8_t *p, size_t n, uint64_t ret[2])
{
    bool good = true;
    for (int i = 0; good && i < 2; i++) {
        pit_value *v = NULL;
        size_t used = 0;
        good = codec_decode(p, n, NULL, &v, &used, NULL) == 0 && pit_value_kind(v) == PIT_KIND_INT &&
               pit_value_get_uint(v, &ret[i]);
        pit_value_free(v);
        p += used;
        n -= used;
    }
    return good && n == 0;
}

static void take(struct pool *p, struct stream *s, const uint8_t *payload, size_t n)
{
    const struct frame f = {.kind = FRAME_CREDIT, .id = 1, .payload = payload, .payload_n = n};
    const struct stream before = *s;
    uint64_t granted[2];
    bool fits = read_both(payload, n, granted) && granted[0] <= before.window - before.send_chunks;
    int rc = stream_take_credit(p, s, &f);
    if (rc != 0 && rc != PIT_E_PROTOCOL_ERROR)
        abort();
    if (rc != 0 && (s->send_chunks != before.send_chunks || s->send_bytes != before.send_bytes || s->change != before.change))
        abort();
    if (rc == 0 && (!fits || s->send_chunks != before.send_chunks + granted[0] || s->send_bytes < before.send_bytes ||
                    (uint64_t)s->send_bytes - (uint64_t)before.send_bytes != granted[1]))
        abort();
    if (s->send_chunks > s->window)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct pool pool;
    if (n < 2)
        return 0;
    struct stream s = {.window = 1 + data[0] % 8u, .window_bytes = 1 + data[1] * 10u, .inbox = (data[0] & 0x80) == 0};
    s.send_chunks = s.inbox ? s.window : 0;
    s.send_bytes = s.inbox ? (int64_t)s.window_bytes : 0;
    data += 2;
    n -= 2;
    while (n >= 2) {
        for (unsigned sent = data[0] % 8u; sent > 0 && s.send_chunks != 0 && s.send_bytes > 0; sent--) {
            s.send_chunks--;
            s.send_bytes -= SENT;
        }
        size_t size = data[1] % 24u;
        data += 2;
        n -= 2;
        size = size < n ? size : n;
        take(&pool, &s, data, size);
        data += size;
        n -= size;
    }
    return 0;
}
