/* See store.h. */
#include "crash/store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "crash/store_files.h"

#define HANG_NS UINT64_C(1000000000) /* beyond the deadline: for the one file that was begun before it */

struct entry {
    struct store_folder *folder;
    uint64_t max_bytes;
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
    struct list folders;     /* lock for its links; the content is the writer's, but for `failing` and what `telling` guards */
    pthread_mutex_t telling; /* before lock; while somebody is told, and for what there is to tell */
    bool given_up;           /* telling and lock: nobody is there any more to be told; the thread frees the store */
    struct entry now;        /* telling: what the thread is writing; its dossier NULL: nothing */
    uint32_t busy;           /* futex word: the thread is there */
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
    pthread_mutex_init(&s->telling, NULL);
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

/* With a name of its own: a thread that hangs there may outlive who has named it. lock; NULL: out of memory. */
static struct store_folder *folder_of(struct crash_store *s, const char *dir)
{
    struct store_folder *f = find(s, dir);
    if (f != NULL)
        return f;
    f = mem_zalloc(sizeof *f);
    char *own = f != NULL ? mem_strdup(dir) : NULL;
    if (own == NULL) {
        mem_free(f);
        return NULL;
    }
    f->dir = own;
    list_push_back(&s->folders, &f->node);
    return f;
}

static void destroy(struct crash_store *s)
{
    LIST_EACH_SAFE(node, next, &s->folders)
    {
        struct store_folder *f = LIST_ENTRY(node, struct store_folder, node);
        mem_free((char *)(uintptr_t)f->dir);
        mem_free(f);
    }
    pthread_mutex_destroy(&s->telling);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static void tell(struct crash_store *s, struct store_folder *f, const char *id)
{
    struct crash_loss loss = {.dir = f->dir, .id = id, .reason = store_reason(f->error), .count = f->lost};
    f->lost = 0;
    s->events->lost(s->user, &loss);
}

/* telling */
static void lose(struct store_folder *f, const char *id, int rc)
{
    f->lost++;
    f->error = rc;
    snprintf(f->last, sizeof f->last, "%s", id);
}

/* telling */
static void settle(struct crash_store *s, struct store_folder *f, const char *id, int rc)
{
    bool told = f->told;
    if (rc != 0)
        lose(f, id, rc);
    __atomic_store_n(&f->failing, rc != 0, __ATOMIC_RELAXED);
    f->told = rc != 0;
    if ((rc != 0 && !told) || (rc == 0 && f->lost != 0))
        tell(s, f, f->last);
}

static const char *id_of(const struct entry *e)
{
    return pit_value_str_or(pit_value_get(e->dossier, "id"), "");
}

/* false: nothing waits, and whoever puts something there starts another writer. */
static bool take(struct crash_store *s, bool *ret_late)
{
    pthread_mutex_lock(&s->telling);
    pthread_mutex_lock(&s->lock);
    bool any = s->waiting != 0 && !s->given_up;
    uint64_t missed = any ? s->missed : 0;
    s->writing = any;
    if (any) {
        s->now = s->queue[s->first];
        s->first = (s->first + 1) % STORE_QUEUE;
        s->waiting--;
        s->missed = 0;
        *ret_late = s->os->now_ns() >= s->deadline_ns;
    }
    pthread_mutex_unlock(&s->lock);
    if (missed != 0) {
        s->now.folder->lost += missed - 1;
        settle(s, s->now.folder, id_of(&s->now), -ENOBUFS);
    }
    pthread_mutex_unlock(&s->telling);
    return any;
}

/* With what was taken. Whoever has given the store up has told of it. */
static void be_done(struct crash_store *s, int rc)
{
    pthread_mutex_lock(&s->telling);
    if (!s->given_up)
        settle(s, s->now.folder, id_of(&s->now), rc);
    pit_value_free(s->now.dossier);
    s->now = (struct entry){0};
    pthread_mutex_unlock(&s->telling);
}

static void write_waiting(struct crash_store *s)
{
    bool late;
    while (take(s, &late)) {
        const struct entry *e = &s->now;
        be_done(s, late ? -ETIMEDOUT : store_write(s->os, e->folder, e->max_bytes, id_of(e), e->dossier));
    }
}

static void *write_all(void *arg)
{
    struct crash_store *s = arg;
    write_waiting(s);
    pthread_mutex_lock(&s->telling);
    bool last = s->given_up;
    __atomic_store_n(&s->busy, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&s->telling);
    if (last)
        destroy(s);
    else
        s->os->futex_wake(&s->busy, INT_MAX); /* it is freed only after a join */
    return NULL;
}

/* ---- the host ---- */

void crash_store_try(struct crash_store *s, struct crash_place place, const char *run_id)
{
    if (s == NULL || place.dir == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    struct store_folder *f = find(s, place.dir) == NULL ? folder_of(s, place.dir) : NULL;
    pthread_mutex_unlock(&s->lock);
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
    struct store_folder *f = s->waiting < STORE_QUEUE ? folder_of(s, place.dir) : NULL;
    if (f != NULL)
        s->queue[(s->first + s->waiting++) % STORE_QUEUE] = (struct entry){f, place.max_bytes, pit_value_ref(dossier)};
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
        if (strcmp(id_of(e), id) != 0)
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
    __atomic_store_n(&s->busy, 1, __ATOMIC_RELAXED);
    s->has_thread = s->os->thread_start(&s->thread, write_all, s) == 0;
    if (s->has_thread)
        return;
    __atomic_store_n(&s->busy, 0, __ATOMIC_RELAXED);
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

/* ---- the end ---- */

/* telling, or nobody else is left */
static void tell_rest(struct crash_store *s)
{
    LIST_EACH(node, &s->folders)
    {
        struct store_folder *f = LIST_ENTRY(node, struct store_folder, node);
        if (f->lost != 0)
            tell(s, f, f->last);
    }
}

/* Has the thread ended by then? */
static bool await_thread(struct crash_store *s, uint64_t until_ns)
{
    while (__atomic_load_n(&s->busy, __ATOMIC_ACQUIRE) != 0)
        if (s->os->futex_wait(&s->busy, 1, until_ns) == -ETIMEDOUT)
            return false;
    return true;
}

/* telling and lock: what is being written, and what waits, is lost. */
static void lose_all(struct crash_store *s)
{
    if (s->now.dossier != NULL)
        lose(s->now.folder, id_of(&s->now), -ETIME);
    for (; s->waiting != 0; s->waiting--, s->first = (s->first + 1) % STORE_QUEUE) {
        struct entry *e = &s->queue[s->first];
        lose(e->folder, id_of(e), -ETIME);
        e->folder->lost += s->missed;
        s->missed = 0;
        pit_value_free(e->dossier);
    }
}

/* Leaves the store to a thread that hangs. false: it has ended just now. */
static bool give_up(struct crash_store *s)
{
    pthread_mutex_lock(&s->telling);
    bool hangs = s->given_up = __atomic_load_n(&s->busy, __ATOMIC_ACQUIRE) != 0;
    if (hangs) {
        pthread_mutex_lock(&s->lock);
        lose_all(s);
        pthread_mutex_unlock(&s->lock);
        tell_rest(s);
        pthread_detach(s->thread);
    }
    pthread_mutex_unlock(&s->telling);
    return hangs;
}

void crash_store_close(struct crash_store *s, uint64_t deadline_ns)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->deadline_ns = deadline_ns;
    pthread_mutex_unlock(&s->lock);
    crash_store_write(s); /* not by this thread, which has to come back */
    if (!await_thread(s, deadline_ns < UINT64_MAX - HANG_NS ? deadline_ns + HANG_NS : UINT64_MAX) && give_up(s))
        return;
    join(s);
    write_waiting(s); /* where no thread could be started */
    tell_rest(s);
    destroy(s);
}
