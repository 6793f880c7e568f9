/* What a worker says of its own health: an adapter that has a method health() is asked now and then, by a frame on the control socket, between its calls.
 *
 * Invariants
 *  1. Only a worker that has said in READY that its adapter has the method is asked, and never while a frame is on its way to it.
 *  2. The time for the answer runs only while no call runs in it: a health check never waits behind calls, nor do calls count as illness.
 *  3. One check is out at a time. An answer to another one is dropped unread.
 *
 * Failure: an answer that says so, none in time, or one that cannot be read, is a failed check. What breaks the protocol ends the worker.
 * Thread: the loop, under the pool's lock; an answer may come on a caller's thread. */
#ifndef PIT_WORKER_HEALTH_H
#define PIT_WORKER_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct worker;
struct pit_value;
struct frame;

enum { HEALTH_REASON = 160 };

struct health_rules {
    uint64_t interval_ns; /* UINT64_MAX: never asked */
    uint64_t timeout_ns;
};

struct worker_health {
    uint32_t asked;             /* the number of the last check */
    bool waiting;               /* for its answer */
    bool answered, ok;          /* it has come, and says */
    unsigned failures;          /* in a row */
    uint64_t next_ns;           /* when the next one is due; 0: not decided */
    uint64_t idle_ns;           /* while waiting: since when no call has run */
    uint64_t calls;             /* that had ended then */
    struct pit_value *report;   /* what health() returned last; owned; NULL: nothing */
    char reason[HEALTH_REASON]; /* of the answer, why it has failed; checked and clean */
};

enum { HEALTH_PASSED = 1, HEALTH_FAILED = 2, HEALTH_BROKEN = 4 /* the control socket cannot be used any more */ };

struct health_news {
    unsigned what; /* HEALTH_* */
    unsigned failures;
    uint64_t due_ns; /* when to look next; UINT64_MAX: never */
    char reason[HEALTH_REASON];
};

/* lock; loop. */
void worker_health_look(struct worker *w, const struct health_rules *r, uint64_t now_ns, struct health_news *ret);
/* no lock; loop: the event and the log line of a failure */
void worker_health_tell(struct worker *w, const struct health_news *news);
/* A HEALTH_REPLY. 0 or the PIT_E_* for which the worker is ended. No lock; any thread that holds the lane, or the loop. */
int worker_health_reply(struct worker *w, const struct frame *f);

#endif
