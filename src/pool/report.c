/* What a pool tells of its calls: the errors of expiry, and events. Events are never emitted under
 * the pool's lock; an error of what waited in the queue is made under it. */
#include <stdio.h>

#include "pool/cancel.h"
#include "pool/pool_internal.h"
#include "pool/stream.h"

static const char *const priority_names[] = {"", "background", "normal", "high", "urgent"};

const char *pool_correlation(struct pool *p, struct call *c)
{
    if (c->correlation_id == NULL && c->sent_ns == 0) { /* it never had a worker, whose prefix it could carry */
        call_put_id(c->id, p->host->call_prefix, __atomic_add_fetch(&p->host->call_counter, 1, __ATOMIC_RELAXED));
        c->correlation_id = c->id;
    }
    return call_correlation(c, c->prefix);
}

pit_error *expired_error(struct pool *p, struct call *c, bool in_queue)
{
    uint64_t now = pool_now(p);
    bool queue_only = in_queue && now < c->deadline_ns;
    pit_error *e;
    if (queue_only)
        e = error_new(PIT_E_QUEUE_TIMEOUT, "the call of %s waited %.0f ms for a worker of pool %s and never ran", c->command,
                      (double)(now - c->queued_ns) / 1e6, p->set.name);
    else
        e = error_new(PIT_E_DEADLINE_EXCEEDED, "the call of %s had no result after %.0f ms", c->command,
                      (double)(now - c->entered_ns) / 1e6);
    error_pool(e, p->set.name);
    if (!in_queue && c->lane != NULL)
        error_worker(e, c->lane->worker->id);
    error_correlation(e, pool_correlation(p, c));
    error_detail_take(e, "command", pit_str(c->command));
    error_detail_take(e, "timeout_ms", pit_int(queue_only ? p->set.queue_timeout_ms : c->timeout_ms));
    error_detail_take(e, "phase", pit_str(in_queue ? "queue" : c->state == CALL_BACKOFF ? "backoff" : "worker"));
    error_detail_take(e, "rung", pit_int(in_queue ? RUNG_DROP : cancel_first_rung(p, c)));
    if (in_queue && pool_count_ready(p) == 0)
        return error_suggest(
            e, "no worker of the pool is ready: does it start slowly? Wait with pit_await_ready, or allow more time");
    if (in_queue)
        return error_suggest(e, queue_only ? "more workers, or a longer queue_timeout_ms; pit_get_stats shows the queue"
                                           : "more workers, or a longer timeout_ms; pit_get_stats shows the queue");
    repro_put(&p->config.repro, c, e);
    return error_suggest(e, "a longer timeout_ms; in Python session_context.deadline and .cancelled() tell when to stop");
}

pit_error *recycled_error(struct pool *p, struct call *c)
{
    const char *worker = c->lane->worker->id;
    pit_error *e =
        error_new(PIT_E_WORKER_RECYCLED, "worker %s was recycled, and the call of %s had not ended after drain_timeout_ms",
                  worker, c->command);
    error_pool(e, p->set.name);
    error_worker(e, worker);
    error_correlation(e, pool_correlation(p, c));
    error_detail_take(e, "command", pit_str(c->command));
    error_detail_take(e, "timeout_ms", pit_int(p->set.drain_timeout_ms));
    error_detail_take(e, "rung", pit_int(cancel_first_rung(p, c)));
    repro_put(&p->config.repro, c, e);
    return exit_suggest_step(e, PIT_E_WORKER_RECYCLED);
}

static struct event_common common_of(struct pool *p, struct call *c, const char *worker)
{
    return (struct event_common){.pool = p->set.name,
                                 .worker_id = worker,
                                 .session_id = c->session_id,
                                 .correlation_id = pool_correlation(p, c),
                                 .call_id = c->sequence};
}

static void tell_start(struct pool *p, const struct call *c, const struct event_common *common)
{
    const double numbers[] = {(double)c->timeout_ms};
    const char *texts[] = {c->command};
    telemetry_emit(p->env->telemetry, EVENT_CALL_START, common, numbers, texts);
}

void report_start(struct pool *p, struct call *c)
{
    struct event_common common = common_of(p, c, NULL);
    tell_start(p, c, &common);
}

void report_cancelled(struct pool *p, struct call *c, const char *reason)
{
    struct event_common common = common_of(p, c, NULL);
    const double numbers[] = {(double)(pool_now(p) - c->entered_ns) / 1e6, 0, 0, 0};
    const char *texts[] = {c->command, "1", reason};
    telemetry_emit(p->env->telemetry, EVENT_CALL_CANCELLED, &common, numbers, texts);
}

void report_limit(struct pool *p, struct call *c)
{
    struct event_common common = common_of(p, c, c->worker_id);
    const double numbers[] = {(double)limit_in_units(c->limit_passed, c->limits.most[c->limit_passed]), (double)c->limit_used};
    const char *texts[] = {c->command, limit_name(c->limit_passed)};
    telemetry_emit(p->env->telemetry, EVENT_CALL_LIMIT, &common, numbers, texts);
}

static void report_stop(struct pool *p, struct call *c, const struct event_common *common, double ms, const char *code)
{
    if (c->outcome.rc == 0) {
        const double numbers[] = {ms,
                                  (double)c->queue_ns / 1e6,
                                  (double)c->serialize_ns / 1e3,
                                  (double)c->python_ns / 1e3,
                                  (double)c->deserialize_ns / 1e3,
                                  (double)c->frame.len,
                                  (double)c->bytes_out};
        const char *texts[] = {c->command, "ok"};
        telemetry_emit(p->env->telemetry, EVENT_CALL_STOP, common, numbers, texts);
    } else {
        const double numbers[] = {ms, (double)c->queue_ns / 1e6, (double)c->frame.len, (double)c->bytes_out};
        const char *texts[] = {c->command, code, pit_error_category(c->outcome.error)};
        telemetry_emit(p->env->telemetry, EVENT_CALL_EXCEPTION, common, numbers, texts);
    }
}

static void tell_worker(struct pool *p, const struct call_way *way)
{
    struct event_common common = {.pool = p->set.name, .worker_id = way->worker_id, .generation = way->generation};
    const char *texts[] = {way->from, way->to};
    telemetry_emit(p->env->telemetry, EVENT_WORKER_STATE_CHANGED, &common, NULL, texts);
}

static void report_steps(struct pool *p, const struct call *c, const struct call_way *way, struct event_common *common)
{
    const char *texts[] = {c->command, priority_names[c->priority]};
    if ((way->steps & CALL_BEGUN) != 0)
        tell_start(p, c, common);
    if ((way->steps & CALL_WORKER) != 0)
        tell_worker(p, way);
    const double queue[] = {(double)way->queue_depth, (double)way->queue_ns / 1e6};
    if ((way->steps & CALL_RETRIED) != 0) {
        const double retried[] = {way->attempt, (double)way->backoff_ns / 1e6};
        telemetry_emit(p->env->telemetry, EVENT_CALL_RETRIED, common, retried, texts);
    }
    if ((way->steps & CALL_ENQUEUED) != 0)
        telemetry_emit(p->env->telemetry, EVENT_POOL_QUEUE_ENQUEUED, common, queue, texts);
    common->worker_id = way->worker_id;
    common->call_id = way->call_id;
    if ((way->steps & CALL_DEQUEUED) != 0)
        telemetry_emit(p->env->telemetry, EVENT_POOL_QUEUE_DEQUEUED, common, queue, texts);
    if ((way->steps & CALL_DISPATCHED) != 0) {
        const char *dispatched[] = {c->command, way->was_queued ? "true" : "false"};
        telemetry_emit(p->env->telemetry, EVENT_POOL_CALL_DISPATCHED, common, &queue[1], dispatched);
    }
}

void report_way(struct pool *p, struct call *c, struct call_way *way)
{
    if (way->steps == 0)
        return;
    /* what may change meanwhile is read from *way only */
    struct event_common common = {.pool = p->set.name, .session_id = c->session_id, .correlation_id = pool_correlation(p, c)};
    report_steps(p, c, way, &common);
    way->steps = 0;
}

static void report_queue_timeout(struct pool *p, struct call *c, const struct event_common *common)
{
    const char *texts[] = {c->command, priority_names[c->priority]};
    const double numbers[] = {(double)c->queue_depth, (double)c->queue_ns / 1e6};
    bool expired = c->outcome.rc == PIT_E_QUEUE_TIMEOUT || (c->outcome.rc == PIT_E_DEADLINE_EXCEEDED && c->sent_ns == 0);
    if (expired)
        telemetry_emit(p->env->telemetry, EVENT_POOL_QUEUE_TIMEOUT, common, numbers, texts);
}

void report_call(struct pool *p, struct call *c)
{
    const char *code = pit_error_code_name(c->outcome.rc);
    struct call_way way;
    sched_take_way(c, &way);
    report_way(p, c, &way);
    struct event_common common = common_of(p, c, c->sent_ns != 0 ? c->worker_id : NULL);
    double ms = (double)((c->ended_ns != 0 ? c->ended_ns : pool_now(p)) - c->entered_ns) / 1e6;
    if (c->was_queued)
        report_queue_timeout(p, c, &common);
    if (c->outcome.rc == PIT_E_POOL_SATURATED) {
        const double numbers[] = {(double)p->set.max_queue_size, (double)p->set.max_queue_size};
        pit_stats now = PIT_STATS_INIT;
        char available[16], busy[16];
        pool_get_stats(p, &now);
        snprintf(available, sizeof available, "%u", (unsigned)now.available);
        snprintf(busy, sizeof busy, "%u", (unsigned)now.busy);
        const char *texts[] = {available, busy};
        telemetry_emit(p->env->telemetry, EVENT_POOL_SATURATED, &common, numbers, texts);
    }
    report_stop(p, c, &common, ms, code);
    bool aborted = c->outcome.rc == PIT_E_CANCELLED || c->outcome.rc == PIT_E_SHUTTING_DOWN;
    const double numbers[] = {ms * 1e3};
    const char *texts[] = {c->command,
                           c->outcome.rc == 0 ? "true" : "false",
                           c->was_queued ? "true" : "false",
                           aborted ? "true" : "false",
                           aborted ? code : NULL,
                           code};
    telemetry_emit(p->env->telemetry, EVENT_REQUEST_EXECUTED, &common, numbers, texts);
}

/* ---- streams ---- */

static const char *direction_of(const struct stream *s)
{
    return s->inbox ? "both" : "in";
}

void report_stream_opened(struct pool *p, struct call *c)
{
    if (!telemetry_wants(p->env->telemetry, EVENT_STREAM_OPENED))
        return;
    struct event_common common = common_of(p, c, NULL);
    const double numbers[] = {1};
    const char *texts[] = {c->command, direction_of(c->stream)};
    telemetry_emit(p->env->telemetry, EVENT_STREAM_OPENED, &common, numbers, texts);
}

void report_stream_message(struct pool *p, struct call *c, bool out, size_t bytes)
{
    if (!telemetry_wants(p->env->telemetry, EVENT_STREAM_MESSAGE))
        return;
    struct event_common common = common_of(p, c, NULL);
    const double numbers[] = {(double)bytes};
    const char *texts[] = {c->command, out ? "out" : "in"};
    telemetry_emit(p->env->telemetry, EVENT_STREAM_MESSAGE, &common, numbers, texts);
}

void report_stream_halted(struct pool *p, struct call *c, const char *reason)
{
    if (!telemetry_wants(p->env->telemetry, EVENT_STREAM_HALTED))
        return;
    pool_lock(p);
    const double numbers[] = {(double)c->stream->received};
    pool_unlock(p);
    struct event_common common = common_of(p, c, NULL);
    const char *texts[] = {c->command, reason};
    telemetry_emit(p->env->telemetry, EVENT_STREAM_HALTED, &common, numbers, texts);
}

void report_stream_closed(struct pool *p, struct call *c)
{
    if (!telemetry_wants(p->env->telemetry, EVENT_STREAM_CLOSED))
        return;
    struct event_common common = common_of(p, c, NULL);
    const double numbers[] = {(double)c->stream->received, (double)(pool_now(p) - c->entered_ns) / 1e6};
    const char *texts[] = {c->command, direction_of(c->stream), c->outcome.rc == 0 ? "ok" : pit_error_code_name(c->outcome.rc)};
    telemetry_emit(p->env->telemetry, EVENT_STREAM_CLOSED, &common, numbers, texts);
}
