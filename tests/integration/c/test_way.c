/* The way of a call in events: each step is told when it is taken, in order, whoever carries the call. */
#include "integration/c/kit.h"

enum { WAYS = 2, STEPS = 16 };

/* The steps of the calls "0" and "1", a letter each. */
struct told {
    pthread_mutex_t lock;
    char way[WAYS][STEPS];
};

static char letter_of(const char *name)
{
    static const struct {
        const char *name;
        char letter;
    } steps[] = {
        {"snakepit.call.start", 's'},         {"snakepit.pool.queue.enqueued", 'e'},  {"snakepit.pool.queue.dequeued", 'd'},
        {"snakepit.pool.queue.timeout", 't'}, {"snakepit.pool.call.dispatched", 'p'}, {"snakepit.call.stop", 'x'},
        {"snakepit.call.exception", 'f'},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (strcmp(name, steps[i].name) == 0)
            return steps[i].letter;
    return '\0';
}

static int hear(const pit_event *ev, void *user)
{
    struct told *t = user;
    const char *id = pit_event_text(ev, "correlation_id");
    char letter = letter_of(pit_event_name(ev));
    if (letter == '\0' || id == NULL || (strcmp(id, "0") != 0 && strcmp(id, "1") != 0))
        return 0;
    pthread_mutex_lock(&t->lock);
    char *way = t->way[*id - '0'];
    size_t n = strlen(way);
    if (n + 1 < STEPS)
        way[n] = letter;
    pthread_mutex_unlock(&t->lock);
    return 0;
}

static bool way_is(struct told *t, int call, const char *expected)
{
    pthread_mutex_lock(&t->lock);
    bool same = strcmp(t->way[call], expected) == 0;
    pthread_mutex_unlock(&t->lock);
    return same;
}

struct rider {
    pit *p;
    const char *command, *id;
    int rc;
    pthread_t thread;
    pit_future *future;
};

static void *ride(void *arg)
{
    struct rider *r = arg;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.correlation_id = r->id;
    r->rc = pit_callf(r->p, r->command, &o, NULL, NULL, "[i]", 1);
    return NULL;
}

static void start(struct rider *r, pit *p, const char *command, const char *id, bool async)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.correlation_id = id;
    *r = (struct rider){.p = p, .command = command, .id = id};
    if (async)
        r->future = kit_submit(p, command, 1, &o);
    else
        assert_int_equal(pthread_create(&r->thread, NULL, ride, r), 0);
}

static int end(struct rider *r)
{
    if (r->future != NULL)
        return kit_outcome(r->future, NULL);
    pthread_join(r->thread, NULL);
    return r->rc;
}

static pit *open_heard(const struct kit *k, struct told *t)
{
    pit *p = kit_open(k);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.*", hear, t, NULL, NULL), 0);
    return p;
}

static void dispatch(pit *p, const struct kit *k)
{
    if (k->drive == PIT_DRIVE_HOST)
        assert_int_equal(pit_dispatch(p), 0);
}

static void settle(pit *p, struct kit_before before, const char *what)
{
    kit_open_gate();
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

/* One worker, two calls: the first is told to run while it runs, the second to wait while it waits. */
static void told_as_it_goes(int drive, bool async)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct told t = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct rider first, second;
    k.drive = drive;
    pit *p = open_heard(&k, &t);
    start(&first, p, "gate", "0", async);
    KIT_AWAIT((dispatch(p, &k), atomic_load(&stage->arrived) == 1 && way_is(&t, 0, "sp")));
    start(&second, p, "run", "1", async);
    KIT_AWAIT((dispatch(p, &k), way_is(&t, 1, "se")));
    assert_true(way_is(&t, 0, "sp"));
    kit_open_gate();
    assert_int_equal(end(&first), 0);
    assert_int_equal(end(&second), 0);
    KIT_AWAIT((dispatch(p, &k), way_is(&t, 0, "spx") && way_is(&t, 1, "sedpx")));
    settle(p, before, "told as it goes");
}

static void test_told_as_it_goes(void **state)
{
    (void)state;
    told_as_it_goes(PIT_DRIVE_THREAD, false);
    told_as_it_goes(PIT_DRIVE_THREAD, true);
    told_as_it_goes(PIT_DRIVE_HOST, true);
}

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

/* A call whose worker dies before it has started goes its way twice. */
static void told_twice(bool async)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct told t = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct rider r;
    pid_t pids[2];
    k.workers = 2;
    k.pool.graceful_shutdown_timeout_ms = 100; /* the successor does not listen */
    pit *p = open_heard(&k, &t);
    for (int i = 0; i < 2; i++) {
        pids[i] = kit_worker(p, (size_t)i);
        assert_int_equal(kill(pids[i], SIGSTOP), 0);
    }
    start(&r, p, "run", "0", async);
    KIT_AWAIT(way_is(&t, 0, "sp"));
    pid_t busy = busy_worker(p);
    atomic_store(&stage->mute, 1);
    assert_int_equal(kill(busy, SIGKILL), 0);
    assert_int_equal(kill(busy == pids[0] ? pids[1] : pids[0], SIGCONT), 0);
    assert_int_equal(end(&r), 0);
    KIT_AWAIT(way_is(&t, 0, "spedpx"));
    settle(p, before, "told twice");
}

static void test_told_twice(void **state)
{
    (void)state;
    told_twice(false);
    told_twice(true);
}

/* What expires in the queue never left it. */
static void told_of_what_expires(bool async)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct told t = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct rider first, second;
    k.pool.queue_timeout_ms = 50;
    pit *p = open_heard(&k, &t);
    start(&first, p, "gate", "0", async);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    start(&second, p, "run", "1", async);
    assert_int_equal(end(&second), PIT_E_QUEUE_TIMEOUT);
    KIT_AWAIT(way_is(&t, 1, "setf"));
    kit_open_gate();
    assert_int_equal(end(&first), 0);
    KIT_AWAIT(way_is(&t, 0, "spx"));
    settle(p, before, "told of what expires");
}

static void test_told_of_what_expires(void **state)
{
    (void)state;
    told_of_what_expires(false);
    told_of_what_expires(true);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_as_it_goes),
        cmocka_unit_test(test_told_twice),
        cmocka_unit_test(test_told_of_what_expires),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
