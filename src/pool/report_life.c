/* What a pool tells of its workers' lives: events, and lines of the log. Loop thread; not under the pool's lock, unless said otherwise.
 *
 * Failure: without memory what a worker wrote last is left out. */
#include <stdio.h>
#include <string.h>

#include "pool/pool_internal.h"

enum { LAST_WORDS = 2048 /* bytes in an event */, LAST_LINES = 5 /* in the log */, LINE_BYTES = 300 };

void report_complete(struct pool *p, unsigned ready)
{
    if (!telemetry_wants(p->env->telemetry, EVENT_POOL_INIT_COMPLETE))
        return;
    struct event_common common = pool_common(p);
    const double numbers[] = {(double)(pool_now(p) - p->opened_ns) / 1e6, ready, p->n_slots};
    telemetry_emit(p->env->telemetry, EVENT_POOL_INIT_COMPLETE, &common, numbers, NULL);
}

static void report_restarted(struct pool *p, struct worker *w)
{
    struct slot *s = &p->slots[w->slot];
    struct event_common common = worker_common(w);
    if (telemetry_wants(p->env->telemetry, EVENT_POOL_WORKER_RESTARTED))
        telemetry_emit(p->env->telemetry, EVENT_POOL_WORKER_RESTARTED, &common, (const double[]){(double)(w->generation - 1)},
                       NULL);
    if (s->lost_ns != 0 && telemetry_wants(p->env->telemetry, EVENT_WORKER_RESTARTED)) {
        const double ms = (double)(pool_now(p) - s->lost_ns) / 1e6;
        const char *texts[] = {s->lost_why, worker_start_mode(w)};
        telemetry_emit(p->env->telemetry, EVENT_WORKER_RESTARTED, &common, &ms, texts);
    }
    s->lost_ns = 0;
}

/* Its threads take turns: right for those that wait and for libraries that let the GIL go, and worth knowing. */
static void report_gil(struct pool *p, const struct worker *w)
{
    if (!p->set.threaded || w->gil != PIT_ON)
        return;
    if (!p->warned_of_gil)
        log_line(p->env->log, PIT_LOG_WARNING,
                 "pool %s: the interpreter has a GIL: of the %u threads of a worker one at a time runs Python code",
                 p->set.name, (unsigned)p->set.lanes);
    p->warned_of_gil = true;
    if (!telemetry_wants(p->env->telemetry, EVENT_WORKER_GIL_ENABLED))
        return;
    struct event_common common = worker_common(w);
    const double threads = (double)p->set.lanes;
    telemetry_emit(p->env->telemetry, EVENT_WORKER_GIL_ENABLED, &common, &threads, NULL);
}

void report_ready(struct pool *p, struct worker *w, struct report_ready what)
{
    struct event_common common = worker_common(w);
    log_line(p->env->log, PIT_LOG_INFO, "worker %s (pid %d) is ready", w->id, (int)w->pid);
    if (telemetry_wants(p->env->telemetry, EVENT_POOL_WORKER_READY))
        telemetry_emit(p->env->telemetry, EVENT_POOL_WORKER_READY, &common, (const double[]){what.ready}, NULL);
    report_gil(p, w);
    if (what.successor)
        report_restarted(p, w);
    if (what.first && telemetry_wants(p->env->telemetry, EVENT_POOL_INITIALIZED)) {
        const double numbers[] = {(double)(pool_now(p) - p->opened_ns) / 1e6, what.ready};
        common = pool_common(p);
        telemetry_emit(p->env->telemetry, EVENT_POOL_INITIALIZED, &common, numbers, NULL);
    }
}

/* ---- ends ---- */

void report_running(const struct pool *p, struct worker *w, char *text, size_t n)
{
    text[0] = '\0';
    for (uint32_t i = 0; w->lanes != NULL && i < p->config.lanes && text[0] == '\0'; i++) {
        const struct flight *f = w->lanes[i].count != 0 ? lane_head(&w->lanes[i]) : NULL;
        if (f != NULL && f->call != NULL && lane_started(&w->lanes[i], f->sequence))
            snprintf(text, n, "; it ran %.64s", f->call->command);
    }
}

/* The end of its stderr, whole lines of it; NULL: it wrote nothing. */
static pit_value *last_words(const struct worker *w)
{
    char tail[LAST_WORDS];
    size_t n = capture_tail(&w->err, tail, sizeof tail);
    bool is_cut = capture_is_cut(&w->err, n);
    while (n > 0 && tail[n - 1] == '\n')
        n--;
    return exit_words((struct exit_printed){tail, n, is_cut});
}

static void log_words(struct pool *p, const struct worker *w, const char *words)
{
    if (words == NULL)
        return;
    const char *from = words + strlen(words);
    for (int lines = 0; from > words && (from[-1] != '\n' || ++lines < LAST_LINES);)
        from--;
    while (*from != '\0') {
        size_t n = strcspn(from, "\n");
        char line[LINE_BYTES];
        worker_clean(line, sizeof line, from, n);
        log_line(p->env->log, PIT_LOG_WARNING, "worker %s wrote last: %s", w->id, line);
        from += n + (from[n] == '\n');
    }
}

void report_end(struct pool *p, struct worker *w, bool crash, const char *running)
{
    char text[EXIT_TEXT_SIZE];
    pit_value *words = crash ? last_words(w) : NULL;
    bool planned = life_ended_well(w) && !life_is_failed_start(p, w) && replace_is_ours(w);
    struct event_common common = worker_common(w);
    char code[16];
    snprintf(code, sizeof code, "%d", exit_shell_code(w->how));
    if (telemetry_wants(p->env->telemetry, EVENT_POOL_WORKER_TERMINATED)) {
        const double numbers[] = {(double)(pool_now(p) - w->started_ns) / 1e6, (double)worker_calls(w)};
        const char *texts[] = {planned ? "true" : "false", exit_class_name(w->exit_class), code};
        telemetry_emit(p->env->telemetry, EVENT_POOL_WORKER_TERMINATED, &common, numbers, texts);
    }
    if (crash && telemetry_wants(p->env->telemetry, EVENT_WORKER_CRASH)) {
        const double numbers[] = {1};
        const char *texts[] = {w->end_text != NULL ? w->end_text : exit_class_text(w->exit_class), code,
                               exit_class_name(w->exit_class), pit_value_str(words),
                               pit_value_str(pit_value_get(w->dossier, "id"))};
        telemetry_emit(p->env->telemetry, EVENT_WORKER_CRASH, &common, numbers, texts);
    }
    log_line(p->env->log, crash ? PIT_LOG_WARNING : PIT_LOG_INFO, "worker %s (pid %d)%s %s%s", w->id, (int)w->pid,
             w->end_text != NULL ? ":" : "", w->end_text != NULL ? w->end_text : worker_exit_text(w, text), running);
    log_words(p, w, pit_value_str(words));
    pit_value_free(words);
}
