/* What is special about the socket channel: bytes that come in any portions, bells between frames, ends, rubbish. */
#include "channel_pair.h"

#include <errno.h>

static struct pair pair;
static struct channel_frame got;

static int start(void **state)
{
    (void)state;
    channel_frame_init(&got);
    return pair_open(&pair, &os_linux, PAIR_SOCKET);
}

static int finish(void **state)
{
    (void)state;
    channel_frame_finish(&got);
    pair_close(&pair);
    return 0;
}

static void write_raw(const void *bytes, size_t n)
{
    assert_int_equal(os_linux.send(pair.fds[1], bytes, n), n);
}

static int receive(void)
{
    return pair.host->ops->recv(pair.host, &got);
}

/* Frames and bells cut at every place. */
static void test_any_portions(void **state)
{
    (void)state;
    uint8_t stream[3 + 60 + 1 + 24 + 200] = {0}, *p = stream;
    make_frame(p + 3, 60, 1);
    make_frame(p + 64, 24, 2);
    make_frame(p + 88, 200, 3);
    for (size_t cut = 0; cut <= sizeof stream; cut++) {
        uint64_t next = 1;
        static const size_t sizes[] = {0, 60, 24, 200};
        for (int half = 0; half < 2; half++) {
            size_t from = half == 0 ? 0 : cut, to = half == 0 ? cut : sizeof stream;
            if (to > from)
                write_raw(stream + from, to - from);
            while (next < 4 && receive() == 0) {
                assert_frame(&got, sizes[next], next);
                next++;
            }
        }
        assert_int_equal(next, 4);
    }
    for (size_t i = 0; i < sizeof stream; i++) { /* and one by one */
        write_raw(stream + i, 1);
        assert_int_equal(receive(), i == 62 || i == 87 || i == 287 ? 0 : CHANNEL_AGAIN);
    }
}

static void test_end_after_a_frame(void **state)
{
    (void)state;
    uint8_t frame[50];
    make_frame(frame, sizeof frame, 4);
    write_raw(frame, sizeof frame);
    write_raw("\0\0", 2);
    os_linux.shutdown(pair.fds[1]);
    assert_int_equal(receive(), 0);
    assert_frame(&got, sizeof frame, 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(receive(), PIT_E_WORKER_LOST);
    assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_FRAME, UINT64_MAX, 0), 0);
    assert_false(pair.host->ops->arm(pair.host, CHANNEL_FOR_FRAME));
}

static void test_end_in_a_frame(void **state)
{
    (void)state;
    uint8_t frame[5000];
    make_frame(frame, sizeof frame, 4);
    write_raw(frame, sizeof frame - 1);
    os_linux.shutdown(pair.fds[1]);
    assert_int_equal(receive(), PIT_E_WORKER_LOST);
}

/* The worker answers and goes; the next request cannot be sent, the answer still is received. */
static void test_a_failing_send_spares_the_receiver(void **state)
{
    (void)state;
    uint8_t frame[50];
    size_t done = 0;
    make_frame(frame, sizeof frame, 4);
    write_raw(frame, sizeof frame);
    os_linux.shutdown(pair.fds[1]);
    assert_int_equal(pair.host->ops->send(pair.host, frame, sizeof frame, &done), PIT_E_WORKER_LOST);
    assert_int_equal(pair.host->ops->send(pair.host, frame, sizeof frame, &done), PIT_E_WORKER_LOST);
    assert_int_equal(pair.host->ops->wait(pair.host, CHANNEL_FOR_ROOM, UINT64_MAX, 0), 0);
    assert_int_equal(receive(), 0);
    assert_frame(&got, sizeof frame, 4);
    assert_int_equal(receive(), PIT_E_WORKER_LOST);
}

static void test_rubbish(void **state)
{
    const char *what = *state;
    uint8_t header[FRAME_HEADER];
    make_frame(header, FRAME_HEADER, 1);
    if (strcmp(what, "version") == 0)
        header[0] = 99;
    else if (strcmp(what, "short") == 0)
        header[4] = FRAME_HEADER - 1;
    else
        memset(header, 'x', sizeof header);
    assert_int_equal(pair_open(&pair, &os_linux, PAIR_SOCKET), 0);
    channel_frame_init(&got);
    write_raw(header, sizeof header);
    for (int i = 0; i < 3; i++)
        assert_int_equal(receive(), PIT_E_PROTOCOL_ERROR);
    size_t done = 0;
    assert_int_equal(pair.host->ops->send(pair.host, header, sizeof header, &done), PIT_E_PROTOCOL_ERROR);
    finish(NULL);
}

/* ---- a peer that is always faster ---- */

static size_t bytes_taken;
static ssize_t endless_bells(int fd, void *data, size_t n)
{
    (void)fd;
    memset(data, 0, n);
    bytes_taken += n;
    return (ssize_t)n;
}

static ssize_t endless_frame(int fd, void *data, size_t n)
{
    (void)fd;
    if (bytes_taken == 0)
        make_frame(data, FRAME_HEADER, 1);
    uint32_t size = PAIR_MAX;
    if (bytes_taken == 0)
        memcpy((uint8_t *)data + 4, &size, 4);
    size_t count = bytes_taken == 0 ? FRAME_HEADER : n;
    bytes_taken += count;
    return (ssize_t)count;
}

static void open_endless(struct pair *p, struct os_ops *os, ssize_t (*peer)(int, void *, size_t))
{
    *os = os_linux;
    os->recv = peer;
    bytes_taken = 0;
    largest_block = 0;
    assert_int_equal(pair_open(p, os, PAIR_SOCKET), 0);
}

/* No recv() goes on for ever; and then wait() does not sleep. */
static void test_bounded_work(void **state)
{
    (void)state;
    struct os_ops os;
    struct pair p;
    open_endless(&p, &os, endless_frame);
    for (int round = 1; round <= 3; round++) {
        assert_int_equal(p.host->ops->recv(p.host, &got), CHANNEL_AGAIN);
        assert_in_range(bytes_taken, 1, (size_t)round << 20);
        assert_true(largest_block <= 2 * bytes_taken + 40000);
        assert_false(p.host->ops->arm(p.host, CHANNEL_FOR_FRAME));
        assert_int_equal(p.host->ops->wait(p.host, CHANNEL_FOR_FRAME, UINT64_MAX, 0), 0);
    }
    pair_close(&p);
}

/* Nobody is woken more than 1024 times at once: that is no peer. */
static void test_endless_bells(void **state)
{
    (void)state;
    struct os_ops os;
    struct pair p;
    open_endless(&p, &os, endless_bells);
    for (int i = 0; i < 3; i++)
        assert_int_equal(p.host->ops->recv(p.host, &got), PIT_E_PROTOCOL_ERROR);
    assert_in_range(bytes_taken, 1, 1 << 20);
    pair_close(&p);
}

static ssize_t broken_recv(int fd, void *data, size_t n)
{
    (void)fd;
    (void)data;
    (void)n;
    return -ECONNRESET;
}

static ssize_t broken_send(int fd, const void *data, size_t n)
{
    (void)fd;
    (void)data;
    (void)n;
    return -ENOBUFS;
}

static int broken_poll(int fd, enum os_wait what, uint64_t deadline_ns)
{
    (void)fd;
    (void)what;
    (void)deadline_ns;
    return -ENOMEM;
}

static void test_failing_system_calls(void **state)
{
    (void)state;
    struct os_ops os = os_linux;
    struct pair p;
    uint8_t frame[FRAME_HEADER];
    size_t done = 0;
    os.recv = broken_recv;
    os.send = broken_send;
    os.poll_one = broken_poll;
    make_frame(frame, sizeof frame, 1);
    assert_int_equal(pair_open(&p, &os, PAIR_SOCKET), 0);
    assert_int_equal(p.host->ops->wait(p.host, CHANNEL_FOR_FRAME, UINT64_MAX, 0), 0);
    assert_int_equal(p.host->ops->send(p.host, frame, sizeof frame, &done), PIT_E_WORKER_LOST);
    assert_int_equal(p.host->ops->recv(p.host, &got), PIT_E_WORKER_LOST);
    pair_close(&p);
}

/* ---- spinning ---- */

static unsigned looks, sleeps;
static uint64_t fake_now, comes_at; /* when there will be something to read */

static uint64_t fake_clock(void)
{
    return fake_now += 100;
}

static int fake_poll(int fd, enum os_wait what, uint64_t deadline_ns)
{
    (void)fd;
    (void)what;
    bool sleeping = deadline_ns == UINT64_MAX;
    if (sleeping)
        fake_now = comes_at;
    (*(sleeping ? &sleeps : &looks))++;
    return fake_now >= comes_at;
}

/* One wait for an answer that takes so long: how often it looked. */
static unsigned looks_of_wait(struct channel *c, uint64_t takes_ns, uint64_t spin_ns)
{
    looks = sleeps = 0;
    comes_at = fake_now + takes_ns;
    assert_int_equal(c->ops->wait(c, CHANNEL_FOR_FRAME, UINT64_MAX, spin_ns), 0);
    return looks;
}

static void test_spins_while_that_pays(void **state)
{
    (void)state;
    struct os_ops os = os_linux;
    os.now_ns = fake_clock;
    os.poll_one = fake_poll;
    struct channel *c = channel_socket_create(&os, pair.fds[0], FRAME_MAX_DEFAULT);
    assert_non_null(c);
    for (int i = 0; i < 10; i++) { /* a quick worker: no sleep */
        assert_in_range(looks_of_wait(c, 5000, 50000), 2, 60);
        assert_int_equal(sleeps, 0);
    }
    assert_int_equal(looks_of_wait(c, 5000, 0), 0); /* told not to */
    assert_int_equal(sleeps, 1);
    unsigned tries = 0, waits = 0, gap = 0;
    for (; waits < 4096; waits++) { /* one that never answers in time: tried less and less, and never for long */
        unsigned n = looks_of_wait(c, 10000000, 50000);
        assert_int_equal(sleeps, 1);
        assert_in_range(n, 0, 200);
        gap = n == 0 ? gap + 1 : 0;
        tries += n != 0;
    }
    assert_in_range(tries, 10, 15);
    while (looks_of_wait(c, 5000, 50000) == 0) /* quick again: found out by the next try */
        gap++;
    assert_in_range(gap, 0, 1024);
    assert_in_range(looks_of_wait(c, 5000, 50000), 2, 60);
    assert_int_equal(sleeps, 0);
    looks = sleeps = 0;
    comes_at = fake_now + 1000000;
    assert_int_equal(c->ops->wait(c, CHANNEL_FOR_FRAME | CHANNEL_FOR_ROOM, UINT64_MAX, 50000), 0);
    assert_int_equal(looks, 0); /* room is no answer */
    c->ops->destroy(c);
}

int main(void)
{
    static char version[] = "version", too_short[] = "short", text[] = "text";
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)
        TEST(test_spins_while_that_pays),
        TEST(test_any_portions),
        TEST(test_end_after_a_frame),
        TEST(test_end_in_a_frame),
        TEST(test_a_failing_send_spares_the_receiver),
        cmocka_unit_test_prestate(test_rubbish, version),
        cmocka_unit_test_prestate(test_rubbish, too_short),
        cmocka_unit_test_prestate(test_rubbish, text),
        TEST(test_bounded_work),
        TEST(test_endless_bells),
        TEST(test_failing_system_calls),
    };
    use_test_allocator();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
