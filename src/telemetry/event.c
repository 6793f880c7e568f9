/* The hub: who listens to which events, and the emit point. See event.h.
 *
 * Handlers live in slots, a list that only grows (until telemetry_destroy), so that an emitter may walk it without a lock. A slot:
 *
 *   free (live 0, running 0) --attach--> live --detach, failure--> closing (live 0, running > 0) --last run ends--> free
 *
 * Invariants
 *  1. An emitter counts itself in `running`, then looks at `live` (again); who detaches clears `live`, then looks at `running`. All four are
 *     sequentially consistent, so one of the two sees the other: after a detach that waited, the handler does not run and will not.
 *  2. id, fn, user and wants of a slot change only while it is free, under the lock; who has seen `live` sees them whole.
 *  3. No handler, and no warning, runs under the lock. The emit path allocates nothing and takes the lock only to tell somebody who waits in
 *     telemetry_detach.
 *  4. Events that handlers cause by what they do reach handlers too, MAX_DEPTH deep; deeper ones are dropped: no endless recursion.
 *
 * Failure: attach only (memory, parameters). */
#include "telemetry/event.h"

#include <pthread.h>
#include <stdio.h>

#include "base/alloc.h"
#include "telemetry/event_internal.h"

enum { WORDS = (EVENT_COUNT + 63) / 64, MAX_DEPTH = 8 };

const struct event_info event_table[EVENT_COUNT] = {
#define EVENT_INFO(constant, name, measurements, metadata) [EVENT_##constant] = {"snakepit." name, measurements, metadata},
    EVENT_LIST(EVENT_INFO)
#undef EVENT_INFO
};

struct slot {
    struct slot *next; /* atomic, written once */
    uint32_t live;     /* atomic */
    uint32_t running;  /* atomic: runs of the handler, and looks at the slot that come to nothing */
    uint64_t id;
    pit_event_fn fn;
    void *user;
    uint64_t wants[WORDS]; /* atomic */
};

struct telemetry {
    uint64_t interest[WORDS]; /* atomic: what any live slot wants */
    struct slot *slots;       /* atomic */
    uint64_t (*now_ns)(void);
    void (*warn)(void *user, const char *text);
    void *warn_user;
    pthread_mutex_t lock;
    pthread_cond_t ended; /* a run of a closing slot has ended */
    uint64_t last_id;
};

static _Thread_local unsigned depth; /* handlers that run on this thread */

/* Glob: '*' any run of characters, '?' one. Linear space, no recursion; time is the product of the lengths at worst. */
static bool matches(const char *pattern, const char *name)
{
    const char *star = NULL, *retry = NULL;
    while (*name != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            retry = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star != NULL) {
            pattern = star;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool has(const uint64_t *bits, enum event_id id)
{
    return (__atomic_load_n(&bits[id / 64], __ATOMIC_RELAXED) >> (id % 64) & 1) != 0;
}

struct telemetry *telemetry_create(uint64_t (*now_ns)(void))
{
    struct telemetry *t = mem_zalloc(sizeof *t);
    if (t == NULL)
        return NULL;
    t->now_ns = now_ns;
    if (pthread_mutex_init(&t->lock, NULL) != 0)
        goto undo_memory;
    if (pthread_cond_init(&t->ended, NULL) != 0)
        goto undo_lock;
    return t;
undo_lock:
    pthread_mutex_destroy(&t->lock);
undo_memory:
    mem_free(t);
    return NULL;
}

void telemetry_set_warn(struct telemetry *t, void (*warn)(void *user, const char *text), void *user)
{
    t->warn = warn;
    t->warn_user = user;
}

void telemetry_destroy(struct telemetry *t)
{
    if (t == NULL)
        return;
    for (struct slot *s = t->slots, *next; s != NULL; s = next) {
        next = s->next;
        mem_free(s);
    }
    pthread_cond_destroy(&t->ended);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

/* Under the lock. */
static void update_interest(struct telemetry *t)
{
    uint64_t all[WORDS] = {0};
    for (struct slot *s = t->slots; s != NULL; s = s->next)
        for (size_t i = 0; s->live != 0 && i < WORDS; i++)
            all[i] |= s->wants[i];
    for (size_t i = 0; i < WORDS; i++)
        __atomic_store_n(&t->interest[i], all[i], __ATOMIC_RELAXED);
}

/* A free slot, at the end of the list if need be. Under the lock. */
static struct slot *free_slot(struct telemetry *t)
{
    struct slot **end = &t->slots;
    for (; *end != NULL; end = &(*end)->next)
        if ((*end)->live == 0 && __atomic_load_n(&(*end)->running, __ATOMIC_SEQ_CST) == 0)
            return *end;
    struct slot *s = mem_zalloc(sizeof *s);
    if (s != NULL)
        __atomic_store_n(end, s, __ATOMIC_RELEASE);
    return s;
}

int telemetry_attach(struct telemetry *t, const char *pattern, pit_event_fn fn, void *user, uint64_t *ret_id)
{
    if (pattern == NULL || *pattern == '\0' || fn == NULL)
        return PIT_E_INVALID_PARAMETER;
    pthread_mutex_lock(&t->lock);
    struct slot *s = free_slot(t);
    if (s == NULL) {
        pthread_mutex_unlock(&t->lock);
        return PIT_E_ALLOCATION_FAILED;
    }
    s->id = ++t->last_id;
    s->fn = fn;
    s->user = user;
    uint64_t wants[WORDS] = {0};
    for (unsigned i = 0; i < EVENT_COUNT; i++)
        if (matches(pattern, event_table[i].name))
            wants[i / 64] |= UINT64_C(1) << (i % 64);
    for (size_t i = 0; i < WORDS; i++)
        __atomic_store_n(&s->wants[i], wants[i], __ATOMIC_RELAXED);
    __atomic_store_n(&s->live, 1, __ATOMIC_SEQ_CST);
    update_interest(t);
    if (ret_id != NULL)
        *ret_id = s->id;
    pthread_mutex_unlock(&t->lock);
    return 0;
}

/* Ends slot s if it is live and still that of id. Under the lock. */
static bool close_slot(struct telemetry *t, struct slot *s, uint64_t id)
{
    if (s->live == 0 || s->id != id)
        return false;
    __atomic_store_n(&s->live, 0, __ATOMIC_SEQ_CST);
    update_interest(t);
    return true;
}

int telemetry_detach(struct telemetry *t, uint64_t id)
{
    int rc = PIT_E_NOT_FOUND;
    pthread_mutex_lock(&t->lock);
    for (struct slot *s = t->slots; s != NULL; s = s->next) {
        if (!close_slot(t, s, id))
            continue;
        /* inside a handler nobody waits: two that detach each other would do so for ever */
        while (depth == 0 && __atomic_load_n(&s->running, __ATOMIC_SEQ_CST) != 0 && s->id == id)
            pthread_cond_wait(&t->ended, &t->lock);
        rc = 0;
        break;
    }
    pthread_mutex_unlock(&t->lock);
    return rc;
}

bool telemetry_wants(const struct telemetry *t, enum event_id id)
{
    return has(t->interest, id);
}

static const enum event_id of_calls[] = {
    EVENT_CALL_START,           EVENT_CALL_STOP,           EVENT_CALL_EXCEPTION,      EVENT_REQUEST_EXECUTED,
    EVENT_POOL_CALL_DISPATCHED, EVENT_POOL_QUEUE_ENQUEUED, EVENT_POOL_QUEUE_DEQUEUED, EVENT_POOL_QUEUE_TIMEOUT,
    EVENT_POOL_SATURATED,       EVENT_CALL_CANCELLED,      EVENT_CALL_RETRIED};

bool telemetry_wants_calls(const struct telemetry *t)
{
    uint64_t any = 0;
    for (size_t i = 0; i < WORDS; i++)
        any |= __atomic_load_n(&t->interest[i], __ATOMIC_RELAXED);
    if (any == 0)
        return false;
    for (size_t i = 0; i < sizeof of_calls / sizeof of_calls[0]; i++)
        if (telemetry_wants(t, of_calls[i]))
            return true;
    return false;
}

static void detach_failed(struct telemetry *t, struct slot *s, uint64_t id, const struct pit_event *ev, int rc)
{
    pthread_mutex_lock(&t->lock);
    bool mine = close_slot(t, s, id);
    pthread_mutex_unlock(&t->lock);
    if (!mine || t->warn == NULL)
        return;
    char text[160];
    snprintf(text, sizeof text, "telemetry handler %llu returned %d for %s and was detached", (unsigned long long)id, rc,
             event_table[ev->id].name);
    t->warn(t->warn_user, text);
}

/* Runs the slot's handler, if it is live and wants this event. */
static void deliver(struct telemetry *t, struct slot *s, const struct pit_event *ev)
{
    /* not the look that counts, but without it emitters could keep a closed slot's count above zero */
    if (__atomic_load_n(&s->live, __ATOMIC_RELAXED) == 0 || !has(s->wants, ev->id))
        return;
    __atomic_add_fetch(&s->running, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&s->live, __ATOMIC_SEQ_CST) != 0 && has(s->wants, ev->id)) {
        uint64_t id = s->id;
        depth++;
        int rc = s->fn(ev, s->user);
        depth--;
        if (rc != 0)
            detach_failed(t, s, id, ev, rc);
    }
    __atomic_sub_fetch(&s->running, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&s->live, __ATOMIC_SEQ_CST) == 0) {
        pthread_mutex_lock(&t->lock);
        pthread_cond_broadcast(&t->ended);
        pthread_mutex_unlock(&t->lock);
    }
}

void telemetry_emit(struct telemetry *t, enum event_id id, const struct event_common *common, const double *numbers,
                    const char *const *texts)
{
    if (!telemetry_wants(t, id) || depth >= MAX_DEPTH)
        return;
    static const struct event_common nothing;
    struct pit_event ev; /* not cleared: what is made when somebody asks is a third of an emit */
    ev.id = id;
    ev.now_ns = t->now_ns;
    ev.common = common != NULL ? common : &nothing;
    ev.numbers = numbers;
    ev.texts = texts;
    ev.timestamp_ns = 0;
    ev.generation[0] = ev.call_id[0] = '\0';
    for (struct slot *s = __atomic_load_n(&t->slots, __ATOMIC_ACQUIRE); s != NULL;
         s = __atomic_load_n(&s->next, __ATOMIC_ACQUIRE))
        deliver(t, s, &ev);
}

bool telemetry_in_handler(void)
{
    return depth != 0;
}
