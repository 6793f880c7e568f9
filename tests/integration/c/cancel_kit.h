/* For tests of calls that end before their answer: a pit on cancel.py, and what is told of the ends. */
#ifndef TESTS_CANCEL_KIT_H
#define TESTS_CANCEL_KIT_H

#include "integration/c/kit.h"

enum { LONG_MS = KIT_LIMIT_MS, SHORT_MS = 5, RAISE_MS = 500 };

/* ---- what was told ---- */

struct told {
    char command[32], rung[8], reason[64], worker[64];
    double total_ms, flag_ms, raise_ms, kill_ms;
};

static struct {
    pthread_mutex_t lock;
    unsigned n, rungs[5];
    struct told list[64];
} book = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void copy_text(char *to, size_t n, const char *from)
{
    snprintf(to, n, "%s", from != NULL ? from : "");
}

static inline int on_cancelled(const pit_event *ev, void *user)
{
    (void)user;
    struct told t = {0};
    copy_text(t.command, sizeof t.command, pit_event_text(ev, "command"));
    copy_text(t.rung, sizeof t.rung, pit_event_text(ev, "rung"));
    copy_text(t.reason, sizeof t.reason, pit_event_text(ev, "reason"));
    copy_text(t.worker, sizeof t.worker, pit_event_text(ev, "worker_id"));
    bool all = pit_event_number(ev, "total_ms", &t.total_ms) && pit_event_number(ev, "flag_ms", &t.flag_ms) &&
               pit_event_number(ev, "raise_ms", &t.raise_ms) && pit_event_number(ev, "kill_ms", &t.kill_ms);
    pthread_mutex_lock(&book.lock);
    if (t.rung[0] >= '1' && t.rung[0] <= '4')
        book.rungs[t.rung[0] - '0']++;
    if (book.n < 64 && all)
        book.list[book.n++] = t;
    pthread_mutex_unlock(&book.lock);
    return 0;
}

static inline unsigned told(void)
{
    pthread_mutex_lock(&book.lock);
    unsigned n = book.n;
    pthread_mutex_unlock(&book.lock);
    return n;
}

/* The n-th, once it has been told. */
static inline struct told await_told(unsigned n)
{
    KIT_AWAIT(told() > n);
    pthread_mutex_lock(&book.lock);
    struct told t = book.list[n];
    pthread_mutex_unlock(&book.lock);
    return t;
}

/* The last one, the n-th, is no news. */
static inline void forget_told(unsigned n)
{
    pthread_mutex_lock(&book.lock);
    book.n = n;
    pthread_mutex_unlock(&book.lock);
}

/* ---- the pit ---- */

static char mark_path[64];

static inline void mark_begin(void)
{
    snprintf(mark_path, sizeof mark_path, "/tmp/snakepit-cancel-XXXXXX");
    int fd = mkstemp(mark_path);
    assert_true(fd >= 0);
    close(fd);
}

static inline long marks(void)
{
    struct stat s;
    return stat(mark_path, &s) == 0 ? (long)s.st_size : 0;
}

struct setting {
    const char *adapter;
    int channel, max_rung, drive, workers;
    int threads; /* not 0: of the profile thread */
    int64_t grace_ms, drain_ms;
    bool unheard; /* nobody listens to its events */
    const pit_limits *limits;
};

static inline pit *open_work(struct setting s)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *pools[] = {&pool};
    const char *env[] = {kit_mark, NULL};
    char adapter[512];
    pit *p = NULL;
    pit_error *e = NULL;
    snprintf(adapter, sizeof adapter, TEST_SOURCE_DIR "/tests/integration/c/cancel.py:%s",
             s.adapter != NULL ? s.adapter : "Work");
    pool.name = "work";
    pool.adapter = adapter;
    pool.workers = s.workers != 0 ? s.workers : 1;
    pool.channel = s.channel;
    pool.profile = s.threads != 0 ? "thread" : NULL;
    pool.threads_per_worker = s.threads;
    pool.cancel_grace_ms = s.grace_ms;
    pool.drain_timeout_ms = s.drain_ms;
    pool.cancel_max_rung = s.max_rung;
    pool.limits = s.limits;
    o.pools = pools;
    o.n_pools = 1;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python = TEST_PYTHON;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.env = env;
    o.drive = s.drive;
    o.log = getenv("KIT_LOG") != NULL ? kit_log : NULL;
    if (pit_open(&o, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    if (!s.unheard)
        assert_int_equal(pit_telemetry_attach(p, "snakepit.call.cancelled", on_cancelled, NULL, NULL, NULL), 0);
    book.n = 0;
    memset(book.rungs, 0, sizeof book.rungs);
    mark_begin();
    return p;
}

static inline void close_work(pit *p, struct kit_before before, const char *what)
{
    unlink(mark_path);
    pit_stats s = kit_stats(p);
    assert_int_equal(s.requests, s.succeeded + s.errors);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
}

static inline int64_t ask(pit *p, const char *command)
{
    int64_t n = 0;
    pit_value *v = NULL;
    pit_error *e = NULL;
    if (pit_call(p, command, NULL, NULL, &v, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_true(pit_value_get_int(v, &n));
    pit_value_free(v);
    return n;
}

static inline int64_t worker_pid(pit *p)
{
    return ask(p, "pid");
}

static inline int64_t rung_of(const pit_error *e)
{
    int64_t rung = 0;
    pit_value_get_int(pit_value_get(pit_error_details(e), "rung"), &rung);
    return rung;
}

/* ---- calls that are ended at some moment of their short life ---- */

/* The count of those that have begun. */
static inline volatile uint64_t *map_begun(void)
{
    assert_int_equal(truncate(mark_path, 8), 0);
    int fd = open(mark_path, O_RDONLY | O_CLOEXEC);
    volatile uint64_t *begun = mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    assert_true(begun != MAP_FAILED);
    return begun;
}

static inline void spin_until(uint64_t then)
{
    while (pit_now_ns() < then)
        continue;
}

/* Some are ended on their way to the worker, the others once they have begun there, or have just ended. */
static inline pit_future *submit_victim(pit *p, const char *command, const volatile uint64_t *begun, unsigned *seed)
{
    pit_value *args = pit_pack("[i,s]", 1 + rand_r(seed) % 30000, mark_path);
    pit_future *f = NULL;
    uint64_t before = *begun, late = (uint64_t)rand_r(seed) % 400000;
    bool early = rand_r(seed) % 4 == 0;
    assert_int_equal(pit_submit(p, command, args, NULL, &f, NULL), 0);
    pit_value_free(args);
    while (!early && *begun == before && pit_future_wait(f, PIT_NOW) == PIT_E_PENDING)
        continue;
    spin_until(pit_now_ns() + (early ? late / 4 : late));
    return f;
}

/* How many ladders have ended without a kill. */
static inline unsigned told_up_to_raise(void)
{
    pthread_mutex_lock(&book.lock);
    unsigned n = book.rungs[PIT_RUNG_DROP] + book.rungs[PIT_RUNG_FLAG] + book.rungs[PIT_RUNG_RAISE];
    pthread_mutex_unlock(&book.lock);
    return n;
}

#endif
