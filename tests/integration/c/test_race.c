/* Reply, death, deadline and cancel of one call fall together, in every order and tied: exactly one outcome each, the counters add
 * up, nothing is lost.
 *
 * A round: a call is made to wait at the worker's gate; then the events of one of the 24 orders are fired with a jitter of some
 * microseconds between them (or none: a tie), and the call's outcome is one that an event in it explains. Blocking calls cannot be
 * cancelled: for them the cancel is of another call beside them. */
#include "integration/c/kit.h"

enum event { REPLY, DEATH, DEADLINE, CANCEL, EVENTS };

enum {
    ROUNDS_DEFAULT = 480,
    ROUNDS_A_PIT = 48 /* then a fresh one */
};

static int rounds = ROUNDS_DEFAULT;

struct scene {
    pit *p;
    bool async;
    uint64_t seed, requests;
    atomic_int done;
};

static uint32_t next_random(struct scene *s)
{
    s->seed = s->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(s->seed >> 33);
}

static void spin_us(uint64_t us)
{
    for (uint64_t until = pit_now_ns() + us * 1000; pit_now_ns() < until;)
        continue;
}

/* The n-th permutation. */
static void order_of(int n, enum event order[EVENTS])
{
    enum event left[EVENTS] = {REPLY, DEATH, DEADLINE, CANCEL};
    int factorial = 6;
    for (int i = 0; i < EVENTS; i++) {
        int at = n / factorial;
        n %= factorial;
        factorial /= EVENTS - 1 - i > 0 ? EVENTS - 1 - i : 1;
        order[i] = left[at];
        memmove(left + at, left + at + 1, (size_t)(EVENTS - 1 - at) * sizeof left[0]);
    }
}

static void on_done(pit_future *f, void *user)
{
    (void)f;
    atomic_fetch_add((atomic_int *)user, 1);
}

struct caller {
    pit *p;
    pit_call_options options;
    int rc;
};

static void *call_gate(void *arg)
{
    struct caller *c = arg;
    pit_error *e = NULL;
    pit_value *v = NULL;
    c->rc = pit_callf(c->p, "gate", &c->options, &v, &e, "[i]", 1);
    if ((c->rc == 0) != (v != NULL) || (c->rc != 0) != (e != NULL))
        c->rc = PIT_E_INTERNAL;
    pit_value_free(v);
    pit_error_free(e);
    return NULL;
}

/* The worker that runs the call; 0: it has not begun. */
static pid_t busy_worker(pit *p)
{
    pit_worker_list *l = NULL;
    pid_t pid = 0;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++)
        if (pit_worker_list_at(l, i)->state == PIT_WORKER_BUSY)
            pid = pit_worker_list_at(l, i)->pid;
    pit_worker_list_free(l);
    return pid;
}

static bool explained(int rc)
{
    return rc == 0 || rc == PIT_E_WORKER_CRASH || rc == PIT_E_DEADLINE_EXCEEDED || rc == PIT_E_CANCELLED ||
           rc == PIT_E_WORKER_KILLED;
}

/* Fires the events. The deadline fires by itself at the time at which it stands in the order. */
static void fire(struct scene *s, const enum event order[EVENTS], pid_t worker, uint64_t start_ns, uint64_t step_ns,
                 pit_future *f)
{
    for (int i = 0; i < EVENTS; i++) {
        while (pit_now_ns() < start_ns + (uint64_t)i * step_ns)
            continue;
        if (order[i] == REPLY)
            kit_open_gate();
        else if (order[i] == DEATH && worker != 0)
            kill(worker, SIGKILL);
        else if (order[i] == CANCEL)
            pit_future_cancel(f, "race");
        if (step_ns != 0)
            spin_us(next_random(s) % 20);
    }
}

static int deadline_place(const enum event order[EVENTS])
{
    int i = 0;
    while (order[i] != DEADLINE)
        i++;
    return i;
}

static void play_future(struct scene *s, const pit_call_options *o, const enum event order[EVENTS], uint64_t start,
                        uint64_t step)
{
    pit_future *f = NULL;
    int refused = pit_submit(s->p, "gate", NULL, o, &f, NULL);
    s->requests++;
    if (refused != 0) { /* the deadline had passed already: nothing has begun */
        assert_int_equal(refused, PIT_E_DEADLINE_EXCEEDED);
        return;
    }
    pit_future_on_done(f, on_done, &s->done);
    while (atomic_load(&stage->arrived) == 0 && pit_now_ns() < start)
        continue;
    fire(s, order, busy_worker(s->p), start, step, f);
    int rc = kit_outcome(f, NULL);
    if (!explained(rc))
        fail_msg("the future: %s", pit_error_code_name(rc));
    KIT_AWAIT(atomic_load(&s->done) == 1);
}

static void play_blocking(struct scene *s, const pit_call_options *o, const enum event order[EVENTS], uint64_t start,
                          uint64_t step)
{
    pthread_t thread;
    struct caller caller = {.p = s->p, .options = *o};
    assert_int_equal(pthread_create(&thread, NULL, call_gate, &caller), 0);
    while (atomic_load(&stage->arrived) == 0 && pit_now_ns() < start)
        continue;
    pid_t worker = busy_worker(s->p);
    pit_future *f = kit_submit(s->p, "gate", 2, NULL);
    pit_future_on_done(f, on_done, &s->done);
    fire(s, order, worker, start, step, f);
    kit_open_gate();
    int rc = kit_outcome(f, NULL);
    pthread_join(thread, NULL);
    if (!explained(rc) || !explained(caller.rc))
        fail_msg("the future: %s, the blocking call: %s", pit_error_code_name(rc), pit_error_code_name(caller.rc));
    s->requests += 2;
    KIT_AWAIT(atomic_load(&s->done) == 1);
}

static void play(struct scene *s, int round)
{
    static const uint64_t steps[] = {0, 10000, 40000, 150000};
    enum event order[EVENTS];
    uint64_t step = steps[(round / 24) % 4];
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    order_of(round % 24, order);
    atomic_store(&stage->go, 0);
    atomic_store(&stage->arrived, 0);
    atomic_store(&s->done, 0);
    assert_int_equal(pit_await_ready(s->p, NULL, KIT_LIMIT_MS, NULL), 0);
    uint64_t start = pit_now_ns() + 1000000 + next_random(s) % 300000;
    o.deadline_ns = start + (uint64_t)deadline_place(order) * step;
    (s->async ? play_future : play_blocking)(s, &o, order, start, step);
}

static void race(const char *channel, bool async)
{
    struct kit k = KIT_INIT;
    struct scene s = {.async = async, .seed = (uint64_t)getpid()};
    uint64_t answered = 0, replaced = 0;
    k.workers = 8;
    k.channel = channel;
    k.pool.cancel_grace_ms = 5;
    k.pool.restart_backoff = PIT_OFF; /* nearly every round costs a worker */
    for (int i = 0; i < rounds;) {
        struct kit_before before = kit_before();
        s.p = kit_open(&k);
        s.requests = 0;
        do
            play(&s, i++);
        while (i < rounds && i % ROUNDS_A_PIT != 0);
        pit_stats st = kit_stats(s.p);
        assert_int_equal(st.requests, s.requests); /* what came too late is counted too */
        assert_int_equal(st.requests, st.succeeded + st.errors);
        assert_int_equal(st.queued, 0);
        answered += st.succeeded;
        replaced += st.restarts;
        assert_int_equal(pit_close(s.p), 0);
        kit_clean(before, "race");
    }
    print_message("%s, %s: %d rounds, %d answered, %d workers replaced\n", channel, async ? "futures" : "blocking", rounds,
                  (int)answered, (int)replaced);
    kit_reset_stage();
}

static void test_futures_ring(void **state)
{
    (void)state;
    race("ring", true);
}

static void test_futures_socket(void **state)
{
    (void)state;
    race("socket", true);
}

static void test_blocking_ring(void **state)
{
    (void)state;
    race("ring", false);
}

static void test_blocking_socket(void **state)
{
    (void)state;
    race("socket", false);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    if (argc > 2)
        rounds = atoi(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_futures_ring),
        cmocka_unit_test(test_futures_socket),
        cmocka_unit_test(test_blocking_ring),
        cmocka_unit_test(test_blocking_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
