/* See worker.h. This file: asking a worker to end, ever more firmly; waiting for who tells how it has. */
#include <signal.h>
#include <string.h>

#include "guard/guard_client.h"
#include "worker/worker_internal.h"

static void on_stop_timer(struct loop_timer *t)
{
    struct worker *w = LIST_ENTRY(t, struct worker, stop_timer);
    worker_signal_group(w, w->term_sent ? SIGKILL : SIGTERM);
    if (!w->term_sent)
        loop_timer_set(w->env->loop, t, worker_deadline(w, w->config->graceful_ms / 2));
    w->term_sent = true;
}

/* A worker that sleeps in a ring's futex looks at its control socket when it is woken. */
static void nudge_lanes(struct worker *w)
{
    for (uint32_t i = 0; w->lanes != NULL && i < w->config->lanes; i++)
        w->lanes[i].channel->ops->nudge(w->lanes[i].channel);
}

/* On a machine that is busy enough the guard may wait for a CPU for seconds, and nobody else knows how the worker ended. Only one that is stopped,
 * or dead, will not tell any more. */
bool worker_awaits_guard(struct worker *w)
{
    enum { MOST_WAITS = 20 };
    struct os_proc p;
    if (w->env->guard == NULL || w->guard_waits >= MOST_WAITS || w->env->os->proc_info(guard_pid(w->env->guard), &p) != 0 ||
        strchr("TtZX", p.state) != NULL)
        return false;
    w->guard_waits++;
    loop_timer_set(w->env->loop, &w->status_timer, worker_deadline(w, STATUS_WAIT_MS));
    return true;
}

/* Somebody whom the guard waits for, a program on a dead file system, say, would go on hanging: it has no number yet that could be signalled. What a
 * template is asked for comes, or is given up by the guard: to cancel it would cost the template. */
static void cancel_start(struct worker *w)
{
    if (w->spawned && !w->exited && w->pid == 0 && w->zygote == NULL && w->env->guard != NULL)
        guard_cancel(w->env->guard, (uint64_t)(uintptr_t)&w->child);
}

void worker_kill(struct worker *w, int code, const char *text)
{
    poollock_acquire(w->config->lock);
    w->expected = true;
    worker_move(w, PIT_WORKER_STOPPING);
    poollock_release(w->config->lock);
    worker_signal_group(w, SIGKILL);
    registry_ending(w->env->registry, (uint64_t)(uintptr_t)&w->child);
    worker_fail(w, code, text, NULL);
    cancel_start(w); /* comes last: w may be freed by it */
}

void worker_stop(struct worker *w)
{
    if (worker_state(w) == PIT_WORKER_STARTING) { /* it has nothing to clean up, and may not listen yet */
        worker_kill(w, PIT_E_SHUTTING_DOWN, "the worker was told to end");
        return;
    }
    poollock_acquire(w->config->lock);
    bool go = worker_move(w, PIT_WORKER_STOPPING);
    w->expected = true;
    poollock_release(w->config->lock);
    if (!go)
        return;
    uint8_t frame[FRAME_HEADER];
    size_t done = 0;
    frame_put_header(frame, FRAME_STOP, 0, 0, 0, sizeof frame);
    bool asked = w->hello && w->control_open && w->control->ops->send(w->control, frame, sizeof frame, &done) == 0;
    nudge_lanes(w);
    registry_ending(w->env->registry, (uint64_t)(uintptr_t)&w->child);
    w->term_sent = !asked;
    if (!asked)
        worker_signal_group(w, SIGTERM);
    loop_timer_set(w->env->loop, &w->stop_timer, worker_deadline(w, w->config->graceful_ms / 2));
    worker_fail(w, PIT_E_SHUTTING_DOWN, "it was told to end", NULL);
}

void worker_terminate(struct worker *w, int64_t grace_ms, int code, const char *text)
{
    if (grace_ms == 0 || !w->runs) { /* who has not even been spawned has nothing to end in peace */
        worker_kill(w, code, text);
        return;
    }
    poollock_acquire(w->config->lock);
    bool go = worker_move(w, PIT_WORKER_STOPPING);
    w->expected = w->expected || go;
    poollock_release(w->config->lock);
    if (!go)
        return;
    worker_signal_group(w, SIGTERM);
    registry_ending(w->env->registry, (uint64_t)(uintptr_t)&w->child);
    w->term_sent = true;
    loop_timer_set(w->env->loop, &w->stop_timer, worker_deadline(w, grace_ms));
    worker_fail(w, code, text, NULL);
}

void worker_init_stop(struct worker *w)
{
    w->stop_timer.fn = on_stop_timer;
}
