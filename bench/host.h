/* The library under measurement: two hosts. One has a pool for each kind of row; the other is opened with nothing but an adapter, as a first
 * program would do it (call.hot.default). Pools are started when the first series needs them. */
#ifndef BENCH_HOST_H
#define BENCH_HOST_H

#include <snakepit/snakepit.h>

#include "bench.h"

enum {
    POOL_HOT,
    POOL_TOOL,
    POOL_FALLBACK,
    POOL_PAIR,
    POOL_BYTES,
    POOL_CRASH,
    POOL_CANCEL,
    POOL_RETRY,
    POOL_DOSSIER,
    POOL_NO_DOSSIER,
    POOL_COUNT
};

/* The host with the pool, running. NULL: it cannot be had, ret says why. */
pit *host_pool(struct bench *b, int pool, struct result *ret);
/* Ends the pool; host_pool() starts it afresh. */
void host_pool_stop(struct bench *b, int pool);
pit *host_default(struct bench *b, struct result *ret);
const char *host_pool_name(int pool);
/* Puts every worker of the pool (NULL: of the host) where the other side of `place` belongs. */
int host_place(struct bench *b, pit *p, const char *pool, enum place place, struct result *ret);
/* The pids of the workers of all open hosts, at most `most`; how many there are. */
int host_workers(struct bench *b, pid_t *pids, int most);
/* Takes err: its text becomes the reason of the failure, the whole of it goes to stderr. */
int host_fail(struct result *ret, const char *what, int rc, pit_error *err);

/* measure_loop's operation: one inc(x=n), whose answer is checked. */
struct call_target {
    pit *p;
    const pit_call_options *o;
    struct result *ret; /* gets the reason of a failure */
};
int call_inc(void *target, uint32_t n);
bool answer_is(const pit_value *answer, uint32_t n);

#endif
