/* Events and Python name a call by the same correlation id, whether it was made by the host or by the worker: for a call that gets a lane at once, for
 * one that waits for it, and for one that goes on to another worker. */
#include "integration/c/kit_python.h"

enum { ID = 64 };

/* What events said of the calls of one command, one after the other. */
struct told {
    pthread_mutex_t lock;
    const char *command;
    char id[ID];
    unsigned starts, ways, stops, others /* with another id, or none */;
};

static int hear(const pit_event *ev, void *user)
{
    struct told *t = user;
    const char *name = pit_event_name(ev), *command = pit_event_text(ev, "command"), *id = pit_event_text(ev, "correlation_id");
    if (command == NULL || strcmp(command, t->command) != 0)
        return 0;
    pthread_mutex_lock(&t->lock);
    bool start = strcmp(name, "snakepit.call.start") == 0;
    if (start)
        snprintf(t->id, sizeof t->id, "%s", id != NULL ? id : "");
    t->starts += start;
    t->ways += strncmp(name, "snakepit.pool.", 14) == 0;
    t->stops += strcmp(name, "snakepit.call.stop") == 0;
    t->others += id == NULL || strcmp(id, t->id) != 0;
    pthread_mutex_unlock(&t->lock);
    return 0;
}

static pit *open_ids(struct told *t, int workers)
{
    char adapter[256];
    snprintf(adapter, sizeof adapter, "%s/tests/integration/c/ids.py", TEST_SOURCE_DIR);
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "ids";
    pool.adapter = adapter;
    pool.workers = workers;
    pit_options host = PIT_OPTIONS_INIT;
    pit *p = kit_open_python(&host, &pool);
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.*", hear, t, NULL, NULL), 0);
    return p;
}

struct rider {
    pit *p;
    const char *command, *argument, *session;
    pit_value *value;
    int rc;
    pthread_t thread;
};

static void *ride(void *arg)
{
    struct rider *r = arg;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.session_id = r->session;
    r->rc = r->argument != NULL ? pit_callf(r->p, r->command, &o, &r->value, NULL, "[s]", r->argument)
                                : pit_call(r->p, r->command, NULL, &o, &r->value, NULL);
    return NULL;
}

static void start(struct rider *r)
{
    assert_int_equal(pthread_create(&r->thread, NULL, ride, r), 0);
}

static unsigned count(struct told *t, const unsigned *what)
{
    pthread_mutex_lock(&t->lock);
    unsigned n = *what;
    pthread_mutex_unlock(&t->lock);
    return n;
}

/* The call has ended well, and Python knew it by the name that all its events have. */
static void ended(struct rider *r, struct told *t, unsigned ways)
{
    KIT_AWAIT(count(t, &t->stops) == 1);
    assert_int_equal(r->rc, 0);
    assert_string_equal(pit_value_str(r->value), t->id);
    assert_memory_equal(t->id, "sp-", 3);
    assert_int_equal(t->starts, 1);
    assert_int_equal(t->ways, ways);
    assert_int_equal(t->others, 0);
    pit_value_free(r->value);
}

static void test_at_once(void **state)
{
    static const char *const sessions[] = {NULL, "a session"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        struct told t = {.lock = PTHREAD_MUTEX_INITIALIZER, .command = "own"};
        struct rider r = {.p = open_ids(&t, 1), .command = "own", .session = sessions[i]};
        ride(&r);
        ended(&r, &t, 1);
        assert_int_equal(pit_close(r.p), 0);
        kit_clean(before, "at once");
    }
}

static void test_after_a_wait(void **state)
{
    static const char *const sessions[] = {NULL, "a session"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        struct told t = {.lock = PTHREAD_MUTEX_INITIALIZER, .command = "own"};
        char gate[64];
        snprintf(gate, sizeof gate, "/tmp/snakepit-ids-%d", (int)getpid());
        pit *p = open_ids(&t, 1);
        struct rider first = {.p = p, .command = "when", .argument = gate};
        struct rider second = {.p = p, .command = "own", .session = sessions[i]};
        start(&first);
        KIT_AWAIT(kit_stats(p).busy == 1);
        start(&second);
        KIT_AWAIT(count(&t, &t.ways) == 1); /* enqueued */
        int fd = open(gate, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
        pthread_join(first.thread, NULL);
        pthread_join(second.thread, NULL);
        unlink(gate);
        pit_value_free(first.value);
        ended(&second, &t, 3);
        assert_int_equal(pit_close(p), 0);
        kit_clean(before, "after a wait");
    }
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

/* Its first worker dies before it has started the call. */
static void test_on_another_worker(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct told t = {.lock = PTHREAD_MUTEX_INITIALIZER, .command = "own"};
    pit *p = open_ids(&t, 2);
    struct rider r = {.p = p, .command = "own"};
    pid_t pids[2];
    for (int i = 0; i < 2; i++) {
        pids[i] = kit_worker(p, (size_t)i);
        assert_int_equal(kill(pids[i], SIGSTOP), 0);
    }
    start(&r);
    KIT_AWAIT(count(&t, &t.ways) == 1); /* dispatched */
    pid_t busy = busy_worker(p);
    assert_true(busy == pids[0] || busy == pids[1]);
    assert_int_equal(kill(busy, SIGKILL), 0);
    assert_int_equal(kill(busy == pids[0] ? pids[1] : pids[0], SIGCONT), 0);
    pthread_join(r.thread, NULL);
    ended(&r, &t, 4);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "on another worker");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_after_a_wait),
        cmocka_unit_test(test_on_another_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
