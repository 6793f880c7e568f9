/* See ring.h. Positions count bytes and never wrap (2^64 bytes outlast any machine); `position & (bytes - 1)` is the place in data. */
#include "ring/ring.h"

#include <string.h>

#include "ring/ring_wait.h"

#define HEADER ((uint32_t)sizeof(struct ring_record))
#define FRAGMENTS_PER_RING 4 /* a fragment is at most this part of the ring, so that both sides work at the same time */
#define UNTOLD_PART 8        /* ring_pass may leave less than this part of the ring untold */
#define FRAGMENT_LEAST 8     /* and, unless the frame or the ring ends, at least this part: no dribbling */

static uint64_t record_size(uint64_t payload)
{
    return (HEADER + payload + RING_ALIGN - 1) & ~(uint64_t)(RING_ALIGN - 1);
}

static struct ring_waiter waiter(const struct ring_sys *sys, const uint32_t *peer_cpu)
{
    return (struct ring_waiter){.sys = sys, .peer_cpu = peer_cpu};
}

void ring_writer_init(struct ring_writer *w, struct ring_shared *shared, uint8_t *data, uint32_t bytes,
                      const struct ring_sys *sys)
{
    *w = (struct ring_writer){.shared = shared, .data = data, .sys = sys, .bytes = bytes, .cpu = RING_NO_CPU};
    w->waiter = waiter(sys, &shared->tail_cpu);
}

void ring_reader_init(struct ring_reader *r, struct ring_shared *shared, uint8_t *data, uint32_t bytes,
                      const struct ring_sys *sys)
{
    *r = (struct ring_reader){.shared = shared, .data = data, .sys = sys, .bytes = bytes, .cpu = RING_NO_CPU};
    r->waiter = waiter(sys, &shared->head_cpu);
}

/* ---- producer ---- */

static void put_header(struct ring_writer *w, uint64_t at, uint32_t n, uint32_t flags)
{
    struct ring_record record = {.bytes = n, .flags = flags};
    memcpy(w->data + (at & (w->bytes - 1)), &record, HEADER);
}

static uint64_t room(const struct ring_writer *w)
{
    return w->bytes - (w->head - w->tail);
}

/* The consumer's position. It may only have moved forward, and not beyond what it was told of. */
static void take_tail(struct ring_writer *w, uint64_t tail)
{
    if (tail - w->tail > w->published - w->tail || tail % RING_ALIGN != 0)
        w->broken = true;
    else
        w->tail = tail;
}

static void see_tail(struct ring_writer *w)
{
    take_tail(w, __atomic_load_n(&w->shared->tail, __ATOMIC_ACQUIRE));
}

uint8_t *ring_reserve(struct ring_writer *w, size_t n)
{
    if (n > ring_whole_max(w->bytes) || w->broken)
        return NULL;
    uint64_t size = record_size(n), at = w->head & (w->bytes - 1);
    w->pad = at + size > w->bytes ? (uint32_t)(w->bytes - at) : 0;
    if (room(w) < w->pad + size) {
        see_tail(w);
        if (w->broken || room(w) < w->pad + size)
            return NULL;
    }
    return w->data + ((w->head + w->pad) & (w->bytes - 1)) + HEADER;
}

void ring_commit(struct ring_writer *w, size_t n)
{
    if (w->pad != 0)
        put_header(w, w->head, w->pad - HEADER, RECORD_PAD);
    put_header(w, w->head + w->pad, (uint32_t)n, 0);
    w->head += w->pad + record_size(n);
    w->pad = 0;
}

/* Publishes; a short record goes beside the head too, and what stood there goes. A reader may look meanwhile: whoever sees a word of the new
 * record sees by near_at that the old one is gone. The stores stand close together: between two of them a spinning reader takes the line away. */
static void show(struct ring_writer *w)
{
    struct ring_shared *s = w->shared;
    uint64_t at = w->published & (w->bytes - 1), words[RING_NEAR_WORDS];
    uint32_t cpu = wait_cpu(w->sys), before = w->near;
    w->near = w->head - w->published <= sizeof words && at + sizeof words <= w->bytes ? RING_NEAR_AT(w->published) : 0;
    if (w->near != 0)
        memcpy(words, w->data + at, sizeof words);
    if (cpu != w->cpu)
        __atomic_store_n(&s->head_cpu, w->cpu = cpu, __ATOMIC_RELAXED);
    if (before != 0)
        __atomic_store_n(&s->near_at, 0, __ATOMIC_RELAXED);
    if (w->near != 0) {
        for (unsigned i = 0; i < RING_NEAR_WORDS; i++)
            __atomic_store_n(&s->near[i], words[i], __ATOMIC_RELEASE);
        __atomic_store_n(&s->near_at, w->near, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&s->head, w->head, __ATOMIC_RELEASE);
    w->published = w->head;
}

/* Tells the consumer; remembers whether it wants the socket. */
static void publish(struct ring_writer *w)
{
    show(w);
    w->unrung = false;
    if (wait_ring(w->sys, &w->shared->data_bell))
        w->socket_bell = true;
}

bool ring_publish(struct ring_writer *w)
{
    if (w->published != w->head || w->unrung)
        publish(w);
    bool bell = w->socket_bell;
    w->socket_bell = false;
    return bell;
}

void ring_publish_quietly(struct ring_writer *w)
{
    if (w->published == w->head)
        return;
    show(w);
    w->unrung = true;
}

/* The size of the next fragment's payload, 0: no room for a decent one. */
static uint64_t fragment(const struct ring_writer *w, uint64_t left)
{
    uint64_t rest = w->bytes - (w->head & (w->bytes - 1)), most = w->bytes / FRAGMENTS_PER_RING - HEADER;
    uint64_t want = left < most ? left : most;
    if (want > rest - HEADER)
        want = rest - HEADER; /* up to the end of the ring, however small */
    if (record_size(want) <= room(w))
        return want;
    uint64_t have = room(w) > HEADER ? room(w) - HEADER : 0;
    return have >= w->bytes / FRAGMENT_LEAST ? have : 0;
}

int ring_write_part(struct ring_writer *w, const uint8_t *part, size_t n, size_t *done, bool more)
{
    see_tail(w);
    if (w->broken)
        return RING_BROKEN;
    while (*done < n) {
        uint64_t at = w->head & (w->bytes - 1);
        if (w->bytes - at == HEADER) { /* no place for a byte of payload before the end */
            if (room(w) < HEADER)
                return RING_AGAIN;
            put_header(w, w->head, 0, RECORD_PAD);
            w->head += HEADER;
            continue;
        }
        uint64_t size = fragment(w, n - *done);
        if (size == 0)
            return RING_AGAIN;
        put_header(w, w->head, (uint32_t)size, more || size < n - *done ? RECORD_MORE : 0);
        memcpy(w->data + at + HEADER, part + *done, size);
        w->head += record_size(size);
        *done += size;
        publish(w);
    }
    return RING_OK;
}

int ring_write(struct ring_writer *w, const uint8_t *frame, size_t n, size_t *done)
{
    if (w->broken)
        return RING_BROKEN;
    if (n > ring_whole_max(w->bytes))
        return ring_write_part(w, frame, n, done, false);
    uint8_t *place = ring_reserve(w, n);
    if (place == NULL)
        return w->broken ? RING_BROKEN : RING_AGAIN;
    if (n != 0)
        memcpy(place, frame, n);
    ring_commit(w, n);
    *done = n;
    return RING_OK;
}

int ring_wait_room(struct ring_writer *w, uint64_t deadline_ns, uint64_t spin_ns)
{
    if (w->broken)
        return RING_OK; /* the next ring_write says so */
    int rc = wait_for_change(&w->waiter, &w->shared->tail, w->tail, &w->shared->room_bell, deadline_ns, spin_ns);
    if (rc == RING_OK)
        take_tail(w, w->waiter.found);
    return rc;
}

bool ring_arm_room(struct ring_writer *w)
{
    if (w->broken)
        return false;
    if (wait_arm(&w->waiter, &w->shared->tail, w->tail, &w->shared->room_bell))
        return true;
    take_tail(w, w->waiter.found);
    return false;
}

void ring_disarm_room(struct ring_writer *w)
{
    __atomic_exchange_n(&w->shared->room_bell, RING_AWAKE, __ATOMIC_SEQ_CST);
}

/* ---- consumer ---- */

/* The producer's position. It may only have moved forward, by no more than the ring holds. */
static void take_head(struct ring_reader *r, uint64_t head)
{
    if (head - r->tail > r->bytes || head - r->tail < r->head - r->tail || head % RING_ALIGN != 0)
        r->broken = RING_BROKEN;
    else
        r->head = head;
}

/* Looks at it if everything seen has been read. Once per call of the public functions, so that a producer who goes on and on cannot keep
 * one of them busy. */
static void see_head(struct ring_reader *r)
{
    if (r->next == r->head && r->broken == 0)
        take_head(r, __atomic_load_n(&r->shared->head, __ATOMIC_ACQUIRE));
}

struct record {
    const uint8_t *payload;
    uint32_t n;
    bool more;
    uint64_t end; /* position behind it */
};

static int broken(struct ring_reader *r, int how)
{
    r->broken = how;
    return how;
}

/* Is the record at r->next, the last one, beside the head? Then it is in r->near. */
static bool take_near(struct ring_reader *r)
{
    const struct ring_shared *s = r->shared;
    uint32_t at = RING_NEAR_AT(r->next);
    if (r->head - r->next > sizeof r->near || __atomic_load_n(&s->near_at, __ATOMIC_ACQUIRE) != at)
        return false;
    for (unsigned i = 0; i < RING_NEAR_WORDS; i++)
        r->near[i] = __atomic_load_n(&s->near[i], __ATOMIC_ACQUIRE);
    return __atomic_load_n(&s->near_at, __ATOMIC_RELAXED) == at;
}

/* The record at r->next, within what has been seen of the producer; steps over padding. */
static int next_record(struct ring_reader *r, struct record *ret)
{
    if (r->broken != 0)
        return r->broken;
    while (r->next != r->head) {
        uint64_t at = r->next & (r->bytes - 1), rest = r->bytes - at, there = r->head - r->next;
        const uint8_t *from = take_near(r) ? (const uint8_t *)r->near : r->data + at;
        const struct ring_record *header = (const struct ring_record *)(const void *)from;
        uint32_t n = __atomic_load_n(&header->bytes, __ATOMIC_RELAXED),
                 flags = __atomic_load_n(&header->flags, __ATOMIC_RELAXED);
        uint64_t within = there < rest ? there : rest;
        if (flags == RECORD_PAD) {
            if (at == 0 || there < rest)
                return broken(r, RING_BROKEN);
            r->next += rest;
            continue;
        }
        if ((flags & ~(uint32_t)RECORD_MORE) != 0 || record_size(n) > within || (flags == RECORD_MORE && n == 0))
            return broken(r, RING_BROKEN);
        *ret = (struct record){.payload = from + HEADER, .n = n, .more = flags == RECORD_MORE, .end = r->next + record_size(n)};
        return RING_OK;
    }
    return RING_AGAIN;
}

static void show_cpu(struct ring_reader *r)
{
    uint32_t cpu = wait_cpu(r->sys);
    if (cpu != r->cpu)
        __atomic_store_n(&r->shared->tail_cpu, r->cpu = cpu, __ATOMIC_RELAXED);
}

/* Publishes r->next as the tail. */
static void release(struct ring_reader *r)
{
    if (r->tail == r->next)
        return;
    r->tail = r->next;
    show_cpu(r);
    __atomic_store_n(&r->shared->tail, r->tail, __ATOMIC_RELEASE);
    if (wait_ring(r->sys, &r->shared->room_bell))
        r->socket_bell = true;
}

int ring_peek(struct ring_reader *r, const uint8_t **ret, size_t *ret_n)
{
    struct record record;
    see_head(r);
    int rc = next_record(r, &record);
    if (rc != RING_OK)
        return rc;
    if (record.more || r->got != 0)
        return RING_FRAGMENTS;
    r->peeked = record.end;
    *ret = record.payload;
    *ret_n = record.n;
    return RING_OK;
}

int ring_read(struct ring_reader *r, uint8_t *(*room_for)(void *user, size_t total), void *user, size_t max, size_t *ret_n)
{
    struct record record;
    r->peeked = 0;
    see_head(r);
    for (;;) {
        int rc = next_record(r, &record);
        if (rc != RING_OK)
            return rc;
        size_t total = r->got + record.n;
        if (total > max)
            return broken(r, RING_LIMIT);
        uint8_t *block = room_for(user, total);
        if (block == NULL)
            return RING_NO_MEMORY;
        if (record.n != 0)
            memcpy(block + r->got, record.payload, record.n);
        r->next = record.end;
        if (!record.more) {
            r->got = 0;
            *ret_n = total;
            return RING_OK;
        }
        r->got = total;
        release(r);
    }
}

int ring_fragment(struct ring_reader *r, const uint8_t **ret, size_t *ret_n, bool *ret_last)
{
    struct record record;
    r->peeked = 0;
    see_head(r);
    int rc = next_record(r, &record);
    if (rc != RING_OK)
        return rc;
    *ret = record.payload;
    *ret_n = record.n;
    *ret_last = !record.more;
    return RING_OK;
}

void ring_fragment_done(struct ring_reader *r, size_t n, bool last)
{
    r->next += record_size(n);
    r->got = last ? 0 : r->got + n;
    if (!last)
        release(r);
}

bool ring_take_socket_bell(struct ring_reader *r)
{
    bool bell = r->socket_bell;
    r->socket_bell = false;
    return bell;
}

bool ring_done(struct ring_reader *r)
{
    if (r->peeked != 0)
        r->next = r->peeked;
    r->peeked = 0;
    release(r);
    return ring_take_socket_bell(r);
}

bool ring_pass(struct ring_reader *r)
{
    if (r->peeked != 0)
        r->next = r->peeked;
    r->peeked = 0;
    if (r->next - r->tail >= r->bytes / UNTOLD_PART)
        release(r);
    else
        show_cpu(r);
    return ring_take_socket_bell(r);
}

bool ring_settle(struct ring_reader *r)
{
    release(r);
    return ring_take_socket_bell(r);
}

int ring_wait_data(struct ring_reader *r, uint64_t deadline_ns, uint64_t spin_ns)
{
    if (r->broken != 0 || r->next != r->head)
        return RING_OK; /* there is something, if only bad news */
    int rc = wait_for_change(&r->waiter, &r->shared->head, r->next, &r->shared->data_bell, deadline_ns, spin_ns);
    if (rc == RING_OK)
        take_head(r, r->waiter.found);
    return rc;
}

bool ring_has_data(const struct ring_reader *r)
{
    return r->broken != 0 || r->next != r->head || __atomic_load_n(&r->shared->head, __ATOMIC_ACQUIRE) != r->next;
}

bool ring_arm_data(struct ring_reader *r)
{
    if (r->broken != 0 || r->next != r->head)
        return false;
    if (wait_arm(&r->waiter, &r->shared->head, r->next, &r->shared->data_bell))
        return true;
    take_head(r, r->waiter.found);
    return false;
}

void ring_disarm_data(struct ring_reader *r)
{
    __atomic_exchange_n(&r->shared->data_bell, RING_AWAKE, __ATOMIC_SEQ_CST);
}
