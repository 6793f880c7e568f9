/* A call that the loop carries for a handle of the API: a future, or a stream. What the two have in common. */
#ifndef PIT_API_CARRIED_H
#define PIT_API_CARRIED_H

#include "api/api.h"
#include "api/begin.h"
#include "api/canceller.h"
#include "pool/pool_internal.h"

/* References: the handle's owner's, and the call's until its end has been told. It outlives its host: once `pit` is NULL nothing here touches the pool. */
struct carried {
    struct call call;
    pit *pit; /* under guard; NULL: the end has been told */
    struct pool *pool;
    const struct os_ops *os;
    uint32_t refs;  /* atomic */
    uint32_t guard; /* a small lock: 0 free, 1 held */
    char *texts;    /* command, session id, correlation id: the call borrows them */
    struct canceller_entry entry;
};

/* As far as the call keeps clean memory clean; the rest of the handle is its owner's. refs is 2. */
void carried_init(struct carried *c, pit *p);
/* Encodes the call and hands it over; done: on the loop, once, at its end. s: NULL, or the stream that it is. NULL, or an error (owned): done does not run. */
pit_error *carried_begin(struct carried *c, const char *command, const pit_value *args, const pit_call_options *o,
                         struct stream *s, bool inbox, void (*done)(struct call *c));
/* In `done`, first and last: events and canceller; from the second on the host may go. */
void carried_end(struct carried *c);
void carried_let_go(struct carried *c);
void carried_lock(struct carried *c);
void carried_unlock(struct carried *c);
/* true: that was the last one, and what the call held is freed. */
bool carried_unref(struct carried *c);

#endif
