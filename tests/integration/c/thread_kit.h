/* For tests of workers of the profile thread: a pit on threads.py. */
#ifndef TESTS_THREAD_KIT_H
#define TESTS_THREAD_KIT_H

#include "integration/c/kit.h"

struct thread_setting {
    const char *adapter; /* a class of threads.py; NULL: Threads */
    int threads, workers;
    int start_mode, channel, require_ready;
    const char *env; /* one more */
    bool calm;       /* workers that die often are replaced at once */
    const pit_limits *limits;
    const pit_heartbeat_options *heartbeat;
    int64_t health_ms, grace_ms, drain_ms;
};

static inline int open_threads_rc(struct thread_setting s, pit **ret, pit_error **reterr)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *pools[] = {&pool};
    const char *env[] = {kit_mark, s.env, NULL};
    char adapter[512];
    snprintf(adapter, sizeof adapter, TEST_SOURCE_DIR "/tests/integration/c/threads.py:%s",
             s.adapter != NULL ? s.adapter : "Threads");
    pool.name = "threads";
    pool.adapter = adapter;
    pool.workers = s.workers != 0 ? s.workers : 1;
    pool.profile = "thread";
    pool.threads_per_worker = s.threads;
    pool.start_mode = s.start_mode;
    pool.channel = s.channel;
    pool.queue_timeout_ms = KIT_LIMIT_MS;
    pool.restart_backoff = s.calm ? PIT_OFF : 0;
    pool.limits = s.limits;
    pool.heartbeat = s.heartbeat;
    pool.cancel_grace_ms = s.grace_ms;
    pool.drain_timeout_ms = s.drain_ms;
    pool.health_check_interval_ms = s.health_ms;
    o.pools = pools;
    o.n_pools = 1;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python = TEST_PYTHON;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.env = env;
    o.require_ready = s.require_ready;
    o.log = getenv("KIT_LOG") != NULL ? kit_log : NULL;
    return pit_open(&o, ret, reterr);
}

static inline pit *open_threads(struct thread_setting s)
{
    pit *p = NULL;
    pit_error *e = NULL;
    if (open_threads_rc(s, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    return p;
}

static inline void close_threads(pit *p, struct kit_before before, const char *what)
{
    pit_stats s = kit_stats(p);
    assert_int_equal(s.requests, s.succeeded + s.errors);
    assert_int_equal(s.busy_lanes, 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
}

static inline pit_future *submit_text(pit *p, const char *command, const char *text)
{
    pit_future *f = NULL;
    pit_value *v = pit_pack("[s]", text);
    assert_int_equal(pit_submit(p, command, v, NULL, &f, NULL), 0);
    pit_value_free(v);
    return f;
}

#endif
