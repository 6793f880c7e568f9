/* See heartbeat.h. */
#include "worker/heartbeat.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "worker/worker_internal.h"

#define NS_PER_MS 1e6

unsigned worker_capabilities(const pit_value *ready)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"heart", WORKER_HAS_HEART},
                 {"ping", WORKER_HAS_PONG},
                 {"health", WORKER_HAS_HEALTH},
                 {"cancel_signal", WORKER_TAKES_SIGNAL},
                 {"survives_cancel", WORKER_SURVIVES_CANCEL},
                 {"cancel", WORKER_TAKES_CANCEL}};
    enum { LOOKED_AT = 64 };
    const pit_value *list = pit_value_get(ready, "capabilities");
    unsigned bits = 0;
    for (size_t i = 0; i < pit_value_len(list) && i < LOOKED_AT; i++) {
        const char *name = pit_value_str(pit_value_at(list, i));
        for (size_t k = 0; name != NULL && k < sizeof known / sizeof known[0]; k++)
            bits |= strcmp(name, known[k].name) == 0 ? known[k].bit : 0u;
    }
    return bits;
}

/* The lane whose call the worker has had longest; NULL: it has none. *ret_ns: since when. */
static struct lane *longest(struct worker *w, uint64_t now_ns, uint64_t *ret_ns)
{
    struct lane *found = NULL;
    for (uint32_t i = 0; w->lanes != NULL && i < w->config->lanes; i++) {
        struct lane *l = &w->lanes[i];
        const struct flight *f = lane_head(l);
        if (f == NULL)
            continue;
        if (l->watched != f->sequence) {
            l->watched = f->sequence;
            l->watched_ns = f->call != NULL ? __atomic_load_n(&f->call->sent_ns, __ATOMIC_RELAXED) : now_ns;
        }
        if (found == NULL || l->watched_ns < *ret_ns) {
            found = l;
            *ret_ns = l->watched_ns;
        }
    }
    return found;
}

static struct lane_status *words(const struct worker *w)
{
    return channel_ring_status(w->segment, 0, w->config->ring_bytes);
}

static struct heartbeat_seen look(struct worker *w, uint64_t since_ns)
{
    struct heartbeat_seen seen = {.running_since_ns = since_ns, .progress = worker_calls(w)};
    if ((w->capabilities & WORKER_HAS_HEART) == 0) {
        seen.pong = __atomic_load_n(&w->beat.pong, __ATOMIC_ACQUIRE);
        seen.pong_ns = __atomic_load_n(&w->beat.pong_ns, __ATOMIC_RELAXED);
        return seen;
    }
    const struct lane_status *s = words(w);
    seen.pong = __atomic_load_n(&s->pong, __ATOMIC_ACQUIRE);
    seen.pong_ns = __atomic_load_n(&s->pong_ns, __ATOMIC_RELAXED);
    seen.progress += __atomic_load_n(&s->ticks, __ATOMIC_RELAXED);
    return seen;
}

void worker_beat_pong(struct worker *w, uint64_t number)
{
    __atomic_store_n(&w->beat.pong_ns, w->env->os->now_ns(), __ATOMIC_RELAXED);
    __atomic_store_n(&w->beat.pong, (uint32_t)number, __ATOMIC_RELEASE);
}

/* As worker_send_control. */
static int send_ping(struct worker *w)
{
    uint32_t ping = w->beat.state.ping;
    if ((w->capabilities & WORKER_HAS_HEART) == 0) {
        uint8_t frame[FRAME_HEADER];
        frame_put_header(frame, FRAME_PING, 0, ping, 0, sizeof frame);
        return worker_send_control(w, frame, sizeof frame);
    }
    struct lane_status *s = words(w);
    __atomic_store_n(&s->ping, ping, __ATOMIC_SEQ_CST);
    w->env->os->futex_wake(&s->ping, INT_MAX);
    return 1;
}

static void count(struct worker *w, unsigned what)
{
    w->beat.pongs += (what & HEARTBEAT_PONG) != 0;
    w->beat.timeouts += (what & HEARTBEAT_MISSED) != 0;
    w->beat.failures += (what & HEARTBEAT_FAILED) != 0;
    if ((what & HEARTBEAT_STALLED) != 0)
        w->flags |= PIT_WORKER_FLAG_STALLED;
    if ((what & HEARTBEAT_MOVES) != 0)
        w->flags &= ~PIT_WORKER_FLAG_STALLED;
}

void worker_beat_look(struct worker *w, const struct beat_rules *r, uint64_t now_ns, struct beat_news *ret)
{
    uint64_t since = 0;
    struct lane *l = longest(w, now_ns, &since);
    bool asked = (w->capabilities & WORKER_HAS_HEART) != 0 || ((w->capabilities & WORKER_HAS_PONG) != 0 && r->kill_busy);
    *ret = (struct beat_news){.step.due_ns = UINT64_MAX};
    if (!asked)
        return;
    if (l != NULL && since < w->ready_ns + r->delay_ns) /* as if the call had begun with the end of the delay */
        since = w->ready_ns + r->delay_ns;
    struct heartbeat_seen seen = look(w, l != NULL ? since : 0);
    ret->step = heartbeat_step(&w->beat.state, &r->policy, &seen, now_ns);
    if ((ret->step.what & HEARTBEAT_PING) != 0) {
        int sent = send_ping(w);
        ret->broken = sent < 0;
        w->beat.pings += sent == 1;
        if (sent != 1) {
            heartbeat_unsent(&w->beat.state, &r->policy, now_ns);
            ret->step.what &= ~(unsigned)HEARTBEAT_PING;
            ret->step.due_ns = now_ns + r->policy.interval_ns;
        }
    }
    count(w, ret->step.what);
    const struct call *c = l != NULL ? lane_head(l)->call : NULL;
    if (c != NULL && (ret->step.what & HEARTBEAT_STALLED) != 0)
        snprintf(ret->command, sizeof ret->command, "%s", c->command);
}

void worker_beat_end(struct worker *w, struct beat_news *ret)
{
    *ret = (struct beat_news){.ended = true};
    ret->step.what = heartbeat_end(&w->beat.state);
    ret->step.due_ns = UINT64_MAX;
    count(w, ret->step.what);
}

/* ---- telling ---- */

static const char *stop_reason(const struct beat_news *news)
{
    if ((news->step.what & HEARTBEAT_KILL) != 0)
        return "heartbeat_timeout";
    return news->ended ? "worker_ended" : "call_ended";
}

static void tell_misses(struct worker *w, const struct beat_rules *r, const struct beat_news *news,
                        const struct event_common *common)
{
    const double timeouts[] = {(double)w->beat.timeouts, news->step.missed};
    recorder_note(w, RECORDER_MISSED, 0, news->step.missed);
    telemetry_emit(w->env->telemetry, EVENT_HEARTBEAT_TIMEOUT, common, timeouts, NULL);
    if ((news->step.what & HEARTBEAT_FAILED) == 0)
        return;
    char missed[16];
    snprintf(missed, sizeof missed, "%u", news->step.missed);
    const double failures[] = {(double)w->beat.failures};
    const char *texts[] = {r->policy.dependent ? "true" : "false", missed};
    telemetry_emit(w->env->telemetry, EVENT_HEARTBEAT_MONITOR_FAILURE, common, failures, texts);
    log_line(w->env->log, PIT_LOG_WARNING, "worker %s (pid %d) has missed %u heartbeats in a row", w->id, (int)w->pid,
             news->step.missed);
}

static void tell_stall(struct worker *w, const struct beat_news *news, const struct event_common *common)
{
    double ms = (double)news->step.stalled_ns / NS_PER_MS;
    const char *texts[] = {news->command};
    telemetry_emit(w->env->telemetry, EVENT_WORKER_STALLED, common, &ms, texts);
    log_line(w->env->log, PIT_LOG_INFO, "worker %s (pid %d) lives, but has run no Python for %.0f ms, in %s", w->id,
             (int)w->pid, ms, news->command[0] != '\0' ? news->command : "a call that was given up");
}

void worker_beat_tell(struct worker *w, const struct beat_rules *r, const struct beat_news *news)
{
    unsigned what = news->step.what;
    struct event_common common = worker_common(w);
    struct telemetry *t = w->env->telemetry;
    static const double one[] = {1};
    const double pings[] = {(double)w->beat.pings};
    const double pongs[] = {(double)w->beat.pongs, (double)news->step.latency_ns / NS_PER_MS};
    const char *dependent[] = {r->policy.dependent ? "true" : "false"}, *reason[] = {stop_reason(news)};
    if ((what & HEARTBEAT_STARTED) != 0)
        telemetry_emit(t, EVENT_HEARTBEAT_MONITOR_STARTED, &common, one, dependent);
    if ((what & HEARTBEAT_PONG) != 0)
        telemetry_emit(t, EVENT_HEARTBEAT_PONG_RECEIVED, &common, pongs, NULL);
    if ((what & HEARTBEAT_STALLED) != 0)
        tell_stall(w, news, &common);
    if ((what & HEARTBEAT_MISSED) != 0)
        tell_misses(w, r, news, &common);
    if ((what & HEARTBEAT_STOPPED) != 0)
        telemetry_emit(t, EVENT_HEARTBEAT_MONITOR_STOPPED, &common, one, reason);
    if ((what & HEARTBEAT_PING) != 0)
        telemetry_emit(t, EVENT_HEARTBEAT_PING_SENT, &common, pings, NULL);
}
