/* See inner.h. On a socket, where lane and control channel are one, a worker's log lines and signs of life come between everything else. */
#include "pool/inner.h"

int inner_frame(struct pool *p, struct call *c, const struct frame *f, struct channel_frame *in)
{
    (void)p, (void)in;
    return worker_side_frame(c->lane->worker, f);
}

int inner_loop_frame(struct pool *p, struct lane *l, const struct frame *f, struct channel_frame *in)
{
    (void)p, (void)in;
    return worker_side_frame(l->worker, f);
}
