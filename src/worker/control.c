/* What the host sends by the control socket while a worker runs: PING, HEALTH and CANCEL, between the frames of its calls. */
#include "worker/worker_internal.h"

/* Without rings calls go the same way: none of their frames may be cut. What has been started has been read whole, so its owner sends nothing
 * more before the answer; unless it calls tools of the host. */
static bool is_between_frames(const struct worker *w)
{
    struct lane *l = &w->lanes[0];
    const struct flight *f = lane_head(l);
    if (w->is_ring)
        return true;
    if (l->sending != NULL || l->unsent.len != 0 || __atomic_load_n(&l->inner, __ATOMIC_ACQUIRE) != 0)
        return false;
    return f == NULL || l->owner == LANE_LOOP || (l->status != NULL && lane_started(l, f->sequence));
}

int worker_send_control(struct worker *w, const uint8_t *frame, size_t n)
{
    if (!w->control_open || w->lanes == NULL || !is_between_frames(w))
        return 0;
    ssize_t sent = w->env->os->send(w->control_fd, frame, n);
    if (sent > 0 && (size_t)sent < n)
        return PIT_E_PROTOCOL_ERROR;
    if (sent <= 0)
        return 0;
    if (w->is_ring)
        w->lanes[0].channel->ops->nudge(w->lanes[0].channel);
    return 1;
}

int worker_cancel(struct worker *w, uint64_t id)
{
    uint8_t frame[FRAME_HEADER];
    if (w->is_ring || (w->capabilities & WORKER_TAKES_CANCEL) == 0)
        return 1;
    frame_put_header(frame, FRAME_CANCEL, 0, id, 0, sizeof frame);
    return worker_send_control(w, frame, sizeof frame);
}
