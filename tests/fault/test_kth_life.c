/* The whole life of a pit, opened, used and closed, with its k-th allocation, and its k-th system call, failing, for every k that it
 * reaches: a typed error, or success where the failure harms nobody, and nothing is left. */
#include "fault/kth.h"

struct life {
    const char *name;
    int (*open)(const struct os_ops *os, pit **ret, pit_error **reterr);
    int (*use)(pit *p);
};

static int open_c(const struct os_ops *os, pit **ret, pit_error **reterr)
{
    struct kit k = KIT_INIT;
    return kit_open_os(os, &k, ret, reterr);
}

static int open_driven(const struct os_ops *os, pit **ret, pit_error **reterr)
{
    struct kit k = KIT_INIT;
    k.drive = PIT_DRIVE_HOST;
    return kit_open_os(os, &k, ret, reterr);
}

static int open_python(const struct os_ops *os, pit **ret, pit_error **reterr)
{
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python_package_path = TEST_SOURCE_DIR "/python";
    o.adapter = TEST_SOURCE_DIR "/examples/hello/hello.py";
    o.workers = 1;
    return api_open_os(os, &o, ret, reterr);
}

static int open_adapter(const struct os_ops *os, pit **ret, pit_error **reterr)
{
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;
    pool.name = "c";
    pool.c_adapter = pit_adapter_mock();
    pool.workers = 2;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.pools = pools;
    o.n_pools = 1;
    return api_open_os(os, &o, ret, reterr);
}

static void look_at_recycling(struct host *h, void *arg)
{
    struct slot *s = &h->first->slots[0];
    *(bool *)arg = h->recycling == 0 && (s->current == NULL || s->current->recycle.why == RECYCLE_NONE);
}

static bool is_recycled(pit *p)
{
    bool over = false;
    host_run(p->host, look_at_recycling, &over);
    return over;
}

/* Its worker makes room for another, or stays because that one fails; there is one in the end. */
static int use_recycled(pit *p)
{
    pit_error *e = NULL;
    int rc = checked(pit_worker_recycle(p, NULL, "c/0.1", &e), &e);
    if (rc != 0 && rc != PIT_E_WORKER_NOT_FOUND) /* a failure may have cost the first one its life before */
        return rc;
    KIT_AWAIT(is_recycled(p));
    return op_call(p);
}

static int use_python(pit *p)
{
    pit_error *e = NULL;
    return checked(pit_callf(p, "greet", NULL, NULL, &e, "{s:s}", "name", "World"), &e);
}

static void live(const struct life *l, enum kind kind)
{
    faulty_init();
    faulty_arm(0);
    struct kit_before before = kit_before();
    long at = 0, failed = 0;
    for (bool hit = true; hit;) {
        pit *p = NULL;
        pit_error *e = NULL;
        arm(kind, ++at);
        int rc = l->open(kind == SYSTEM_CALL ? &faulty_os : &os_linux, &p, &e);
        assert_int_equal(rc == 0, p != NULL);
        checked(rc, &e);
        if (rc == 0)
            rc = l->use(p);
        int closed = pit_close(p);
        hit = disarm(kind, at);
        const char *what = describe(l->name, kind, at);
        if ((rc != 0 && (!hit || !kit_typed(rc))) || (closed != 0 && !hit))
            fail_msg("%s: %s, closing: %s", what, pit_error_code_name(rc), pit_error_code_name(closed));
        failed += rc != 0;
        kit_clean(before, what);
    }
    print_message("%s: %ld failing %s, %ld of them felt\n", l->name, at - 1,
                  kind == SYSTEM_CALL ? "system calls" : "allocations", failed);
}

static const struct life lives[] = {
    {"open, call, close", open_c, op_call},
    {"open, call, close, driven by the host", open_driven, op_call},
    {"open, recycle, call, close", open_c, use_recycled},
    {"open, call, close with Python", open_python, use_python},
    {"open, call, close with an adapter in C", open_adapter, op_call},
    {"open, recycle, call, close with an adapter in C", open_adapter, use_recycled},
};

static void test_allocations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++)
        live(&lives[i], ALLOCATION);
}

static void test_system_calls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++)
        live(&lives[i], SYSTEM_CALL);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_system_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
