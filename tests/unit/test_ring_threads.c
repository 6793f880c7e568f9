/* Two threads and the real futex: a million messages through small rings, with both sides falling asleep at odd moments. A lost
 * wake-up shows as a wait that ends at its deadline. Meant for ThreadSanitizer as well, which cannot see across processes. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "ring_sys.h"

#include <cmocka.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
enum { MESSAGES = 100000 };
#else
enum { MESSAGES = 1000000 };
#endif

enum { RING = 1024, LONGEST = 3000 };
#define LOST_NS UINT64_C(20000000000) /* nobody is that slow: the wake-up was lost */

static struct test_ring ring;
static uint64_t spin_ns;
static unsigned lost;

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Most messages are short, some fill the ring; the same on both sides. */
static size_t size_of(uint32_t *seed)
{
    uint32_t r = next_random(seed);
    return 4 + (r % 64 == 0 ? (r >> 8) % (LONGEST - 4) : (r >> 8) % 60);
}

/* Now and then something else takes the thread's time. */
static void dawdle(uint32_t *seed)
{
    uint32_t r = next_random(seed) % 4096;
    if (r == 0)
        sched_yield();
    if (r < 64)
        for (volatile uint32_t i = 0; i < r * 32; i++)
            continue;
}

static void note(int rc)
{
    if (rc == RING_AGAIN)
        __atomic_add_fetch(&lost, 1, __ATOMIC_RELAXED);
}

static void *produce(void *user)
{
    (void)user;
    static uint8_t frame[LONGEST];
    uint32_t sizes = 1, pace = 77;
    for (uint32_t i = 0; i < MESSAGES && __atomic_load_n(&lost, __ATOMIC_RELAXED) == 0; i++) {
        size_t n = size_of(&sizes), done = 0;
        memset(frame, (int)(i & 0xff), n);
        memcpy(frame, &i, sizeof i);
        int rc;
        while ((rc = ring_write(&ring.writer, frame, n, &done)) == RING_AGAIN &&
               __atomic_load_n(&lost, __ATOMIC_RELAXED) == 0) {
            ring_publish(&ring.writer);
            note(ring_wait_room(&ring.writer, sys_now_ns() + LOST_NS, spin_ns));
        }
        if (rc == RING_BROKEN)
            return &ring;
        if (i % 3 == 0 || i + 1 == MESSAGES)
            ring_publish(&ring.writer); /* several at a time */
        dawdle(&pace);
    }
    ring_publish(&ring.writer);
    return NULL;
}

static uint8_t block[LONGEST];
static uint8_t *room(void *user, size_t total)
{
    (void)user;
    return total <= sizeof block ? block : NULL;
}

static void stress(void **state)
{
    spin_ns = *(const uint64_t *)*state;
    test_ring_init(&ring, RING, &ring_sys);
    lost = 0;
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, produce, NULL), 0);
    uint32_t sizes = 1, pace = 99, wrong = 0;
    for (uint32_t i = 0; i < MESSAGES && __atomic_load_n(&lost, __ATOMIC_RELAXED) == 0; i++) {
        size_t n = 0;
        int rc;
        while ((rc = ring_read(&ring.reader, room, NULL, LONGEST, &n)) == RING_AGAIN &&
               __atomic_load_n(&lost, __ATOMIC_RELAXED) == 0)
            note(ring_wait_data(&ring.reader, sys_now_ns() + LOST_NS, spin_ns));
        if (rc != RING_OK)
            break;
        uint32_t number;
        memcpy(&number, block, sizeof number);
        bool right = n == size_of(&sizes) && number == i;
        for (size_t k = sizeof number; k < n; k++)
            right = right && block[k] == (i & 0xff);
        wrong += !right;
        ring_done(&ring.reader);
        dawdle(&pace);
    }
    void *failed;
    pthread_join(producer, &failed);
    print_message("spin %lu us: %lu sleeps for data, %lu for room\n", (unsigned long)(spin_ns / 1000),
                  (unsigned long)ring.reader.waiter.sleeps, (unsigned long)ring.writer.waiter.sleeps);
    assert_null(failed);
    assert_int_equal(wrong, 0);
    assert_int_equal(lost, 0);
    assert_int_equal(ring.shared->head, ring.shared->tail);
    if (spin_ns == 0)
        assert_true(ring.reader.waiter.sleeps + ring.writer.waiter.sleeps > 100); /* else the test has tried nothing */
    test_ring_finish(&ring);
}

/* ---- a nudge from a third thread ---- */

static uint32_t stopped;   /* atomic */
static uint64_t nudged_at; /* atomic: when this round's nudge was done; 0: it is not */
static unsigned overslept; /* sleeps that ended with their slice though the nudge was done before that */

/* How long a thread waits for its CPU says nothing: only the kernel's order of wake-up and end does. */
static int watched_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    int rc = sys_futex_wait(word, expected, deadline_ns);
    uint64_t nudged = __atomic_load_n(&nudged_at, __ATOMIC_SEQ_CST);
    overslept += rc == -ETIMEDOUT && nudged != 0 && nudged < deadline_ns;
    return rc;
}

static bool stop(void *user)
{
    (void)user;
    return __atomic_load_n(&stopped, __ATOMIC_SEQ_CST) != 0;
}

static void *stopper(void *user)
{
    uint32_t *go = user;
    for (uint32_t round = 1;; round++) {
        uint32_t want;
        while ((want = __atomic_load_n(go, __ATOMIC_ACQUIRE)) != round && want != UINT32_MAX)
            sched_yield();
        if (want == UINT32_MAX)
            return NULL;
        for (volatile uint32_t i = 0; i < round % 512 * 8; i++)
            continue;
        __atomic_store_n(&stopped, 1, __ATOMIC_SEQ_CST);
        ring_nudge(&ring_sys, &ring.shared->data_bell);
        __atomic_store_n(&nudged_at, sys_now_ns(), __ATOMIC_SEQ_CST);
    }
}

static void test_no_nudge_is_lost(void **state)
{
    (void)state;
    const struct ring_sys watched = {.now_ns = sys_now_ns, .futex_wait = watched_wait, .futex_wake = sys_futex_wake};
    test_ring_init(&ring, RING, &watched);
    ring.reader.waiter.stop = stop;
    uint32_t go = 0;
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, stopper, &go), 0);
    for (uint32_t round = 1; round <= MESSAGES / 50 && overslept == 0; round++) {
        __atomic_store_n(&stopped, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&go, round, __ATOMIC_RELEASE);
        while (!stop(NULL))
            ring_wait_data(&ring.reader, UINT64_MAX, 0);
        while (__atomic_exchange_n(&nudged_at, 0, __ATOMIC_SEQ_CST) == 0)
            sched_yield();
    }
    __atomic_store_n(&go, UINT32_MAX, __ATOMIC_RELEASE);
    pthread_join(other, NULL);
    assert_int_equal(overslept, 0);
    test_ring_finish(&ring);
}

int main(void)
{
    static uint64_t never = 0, little = 2000, usual = 50000;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(stress, &never),
        cmocka_unit_test_prestate(stress, &little),
        cmocka_unit_test_prestate(stress, &usual),
        cmocka_unit_test(test_no_nudge_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
