/* For tests of pools whose adapter is in C: a pit on one, and an adapter that counts what is done to it. */
#ifndef TESTS_ADAPTER_KIT_H
#define TESTS_ADAPTER_KIT_H

#include "integration/c/kit.h"

/* What the counting adapter is given as its user: all tests see what it does. */
struct counted {
    atomic_int inits, terminates, starts, stops, runs, arrived, looks;
    uint32_t go;        /* atomic, a futex word: opens the gate */
    atomic_bool refuse; /* init fails */
    atomic_int unready; /* so many starts fail */
    atomic_bool ill;    /* looks fail */
    pit *p;
};

static inline void open_gate(struct counted *s)
{
    __atomic_store_n(&s->go, 1, __ATOMIC_SEQ_CST);
    os_linux.futex_wake(&s->go, INT_MAX);
}

/* Waits at the gate: for ever, or until the call is cancelled. */
static inline bool wait_at_gate(pit_adapter_ctx *c, struct counted *s, bool hears)
{
    atomic_fetch_add(&s->arrived, 1);
    while (__atomic_load_n(&s->go, __ATOMIC_SEQ_CST) == 0) {
        if (hears && pit_adapter_cancelled(c))
            return false;
        os_linux.futex_wait(&s->go, 0, pit_now_ns() + 1000000);
    }
    return true;
}

static inline int64_t number_in(const pit_value *args)
{
    int64_t n = 0;
    pit_value_get_int(pit_value_kind(args) == PIT_KIND_LIST ? pit_value_at(args, 0) : args, &n);
    return n;
}

static inline int count_execute(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret, void *user)
{
    struct counted *s = user;
    int64_t n = number_in(args);
    atomic_fetch_add(&s->runs, 1);
    *ret = pit_int(n);
    if (strcmp(command, "gate") == 0 && !wait_at_gate(c, s, true))
        return PIT_E_CANCELLED;
    if (strcmp(command, "deaf") == 0)
        wait_at_gate(c, s, false);
    if (strcmp(command, "status") == 0)
        return (int)n;
    if (strcmp(command, "fail") == 0)
        return pit_adapter_fail(c, (int)n, "it fails with %d", (int)n);
    if (strcmp(command, "close") == 0) {
        pit_value_free(*ret);
        *ret = pit_pack("[i,i]", pit_close(s->p), pit_shutdown(s->p));
    } else if (strcmp(command, "nested") == 0) {
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        pit_error *e = NULL;
        int64_t inner = 0;
        pit_value_free(*ret);
        *ret = NULL;
        if (pit_callf(s->p, n > 0 ? "nested" : "echo", &o, ret, &e, "[I]", n - 1) != 0)
            return pit_adapter_fail_take(c, e);
        pit_value_get_int(*ret, &inner);
        pit_value_free(*ret);
        *ret = pit_int(inner + 10);
    } else if (strcmp(command, "bad") == 0) {
        pit_value_free(*ret);
        *ret = pit_str("\xff");
    } else if (strcmp(command, "data") == 0) {
        pit_value_free(*ret);
        *ret = pit_int(*(int *)pit_adapter_data(c));
    } else if (strcmp(command, "blob") == 0) {
        char *block = calloc(1, (size_t)n);
        pit_value_free(*ret);
        *ret = pit_bytes(block, (size_t)n);
        free(block);
    }
    return 0;
}

static inline int count_init(pit_adapter_ctx *c, void *user)
{
    struct counted *s = user;
    assert_string_equal(pit_adapter_pool(c), "c");
    assert_null(pit_adapter_worker_id(c));
    assert_false(pit_adapter_cancelled(c));
    atomic_fetch_add(&s->inits, 1);
    return atomic_load(&s->refuse) ? pit_adapter_fail(c, PIT_E_FILE_NOT_FOUND, "there is no model") : 0;
}

static inline void count_terminate(void *user)
{
    atomic_fetch_add(&((struct counted *)user)->terminates, 1);
}

static inline int count_start(pit_adapter_ctx *c, void **ret_data, void *user)
{
    struct counted *s = user;
    if (atomic_load(&s->unready) > 0 && atomic_fetch_sub(&s->unready, 1) > 0)
        return pit_adapter_fail(c, PIT_E_DEVICE_NOT_AVAILABLE, "no such device");
    int *mine = malloc(sizeof *mine);
    *mine = atomic_fetch_add(&s->starts, 1);
    *ret_data = mine;
    return 0;
}

static inline void count_stop(void *data, void *user)
{
    free(data);
    atomic_fetch_add(&((struct counted *)user)->stops, 1);
}

static inline int count_look(pit_adapter_ctx *c, pit_value **ret, void *user)
{
    struct counted *s = user;
    *ret = pit_pack("{s:i,s:i}", "mine", *(int *)pit_adapter_data(c), "looks", atomic_fetch_add(&s->looks, 1) + 1);
    return atomic_load(&s->ill) ? pit_adapter_fail(c, PIT_E_CUDA_ERROR, "the device has fallen off") : 0;
}

static const pit_adapter counting = {.size = sizeof counting,
                                     .execute = count_execute,
                                     .init = count_init,
                                     .terminate = count_terminate,
                                     .start_worker = count_start,
                                     .stop_worker = count_stop,
                                     .collect_telemetry = count_look};

struct adapter_open {
    const pit_adapter *adapter;
    void *user;
    int workers; /* 1 */
    int drive, require_ready;
    int64_t drain_ms, shutdown_ms;
    pit_pool_options pool;
};

#define ADAPTER_OPEN(which, whose)                                                                                             \
    {                                                                                                                          \
        .adapter = (which), .user = (whose), .workers = 1, .pool = PIT_POOL_OPTIONS_INIT                                       \
    }

static inline int adapter_open_os(const struct os_ops *os, const struct adapter_open *a, pit **ret, pit_error **reterr)
{
    pit_pool_options pool = a->pool;
    pool.name = "c";
    pool.c_adapter = a->adapter;
    pool.c_adapter_user = a->user;
    pool.workers = a->workers;
    const pit_pool_options *pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.pools = pools;
    o.n_pools = 1;
    o.drive = a->drive;
    o.require_ready = a->require_ready;
    o.log = getenv("KIT_LOG") != NULL ? kit_log : NULL;
    o.log_level = PIT_LOG_DEBUG;
    o.drain_timeout_ms = a->drain_ms;
    o.shutdown_timeout_ms = a->shutdown_ms;
    return api_open_os(os, &o, ret, reterr);
}

static inline pit *adapter_open(const struct adapter_open *a)
{
    pit *p = NULL;
    pit_error *e = NULL;
    if (adapter_open_os(&os_linux, a, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    if (a->require_ready != PIT_OFF)
        assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    if (a->adapter == &counting)
        ((struct counted *)a->user)->p = p;
    return p;
}

/* What an adapter's thread has left behind a close comes back in its own time. */
static inline void adapter_clean(struct kit_before before, const char *what)
{
    KIT_COMES_TRUE(kit_fds() == before.fds && atomic_load(&kit_blocks) == before.blocks);
    kit_clean(before, what);
}

#endif
