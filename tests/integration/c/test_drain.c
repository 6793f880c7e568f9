/* Calls that outlive drain_timeout_ms of a worker that is recycled: their callers get worker_recycled, and what runs on climbs the ladder. */
#include "integration/c/cancel_kit.h"

struct caller {
    pit *p;
    const char *command;
    int rc;
    pit_error *e;
};

static void *make_call(void *arg)
{
    struct caller *c = arg;
    c->rc = pit_callf(c->p, c->command, NULL, NULL, &c->e, "[s]", mark_path);
    return NULL;
}

static void ask_future(struct caller *c)
{
    pit_future *f = NULL;
    pit_value *args = pit_pack("[s]", mark_path);
    assert_int_equal(pit_submit(c->p, c->command, args, NULL, &f, &c->e), 0);
    pit_value_free(args);
    KIT_AWAIT(marks() == 1);
    assert_int_equal(pit_worker_recycle(c->p, NULL, "work/0.1", NULL), 0);
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    c->rc = pit_future_result(f, NULL, &c->e);
    pit_future_free(f);
}

static void ask_thread(struct caller *c)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, make_call, c), 0);
    KIT_AWAIT(marks() == 1);
    assert_int_equal(pit_worker_recycle(c->p, NULL, "work/0.1", NULL), 0);
    pthread_join(thread, NULL);
}

static atomic_uint recycled;

static int on_recycled(const pit_event *ev, void *user)
{
    (void)user;
    assert_string_equal(pit_event_text(ev, "reason"), "manual");
    assert_string_equal(pit_event_text(ev, "worker_id"), "work/0.1");
    atomic_fetch_add(&recycled, 1);
    return 0;
}

/* false: the worker had no CPU in time, and the ladder was climbed higher. */
static bool outlives(struct setting s, const char *command, void (*ask_it)(struct caller *c), const char *rung)
{
    bool in_time = true;
    struct kit_before before = kit_before();
    s.drain_ms = SHORT_MS;
    struct caller c = {.p = open_work(s), .command = command};
    atomic_store(&recycled, 0);
    assert_int_equal(pit_telemetry_attach(c.p, "snakepit.worker.recycled", on_recycled, NULL, NULL, NULL), 0);
    ask_it(&c);
    if (c.rc != PIT_E_WORKER_RECYCLED)
        fail_msg("%s: %s", command, c.rc == 0 ? "it ended" : pit_error_string(c.e));
    assert_true(pit_error_retriable(c.e));
    assert_string_equal(pit_error_worker(c.e), "work/0.1");
    if (rung != NULL) /* else the error may be that of the worker's end */
        assert_string_equal(pit_value_str(pit_value_get(pit_error_details(c.e), "command")), command);
    pit_error_free(c.e);
    while (s.drive == PIT_DRIVE_HOST && atomic_load(&recycled) == 0)
        assert_int_equal(kit_call(c.p, "inc", 1, 0, NULL), 0); /* which drives */
    if (rung != NULL) {
        struct told t = await_told(0);
        in_time = t.rung[0] <= rung[0];
        assert_true(t.rung[0] >= rung[0]);
        assert_string_equal(t.reason, "worker_recycled");
        assert_string_equal(t.command, command);
        assert_string_equal(t.worker, "work/0.1");
    }
    KIT_AWAIT(atomic_load(&recycled) == 1);
    assert_true(worker_pid(c.p) > 0);
    pit_stats now = kit_stats(c.p);
    assert_int_equal(now.recycled_manual, 1);
    assert_int_equal(now.recycled, 1);
    assert_int_equal(now.crashes, 0);
    close_work(c.p, before, command);
    return in_time;
}

static void outlive(struct setting s, const char *command, void (*ask_it)(struct caller *c), const char *rung)
{
    for (int tries = 0; !outlives(s, command, ask_it, rung); tries++)
        if (tries == 9)
            fail_msg("%s: never ended on rung %s", command, rung != NULL ? rung : "none");
}

static const struct {
    const char *command, *rung;
    int64_t grace_ms;
} ends[] = {{"polite", "2", KIT_LIMIT_MS}, {"spin", "3", SHORT_MS}, {"doze", "3", SHORT_MS}, {"native", "4", SHORT_MS}};

static void test_who_rides_his_lane(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        outlive((struct setting){.grace_ms = ends[i].grace_ms}, ends[i].command, ask_thread, ends[i].rung);
}

static void test_what_the_loop_carries(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        outlive((struct setting){.grace_ms = ends[i].grace_ms}, ends[i].command, ask_future, ends[i].rung);
}

static void test_a_host_that_drives(void **state)
{
    (void)state;
    outlive((struct setting){.grace_ms = SHORT_MS, .drive = PIT_DRIVE_HOST}, "doze", ask_thread, "3");
}

/* A caller who waits on a socket has no other end to wait for than his worker's. */
static void test_on_a_socket(void **state)
{
    (void)state;
    outlive((struct setting){.grace_ms = SHORT_MS, .channel = PIT_CHANNEL_SOCKET}, "doze", ask_future, "3");
    outlive((struct setting){.grace_ms = SHORT_MS, .channel = PIT_CHANNEL_SOCKET}, "doze", ask_thread, NULL);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_rides_his_lane),
        cmocka_unit_test(test_what_the_loop_carries),
        cmocka_unit_test(test_a_host_that_drives),
        cmocka_unit_test(test_on_a_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
