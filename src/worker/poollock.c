/* See poollock.h. */
#include "worker/poollock.h"

#include <string.h>

int poollock_init(struct poollock *l, struct telemetry *t, const char *pool)
{
    *l = (struct poollock){.telemetry = t, .pool = pool};
    return pthread_mutex_init(&l->mutex, NULL) == 0 ? 0 : PIT_E_SYSTEM_ERROR;
}

void poollock_finish(struct poollock *l)
{
    pthread_mutex_destroy(&l->mutex);
    buf_finish(&l->notes);
}

void poollock_tell(struct poollock *l)
{
    struct buf notes = l->notes;
    const char *pool = l->pool;
    struct telemetry *telemetry = l->telemetry;
    l->notes = (struct buf){0};
    pthread_mutex_unlock(&l->mutex);
    for (size_t i = 0; i < notes.len; i += sizeof(struct state_note)) {
        struct state_note n;
        memcpy(&n, notes.data + i, sizeof n);
        struct event_common common = {.pool = pool, .worker_id = n.worker_id, .generation = n.generation};
        const char *texts[] = {n.from, n.to};
        telemetry_emit(telemetry, EVENT_WORKER_STATE_CHANGED, &common, NULL, texts);
    }
    buf_finish(&notes);
}
