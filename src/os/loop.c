/* See loop.h.
 *
 * Waking. `sleep` is AWAKE while a turn runs, ASLEEP while the loop waits (or nobody runs it: a host-driven one between two turns),
 * SIGNALLED once somebody has asked for a turn. A poster puts its work on the stack and then rings the eventfd if it moves ASLEEP to
 * SIGNALLED; the loop says ASLEEP and then looks at the stack. Both are sequentially consistent, so one of the two sees the other, and
 * of many posters one pays for the write. loop_wake has nothing on the stack, so it leaves SIGNALLED behind in a running turn too:
 * that turn, or the end of it, sees it and does not sleep.
 *
 * Posted work is a stack that posters push without a lock and the loop takes whole, then turns over.
 *
 * A timer fires only for a moment up to which all events are known: a thread that waits for a CPU after its look at the descriptors would
 * else find time-outs whose answers are there.
 *
 * Failure: epoll failing in a turn (out of memory) ends that turn early; timers and posted work still run. */
#include "os/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"

enum { AWAKE, ASLEEP, SIGNALLED };
enum { BATCH = 64 };

struct loop {
    const struct os_ops *os;
    int ep;
    struct loop_source bell; /* the eventfd */
    struct list sources;
    struct wheel wheel;
    struct list due; /* timers of this turn that have not run yet */
    uint64_t now;
    struct epoll_event batch[BATCH];
    int batch_at, batch_n; /* events [batch_at, batch_n) have not been passed on yet */
    bool (*before_sleep)(void *user);
    void (*after_sleep)(void *user);
    void *hook_user;
    _Atomic(struct loop_work *) posted;
    atomic_int sleep;
    atomic_bool running;
    _Atomic(pthread_t) runner;
};

/* A poster may ring after the loop has already been woken by something else: so the eventfd is read when it is readable, not when
 * `sleep` says SIGNALLED. */
static void on_bell(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct loop *l = LIST_ENTRY(s, struct loop, bell);
    uint64_t count;
    l->os->read(s->fd, &count, sizeof count);
}

int loop_create(const struct os_ops *os, struct loop **ret)
{
    struct loop *l = mem_zalloc(sizeof *l);
    if (l == NULL)
        return -ENOMEM;
    l->os = os;
    list_init(&l->sources);
    list_init(&l->due);
    l->now = os->now_ns();
    wheel_init(&l->wheel, l->now);
    atomic_init(&l->sleep, ASLEEP);
    l->bell.fn = on_bell;
    l->bell.events = EPOLLIN;
    l->ep = os->epoll_create();
    l->bell.fd = l->ep < 0 ? l->ep : os->eventfd();
    int error = l->bell.fd < 0 ? l->bell.fd : loop_add(l, &l->bell);
    if (error != 0) {
        loop_destroy(l);
        return error;
    }
    *ret = l;
    return 0;
}

void loop_destroy(struct loop *l)
{
    if (l == NULL)
        return;
    l->os->close(l->bell.fd);
    l->os->close(l->ep);
    mem_free(l);
}

int loop_add(struct loop *l, struct loop_source *s)
{
    int error = l->os->epoll_ctl(l->ep, EPOLL_CTL_ADD, s->fd, s->events, s);
    if (error == 0)
        list_push_back(&l->sources, &s->node);
    return error;
}

int loop_modify(struct loop *l, struct loop_source *s, uint32_t events)
{
    int error = l->os->epoll_ctl(l->ep, EPOLL_CTL_MOD, s->fd, events, s);
    if (error == 0)
        s->events = events;
    return error;
}

/* The kernel may have delivered events for it in the batch that is being worked off: they are struck out, since the source may be
 * freed, or watch another descriptor, before their turn comes. */
void loop_remove(struct loop *l, struct loop_source *s)
{
    if (!list_linked(&s->node))
        return;
    list_remove(&s->node);
    l->os->epoll_ctl(l->ep, EPOLL_CTL_DEL, s->fd, 0, NULL);
    for (int i = l->batch_at; i < l->batch_n; i++)
        if (l->batch[i].data.ptr == s)
            l->batch[i].data.ptr = NULL;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ns)
{
    wheel_set(&l->wheel, &t->wheel, due_ns);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    wheel_stop(&l->wheel, &t->wheel);
}

/* At most one ring a turn, and it is read in the next: the counter cannot overflow. */
static void ring(struct loop *l)
{
    uint64_t one = 1;
    l->os->write(l->bell.fd, &one, sizeof one);
}

void loop_post(struct loop *l, struct loop_work *w)
{
    if (__atomic_exchange_n(&w->pending, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    struct loop_work *top = atomic_load_explicit(&l->posted, memory_order_relaxed);
    do
        w->next = top;
    while (!atomic_compare_exchange_weak(&l->posted, &top, w));
    int expected = ASLEEP;
    if (atomic_compare_exchange_strong(&l->sleep, &expected, SIGNALLED))
        ring(l);
}

void loop_wake(struct loop *l)
{
    if (atomic_exchange(&l->sleep, SIGNALLED) == ASLEEP)
        ring(l);
}

/* Whether there was anything. */
static bool run_posted(struct loop *l)
{
    struct loop_work *w = atomic_exchange(&l->posted, NULL), *first = NULL;
    while (w != NULL) { /* turned over: first posted, first run */
        struct loop_work *next = w->next;
        w->next = first;
        first = w;
        w = next;
    }
    bool any = first != NULL;
    while (first != NULL) {
        w = first;
        first = w->next;
        /* from here on it may be posted again, and fn may free it */
        __atomic_store_n(&w->pending, 0, __ATOMIC_RELEASE);
        w->fn(w);
    }
    return any;
}

static bool run_timers(struct loop *l)
{
    wheel_advance(&l->wheel, l->now, &l->due);
    bool any = !list_empty(&l->due);
    for (struct list *n; (n = list_pop_front(&l->due)) != NULL;) {
        struct loop_timer *t = LIST_ENTRY(n, struct loop_timer, wheel.node);
        t->fn(t);
    }
    return any;
}

static int wait_for_events(struct loop *l, uint64_t deadline_ns, bool *ret_busy)
{
    uint64_t due = wheel_next(&l->wheel);
    uint64_t until = due < deadline_ns ? due : deadline_ns;
    bool idle = due > l->now && atomic_load(&l->posted) == NULL, hooked = false;
    *ret_busy = !idle;
    if (idle && l->before_sleep != NULL) {
        hooked = true;
        *ret_busy = !l->before_sleep(l->hook_user);
    }
    bool sleeps = !*ret_busy && until > l->now;
    if (sleeps) {
        int expected = AWAKE;
        sleeps = atomic_compare_exchange_strong(&l->sleep, &expected, ASLEEP) && atomic_load(&l->posted) == NULL;
    }
    int n = l->os->epoll_wait(l->ep, l->batch, BATCH, sleeps ? until : 0);
    uint64_t now = l->os->now_ns();
    if (n < 0 || (n == 0 && sleeps)) /* nothing came before `until`, or nobody can say */
        l->now = n < 0 || now < until ? now : until;
    atomic_store(&l->sleep, AWAKE);
    if (hooked && l->after_sleep != NULL)
        l->after_sleep(l->hook_user);
    return n;
}

bool loop_run_once(struct loop *l, uint64_t deadline_ns)
{
    bool busy;
    atomic_store_explicit(&l->runner, pthread_self(), memory_order_relaxed);
    atomic_store(&l->running, true);
    atomic_store(&l->sleep, AWAKE);
    l->now = l->os->now_ns();
    l->batch_n = wait_for_events(l, deadline_ns, &busy);
    busy = busy || l->batch_n > 0;
    for (l->batch_at = 0; l->batch_at < l->batch_n;) {
        struct epoll_event e = l->batch[l->batch_at++];
        struct loop_source *s = e.data.ptr;
        if (s != NULL)
            s->fn(s, e.events);
    }
    l->batch_at = l->batch_n = 0;
    /* what came after the hooks had looked counts as well: it may have left something that is not armed */
    busy = run_timers(l) || busy;
    busy = run_posted(l) || busy;
    atomic_store(&l->running, false);
    /* from here on nobody may be looking: who posts, rings; and what was asked for during the turn keeps loop_fd() readable */
    bool asked = atomic_exchange(&l->sleep, ASLEEP) == SIGNALLED;
    if (asked || atomic_load(&l->posted) != NULL)
        loop_wake(l);
    return busy;
}

void loop_set_hooks(struct loop *l, bool (*before_sleep)(void *user), void (*after_sleep)(void *user), void *user)
{
    l->before_sleep = before_sleep;
    l->after_sleep = after_sleep;
    l->hook_user = user;
}

int loop_fd(struct loop *l)
{
    return l->ep;
}

uint64_t loop_next_due(struct loop *l)
{
    return wheel_next(&l->wheel);
}

bool loop_is_current(struct loop *l)
{
    return atomic_load(&l->running) && atomic_load_explicit(&l->runner, memory_order_relaxed) == pthread_self();
}
