/* See health.h. */
#include "worker/health.h"

#include <snakepit/value.h>
#include <stdio.h>
#include <string.h>

#include "worker/worker_internal.h"

#define RETRY_NS (1000 * MS)
enum { REPLY_MAX = 64 * 1024 };

/* Does a call run in it? One that waits behind a health() that does not return has not started. */
static bool runs(const struct worker *w)
{
    for (uint32_t i = 0; i < w->config->lanes; i++) {
        struct lane *l = &w->lanes[i];
        const struct flight *f = lane_head(l);
        if (f != NULL && lane_started(l, f->sequence))
            return true;
    }
    return false;
}

static void ask(struct worker *w, const struct health_rules *r, uint64_t now_ns, struct health_news *ret)
{
    struct worker_health *h = &w->health;
    uint8_t frame[FRAME_HEADER];
    frame_put_header(frame, FRAME_HEALTH, 0, h->asked + 1, 0, sizeof frame);
    int rc = worker_send_control(w, frame, sizeof frame);
    if (rc < 0)
        ret->what = HEALTH_BROKEN;
    if (rc != 1) {
        h->next_ns = now_ns + (r->interval_ns < RETRY_NS ? r->interval_ns : RETRY_NS);
        return;
    }
    h->asked++;
    h->waiting = true;
    h->answered = false;
    h->idle_ns = now_ns;
    h->calls = worker_calls(w);
}

static void judge(struct worker *w, const struct health_rules *r, bool ok, const char *reason, uint64_t now_ns,
                  struct health_news *ret)
{
    struct worker_health *h = &w->health;
    h->waiting = false;
    h->next_ns = now_ns + r->interval_ns;
    h->failures = ok ? 0 : h->failures + 1;
    if (ok)
        w->flags &= ~PIT_WORKER_FLAG_SUSPECT;
    else
        w->flags |= PIT_WORKER_FLAG_SUSPECT;
    ret->what = ok ? HEALTH_PASSED : HEALTH_FAILED;
    ret->failures = h->failures;
    snprintf(ret->reason, sizeof ret->reason, "%s", reason);
}

void worker_health_look(struct worker *w, const struct health_rules *r, uint64_t now_ns, struct health_news *ret)
{
    struct worker_health *h = &w->health;
    bool serves = w->state == PIT_WORKER_READY || w->state == PIT_WORKER_BUSY;
    ret->what = 0;
    ret->due_ns = UINT64_MAX;
    if (w->dead || (w->capabilities & WORKER_HAS_HEALTH) == 0 || r->interval_ns == UINT64_MAX)
        return;
    if (!serves) { /* one that drains may come back */
        ret->due_ns = now_ns + r->interval_ns;
        return;
    }
    if (h->next_ns == 0)
        h->next_ns = w->ready_ns + r->interval_ns;
    uint64_t calls = worker_calls(w);
    if (h->waiting && (calls != h->calls || runs(w))) {
        h->idle_ns = now_ns;
        h->calls = calls;
    }
    if (h->waiting && h->answered)
        judge(w, r, h->ok, h->reason, now_ns, ret);
    else if (h->waiting && now_ns - h->idle_ns >= r->timeout_ns)
        judge(w, r, false, "it did not answer in time", now_ns, ret);
    else if (!h->waiting && now_ns >= h->next_ns)
        ask(w, r, now_ns, ret);
    ret->due_ns = h->waiting ? h->idle_ns + r->timeout_ns : h->next_ns;
}

void worker_health_tell(struct worker *w, const struct health_news *news)
{
    if ((news->what & HEALTH_FAILED) == 0)
        return;
    struct event_common common = worker_common(w);
    const double numbers[] = {(double)news->failures};
    const char *texts[] = {news->reason};
    log_line(w->env->log, PIT_LOG_WARNING, "worker %s (pid %d) has failed %u health checks in a row: %s", w->id, (int)w->pid,
             news->failures, news->reason);
    telemetry_emit(w->env->telemetry, EVENT_WORKER_HEALTH_CHECK_FAILED, &common, numbers, texts);
}

/* ---- the answer ---- */

/* The report before, to be freed. */
static pit_value *take_reply(struct worker *w, const pit_value *reply)
{
    static const char unreadable[] = "its answer is no map with `ok`";
    struct worker_health *h = &w->health;
    const pit_value *report = pit_value_get(reply, "report");
    const char *reason = pit_value_str(pit_value_get(reply, "reason"));
    h->ok = false;
    if (!pit_value_get_bool(pit_value_get(reply, "ok"), &h->ok))
        reason = unreadable;
    const char *text = reason != NULL ? reason : "it says so, and gives no reason";
    worker_clean(h->reason, sizeof h->reason, text, strlen(text));
    pit_value *before = h->report;
    h->report = pit_value_kind(report) == PIT_KIND_MAP ? pit_value_ref(report) : NULL;
    h->answered = true;
    return before;
}

int worker_health_reply(struct worker *w, const struct frame *f)
{
    if (f->payload_n > REPLY_MAX)
        return PIT_E_PROTOCOL_ERROR;
    poollock_acquire(w->config->lock);
    bool wanted = w->health.waiting && !w->health.answered && f->id == w->health.asked;
    poollock_release(w->config->lock);
    if (!wanted)
        return 0;
    static const struct codec_limits small = {.max_bytes = 1 << 20};
    pit_value *reply = NULL;
    if (codec_decode(f->payload, f->payload_n, &small, &reply, NULL, NULL) != 0)
        return PIT_E_PROTOCOL_ERROR;
    poollock_acquire(w->config->lock);
    pit_value *before = take_reply(w, reply);
    poollock_release(w->config->lock);
    pit_value_free(before);
    pit_value_free(reply);
    w->events->replied(w);
    return 0;
}
