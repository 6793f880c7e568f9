/* A ring channel whose peer rewrites everything while it is read: a second thread goes round the input and writes its bytes over the positions,
 * the bells, the record headers and the data of both rings, as fast as it can, while this one sends and receives.
 *
 * Input: steps of 8 bytes (where, how, value), over and over until the reader has had enough. What is sent honestly now and then keeps the reader
 * from meeting nothing but broken rings. Runs are not repeatable; what they find is (the sanitizers print where). */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/channel.h"
#include "os/os.h"
#include "ring/ring.h"
#include "ring/segment.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RING = 1024, MAX_FRAME = 8192, ROUNDS = 48, STEP = 8 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const uint8_t *input;
    size_t n;
    uint8_t *segment;
    bool running; /* the writer is at work */
    bool stop;    /* atomic */
} race = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct ring_shared *ring(bool reply)
{
    uint8_t *lane = (uint8_t *)channel_ring_status(race.segment, 0, RING);
    return (void *)(lane + (reply ? LANE_REPLY_OFFSET(RING) : LANE_REQUEST_OFFSET));
}

/* One write of the hostile side. All are atomic: the race that is meant is the one with the reader's checks. */
static void scribble(const uint8_t *s)
{
    struct ring_shared *r = ring((s[0] & 1) != 0);
    uint8_t *data = (uint8_t *)(r + 1);
    uint32_t v = (uint32_t)s[4] | (uint32_t)s[5] << 8 | (uint32_t)s[6] << 16 | (uint32_t)s[7] << 24;
    uint64_t *position = (s[0] & 2) != 0 ? &r->head : &r->tail;
    uint32_t *word = (void *)(data + ((s[2] | s[3] << 8) % RING & ~3));
    switch (s[1] % 8) {
    case 0: /* a little further: mostly believable */
        __atomic_add_fetch(position, v % 256 & ~7u, __ATOMIC_RELAXED);
        return;
    case 1:
        __atomic_store_n(position, v, __ATOMIC_RELAXED);
        return;
    case 2:
        __atomic_store_n((v & 1) != 0 ? &r->data_bell : &r->room_bell, v >> 1 & 3, __ATOMIC_SEQ_CST);
        return;
    case 3: /* a believable length, in place of what may be one */
        __atomic_store_n(word, v % 512, __ATOMIC_RELAXED);
        return;
    case 4:
        __atomic_store_n(word, v % 4, __ATOMIC_RELAXED);
        return;
    case 5: /* beside the head */
        __atomic_store_n(&r->near[s[2] % RING_NEAR_WORDS], (uint64_t)v % 512, __ATOMIC_RELAXED);
        __atomic_store_n(&r->near_at, RING_NEAR_AT(s[3] * 8), __ATOMIC_RELAXED);
        return;
    default:
        __atomic_store_n(word, v, __ATOMIC_RELAXED);
    }
}

static void *writer(void *user)
{
    (void)user;
    pthread_mutex_lock(&race.lock);
    for (;;) {
        while (!race.running)
            pthread_cond_wait(&race.changed, &race.lock);
        pthread_mutex_unlock(&race.lock);
        for (size_t at = 0; !__atomic_load_n(&race.stop, __ATOMIC_RELAXED); at = at + 2 * STEP <= race.n ? at + STEP : 0)
            scribble(race.input + at);
        pthread_mutex_lock(&race.lock);
        race.running = false;
        pthread_cond_broadcast(&race.changed);
    }
    return NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    pthread_t thread;
    check(pthread_create(&thread, NULL, writer, NULL) == 0);
    return pthread_detach(thread);
}

static void set_running(bool running)
{
    pthread_mutex_lock(&race.lock);
    __atomic_store_n(&race.stop, !running, __ATOMIC_RELAXED);
    if (running)
        race.running = true;
    pthread_cond_broadcast(&race.changed);
    while (!running && race.running)
        pthread_cond_wait(&race.changed, &race.lock);
    pthread_mutex_unlock(&race.lock);
}

/* The honest side, for as long as its channel lasts. */
static void converse(struct channel *host, struct channel *worker, struct channel_frame *f)
{
    static const uint8_t frame[700];
    uint64_t deadline = host->os->now_ns() + 20000;
    size_t done = 0, replied = 0;
    for (int i = 0; i < ROUNDS && host->broken == 0; i++) {
        int rc = worker->ops->send(worker, frame, 40u + (unsigned)i * 12, &replied);
        replied = rc == CHANNEL_AGAIN ? replied : 0;
        rc = host->ops->send(host, frame, sizeof frame, &done);
        done = rc == CHANNEL_AGAIN ? done : 0;
        rc = host->ops->recv(host, f);
        check(rc <= 0 || rc == CHANNEL_AGAIN);
        check(rc != 0 || f->n <= MAX_FRAME);
        check(f->heap_cap <= 2 * MAX_FRAME);
        for (size_t k = 0; rc == 0 && k < f->n; k++)
            ((volatile uint8_t *)f->data)[k] ^= 1; /* all of it is the host's own */
        host->ops->wait(host, i % 2 == 0 ? CHANNEL_FOR_FRAME : CHANNEL_FOR_ROOM, deadline, 2000);
        if (host->ops->arm(host, CHANNEL_FOR_FRAME | CHANNEL_FOR_ROOM))
            host->ops->disarm(host);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[SEGMENT_SECRET];
    if (size < STEP)
        return 0;
    size_t n = segment_bytes(1, RING);
    race.segment = aligned_alloc(64, n);
    check(race.segment != NULL);
    memset(race.segment, 0, n);
    segment_init(race.segment, 1, RING, secret);
    race.input = data;
    race.n = size;
    struct channel *host = channel_ring_create(&os_linux, race.segment, 0, RING, MAX_FRAME);
    struct channel *worker = channel_ring_create_worker(&os_linux, race.segment, 0, RING, MAX_FRAME, -1);
    struct channel_frame f;
    check(host != NULL && worker != NULL);
    channel_frame_init(&f);
    set_running(true);
    converse(host, worker, &f);
    set_running(false);
    channel_frame_finish(&f);
    host->ops->destroy(host);
    worker->ops->destroy(worker);
    free(race.segment);
    return 0;
}
