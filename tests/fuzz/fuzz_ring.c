/* The ring against a peer that writes anything anywhere: the input is what it writes, step by step, between the calls of the honest side.
 *
 * Input: a byte for the size of the ring, then steps of an operation byte and its operands (op_* below). The memory has exactly the size that the
 * ring was told, so that the sanitizers see every step beyond it; besides, what must always hold is checked after each call. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ring/ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT = 5000, LARGEST = 4096 };

static uint64_t clock_ns;
static uint64_t now_ns(void)
{
    return clock_ns += 500;
}
static int futex_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    (void)word;
    (void)expected;
    (void)deadline_ns;
    return 0;
}
static int futex_wake(const uint32_t *word, int n)
{
    (void)word;
    return n;
}
static int cpu(void)
{
    return 0;
}
static const struct ring_sys sys = {now_ns, futex_wait, futex_wake, cpu};

struct input {
    const uint8_t *p;
    size_t n;
};

static uint64_t take(struct input *in, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)(i < in->n ? in->p[i] : 0) << (8 * i);
    n = n < in->n ? n : in->n;
    in->p += n;
    in->n -= n;
    return v;
}

struct side { /* a ring, and what the honest side keeps beside it */
    struct ring_shared *shared;
    uint8_t *bytes;
    uint32_t size;
    struct ring_writer writer;
    struct ring_reader reader;
    uint8_t frame[LARGEST];
    size_t frame_n, frame_done;
    bool sending;
    uint8_t *block;
    size_t block_n;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static uint8_t *room(void *user, size_t total)
{
    struct side *s = user;
    check(total <= LIMIT);
    uint8_t *block = realloc(s->block, total != 0 ? total : 1);
    check(block != NULL);
    s->block = block;
    s->block_n = total;
    return block;
}

static void read_one(struct side *s)
{
    size_t n = 0;
    uint64_t before = s->reader.tail;
    int rc = ring_read(&s->reader, room, s, LIMIT, &n);
    check(rc != RING_OK || n <= LIMIT);
    check(s->reader.tail - before <= s->size); /* one ringful a call */
    check(rc == RING_OK || rc == RING_AGAIN || s->reader.broken == rc);
}

static void peek_one(struct side *s)
{
    const uint8_t *p;
    size_t n;
    volatile uint8_t sum = 0;
    if (ring_peek(&s->reader, &p, &n) != RING_OK)
        return;
    const uint8_t *near = (const uint8_t *)s->reader.near;
    bool in_data = p >= s->bytes && n <= s->size && p + n <= s->bytes + s->size;
    check(in_data || (p >= near && n <= sizeof s->reader.near && p + n <= near + sizeof s->reader.near));
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + p[i]);
}

static void write_one(struct side *s, struct input *in)
{
    if (!s->sending) {
        s->frame_n = take(in, 2) % LARGEST;
        s->frame_done = 0;
    }
    int rc = ring_write(&s->writer, s->frame, s->frame_n, &s->frame_done);
    check(s->frame_done <= s->frame_n && (rc != RING_OK || s->frame_done == s->frame_n));
    s->sending = rc == RING_AGAIN && s->frame_done != 0;
    ring_publish(&s->writer);
}

static void reserve_one(struct side *s, struct input *in)
{
    size_t n = take(in, 2) % (ring_whole_max(s->size) + 2);
    uint8_t *place = s->sending ? NULL : ring_reserve(&s->writer, n);
    if (place == NULL)
        return;
    check(n <= ring_whole_max(s->size) && place >= s->bytes && place + n <= s->bytes + s->size);
    memset(place, 0xaa, n);
    ring_commit(&s->writer, n / 2);
}

static void header_one(struct side *s, struct input *in)
{
    uint64_t at = take(in, 2) & (s->size - 1) & ~7u;
    struct ring_record record = {.bytes = (uint32_t)take(in, 4)};
    uint32_t flags = (uint32_t)take(in, 1);
    bool near = (flags & 0x80) != 0;
    record.flags = flags & 0x7f;
    memcpy(near ? (void *)s->shared->near : s->bytes + at, &record, sizeof record);
    if (near)
        s->shared->near_at = RING_NEAR_AT(s->reader.next + (at & 8));
}

static void step(struct side *s, struct input *in)
{
    switch (take(in, 1) % 12) {
    case 0: /* the peer writes anywhere into the data */
        s->bytes[take(in, 2) % s->size] = (uint8_t)take(in, 1);
        return;
    case 1: /* a record header, in the data or beside the head */
        header_one(s, in);
        return;
    case 2: /* positions: near, and anywhere */
        s->shared->head += take(in, 2);
        return;
    case 3:
        s->shared->head = take(in, 8);
        return;
    case 4:
        s->shared->tail += take(in, 2);
        return;
    case 5:
        s->shared->tail = take(in, 8);
        return;
    case 6:
        s->shared->data_bell = (uint32_t)take(in, 1);
        s->shared->room_bell = (uint32_t)take(in, 1);
        s->shared->head_cpu = s->shared->tail_cpu = (uint32_t)take(in, 1);
        return;
    case 7:
        read_one(s);
        return;
    case 8:
        peek_one(s);
        return;
    case 9:
        ring_done(&s->reader);
        return;
    case 10:
        write_one(s, in);
        reserve_one(s, in);
        return;
    default:
        ring_wait_data(&s->reader, clock_ns + take(in, 2), 50000);
        ring_wait_room(&s->writer, clock_ns + take(in, 2), 50000);
        if (ring_arm_data(&s->reader))
            ring_disarm_data(&s->reader);
        if (ring_arm_room(&s->writer))
            ring_disarm_room(&s->writer);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    static struct side s;
    memset(&s, 0, sizeof s);
    s.size = RING_MIN_BYTES << take(&in, 1) % 3;
    s.shared = calloc(1, sizeof *s.shared);
    s.bytes = aligned_alloc(8, s.size);
    check(s.shared != NULL && s.bytes != NULL);
    memset(s.bytes, 0, s.size);
    ring_writer_init(&s.writer, s.shared, s.bytes, s.size, &sys);
    ring_reader_init(&s.reader, s.shared, s.bytes, s.size, &sys);
    for (int steps = 0; in.n != 0 && steps < 4096; steps++)
        step(&s, &in);
    read_one(&s);
    free(s.block);
    free(s.bytes);
    free(s.shared);
    return 0;
}
