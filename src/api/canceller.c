/* Cancellers: one flag that ends any number of calls, from any thread.
 *
 * Invariants
 *  1. Once fired, always fired; the reason is set before and never changes.
 *  2. No lock is held while an entry's fire() runs: it takes a pool's lock and tells events. The entry stays until it has returned.
 *  3. Whoever waits for what was cancelled is woken after that: he gives the entry back at once.
 *  4. Each entry holds a reference, so that a canceller may be freed at any time.
 *
 * Failure: one that could not be made is a static object, and who gets it fails with allocation_failed. Thread: any. */
#include "api/canceller.h"

#include <pthread.h>

#include "api/api.h"
#include "base/alloc.h"
#include "wire/error.h"

struct pit_canceller {
    uint32_t refs; /* atomic */
    pthread_mutex_t lock;
    pthread_cond_t quiet; /* a fire() has returned */
    struct list entries;
    bool fired;   /* atomic */
    char *reason; /* NULL: none, or no memory for it */
};

static pit_canceller failed;

pit_canceller *pit_canceller_new(void)
{
    pit_canceller *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return &failed;
    c->refs = 1;
    pthread_mutex_init(&c->lock, NULL); /* without attributes neither can fail */
    pthread_cond_init(&c->quiet, NULL);
    list_init(&c->entries);
    return c;
}

static void unref(pit_canceller *c)
{
    if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    pthread_cond_destroy(&c->quiet);
    pthread_mutex_destroy(&c->lock);
    mem_free(c->reason);
    mem_free(c);
}

void pit_canceller_free(pit_canceller *c)
{
    if (c != NULL && c != &failed)
        unref(c);
}

static bool is_fired(const pit_canceller *c)
{
    return __atomic_load_n(&c->fired, __ATOMIC_SEQ_CST);
}

int pit_canceller_fire(pit_canceller *c, const char *reason)
{
    if (c == NULL)
        return PIT_E_INVALID_PARAMETER;
    if (c == &failed)
        return PIT_E_ALLOCATION_FAILED;
    char *copy = mem_strdup(reason);
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED); /* an event's handler may free it */
    pthread_mutex_lock(&c->lock);
    if (c->fired) {
        mem_free(copy);
    } else {
        c->reason = copy;
        __atomic_store_n(&c->fired, true, __ATOMIC_SEQ_CST);
    }
    struct list *node;
    while ((node = list_pop_front(&c->entries)) != NULL) {
        struct canceller_entry *e = LIST_ENTRY(node, struct canceller_entry, node);
        struct canceller_rest rest = {0};
        e->listed = false;
        e->firing = true;
        pthread_mutex_unlock(&c->lock);
        e->fire(e, c->reason, &rest);
        pthread_mutex_lock(&c->lock);
        e->firing = false;
        pthread_cond_broadcast(&c->quiet);
        if (rest.pit == NULL)
            continue;
        pthread_mutex_unlock(&c->lock);
        pool_cancel_finish(&rest.ending);
        api_leave(rest.pit);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    unref(c);
    return 0;
}

pit_error *canceller_check(pit_canceller *c)
{
    if (c == &failed)
        return error_new(PIT_E_ALLOCATION_FAILED, "the canceller could not be made: out of memory");
    if (!is_fired(c))
        return NULL;
    return error_new(PIT_E_CANCELLED, "the canceller had been fired before the call began%s%s", c->reason != NULL ? ": " : "",
                     c->reason != NULL ? c->reason : "");
}

void canceller_join(pit_canceller *c, struct canceller_entry *e,
                    void (*fire)(struct canceller_entry *e, const char *reason, struct canceller_rest *rest))
{
    *e = (struct canceller_entry){.canceller = c, .fire = fire};
    if (c == NULL)
        return;
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&c->lock);
    e->listed = !c->fired;
    if (e->listed)
        list_push_back(&c->entries, &e->node);
    pthread_mutex_unlock(&c->lock);
}

bool canceller_fired(const pit_canceller *c, const char **ret_reason)
{
    bool fired = c != NULL && is_fired(c);
    if (fired)
        *ret_reason = c->reason;
    return fired;
}

void canceller_leave(struct canceller_entry *e)
{
    pit_canceller *c = e->canceller;
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    while (e->firing)
        pthread_cond_wait(&c->quiet, &c->lock);
    if (e->listed)
        list_remove(&e->node);
    e->listed = false;
    e->canceller = NULL;
    pthread_mutex_unlock(&c->lock);
    unref(c);
}
