/* See poollock.h. */
#include "worker/poollock.h"

#include <string.h>

int poollock_init(struct poollock *l, struct telemetry *t, const char *pool)
{
    *l = (struct poollock){.telemetry = t, .pool = pool};
    pthread_mutexattr_t spins; /* a moment before it sleeps: it is held for less than a wake-up takes */
    if (pthread_mutexattr_init(&spins) != 0)
        return PIT_E_SYSTEM_ERROR;
    pthread_mutexattr_settype(&spins, PTHREAD_MUTEX_ADAPTIVE_NP);
    int rc = pthread_mutex_init(&l->mutex, &spins);
    pthread_mutexattr_destroy(&spins);
    return rc == 0 ? 0 : PIT_E_SYSTEM_ERROR;
}

void poollock_finish(struct poollock *l)
{
    pthread_mutex_destroy(&l->mutex);
    buf_finish(&l->more);
}

void poollock_note(struct poollock *l, const struct state_note *note)
{
    if (l->n < NOTES_INLINE)
        l->few[l->n] = *note;
    else
        buf_append(&l->more, note, sizeof *note);
    l->n++;
}

const struct state_note *poollock_take_note(struct poollock *l)
{
    if (l->n != 1)
        return NULL;
    l->n = 0;
    return &l->few[0];
}

static void tell(struct telemetry *t, const char *pool, const struct state_note *n)
{
    struct event_common common = {.pool = pool, .worker_id = n->worker_id, .generation = n->generation};
    const char *texts[] = {n->from, n->to};
    telemetry_emit(t, EVENT_WORKER_STATE_CHANGED, &common, NULL, texts);
}

void poollock_tell(struct poollock *l)
{
    struct state_note few[NOTES_INLINE];
    unsigned n = l->n < NOTES_INLINE ? l->n : NOTES_INLINE;
    struct buf more = l->more;
    const char *pool = l->pool;
    struct telemetry *telemetry = l->telemetry;
    memcpy(few, l->few, n * sizeof few[0]);
    l->n = 0;
    l->more = (struct buf){0};
    pthread_mutex_unlock(&l->mutex);
    for (unsigned i = 0; i < n; i++)
        tell(telemetry, pool, &few[i]);
    for (size_t i = 0; i < more.len; i += sizeof(struct state_note)) {
        struct state_note note;
        memcpy(&note, more.data + i, sizeof note);
        tell(telemetry, pool, &note);
    }
    buf_finish(&more);
}
