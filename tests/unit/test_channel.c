/* What all kinds of channels have in common: frames come out as they went in, whole, in order, under back-pressure; waits end. */
#include "channel_pair.h"

#include <pthread.h>

static struct pair pair;

static int start(void **state)
{
    return pair_open(&pair, &os_linux, (enum pair_kind)(*(const int *)*state));
}

static int finish(void **state)
{
    (void)state;
    pair_close(&pair);
    return 0;
}

/* Sends and receives on one thread, both in turn. */
static void pass(struct channel *from, struct channel *to, size_t n, uint64_t id, struct channel_frame *f)
{
    uint8_t *frame = malloc(n);
    assert_non_null(frame);
    make_frame(frame, n, id);
    size_t done = 0;
    int sent = CHANNEL_AGAIN, received = CHANNEL_AGAIN;
    for (int i = 0; received != 0; i++) {
        if (sent != 0)
            sent = from->ops->send(from, frame, n, &done);
        assert_true(sent == 0 || sent == CHANNEL_AGAIN);
        received = to->ops->recv(to, f);
        assert_true(received == 0 || received == CHANNEL_AGAIN);
        assert_true(i < 100000);
    }
    assert_int_equal(sent, 0);
    assert_int_equal(done, n);
    free(frame);
    assert_frame(f, n, id);
}

static void test_every_size(void **state)
{
    (void)state;
    struct channel_frame f;
    channel_frame_init(&f);
    uint64_t id = 0;
    for (size_t n = FRAME_HEADER; n < 3 * PAIR_RING; n += 1 + n / 7, id++) {
        pass(pair.host, pair.worker, n, id, &f);
        pass(pair.worker, pair.host, n, id, &f);
        assert_true((f.data == f.small) == (n <= sizeof f.small));
    }
    pass(pair.host, pair.worker, 2 << 20, id, &f);
    channel_frame_finish(&f);
    assert_null(f.heap);
}

static void test_several_in_order(void **state)
{
    (void)state;
    struct channel_frame f;
    uint8_t frame[200];
    channel_frame_init(&f);
    for (uint64_t round = 0; round < 100; round++) {
        for (uint64_t i = 0; i < 10; i++) {
            size_t done = 0, n = FRAME_HEADER + i * 17;
            make_frame(frame, n, round * 10 + i);
            assert_int_equal(pair.host->ops->send(pair.host, frame, n, &done), 0);
        }
        for (uint64_t i = 0; i < 10; i++) {
            assert_int_equal(pair.worker->ops->wait(pair.worker, CHANNEL_FOR_FRAME, UINT64_MAX, 0), 0);
            assert_int_equal(pair.worker->ops->recv(pair.worker, &f), 0);
            assert_frame(&f, FRAME_HEADER + i * 17, round * 10 + i);
        }
        assert_int_equal(pair.worker->ops->recv(pair.worker, &f), CHANNEL_AGAIN);
    }
    channel_frame_finish(&f);
}

/* What is put is there with the next tell() or send(), all of it, and where there was no room for it at once. */
static void test_put(void **state)
{
    (void)state;
    struct channel *c = pair.host;
    struct channel_frame f;
    uint8_t frame[200];
    uint64_t n = 0, got = 0;
    if (c->ops->put == NULL) {
        assert_null(c->ops->tell);
        return;
    }
    channel_frame_init(&f);
    for (int way = 0; way < 3; way++) {
        size_t done = 0;
        int rc = 0;
        for (uint64_t put = 0; rc == 0 && (put < 5 || way == 2); put++, n += rc == 0) {
            done = 0;
            make_frame(frame, sizeof frame, n);
            rc = c->ops->put(c, frame, sizeof frame, &done);
        }
        assert_int_equal(rc, way == 2 ? CHANNEL_AGAIN : 0);
        if (way < 2)
            assert_int_equal(pair.worker->ops->recv(pair.worker, &f), CHANNEL_AGAIN);
        if (way == 0) {
            c->ops->tell(c);
        } else if (way == 1) {
            done = 0;
            make_frame(frame, sizeof frame, n++);
            assert_int_equal(c->ops->send(c, frame, sizeof frame, &done), 0);
        }
        for (; got < n; got++) {
            assert_int_equal(pair.worker->ops->recv(pair.worker, &f), 0);
            assert_frame(&f, sizeof frame, got);
        }
        assert_int_equal(pair.worker->ops->recv(pair.worker, &f), CHANNEL_AGAIN);
    }
    channel_frame_finish(&f);
}

/* ---- two threads ---- */

enum { BIG = 8 << 20, FRAMES = 200 };

static size_t size_of(uint64_t id)
{
    return id == 7 ? BIG : FRAME_HEADER + (size_t)(id * id * 37 % (3 * PAIR_RING));
}

static int send_all(struct channel *c, const uint8_t *frame, size_t n)
{
    size_t done = 0;
    int rc;
    while ((rc = c->ops->send(c, frame, n, &done)) == CHANNEL_AGAIN)
        if (c->ops->wait(c, CHANNEL_FOR_ROOM, os_linux.now_ns() + UINT64_C(20000000000), 2000) != 0)
            return CHANNEL_AGAIN;
    return rc;
}

static void *send_frames(void *user)
{
    uint8_t *frame = malloc(BIG);
    int rc = frame == NULL;
    for (uint64_t id = 0; id < FRAMES && rc == 0; id++) {
        make_frame(frame, size_of(id), id);
        rc = send_all(user, frame, size_of(id));
    }
    free(frame);
    return rc != 0 ? user : NULL;
}

static void test_back_pressure(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct channel *from = way == 0 ? pair.host : pair.worker, *to = way == 0 ? pair.worker : pair.host;
        struct channel_frame f;
        pthread_t sender;
        void *failed;
        channel_frame_init(&f);
        assert_int_equal(pthread_create(&sender, NULL, send_frames, from), 0);
        for (uint64_t id = 0; id < FRAMES; id++) {
            int rc;
            while ((rc = to->ops->recv(to, &f)) == CHANNEL_AGAIN)
                assert_int_equal(to->ops->wait(to, CHANNEL_FOR_FRAME, os_linux.now_ns() + UINT64_C(20000000000), 2000), 0);
            assert_int_equal(rc, 0);
            assert_frame(&f, size_of(id), id);
        }
        pthread_join(sender, &failed);
        assert_null(failed);
        channel_frame_finish(&f);
    }
}

/* A caller gives up in the middle of a frame; who takes the lane over brings a frame of his own. */
static void test_another_goes_on(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    uint8_t *frame = malloc(N);
    struct channel_frame f[3];
    size_t done = 0;
    int sent = CHANNEL_AGAIN, received = CHANNEL_AGAIN;
    assert_non_null(frame);
    make_frame(frame, N, 3);
    for (int i = 0; i < 3; i++)
        channel_frame_init(&f[i]);
    int i = 0;
    for (; received != 0; i++) {
        if (sent != 0)
            sent = pair.host->ops->send(pair.host, frame, N, &done);
        received = pair.worker->ops->recv(pair.worker, &f[i % 3]);
        assert_true(received == 0 || received == CHANNEL_AGAIN);
    }
    assert_true(i > 3);
    assert_frame(&f[(i - 1) % 3], N, 3);
    for (i = 0; i < 3; i++)
        channel_frame_finish(&f[i]);
    free(frame);
}

static void test_limit(void **state)
{
    (void)state;
    uint8_t frame[600];
    struct channel_frame f;
    size_t done = 0;
    channel_frame_init(&f);
    pair.worker->max_frame = 500;
    make_frame(frame, 500, 1);
    assert_int_equal(pair.host->ops->send(pair.host, frame, 500, &done), 0);
    assert_int_equal(pair.worker->ops->recv(pair.worker, &f), 0);
    make_frame(frame, 501, 1);
    done = 0;
    assert_int_equal(pair.host->ops->send(pair.host, frame, 501, &done), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pair.worker->ops->recv(pair.worker, &f), PIT_E_LIMIT_EXCEEDED);
    assert_int_equal(pair.worker->ops->wait(pair.worker, CHANNEL_FOR_FRAME, UINT64_MAX, 0), 0);
    assert_false(pair.worker->ops->arm(pair.worker, CHANNEL_FOR_FRAME));
    channel_frame_finish(&f);
}

static void test_no_memory_is_not_final(void **state)
{
    (void)state;
    enum { N = 30000 };
    uint8_t frame[N];
    struct channel_frame f;
    size_t done = 0;
    unsigned failures = 0;
    int sent = CHANNEL_AGAIN, received = CHANNEL_AGAIN;
    channel_frame_init(&f);
    make_frame(frame, N, 5);
    for (int i = 0; received != 0 && i < 1000; i++) {
        if (sent != 0)
            sent = pair.host->ops->send(pair.host, frame, N, &done);
        allocations_left = i % 3; /* every third attempt has none at all */
        received = pair.worker->ops->recv(pair.worker, &f);
        allocations_left = -1;
        assert_true(received == 0 || received == CHANNEL_AGAIN || received == PIT_E_ALLOCATION_FAILED);
        failures += received == PIT_E_ALLOCATION_FAILED;
    }
    assert_true(failures > 0);
    assert_frame(&f, N, 5);
    channel_frame_finish(&f);
}

static void test_deadline(void **state)
{
    (void)state;
    uint64_t deadline = os_linux.now_ns() + 5000000;
    assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_FRAME, deadline, 1000), CHANNEL_AGAIN);
    assert_true(os_linux.now_ns() >= deadline);
    assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_FRAME, 0, 1000), CHANNEL_AGAIN);
}

static void *answer(void *user)
{
    uint8_t frame[100];
    size_t done = 0;
    make_frame(frame, sizeof frame, 3);
    struct channel *c = user;
    return c->ops->send(c, frame, sizeof frame, &done) == 0 ? NULL : user;
}

/* Who waits for room with a frame half out is woken by a frame that comes the other way: there will be no room. */
static void test_frame_instead_of_room(void **state)
{
    (void)state;
    struct channel_frame f;
    pthread_t worker;
    void *failed;
    size_t done = 0;
    uint8_t *frame = calloc(1, BIG);
    assert_non_null(frame);
    channel_frame_init(&f);
    make_frame(frame, BIG, 1);
    assert_int_equal(pair.host->ops->send(pair.host, frame, BIG, &done), CHANNEL_AGAIN);
    assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_FRAME | CHANNEL_FOR_ROOM, os_linux.now_ns() + 1000000, 0),
                     CHANNEL_AGAIN);
    assert_int_equal(pthread_create(&worker, NULL, answer, pair.worker), 0);
    uint64_t deadline = os_linux.now_ns() + UINT64_C(20000000000);
    while (pair.host->ops->recv(pair.host, &f) == CHANNEL_AGAIN)
        assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_FRAME | CHANNEL_FOR_ROOM, deadline, 0), 0);
    pthread_join(worker, &failed);
    assert_null(failed);
    assert_frame(&f, 100, 3);
    channel_frame_finish(&f);
    free(frame);
}

/* ---- interrupt, nudge, arm ---- */

static void *interrupt(void *user)
{
    struct channel *c = user;
    c->ops->interrupt(c);
    return NULL;
}

static void test_interrupt(void **state)
{
    (void)state;
    struct channel_frame f;
    pthread_t other;
    channel_frame_init(&f);
    assert_int_equal(pthread_create(&other, NULL, interrupt, pair.host), 0);
    assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_FRAME, UINT64_MAX, 0), 0);
    pthread_join(other, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_FRAME, UINT64_MAX, 50000), 0);
        assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_ROOM, UINT64_MAX, 50000), 0);
    }
    assert_int_not_equal(pair.host->ops->recv(pair.host, &f), 0);
    channel_frame_finish(&f);
}

/* What the worker had said before it went is still heard. */
static void test_last_words(void **state)
{
    (void)state;
    struct channel_frame f;
    uint8_t frame[100];
    size_t done = 0;
    channel_frame_init(&f);
    make_frame(frame, sizeof frame, 8);
    assert_int_equal(pair.worker->ops->send(pair.worker, frame, sizeof frame, &done), 0);
    pair.host->ops->interrupt(pair.host);
    assert_int_equal(pair.host->ops->recv(pair.host, &f), 0);
    assert_frame(&f, sizeof frame, 8);
    assert_int_not_equal(pair.host->ops->recv(pair.host, &f), 0);
    channel_frame_finish(&f);
}

static void test_arm_sees_what_is_there(void **state)
{
    (void)state;
    struct channel_frame f;
    uint8_t frame[2 * FRAME_HEADER];
    size_t done = 0;
    channel_frame_init(&f);
    make_frame(frame, FRAME_HEADER, 1);
    make_frame(frame + FRAME_HEADER, FRAME_HEADER, 2);
    assert_true(pair.host->ops->arm(pair.host, CHANNEL_FOR_FRAME | CHANNEL_FOR_ROOM));
    pair.host->ops->disarm(pair.host);
    pair.worker->ops->send(pair.worker, frame, FRAME_HEADER, &done);
    done = 0;
    pair.worker->ops->send(pair.worker, frame + FRAME_HEADER, FRAME_HEADER, &done);
    assert_int_equal(pair.host->ops->recv(pair.host, &f), 0);
    assert_frame(&f, FRAME_HEADER, 1);
    assert_false(pair.host->ops->arm(pair.host, CHANNEL_FOR_FRAME)); /* the second one waits already */
    assert_int_equal(pair.host->ops->recv(pair.host, &f), 0);
    assert_frame(&f, FRAME_HEADER, 2);
    assert_int_equal(pair.host->ops->recv(pair.host, &f), CHANNEL_AGAIN);
    assert_true(pair.host->ops->arm(pair.host, CHANNEL_FOR_FRAME));
    channel_frame_finish(&f);
}

static void test_names(void **state)
{
    static const char *const names[] = {[PAIR_RINGS] = "ring", [PAIR_SOCKET] = "socket", [PAIR_MEMORY] = "memory"};
    assert_string_equal(pair.host->ops->name, names[*(const int *)*state]);
}

/* Every allocation of opening fails once: typed, and nothing is left behind. */
static void test_opening_without_memory(void **state)
{
    const int kinds[] = {PAIR_RINGS, PAIR_SOCKET, PAIR_MEMORY};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct pair p;
        long k = 0;
        for (int rc = -1; rc != 0; k++) {
            long before = blocks_out;
            allocations_left = k;
            rc = pair_open(&p, &os_linux, (enum pair_kind)kinds[i]);
            allocations_left = -1;
            assert_true(rc == 0 || rc == PIT_E_ALLOCATION_FAILED);
            pair_close(&p);
            assert_int_equal(blocks_out, before);
        }
        assert_true(k > 1);
    }
}

int main(void)
{
    static int rings = PAIR_RINGS, socket = PAIR_SOCKET, memory = PAIR_MEMORY;
#define TEST(name, kind)                                                                                                       \
    {                                                                                                                          \
#name " (" #kind ")", test_##name, start, finish, &kind                                                                \
    }
#define ALL(kind)                                                                                                              \
    TEST(every_size, kind), TEST(several_in_order, kind), TEST(put, kind), TEST(back_pressure, kind),                          \
        TEST(another_goes_on, kind), TEST(limit, kind), TEST(no_memory_is_not_final, kind), TEST(deadline, kind),              \
        TEST(interrupt, kind), TEST(frame_instead_of_room, kind), TEST(last_words, kind), TEST(arm_sees_what_is_there, kind),  \
        TEST(names, kind)
    const struct CMUnitTest tests[] = {ALL(rings), ALL(socket), ALL(memory), cmocka_unit_test(test_opening_without_memory)};
    use_test_allocator();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed != 0 ? failed : blocks_out != 0;
}
