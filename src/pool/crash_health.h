/* Is a pool healthy? The crashes of its workers, counted within a window; the rules are fault/crashes.h's.
 *
 * A warning (health.alert) is told once for each pattern, and again when there was none in between. */
#ifndef PIT_POOL_CRASH_HEALTH_H
#define PIT_POOL_CRASH_HEALTH_H

#include <snakepit/pool.h>

#include "fault/crashes.h"
#include "os/loop.h"

struct pool;
struct worker;

struct crash_health {
    struct crashes crashes; /* lock */
    const char *told;       /* loop: the pattern that was told last; NULL: none since all was well */
    struct loop_timer timer;
};

void crash_health_init(struct pool *p);
/* lock; loop: a worker has ended by itself. */
void crash_health_add(struct pool *p, const struct worker *w);
/* Loop, no lock: warns where there is something to warn of, and looks again later while there is. */
void crash_health_look(struct pool *p);
void pool_get_health(struct pool *p, pit_health *add);

#endif
