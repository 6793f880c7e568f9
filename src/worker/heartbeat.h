/* The heartbeat of one worker: the words in its segment by which it is asked and answers, and the events that tell of it. The policy is
 * fault/heartbeat.h's, when to look the pool's (pool/watch.c).
 *
 * The host counts up `ping` and rings its futex. In the worker a native thread (python/src/_snakepit_heart.c) copies it to `pong`, whether or
 * not Python runs, and asks Python to count up `ticks`. So a process that is stopped or gone is silent, while one that computes in C for
 * an hour answers without progress.
 *
 * A worker without that thread can answer PING frames between its calls at best: with `kill_busy` a call that runs too long for that is a miss; without, it
 * is not asked.
 *
 * Invariants: only what a worker has said in READY that it answers is asked of it. What it writes is read once, and judged by the policy.
 * Failure: none; what cannot be asked is not watched. A ping that finds no place between the frames of a call is tried again an interval later. */
#ifndef PIT_WORKER_HEARTBEAT_H
#define PIT_WORKER_HEARTBEAT_H

#include "fault/heartbeat.h"

struct worker;
struct pit_value;

/* What READY says that a worker can do. */
enum {
    WORKER_HAS_HEART = 1, /* it answers in the segment, whatever its calls do */
    WORKER_TAKES_SIGNAL = 2,
    WORKER_SURVIVES_CANCEL = 4,
    WORKER_HAS_PONG = 8,     /* it answers PING frames, between its calls */
    WORKER_HAS_HEALTH = 16,  /* its adapter can be asked how it is (health.h) */
    WORKER_TAKES_CANCEL = 32 /* it reads its socket while a call runs: CANCEL frames, where that has no words to look at */
};

enum { BEAT_COMMAND = 257 };

/* What is told of a look at a worker, once the lock is released. */
struct beat_news {
    struct heartbeat_step step;
    bool ended, broken;         /* the worker has; its control socket cannot be used any more */
    char command[BEAT_COMMAND]; /* of the call that it stalls in; empty: its caller has gone */
};

struct worker_beat {
    struct heartbeat state;
    uint64_t pings, pongs, timeouts, failures;
    uint32_t pong; /* the last PONG frame, and when it came; atomic: a caller may read it */
    uint64_t pong_ns;
};

/* How the workers of a pool are watched. */
struct beat_rules {
    struct heartbeat_rules policy;
    uint64_t delay_ns; /* after a worker's start */
    bool enabled, kill_busy;
};

/* The bits of the capabilities that READY names. */
unsigned worker_capabilities(const struct pit_value *ready);
/* lock; loop. Looks at the worker: what there is to tell goes to *ret. HEARTBEAT_KILL in it: the caller sees to that. */
void worker_beat_look(struct worker *w, const struct beat_rules *r, uint64_t now_ns, struct beat_news *ret);
/* lock; loop. The same for a worker that has ended. */
void worker_beat_end(struct worker *w, struct beat_news *ret);
/* A PONG frame. Any thread. */
void worker_beat_pong(struct worker *w, uint64_t number);
/* no lock; loop */
void worker_beat_tell(struct worker *w, const struct beat_rules *r, const struct beat_news *news);

#endif
