/* Pools in which calls kill, and what is told of that: for test_poison.c and test_poison_contents.c. Workers in C. */
#ifndef TEST_POISON_H
#define TEST_POISON_H

#include "integration/c/kit.h"

#define FATAL(id, runs, sig) ((int64_t)(id) << 16 | (runs) << 8 | (sig))

static struct {
    atomic_uint n;
    char command[16], digest[80];
} told;

static inline int on_poisoned(const pit_event *ev, void *user)
{
    (void)user;
    snprintf(told.command, sizeof told.command, "%s", pit_event_text(ev, "command"));
    snprintf(told.digest, sizeof told.digest, "%s", pit_event_text(ev, "digest"));
    atomic_fetch_add(&told.n, 1);
    return 0;
}

static const int64_t ages[] = {600000}, at_once[] = {PIT_NOW};

struct shelter {
    struct kit kit;
    pit_poison_options poison;
    pit_crash_barrier_options barrier;
};

static inline struct shelter shelter(void)
{
    struct shelter s = {.kit = KIT_INIT, .poison = PIT_POISON_OPTIONS_INIT, .barrier = PIT_CRASH_BARRIER_OPTIONS_INIT};
    s.kit.workers = 2;
    s.kit.pool.restart_backoff = PIT_OFF;
    s.barrier.backoff_ms = at_once;
    s.barrier.n_backoff_ms = 1;
    return s;
}

static inline pit *open_it(struct shelter *s)
{
    s->kit.pool.poison = &s->poison;
    s->kit.pool.crash_barrier = &s->barrier;
    atomic_store(&told.n, 0);
    pit *p = kit_open(&s->kit);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.call.poisoned", on_poisoned, NULL, NULL, NULL), 0);
    return p;
}

static inline void settle(pit *p, struct kit_before before, const char *what)
{
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

static inline unsigned runs(unsigned id)
{
    return atomic_load(&stage->runs[id]);
}

static inline int call(pit *p, int64_t n)
{
    return kit_call(p, "fatal", n, KIT_LIMIT_MS, NULL);
}

#endif
