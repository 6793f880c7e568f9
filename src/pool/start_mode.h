/* How the workers of a pool are started: forked by a template, or by exec. Loop thread.
 *
 * The template of a pool is made while its first worker starts by exec, so that the first answer does not wait for it; a pool of three or more lets the
 * others wait for it, a smaller one makes it when it has lived for a second. Where there is none at the moment, a start is an exec, unless
 * start_mode says that it must not be. */
#ifndef PIT_POOL_START_MODE_H
#define PIT_POOL_START_MODE_H

#include "pool/pool.h"
#include "worker/zygote.h"

void start_mode_init(struct pool *p);
void start_mode_open(struct pool *p);  /* its program is known, nothing has been started */
void start_mode_close(struct pool *p); /* it has no workers any more */
/* How many of the slots that were never started may be started now; 0: start_mode calls life_start_rest() when that changes. */
int start_mode_batch(struct pool *p);
int64_t start_mode_batch_delay_ms(const struct pool *p);
/* false: no worker may be started at the moment; start_mode starts what is missing when that changes. */
bool start_mode_may_start(const struct pool *p);
void start_mode_choose(struct pool *p, struct worker *w);
void start_mode_first(struct pool *p, bool ready); /* the outcome of a start of a new pool */
/* What pit_pool_zygote() tells. */
pit_value *start_mode_describe(const struct pool *p);

/* The templates of a host. */
void zygotes_guard_lost(struct host *h);
void zygotes_guard_back(struct host *h);
void zygotes_end(struct host *h);  /* before the guard is destroyed */
void zygotes_free(struct host *h); /* after that */

#endif
