/* Between the files of the pool module. Functions marked "lock" want the pool's lock held. */
#ifndef PIT_POOL_POOL_INTERNAL_H
#define PIT_POOL_POOL_INTERNAL_H

#include "base/units.h"
#include "pool/host.h"
#include "pool/pool.h"

#define HAND_OVER_NS MS /* the head of the queue waits at most so long behind callers that come later */

static inline uint64_t pool_now(const struct pool *p)
{
    return p->env->os->now_ns();
}

static inline void pool_lock(struct pool *p)
{
    poollock_acquire(&p->lock);
}

static inline void pool_unlock(struct pool *p)
{
    poollock_release(&p->lock);
}

/* Is there somebody who starts workers? A thread starts by itself. */
static inline bool pool_can_start(const struct pool *p)
{
    return p->env->guard != NULL || pool_has_adapter(p);
}

/* No worker is started any more. */
static inline bool pool_is_ending(const struct pool *p)
{
    return __atomic_load_n(&p->ending, __ATOMIC_ACQUIRE);
}

static inline struct event_common pool_common(const struct pool *p)
{
    return (struct event_common){.pool = p->set.name};
}

/* What is to be told of a call's way, as it was when it was asked for; steps 0: nothing. */
struct call_way {
    unsigned steps; /* CALL_BEGUN ... */
    bool was_queued;
    uint64_t queue_ns, call_id;
    size_t queue_depth;
    char worker_id[WORKER_ID];
    uint64_t generation; /* with CALL_WORKER: of the worker, whose state changed when it got the call */
    const char *from, *to;
    unsigned attempt; /* with CALL_RETRIED */
    uint64_t backoff_ns;
};

/* ---- host.c ---- */
void host_free(struct host *h);
void host_tell_done(struct loop_work *w); /* of h->done_work: tells the ends of calls that wait for that */

/* ---- host_guard.c ---- */
void host_guard_init(struct host *h);
pit_error *host_start_guard(struct host *h); /* blocks; also before the loop runs */

/* ---- host_group.c ---- */
bool host_group_find(struct host *h, char above[]); /* where a control group may be made (PATH_MAX bytes); false: nowhere */
void host_group_make(struct host *h, const char *above);
void host_group_join(struct host *h); /* a new guard: all that it will start is in the group with it */
int host_group_end(struct host *h);   /* SIGKILL to whoever is in it; count */
void host_group_close(struct host *h);

/* ---- host_crashes.c: dossiers on disk ---- */

pit_error *host_crashes_open(struct host *h);
/* Can the dossiers of the pool be kept? On the thread that adds it: the answer is in the errors of its calls. */
void host_try_crashes(struct host *h, const struct pool *p);
void host_crashes_close(struct host *h); /* after the loop's end, before that of the pools */
/* Has a worker's dossier, if it has one, written. Loop; when its callers have their errors. */
void host_keep_dossier(struct pool *p, const struct worker *w);

/* ---- host_registry.c ---- */
/* Ends what dead hosts have left and makes this host's file; h->run_id may change. Blocks; before the loop runs. */
pit_error *host_registry_open(struct host *h, const char *above /* of the control group; "": none */);
void host_registry_close(struct host *h); /* after the loop's end */
void host_make_run_id(struct host *h);

/* ---- pool.c, pool_life.c ---- */
bool pool_move(struct pool *p, int state);               /* lock: the one function that changes the state */
unsigned pool_count_ready(struct pool *p);               /* lock */
pit_error *pool_closing(struct pool *p);                 /* the error of who comes too late */
void pool_end_queued(struct pool *p, struct list *done); /* lock: nobody waits any more */
void life_init(struct pool *p);
void life_start_rest(struct pool *p); /* the slots that were never started */
void life_start_slot(struct slot *s); /* loop: unless it has a worker */

bool life_ended_well(const struct worker *w);
bool life_is_failed_start(const struct pool *p, const struct worker *w);
bool life_start_spare(struct slot *s); /* loop: as s->next; false: no memory */

/* ---- recycle.c ---- */
void pool_recycle(struct pool *p, struct worker *w,
                  enum recycle_reason why); /* lock, any thread: it shall make room for another */
/* lock, loop: the same for one that must not serve again: no new calls from now on, and no spare first. */
void pool_retire(struct pool *p, struct worker *w, enum recycle_reason why);
struct recycle_facts recycle_facts_of(const struct pool *p, const struct worker *w); /* lock */
void recycle_ready(struct pool *p, struct worker *w);
void recycle_dead(struct pool *p, struct worker *w); /* before its slot forgets it */
void recycle_scan_later(struct pool *p);
/* The memory of a worker was looked at: rc 0, or -errno. slot -1: of all of them. */
void recycle_seen(struct pool *p, int slot, uint64_t generation, int rc, uint64_t bytes);
void recycle_init(struct pool *p);
void recycle_init_worker(struct worker *w);

/* ---- replace.c: loop ---- */
void replace_worker(struct pool *p, struct worker *w, bool gives_way); /* starts the successor, once */
bool replace_is_ours(const struct worker *w);                          /* its end was our doing, and not for what it did */
void replace_failed_start(struct pool *p, struct worker *w);
void replace_who_gave_way(struct pool *p); /* callers have their errors: the starts that gave way to them go on */
void replace_init(struct pool *p);

/* ---- scheduler.c ---- */
pit_error *sched_admit(struct pool *p);     /* lock: may a call enter at all? */
pit_error *sched_none_free(struct pool *p); /* of a call that must not wait */
/* lock: may this call? Any error is owned. */
static inline pit_error *sched_admit_call(struct pool *p, struct call *c)
{
    pit_error *e = sched_admit(p);
    return e == NULL && p->poison.bad ? poison_refuse(p, c) : e;
}
struct lane *sched_take(struct pool *p); /* lock: the most recently used idle lane, out of the list; or NULL */
void sched_assign(struct pool *p, struct lane *l, struct call *c, int owner); /* lock: NEW or QUEUED -> SENT */
pit_error *sched_enqueue(struct pool *p, struct call *c);                     /* lock: or pool_saturated */
void sched_unqueue(struct pool *p, struct call *c);                  /* lock: it leaves the queue, for whatever reason */
void sched_forget(struct pool *p, struct call *c);                   /* lock: it waits no more, in the queue or to run again */
void sched_requeue(struct pool *p, struct call *c);                  /* lock: its worker died before it had started */
void sched_spread(struct pool *p);                                   /* lock: waiting calls onto the lanes that are idle */
bool sched_try(struct pool *p, struct call *c);                      /* lock: a lane for a waiting call of this thread */
void sched_release(struct pool *p, struct lane *l);                  /* lock: the lane has no call of its owner any more */
void sched_free_lane(struct pool *p, struct lane *l);                /* lock: a new lane, or one that comes back */
void sched_park(struct pool *p, struct lane *l);                     /* lock: it comes back to a worker that drains */
void sched_finish(struct pool *p, struct call *c, struct outcome o); /* lock: the outcome, and the counters */
void sched_wake(struct pool *p, struct call *c);                     /* lock: the waiting thread looks again */
void sched_note(struct pool *p, struct call *c, unsigned steps);     /* lock: of an observed call: to be told of */
void sched_take_way(struct call *c, struct call_way *ret); /* lock, or the call has its outcome; who takes it tells it */
void sched_condemn(struct pool *p, struct worker *w, int code, const char *text); /* lock: any thread: the loop kills it */
void sched_lost(struct pool *p, struct worker *w);      /* lock: any thread: its channel has ended, the loop sees to it */
void sched_watch(struct worker *w, uint32_t events);    /* lock: of its control socket */
void sched_hold_socket(struct lane *l, bool by_caller); /* lock: who reads the control socket */

/* ---- async.c ---- */
void async_complete(struct pool *p, struct call *c, struct outcome o, struct list *done); /* lock */
void async_dispatch(struct pool *p, struct lane *l, struct call *c);     /* lock: onto a lane of the loop, which has room */
struct lane *async_lane(struct pool *p, struct call *c);                 /* lock: a lane that may take it, or NULL */
void async_expire_at(struct pool *p, struct call *c, uint64_t due_ns);   /* lock */
void async_deliver(struct pool *p, struct list *done);                   /* no lock; loop thread */
void async_attend(struct pool *p, struct lane *l);                       /* lock: the loop shall look at the lane's timers */
void async_lane_gone(struct pool *p, struct lane *l, struct list *done); /* lock: judges its flights after the worker's end */
void async_take_back(struct pool *p,
                     struct lane *l); /* lock: what stands behind the first call and has not started runs elsewhere */
/* lock: a frame in the middle of the call that runs there. Only where async_can_send; what does not go out at once goes with the loop. */
void async_send_inner(struct pool *p, struct lane *l, const uint8_t *frame, size_t n);
bool async_can_send(const struct lane *l);
void async_send_rest(struct pool *p, struct lane *l); /* lock: of what did not go out */
/* lock: the first half of async_attend; true: the caller posts l->attend, without the lock */
bool async_claim(struct lane *l);
void async_push(struct pool *p, struct lane *l, struct call *c); /* lock: sends its frame, as far as there is room */
void async_init(struct pool *p);
void lane_init_hooks(struct lane *l);

/* ---- blocking.c ---- */
void pool_ride(struct pool *p, struct call *c); /* to the outcome of a nested call that has its lane */

/* ---- watch.c ---- */
void watch_init(struct pool *p);
void watch_begin(struct pool *p);                         /* lock; any thread: a call begins, and nobody is watched */
void watch_ready(struct pool *p, const struct worker *w); /* it is ready now */
void watch_ended(struct pool *p, struct worker *w);       /* no lock; loop */

/* ---- spares.c ---- */
void spares_add(struct pool *p, struct worker *w); /* lock: it is ready: it serves, or is kept */
void spares_promote(struct pool *p);               /* lock: one that served is lost */

/* ---- outcomes ---- */
pit_error *expired_error(struct pool *p, struct call *c, bool in_queue);
pit_error *recycled_error(struct pool *p, struct call *c); /* of a call that is with a worker */
#define RECYCLED_REASON "worker_recycled"                  /* of its event */
void report_call(struct pool *p, struct call *c);          /* no lock: call.stop and its like */
void report_start(struct pool *p, struct call *c);

/* ---- report_life.c: loop ---- */
struct report_ready {
    unsigned ready;        /* workers */
    bool first, successor; /* of the pool; of a lost one */
};
void report_ready(struct pool *p, struct worker *w, struct report_ready what);
void report_complete(struct pool *p, unsigned ready); /* every slot's first start has ended */
/* lock: what the first of its lanes that works was running, for the log; "" when it was idle, or when nobody waits for that any more. */
void report_running(const struct pool *p, struct worker *w, char *text, size_t n);
void report_end(struct pool *p, struct worker *w, bool crash, const char *running);
void report_way(struct pool *p, struct call *c, struct call_way *way);     /* no lock; then there is nothing left to tell */
void report_cancelled(struct pool *p, struct call *c, const char *reason); /* no lock: of a call that never ran */
void report_limit(struct pool *p, struct call *c);                         /* no lock: of a call that has passed one */
/* Of a stream's call; no lock. */
void report_stream_opened(struct pool *p, struct call *c);
void report_stream_message(struct pool *p, struct call *c, bool out, size_t bytes);
void report_stream_halted(struct pool *p, struct call *c, const char *reason);
void report_stream_closed(struct pool *p, struct call *c); /* it has its outcome */
const char *pool_correlation(struct pool *p, struct call *c);

#endif
