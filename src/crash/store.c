/* See store.h. */
#include "crash/store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "crash/store_files.h"

struct entry {
    struct crash_place place;
    pit_value *dossier; /* owned */
};

struct crash_store {
    const struct os_ops *os;
    const struct crash_store_events *events;
    void *user;
    pthread_mutex_t lock;
    struct entry queue[STORE_QUEUE]; /* lock */
    unsigned first, waiting;         /* lock */
    uint64_t missed;                 /* lock: found no room; told with the next one that is taken out */
    bool writing;                    /* lock: the thread looks at the queue again before it ends */
    uint64_t deadline_ns;            /* lock: what begins later is lost */
    struct list folders;             /* lock for its links; the content is the writer's, but for `failing` */
    pthread_t thread;
    bool has_thread;
};

struct crash_store *crash_store_create(const struct os_ops *os, const struct crash_store_events *events, void *user)
{
    struct crash_store *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return NULL;
    s->os = os;
    s->events = events;
    s->user = user;
    s->deadline_ns = UINT64_MAX;
    list_init(&s->folders);
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

/* ---- the writer ---- */

/* lock */
static struct store_folder *find(const struct crash_store *s, const char *dir)
{
    LIST_EACH(node, &s->folders)
    {
        struct store_folder *f = LIST_ENTRY(node, struct store_folder, node);
        if (strcmp(f->dir, dir) == 0)
            return f;
    }
    return NULL;
}

/* NULL: out of memory. */
static struct store_folder *folder_of(struct crash_store *s, const char *dir)
{
    pthread_mutex_lock(&s->lock);
    struct store_folder *f = find(s, dir);
    if (f == NULL) {
        f = mem_zalloc(sizeof *f);
        if (f != NULL) {
            f->dir = dir;
            list_push_back(&s->folders, &f->node);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return f;
}

static void tell(struct crash_store *s, struct store_folder *f, const char *id)
{
    struct crash_loss loss = {.dir = f->dir, .id = id, .reason = store_reason(f->error), .count = f->lost};
    f->lost = 0;
    s->events->lost(s->user, &loss);
}

static void settle(struct crash_store *s, struct store_folder *f, const char *id, int rc)
{
    bool told = f->told;
    if (rc != 0) {
        f->lost++;
        f->error = rc;
        snprintf(f->last, sizeof f->last, "%s", id);
    }
    __atomic_store_n(&f->failing, rc != 0, __ATOMIC_RELAXED);
    f->told = rc != 0;
    if ((rc != 0 && !told) || (rc == 0 && f->lost != 0))
        tell(s, f, f->last);
}

static void write_one(struct crash_store *s, const struct entry *e, uint64_t missed, bool late)
{
    const char *id = pit_value_str_or(pit_value_get(e->dossier, "id"), "");
    struct store_folder *f = folder_of(s, e->place.dir);
    if (f == NULL) {
        s->events->lost(s->user, &(struct crash_loss){e->place.dir, id, store_reason(-ENOMEM), 1 + missed});
        return;
    }
    if (missed != 0) {
        f->lost += missed - 1;
        settle(s, f, id, -ENOBUFS);
    }
    settle(s, f, id, late ? -ETIMEDOUT : store_write(s->os, f, e->place.max_bytes, id, e->dossier));
}

/* false: nothing waits, and whoever puts something there starts another writer. */
static bool take(struct crash_store *s, struct entry *ret, uint64_t *ret_missed, bool *ret_late)
{
    pthread_mutex_lock(&s->lock);
    bool any = s->waiting != 0;
    s->writing = any;
    if (any) {
        *ret = s->queue[s->first];
        s->first = (s->first + 1) % STORE_QUEUE;
        s->waiting--;
        *ret_missed = s->missed;
        s->missed = 0;
        *ret_late = s->os->now_ns() >= s->deadline_ns;
    }
    pthread_mutex_unlock(&s->lock);
    return any;
}

static void *write_all(void *arg)
{
    struct crash_store *s = arg;
    struct entry e;
    uint64_t missed;
    bool late;
    while (take(s, &e, &missed, &late)) {
        write_one(s, &e, missed, late);
        pit_value_free(e.dossier);
    }
    return NULL;
}

/* ---- the host ---- */

void crash_store_try(struct crash_store *s, struct crash_place place, const char *run_id)
{
    if (s == NULL || place.dir == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    bool known = find(s, place.dir) != NULL;
    pthread_mutex_unlock(&s->lock);
    struct store_folder *f = !known ? folder_of(s, place.dir) : NULL;
    if (f != NULL)
        __atomic_store_n(&f->failing, store_try(s->os, f->dir, run_id) != 0, __ATOMIC_RELAXED);
}

/* ---- the loop ---- */

static void join(struct crash_store *s)
{
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    s->has_thread = false;
}

void crash_store_put(struct crash_store *s, struct crash_place place, const pit_value *dossier)
{
    if (s == NULL || place.dir == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    if (s->waiting < STORE_QUEUE)
        s->queue[(s->first + s->waiting++) % STORE_QUEUE] = (struct entry){place, pit_value_ref(dossier)};
    else
        s->missed++;
    pthread_mutex_unlock(&s->lock);
    s->events->waits(s->user);
}

/* The one that it is to replace; NULL: it waits no more. */
static pit_value *replace_waiting(struct crash_store *s, const char *id, const pit_value *dossier)
{
    pit_value *before = NULL;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->waiting && before == NULL; i++) {
        struct entry *e = &s->queue[(s->first + i) % STORE_QUEUE];
        if (strcmp(pit_value_str_or(pit_value_get(e->dossier, "id"), ""), id) != 0)
            continue;
        before = e->dossier;
        e->dossier = pit_value_ref(dossier);
    }
    pthread_mutex_unlock(&s->lock);
    return before;
}

void crash_store_amend(struct crash_store *s, struct crash_place place, const pit_value *dossier)
{
    if (s == NULL || place.dir == NULL)
        return;
    pit_value *before = replace_waiting(s, pit_value_str_or(pit_value_get(dossier, "id"), ""), dossier);
    if (before == NULL)
        crash_store_put(s, place, dossier);
    pit_value_free(before);
}

void crash_store_write(struct crash_store *s)
{
    pthread_mutex_lock(&s->lock);
    bool start = s->waiting != 0 && !s->writing;
    s->writing = s->writing || start;
    pthread_mutex_unlock(&s->lock);
    if (!start)
        return;
    join(s); /* the one before has nothing left to do */
    s->has_thread = s->os->thread_start(&s->thread, write_all, s) == 0;
    if (s->has_thread)
        return;
    pthread_mutex_lock(&s->lock);
    s->writing = false; /* the next time tries again, or the end writes it */
    pthread_mutex_unlock(&s->lock);
}

bool crash_store_works(const struct crash_store *s, struct crash_place place)
{
    if (s == NULL || place.dir == NULL)
        return false;
    pthread_mutex_lock((pthread_mutex_t *)(uintptr_t)&s->lock);
    const struct store_folder *f = find(s, place.dir);
    bool works = f == NULL || !__atomic_load_n(&f->failing, __ATOMIC_RELAXED);
    pthread_mutex_unlock((pthread_mutex_t *)(uintptr_t)&s->lock);
    return works;
}

void crash_store_close(struct crash_store *s, uint64_t deadline_ns)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->deadline_ns = deadline_ns;
    pthread_mutex_unlock(&s->lock);
    join(s);
    write_all(s);
    LIST_EACH_SAFE(node, next, &s->folders)
    {
        struct store_folder *f = LIST_ENTRY(node, struct store_folder, node);
        if (f->lost != 0)
            tell(s, f, f->last);
        mem_free(f);
    }
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}
