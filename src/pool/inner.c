/* See inner.h. On a socket, where lane and control channel are one, a worker's log lines and signs of life come between everything else. */
#include "pool/inner.h"

#include "pool/pool_internal.h"
#include "pool/stream.h"

int inner_frame(struct pool *p, struct call *c, const struct frame *f, struct channel_frame *in)
{
    if (c->stream != NULL && (f->kind == FRAME_CHUNK || f->kind == FRAME_CREDIT))
        return stream_ride_frame(p, c, f, in->n);
    return worker_side_frame(c->lane->worker, f);
}

int inner_loop_frame(struct pool *p, struct lane *l, const struct frame *f, struct channel_frame *in)
{
    if (f->kind == FRAME_CHUNK || f->kind == FRAME_CREDIT)
        return stream_loop_frame(p, l, f, in->n);
    return worker_side_frame(l->worker, f);
}

bool inner_given_up(struct pool *p, struct lane *l, uint64_t sequence)
{
    bool waits = false;
    pool_lock(p);
    for (unsigned i = 0; i < l->count && !l->dead; i++)
        waits = waits || (lane_at(l, i)->sequence == sequence && lane_at(l, i)->call != NULL);
    pool_unlock(p);
    return !waits;
}
