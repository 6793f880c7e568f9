/* What is special about the ring channel: bells on the socket, nudges, claims in reach, and peers that write rubbish. */
#include "channel_pair.h"

#include <errno.h>
#include <pthread.h>

#include "ring/ring.h"
#include "ring/segment.h"

static struct pair pair;

static int start(void **state)
{
    (void)state;
    return pair_open(&pair, &os_linux, PAIR_RINGS);
}

static int finish(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

static struct ring_shared *request_ring(void)
{
    return (void *)((uint8_t *)channel_ring_status(pair.segment, 0, PAIR_RING) + LANE_REQUEST_OFFSET);
}

static struct ring_shared *reply_ring(void)
{
    return (void *)((uint8_t *)channel_ring_status(pair.segment, 0, PAIR_RING) + LANE_REPLY_OFFSET(PAIR_RING));
}

static int bells_on_the_socket(void)
{
    uint8_t bytes[16];
    ssize_t n = os_linux.recv(pair.fds[0], bytes, sizeof bytes);
    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(bytes[i], 0);
    return n > 0 ? (int)n : 0;
}

static void say(struct channel *c, size_t n)
{
    uint8_t frame[PAIR_RING];
    size_t done = 0;
    make_frame(frame, n, 1);
    assert_int_equal(c->ops->send(c, frame, n, &done), 0);
}

static void test_bell_for_a_frame(void **state)
{
    (void)state;
    struct channel_frame f;
    channel_frame_init(&f);
    say(pair.worker, 100);
    assert_int_equal(bells_on_the_socket(), 0); /* not asked for */
    assert_false(pair.host->ops->arm(pair.host, CHANNEL_FOR_FRAME));
    assert_int_equal(pair.host->ops->recv(pair.host, &f), 0);
    assert_true(pair.host->ops->arm(pair.host, CHANNEL_FOR_FRAME));
    say(pair.worker, 100);
    say(pair.worker, 100);
    assert_int_equal(bells_on_the_socket(), 1);
    pair.host->ops->recv(pair.host, &f);
    pair.host->ops->recv(pair.host, &f);
    assert_true(pair.host->ops->arm(pair.host, CHANNEL_FOR_FRAME));
    pair.host->ops->disarm(pair.host);
    say(pair.worker, 100);
    assert_int_equal(bells_on_the_socket(), 0);
    channel_frame_finish(&f);
}

static void test_bell_for_room(void **state)
{
    (void)state;
    struct channel_frame f;
    uint8_t frame[3 * PAIR_RING];
    size_t done = 0;
    channel_frame_init(&f);
    make_frame(frame, sizeof frame, 1);
    assert_int_equal(pair.host->ops->send(pair.host, frame, sizeof frame, &done), CHANNEL_AGAIN);
    assert_true(pair.host->ops->arm(pair.host, CHANNEL_FOR_FRAME | CHANNEL_FOR_ROOM));
    assert_int_equal(pair.worker->ops->recv(pair.worker, &f), CHANNEL_AGAIN); /* in the middle of a frame */
    assert_int_equal(bells_on_the_socket(), 1);
    assert_false(pair.host->ops->arm(pair.host, CHANNEL_FOR_ROOM));
    assert_int_equal(reply_ring()->data_bell, RING_AWAKE); /* a refused arm leaves nothing armed */
    while (pair.host->ops->send(pair.host, frame, sizeof frame, &done) == CHANNEL_AGAIN)
        pair.worker->ops->recv(pair.worker, &f);
    channel_frame_finish(&f);
}

/* The worker sleeps on its futex; STOP comes by the control socket; the nudge makes it look. */
static bool go;
static void *sleep_until_told(void *user)
{
    struct channel *c = user;
    unsigned wakes = 0;
    while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE)) {
        c->ops->wait(c, CHANNEL_FOR_FRAME, UINT64_MAX, 0);
        wakes++;
    }
    return wakes > 0 ? NULL : user;
}

static void test_nudge(void **state)
{
    (void)state;
    pthread_t worker;
    void *failed;
    go = false;
    assert_int_equal(pthread_create(&worker, NULL, sleep_until_told, pair.worker), 0);
    while (__atomic_load_n(&request_ring()->data_bell, __ATOMIC_ACQUIRE) != RING_FUTEX)
        sched_yield();
    __atomic_store_n(&go, true, __ATOMIC_RELEASE);
    pair.host->ops->nudge(pair.host);
    pthread_join(worker, &failed);
    assert_null(failed);
}

static void test_interrupt_while_waiting_for_room(void **state)
{
    (void)state;
    uint8_t frame[3 * PAIR_RING];
    size_t done = 0;
    make_frame(frame, sizeof frame, 1);
    assert_int_equal(pair.host->ops->send(pair.host, frame, sizeof frame, &done), CHANNEL_AGAIN);
    pair.host->ops->interrupt(pair.host);
    assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_ROOM, UINT64_MAX, 0), 0);
    assert_false(pair.host->ops->arm(pair.host, CHANNEL_FOR_ROOM));
}

/* ---- hostile peers ---- */

static void test_rubbish_in_the_rings(void **state)
{
    (void)state;
    struct channel_frame f;
    uint8_t frame[100];
    size_t done = 0;
    channel_frame_init(&f);
    make_frame(frame, sizeof frame, 1);
    reply_ring()->head = UINT64_MAX / 2;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pair.host->ops->recv(pair.host, &f), PIT_E_PROTOCOL_ERROR);
    assert_int_equal(pair.host->ops->send(pair.host, frame, sizeof frame, &done), PIT_E_PROTOCOL_ERROR);
    assert_int_equal(done, 0);
    assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_FRAME, UINT64_MAX, 50000), 0);
    channel_frame_finish(&f);
}

static void test_rubbish_in_the_request_ring(void **state)
{
    (void)state;
    uint8_t frame[3 * PAIR_RING];
    size_t done = 0;
    make_frame(frame, sizeof frame, 1);
    assert_int_equal(pair.host->ops->send(pair.host, frame, sizeof frame, &done), CHANNEL_AGAIN);
    request_ring()->tail = 1u << 30;
    assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_ROOM, UINT64_MAX, 0), 0);
    assert_int_equal(pair.host->ops->send(pair.host, frame, sizeof frame, &done), PIT_E_PROTOCOL_ERROR);
}

/* However much a frame claims to be, memory grows with what has come. */
static void test_memory_follows_the_bytes(void **state)
{
    (void)state;
    struct channel_frame f;
    uint8_t *frame = malloc(PAIR_MAX);
    size_t done = 0;
    assert_non_null(frame);
    channel_frame_init(&f);
    make_frame(frame, PAIR_MAX, 1);
    largest_block = 0;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pair.worker->ops->send(pair.worker, frame, PAIR_MAX, &done), CHANNEL_AGAIN);
        assert_int_equal(pair.host->ops->recv(pair.host, &f), CHANNEL_AGAIN);
        assert_true(largest_block <= 2 * done);
    }
    channel_frame_finish(&f);
    free(frame);
}

/* ---- a peer that wakes its waiter for nothing ---- */

static uint64_t clock_ns;
static uint64_t step_ns;
static uint64_t slow_now(void)
{
    return clock_ns += step_ns;
}

static int awake_at_once(const uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    (void)word;
    (void)expected;
    (void)deadline_ns;
    return -EAGAIN;
}

static unsigned waits_until_broken(uint64_t ns_each)
{
    struct os_ops os = os_linux;
    struct pair p;
    struct channel_frame f;
    unsigned n = 0;
    os.now_ns = slow_now;
    os.futex_wait = awake_at_once;
    step_ns = ns_each / 2;
    channel_frame_init(&f);
    assert_int_equal(pair_open(&p, &os, PAIR_RINGS), 0);
    while (p.host->ops->recv(p.host, &f) == CHANNEL_AGAIN && n < 20000) {
        assert_int_equal(p.host->ops->wait(p.host, CHANNEL_FOR_FRAME, UINT64_MAX, 0), 0);
        n++;
    }
    if (n < 20000)
        assert_int_equal(p.host->ops->recv(p.host, &f), PIT_E_PROTOCOL_ERROR);
    pair_close(&p);
    return n;
}

static void test_futile_wakes(void **state)
{
    (void)state;
    assert_in_range(waits_until_broken(1000), 100, 10000); /* a million a second */
    assert_int_equal(waits_until_broken(1000000), 20000);  /* a profiler's timer interrupts no faster than that */
}

/* ---- a peer that moves its position to wake its waiter, and takes it back before the waiter can use it ---- */

static uint64_t *flipped;

static int flip(const uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    (void)word;
    (void)expected;
    (void)deadline_ns;
    *flipped += RING_ALIGN;
    return 0;
}

enum flip_way { WAIT_FRAME, WAIT_ROOM, WAIT_BOTH, ARM_FRAME, ARM_ROOM };

/* One wait, or attempt to arm, that the peer makes vain; then a look, as who waits takes one. 0: nothing was there. */
static int look_in_vain(enum flip_way way, const uint8_t *frame, size_t n, size_t *done, struct channel_frame *f)
{
    static const int what[] = {[WAIT_FRAME] = CHANNEL_FOR_FRAME,
                               [WAIT_ROOM] = CHANNEL_FOR_ROOM,
                               [WAIT_BOTH] = CHANNEL_FOR_FRAME | CHANNEL_FOR_ROOM,
                               [ARM_FRAME] = CHANNEL_FOR_FRAME,
                               [ARM_ROOM] = CHANNEL_FOR_ROOM};
    uint64_t before = *flipped;
    if (way >= ARM_FRAME) {
        *flipped += RING_ALIGN;
        pair.host->ops->arm(pair.host, what[way]);
    } else {
        assert_int_equal(pair.host->ops->wait(pair.host, what[way], UINT64_MAX, 0), 0);
    }
    *flipped = before;
    int sent = n != 0 ? pair.host->ops->send(pair.host, frame, n, done) : 0;
    int received = pair.host->ops->recv(pair.host, f);
    return sent < 0 ? sent : received < 0 ? received : 0;
}

static void test_positions_taken_back(void **state)
{
    (void)state;
    for (int way = WAIT_FRAME; way <= ARM_ROOM; way++) {
        struct os_ops os = os_linux;
        struct channel_frame f;
        uint8_t frame[3 * PAIR_RING];
        size_t done = 0, n = way == WAIT_FRAME || way == ARM_FRAME ? 0 : sizeof frame;
        os.futex_wait = flip;
        channel_frame_init(&f);
        pair_close(&pair);
        assert_int_equal(pair_open(&pair, &os, PAIR_RINGS), 0);
        make_frame(frame, sizeof frame, 1);
        if (n != 0)
            assert_int_equal(pair.host->ops->send(pair.host, frame, n, &done), CHANNEL_AGAIN);
        flipped = n != 0 ? &request_ring()->tail : &reply_ring()->head;
        int rc = 0;
        for (int i = 0; i < 3 && rc == 0; i++)
            rc = look_in_vain((enum flip_way)way, frame, n, &done, &f);
        assert_int_equal(rc, PIT_E_PROTOCOL_ERROR);
        channel_frame_finish(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)
        TEST(test_bell_for_a_frame),
        TEST(test_bell_for_room),
        TEST(test_nudge),
        TEST(test_interrupt_while_waiting_for_room),
        TEST(test_rubbish_in_the_rings),
        TEST(test_rubbish_in_the_request_ring),
        TEST(test_memory_follows_the_bytes),
        cmocka_unit_test(test_futile_wakes),
        TEST(test_positions_taken_back),
    };
    use_test_allocator();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
