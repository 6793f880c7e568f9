/* A canceller, and what it cancels: calls, futures and batches join it for as long as they run. */
#ifndef PIT_API_CANCELLER_H
#define PIT_API_CANCELLER_H

#include <snakepit/call.h>

#include "base/list.h"
#include "pool/pool.h"

/* What a fire() leaves to be done when its entry is free again: the first thing that the woken thread does is to give the entry back. */
struct canceller_rest {
    pit *pit; /* entered; NULL: nothing is left */
    struct pool_ending ending;
};

struct canceller_entry {
    struct list node;
    pit_canceller *canceller; /* NULL: it has joined none */
    /* Runs on the thread that fires, without a lock; the entry lives until it has returned. */
    void (*fire)(struct canceller_entry *e, const char *reason, struct canceller_rest *rest);
    bool firing, listed; /* the canceller's lock */
};

/* NULL; or an error (owned): it was fired, or could not be made. */
pit_error *canceller_check(pit_canceller *c);
/* c NULL: does nothing. Whoever joins asks canceller_fired once what is to be cancelled can be. */
void canceller_join(pit_canceller *c, struct canceller_entry *e,
                    void (*fire)(struct canceller_entry *e, const char *reason, struct canceller_rest *rest));
bool canceller_fired(const pit_canceller *c, const char **ret_reason); /* c may be NULL; the reason lives as long as c */
/* Waits for a fire() that is under way on another thread. */
void canceller_leave(struct canceller_entry *e);

#endif
