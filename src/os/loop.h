/* The event loop: epoll, timers, and work from other threads. One loop per host.
 *
 * Invariants
 *  1. Every callback runs in loop_run_once(), on one thread at a time: the loop thread, or with PIT_DRIVE_HOST whoever dispatches.
 *  2. No callback runs under a lock of the loop. A callback may remove its own source or timer, and any other.
 *  3. An idle loop sleeps without a timeout: no timer, no wake-up.
 *  4. Timers, sources: loop thread only. loop_post and loop_wake: any thread; a post costs a system call only when the loop sleeps.
 *  5. An event that the kernel has already delivered for a source that has since been removed is not passed on. */
#ifndef PIT_OS_LOOP_H
#define PIT_OS_LOOP_H

#include "base/list.h"
#include "base/wheel.h"
#include "os/os.h"

struct loop;

/* A watched descriptor, embedded in its owner. */
struct loop_source {
    int fd;
    uint32_t events; /* EPOLLIN, EPOLLOUT; 0: only errors and hang-up */
    void (*fn)(struct loop_source *s, uint32_t events);
    struct list node; /* private */
};

/* A timer, embedded in its owner; zeroed = not armed. Resolution 1 ms, never early. O(1). */
struct loop_timer {
    struct wheel_timer wheel; /* private */
    void (*fn)(struct loop_timer *t);
};

static inline bool loop_timer_armed(const struct loop_timer *t)
{
    return wheel_armed(&t->wheel);
}

/* A piece of work posted by any thread, embedded in its owner; runs once on the loop per post, in the order of posting; posting one
 * that is pending is a no-op. Its owner outlives it; fn may free it. */
struct loop_work {
    struct loop_work *next; /* private */
    int pending;            /* private, atomic */
    void (*fn)(struct loop_work *w);
};

int loop_create(const struct os_ops *os, struct loop **ret); /* 0 or -errno / -ENOMEM */
void loop_destroy(struct loop *l); /* NULL ok; runs nothing; what is still watched or armed is its owners' affair */
int loop_add(struct loop *l, struct loop_source *s); /* 0 or -errno */
int loop_modify(struct loop *l, struct loop_source *s, uint32_t events);
void loop_remove(struct loop *l, struct loop_source *s);
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ns); /* (re)arms */
void loop_timer_stop(struct loop *l, struct loop_timer *t);
void loop_post(struct loop *l, struct loop_work *w);
void loop_wake(struct loop *l);
/* Runs what is due; sleeps before that until something is, at most to deadline_ns (0: does not sleep; UINT64_MAX). Where nothing is due,
 * the hooks run around the sleep, or around the look that takes its place: before_sleep returns false when there is work after all;
 * after_sleep follows every before_sleep, whatever that returned. false: there was nothing to do, before_sleep said so too, and
 * everything is set for a sleep elsewhere (a foreign loop's). Not re-entrant. */
bool loop_run_once(struct loop *l, uint64_t deadline_ns);
/* before_sleep and after_sleep: set before the first turn, or on the loop thread. */
void loop_set_hooks(struct loop *l, bool (*before_sleep)(void *user), void (*after_sleep)(void *user), void *user);
int loop_fd(struct loop *l);            /* the epoll descriptor: readable when there is work other than timers */
uint64_t loop_next_due(struct loop *l); /* of the earliest timer, UINT64_MAX without */
bool loop_is_current(struct loop *l);   /* is this thread inside loop_run_once()? */

#endif
