/* Everything at once: callers that block, submit, cancel and set short deadlines, on lanes that are written ahead, while workers are
 * killed. Whatever happens: one outcome for each call; none runs twice; one that succeeded ran; the counters add up; nothing is left. */
#include "integration/c/kit.h"

enum { THREADS = 6, CALLS = 2000, WINDOW = 24, CALLS_A_DEATH = 200 };

struct caller {
    pit *p;
    int first; /* id of its first call */
    uint64_t seed;
    atomic_int done; /* on_done has run */
    int outcomes, ok, bad, last_bad;
    bool blocking;
};

static uint32_t next_random(struct caller *c)
{
    c->seed = c->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(c->seed >> 33);
}

static void on_done(pit_future *f, void *user)
{
    (void)f;
    atomic_fetch_add((atomic_int *)user, 1);
}

static void judge(struct caller *c, int id, int rc, int64_t got)
{
    unsigned runs = atomic_load(&stage->runs[id]);
    c->outcomes++;
    c->ok += rc == 0;
    bool fine = rc == 0 || rc == PIT_E_CANCELLED || rc == PIT_E_DEADLINE_EXCEEDED || rc == PIT_E_WORKER_CRASH ||
                rc == PIT_E_WORKER_KILLED || rc == PIT_E_GUARD_LOST;
    if (!fine || (rc == 0 && (got != id || runs != 1))) {
        c->bad++;
        c->last_bad = rc;
    }
}

static void finish(struct caller *c, int id, pit_future *f)
{
    pit_value *v = NULL;
    int64_t got = -1;
    if (pit_future_wait(f, KIT_LIMIT_MS) != 0) {
        c->bad++;
        c->last_bad = PIT_E_PENDING;
    }
    int rc = pit_future_result(f, &v, NULL);
    pit_value_get_int(v, &got);
    pit_value_free(v);
    pit_future_free(f);
    judge(c, id, rc, got);
}

static void *submit_on(void *arg)
{
    struct caller *c = arg;
    pit_future *window[WINDOW] = {0};
    for (int i = 0; i < CALLS + WINDOW; i++) {
        pit_future **slot = &window[i % WINDOW];
        if (*slot != NULL)
            finish(c, c->first + i - WINDOW, *slot);
        *slot = NULL;
        if (i >= CALLS)
            continue;
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        pit_value *v = pit_pack("[i]", c->first + i);
        uint32_t dice = next_random(c);
        if (dice % 16 == 0)
            o.deadline_ns = pit_now_ns() + 50000 + dice % 2000000;
        int rc = pit_submit(c->p, "run", v, &o, slot, NULL);
        pit_value_free(v);
        if (rc != 0) {
            judge(c, c->first + i, rc, -1);
            atomic_fetch_add(&c->done, 1);
            continue;
        }
        pit_future_on_done(*slot, on_done, &c->done);
        if (dice % 8 == 1)
            pit_future_cancel(*slot, NULL);
        else if (dice % 8 == 2 && window[(i + 1) % WINDOW] != NULL)
            pit_future_cancel(window[(i + 1) % WINDOW], NULL);
    }
    return NULL;
}

static void *block_on(void *arg)
{
    struct caller *c = arg;
    for (int i = 0; i < CALLS; i++) {
        int64_t got = -1;
        uint32_t dice = next_random(c);
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        pit_value *v = NULL;
        if (dice % 16 == 0)
            o.deadline_ns = pit_now_ns() + 20000 + dice % 1000000;
        int rc = pit_callf(c->p, "run", &o, &v, NULL, "[i]", c->first + i);
        pit_value_get_int(v, &got);
        pit_value_free(v);
        judge(c, c->first + i, rc, got);
        atomic_fetch_add(&c->done, 1);
    }
    return NULL;
}

struct killer {
    pit *p;
    struct caller *callers;
    atomic_int stop;
};

static int calls_over(struct killer *k)
{
    int n = 0;
    for (int i = 0; i < THREADS; i++)
        n += atomic_load(&k->callers[i].done);
    return n;
}

static void *kill_on(void *arg)
{
    struct killer *k = arg;
    for (int n = 0; atomic_load(&k->stop) == 0; n++) {
        pid_t pid = kit_worker(k->p, (size_t)n % 5);
        if (pid != 0)
            kill(pid, SIGKILL);
        KIT_COMES_TRUE(atomic_load(&k->stop) != 0 || calls_over(k) >= n * CALLS_A_DEATH);
    }
    return NULL;
}

static void storm(const char *channel, int drive)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct caller c[THREADS] = {0};
    pthread_t threads[THREADS], killing;
    int total = 0, ok = 0;
    k.workers = 6;
    k.channel = channel;
    k.drive = drive;
    k.pool.cancel_grace_ms = 20;
    k.pool.queue_timeout_ms = KIT_LIMIT_MS;
    k.pool.restart_backoff = PIT_OFF; /* the killed ones shall not hold the rest up */
    struct killer killer = {.p = kit_open(&k), .callers = c};
    for (int i = 0; i < THREADS; i++)
        c[i] = (struct caller){
            .p = killer.p, .first = i * CALLS, .seed = (uint64_t)i + (uint64_t)getpid(), .blocking = i % 2 != 0};
    assert_int_equal(pthread_create(&killing, NULL, kill_on, &killer), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, c[i].blocking ? block_on : submit_on, &c[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&killer.stop, 1);
    pthread_join(killing, NULL);
    for (int i = 0; i < THREADS; i++) {
        if (c[i].bad != 0)
            fail_msg("%s calls: %d bad outcomes, the last %s", c[i].blocking ? "blocking" : "submitted", c[i].bad,
                     pit_error_code_name(c[i].last_bad));
        assert_int_equal(c[i].outcomes, CALLS);
        total += c[i].outcomes;
        ok += c[i].ok;
    }
    for (int id = 0; id < THREADS * CALLS; id++)
        assert_true(atomic_load(&stage->runs[id]) <= 1);
    pit_stats s = kit_stats(killer.p);
    assert_int_equal(s.requests, s.succeeded + s.errors);
    assert_int_equal(s.succeeded, ok);
    assert_int_equal(s.queued, 0);
    print_message("%s, %s: %d calls, %d succeeded, %d workers replaced\n", channel,
                  drive == PIT_DRIVE_HOST ? "driven" : "threaded", total, ok, (int)s.restarts);
    assert_int_equal(pit_close(killer.p), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(atomic_load(&c[i].done), CALLS);
    kit_clean(before, "storm");
    kit_reset_stage();
}

static void test_storm_ring(void **state)
{
    (void)state;
    storm("ring", PIT_DRIVE_THREAD);
}

static void test_storm_socket(void **state)
{
    (void)state;
    storm("socket", PIT_DRIVE_THREAD);
}

static void test_storm_driven(void **state)
{
    (void)state;
    storm("ring", PIT_DRIVE_HOST);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storm_ring),
        cmocka_unit_test(test_storm_socket),
        cmocka_unit_test(test_storm_driven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
