/* The lock of a pool. What happens under it and is worth an event is noted, and told when the lock is released: no handler of a
 * user ever runs under it. */
#ifndef PIT_WORKER_POOLLOCK_H
#define PIT_WORKER_POOLLOCK_H

#include <pthread.h>

#include "base/buf.h"
#include "telemetry/event.h"

struct state_note {
    char worker_id[96];
    uint64_t generation;
    const char *from, *to; /* static */
};

enum { NOTES_INLINE = 2 };

struct poollock {
    pthread_mutex_t mutex;
    struct telemetry *telemetry;
    const char *pool;
    unsigned n;
    struct state_note few[NOTES_INLINE];
    struct buf more; /* of struct state_note; what cannot be noted for lack of memory is lost */
};

int poollock_init(struct poollock *l, struct telemetry *t, const char *pool); /* 0 or PIT_E_SYSTEM_ERROR */
void poollock_finish(struct poollock *l);
void poollock_note(struct poollock *l, const struct state_note *note);
void poollock_tell(struct poollock *l); /* releases and tells; use poollock_release */
/* The only note, for who tells it itself, a moment after the release: valid until then. NULL: there is none, or more than one. */
const struct state_note *poollock_take_note(struct poollock *l);

static inline void poollock_acquire(struct poollock *l)
{
    pthread_mutex_lock(&l->mutex);
}

static inline void poollock_release(struct poollock *l)
{
    if (l->n == 0)
        pthread_mutex_unlock(&l->mutex);
    else
        poollock_tell(l);
}

#endif
