/* Waiting on a ring under a scripted clock, CPU and futex: when it spins, when it sleeps, what it learns, and that no nudge is missed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "ring_sys.h"

#include <cmocka.h>

enum { RING = 1024, SPIN = 50000 };

/* The script: each look at the clock takes a microsecond; a sleep lasts until `arrives_ns`, or the deadline. */
static struct test_ring ring;
static uint64_t now, arrives_ns;
static int own_cpu, peer_moves_to = -1;
static unsigned looks, sleeps;
static uint64_t longest_sleep;
static int (*on_sleep)(uint64_t deadline_ns);

static void publish_frame(void)
{
    size_t done = 0;
    uint8_t frame[8] = {0};
    ring_write(&ring.writer, frame, sizeof frame, &done);
    ring_publish(&ring.writer);
    arrives_ns = UINT64_MAX;
}

static uint64_t script_now(void)
{
    looks++;
    now += 1000;
    if (peer_moves_to >= 0)
        ring.shared->head_cpu = (uint32_t)peer_moves_to;
    if (now >= arrives_ns)
        publish_frame();
    return now;
}

static int script_sleep(const uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    sleeps++;
    assert_int_equal(*word, RING_FUTEX);
    assert_int_equal(expected, RING_FUTEX);
    assert_true(deadline_ns > now);
    if (deadline_ns - now > longest_sleep)
        longest_sleep = deadline_ns - now;
    if (on_sleep != NULL)
        return on_sleep(deadline_ns);
    if (arrives_ns > deadline_ns) {
        now = deadline_ns;
        return -ETIMEDOUT;
    }
    now = arrives_ns;
    publish_frame();
    return 0;
}

static int script_wake(const uint32_t *word, int n)
{
    (void)word;
    (void)n;
    return 0;
}

/* The producer's own CPU number is written by the test. */
static int script_cpu(void)
{
    return own_cpu;
}

static const struct ring_sys script = {
    .now_ns = script_now, .futex_wait = script_sleep, .futex_wake = script_wake, .cpu = script_cpu};

static int start(void **state)
{
    (void)state;
    test_ring_init(&ring, RING, &script);
    now = 1000000;
    arrives_ns = UINT64_MAX;
    own_cpu = 0;
    peer_moves_to = -1;
    looks = sleeps = 0;
    longest_sleep = 0;
    on_sleep = NULL;
    ring.writer.cpu = 0; /* it believes that it has said so: head_cpu stays what the test writes */
    ring.shared->head_cpu = 1;
    return 0;
}

static int finish(void **state)
{
    (void)state;
    test_ring_finish(&ring);
    return 0;
}

static void drain(void)
{
    const uint8_t *p;
    size_t n;
    while (ring_peek(&ring.reader, &p, &n) == RING_OK)
        ring_done(&ring.reader);
}

/* One wait for a frame that comes after delay_ns. */
static int wait_for(uint64_t delay_ns, uint64_t spin_ns)
{
    drain();
    arrives_ns = now + delay_ns;
    sleeps = 0;
    return ring_wait_data(&ring.reader, UINT64_MAX, spin_ns);
}

static void test_there_is_something(void **state)
{
    (void)state;
    publish_frame();
    assert_int_equal(ring_wait_data(&ring.reader, 0, SPIN), RING_OK);
    assert_int_equal(looks + sleeps, 0);
}

static void test_spins_for_a_peer_elsewhere(void **state)
{
    (void)state;
    assert_int_equal(wait_for(20000, SPIN), RING_OK);
    assert_int_equal(sleeps, 0);
    assert_in_range(ring.reader.waiter.spun_ns, 10000, 30000);
}

static void test_sleeps_for_a_peer_here(void **state)
{
    (void)state;
    ring.shared->head_cpu = 0;
    assert_int_equal(wait_for(20000, SPIN), RING_OK);
    assert_int_equal(sleeps, 1);
    assert_int_equal(ring.reader.waiter.spun_ns, 0);
    ring.shared->head_cpu = RING_NO_CPU;
    assert_int_equal(wait_for(20000, SPIN), RING_OK);
    assert_int_equal(sleeps, 1);
}

static void test_stops_spinning_when_the_peer_comes_here(void **state)
{
    (void)state;
    peer_moves_to = 0;
    assert_int_equal(wait_for(40000, SPIN), RING_OK);
    assert_int_equal(sleeps, 1);
    assert_in_range(ring.reader.waiter.spun_ns, 0, 5000);
    /* the same by the other word */
    peer_moves_to = 1;
    uint32_t fresh = 0;
    ring.reader.waiter.fresh_cpu = &fresh;
    assert_int_equal(wait_for(40000, SPIN), RING_OK);
    assert_int_equal(sleeps, 1);
    fresh = 1;
    assert_int_equal(wait_for(40000, SPIN), RING_OK);
    assert_int_equal(sleeps, 0);
}

static void test_spins_no_longer_than_the_budget(void **state)
{
    (void)state;
    assert_int_equal(wait_for(1000000, SPIN), RING_OK);
    assert_int_equal(sleeps, 1);
    assert_in_range(ring.reader.waiter.spun_ns, SPIN, SPIN + 2000);
    looks = 0;
    ring.reader.waiter.spun_ns = 0;
    assert_int_equal(wait_for(1000000, 0), RING_OK); /* no budget, no spin */
    assert_int_equal(ring.reader.waiter.spun_ns, 0);
}

static void test_learns_that_spinning_is_in_vain(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++)
        wait_for(5000000, SPIN);
    uint64_t spun = ring.reader.waiter.spun_ns;
    for (int i = 0; i < 100; i++)
        wait_for(5000000, SPIN);
    assert_int_equal(ring.reader.waiter.spun_ns, spun);
    /* and that it helps again, soon, whatever came before */
    int rounds = 0;
    do {
        wait_for(30000, SPIN);
        rounds++;
    } while (sleeps != 0 && rounds < 100);
    assert_in_range(rounds, 2, 16);
    /* a single long wait among short ones changes nothing */
    for (int i = 0; i < 16; i++)
        wait_for(10000, SPIN);
    wait_for(UINT64_C(3600000000000), SPIN);
    wait_for(30000, SPIN);
    assert_int_equal(sleeps, 0);
}

static void test_deadline(void **state)
{
    (void)state;
    uint64_t deadline = now + 30000;
    assert_int_equal(ring_wait_data(&ring.reader, deadline, SPIN), RING_AGAIN);
    assert_in_range(now, deadline, deadline + 3000);
    assert_int_equal(ring_wait_data(&ring.reader, 0, SPIN), RING_AGAIN);
    ring.shared->head_cpu = 0;
    deadline = now + 30000;
    assert_int_equal(ring_wait_data(&ring.reader, deadline, SPIN), RING_AGAIN);
    assert_int_equal(ring.shared->data_bell, RING_AWAKE);
    assert_in_range(now, deadline, deadline + 3000);
}

/* No sleep is so long that a nudge hidden by the peer would be missed for ever. */
static void test_sleeps_in_slices(void **state)
{
    (void)state;
    ring.shared->head_cpu = 0;
    assert_int_equal(wait_for(UINT64_C(5500000000), SPIN), RING_OK);
    assert_int_equal(sleeps, 6);
    assert_int_equal(longest_sleep, 1000000000);
}

static bool told_to_stop;
static unsigned stop_calls;
static bool stop(void *user)
{
    assert_ptr_equal(user, &told_to_stop);
    assert_int_equal(ring.shared->data_bell, RING_FUTEX); /* whoever says it from now on, rings */
    stop_calls++;
    return told_to_stop;
}

static void test_stop(void **state)
{
    (void)state;
    ring.reader.waiter.stop = stop;
    ring.reader.waiter.user = &told_to_stop;
    told_to_stop = true;
    stop_calls = 0;
    ring.shared->head_cpu = 0;
    assert_int_equal(ring_wait_data(&ring.reader, UINT64_MAX, SPIN), RING_SPURIOUS);
    assert_int_equal(sleeps, 0);
    assert_int_equal(stop_calls, 1);
    assert_int_equal(ring.shared->data_bell, RING_AWAKE);
    told_to_stop = false;
    assert_int_equal(wait_for(20000, SPIN), RING_OK);
    assert_int_equal(stop_calls, 2);
}

static int return_at_once(uint64_t deadline_ns)
{
    (void)deadline_ns;
    return -EAGAIN;
}

static int publish_without_waking(uint64_t deadline_ns)
{
    (void)deadline_ns;
    publish_frame();
    return -EAGAIN;
}

/* A peer that keeps the bell silent makes the wait return, not loop. */
static void test_spurious(void **state)
{
    (void)state;
    ring.shared->head_cpu = 0;
    on_sleep = return_at_once;
    for (unsigned i = 1; i <= 10; i++) {
        assert_int_equal(ring_wait_data(&ring.reader, UINT64_MAX, SPIN), RING_SPURIOUS);
        assert_int_equal(sleeps, i);
    }
    on_sleep = publish_without_waking;
    assert_int_equal(ring_wait_data(&ring.reader, UINT64_MAX, SPIN), RING_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)
        TEST(test_there_is_something),
        TEST(test_spins_for_a_peer_elsewhere),
        TEST(test_sleeps_for_a_peer_here),
        TEST(test_stops_spinning_when_the_peer_comes_here),
        TEST(test_spins_no_longer_than_the_budget),
        TEST(test_learns_that_spinning_is_in_vain),
        TEST(test_deadline),
        TEST(test_sleeps_in_slices),
        TEST(test_stop),
        TEST(test_spurious),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
