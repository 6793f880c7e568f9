/* Tainted slots: while others serve, they get no calls. The rules are fault/taint.h's.
 *
 * Invariants
 *  1. While a worker that is not tainted serves, the lanes of those that are tainted are `aside`: idle, and in no list. What they run, they finish.
 *  2. While only tainted ones serve, the one that was tainted least recently takes calls. */
#ifndef PIT_POOL_TAINT_H
#define PIT_POOL_TAINT_H

#include <snakepit/base.h>

#include "fault/taint.h"
#include "os/loop.h"

struct host;
struct pool;
struct worker;

/* Of a slot; lock. */
struct tainted {
    struct taint taint;
    unsigned tell;              /* what is still to be told: TAINT_TELL_ */
    const char *lifted_because; /* static */
    uint64_t set_for_ns, lifted_after_ns, lifted_generation;
};
enum { TAINT_TELL_ON = 1, TAINT_TELL_OFF = 2 };

struct tainting {
    unsigned slots; /* lock: tainted ones */
    bool resorts;   /* lock: a tainted worker serves since there is no other; told_resort: that was told */
    bool told_resort;
    struct loop_timer timer;
    struct loop_work work;
};

void tainting_init(struct pool *p);
void tainting_stop(struct pool *p);
/* lock: somebody began or ceased to serve. */
void taint_review(struct pool *p);
/* lock; loop: it is ready, and gets its first calls next. */
void taint_ready(struct pool *p, struct worker *w);
/* lock; loop: it has ended by itself. */
void taint_crashed(struct pool *p, const struct worker *w);
/* lock: it has answered with this error. */
void taint_failed(struct pool *p, const struct worker *w, const pit_error *e);
/* Any thread. target: a worker ("pool/slot.generation"), or a slot ("pool/slot"); the rest is pit_taint()'s. NULL or an error (owned). */
pit_error *host_taint(struct host *h, struct pool *pool, const char *target, int64_t duration_ms, const char *reason);

#endif
