/* See dossier.h. */
#include "worker/dossier.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/redact.h"
#include "crash/crash.h"
#include "ring/segment.h"
#include "wire/time.h"
#include "wire/value.h"
#include "worker/worker_internal.h"

enum { STDERR_BYTES = 8192, CALLS_MAX = 64 };

/* ---- the page ---- */

size_t dossier_segment_bytes(const struct dossier_rules *r)
{
    return r->enabled ? CRASH_PAGE_BYTES : 0;
}

void dossier_offer_page(const struct dossier_rules *r, void *segment, size_t page_at)
{
    if (!r->enabled)
        return;
    struct crash_page *page = (struct crash_page *)(void *)((uint8_t *)segment + page_at);
    page->wanted = CRASH_PYTHON | (r->native_stack ? CRASH_NATIVE | CRASH_SYMBOLS : 0);
    ((struct segment_header *)segment)->crash_offset = (uint32_t)page_at;
}

static void put_page(const struct worker *w, struct crash_printed printed, pit_value *dossier, pit_value *missing)
{
    int sig = w->how.code != 0 ? exit_signal(w->how) : CRASH_SIGNAL_LOST;
    if (sig != CRASH_SIGNAL_LOST && !crash_is_told(sig)) { /* a caller waits: nothing is copied in vain */
        crash_read_page(NULL, sig, printed, dossier, missing);
        return;
    }
    struct crash_page *copy = w->segment != NULL ? mem_alloc(sizeof *copy) : NULL;
    if (copy == NULL) {
        pit_list_append_take(missing, pit_str("fault, python, native: no memory"));
        return;
    }
    memcpy(copy, (const uint8_t *)w->segment + w->segment_bytes - CRASH_PAGE_BYTES, sizeof *copy);
    copy->wanted = CRASH_PYTHON | (w->config->dossier.native_stack ? CRASH_NATIVE | CRASH_SYMBOLS : 0);
    crash_read_page(copy, sig, printed, dossier, missing);
    mem_free(copy);
}

/* ---- the rest ---- */

static void put_worker(const struct worker *w, pit_value *dossier)
{
    char id[WORKER_ID + 32], time[TIME_TEXT];
    snprintf(id, sizeof id, "%s-%s-%d.%" PRIu64, w->env->run_id, w->config->pool, w->slot, w->generation);
    pit_map_set_take(dossier, "id", pit_str(id));
    time_put_utc(time, w->env->os->wall_ns());
    pit_map_set_take(dossier, "time", pit_str(time));
    pit_map_set_take(dossier, "worker_id", pit_str(w->id));
    pit_map_set_take(dossier, "pool", pit_str(w->config->pool));
    pit_map_set_take(dossier, "pid", pit_int(w->pid));
    pit_map_set_take(dossier, "start_mode", pit_str(worker_start_mode(w)));
    pit_map_set_take(dossier, "lifetime_ms", pit_uint((w->env->os->now_ns() - w->started_ns) / MS));
    pit_map_set_take(dossier, "calls_finished", pit_uint(worker_calls(w)));
}

static void put_exit(const struct worker *w, pit_value *dossier)
{
    char text[EXIT_TEXT_SIZE];
    int sig = exit_signal(w->how);
    const char *name = crash_signal_name(sig);
    pit_map_set_take(dossier, "exit_class", pit_str(exit_class_name(w->exit_class)));
    pit_map_set_take(dossier, "reason", pit_str(w->end_text != NULL ? w->end_text : exit_text(w->exit_class, w->how, text)));
    if (w->how.code != 0)
        pit_map_set_take(dossier, "exit_code", pit_int(exit_shell_code(w->how)));
    if (sig != 0)
        pit_map_set_take(dossier, "signal", name != NULL ? pit_str(name) : pit_int(sig));
    if (w->exit_class == EXIT_KILLED || w->exit_class == EXIT_OOM || w->exit_class == EXIT_OOM_SUSPECTED)
        pit_map_set_take(dossier, "out_of_memory",
                         pit_str(w->exit_class == EXIT_OOM             ? "proved"
                                 : w->exit_class == EXIT_OOM_SUSPECTED ? "suspected"
                                                                       : "no"));
}

static pit_value *describe_call(const struct worker *w, const struct flight *f)
{
    char id[CALL_ID];
    pit_value *call = pit_map();
    call_put_id(id, w->prefix, f->sequence);
    pit_map_set_take(call, "id", pit_str(id));
    pit_map_set_take(call, "command", pit_str(f->call->command));
    if (f->call->correlation_id != NULL)
        pit_map_set_take(call, "correlation_id", crash_words(f->call->correlation_id, strlen(f->call->correlation_id)));
    return call;
}

/* What it ran: at most one on a lane, but for those that were written ahead and had begun. Lock. */
static pit_value *running_calls(const struct worker *w)
{
    pit_value *calls = pit_list();
    for (uint32_t i = 0; w->lanes != NULL && i < w->config->lanes; i++) {
        struct lane *l = &w->lanes[i];
        for (unsigned k = 0; k < l->count && pit_value_len(calls) < CALLS_MAX; k++) {
            const struct flight *f = lane_at(l, k);
            if (f->call != NULL && lane_started(l, f->sequence))
                pit_list_append_take(calls, describe_call(w, f));
        }
    }
    return calls;
}

static void put_stderr(struct crash_printed printed, pit_value *dossier)
{
    struct buf clean = {0};
    redact(&clean, printed.text, printed.n);
    if (!clean.failed && clean.len != 0)
        pit_map_set_take(dossier, "stderr", crash_words((const char *)clean.data, clean.len));
    buf_finish(&clean);
}

/* It told why it did not start, we ended it, or its end is as little known as it matters. */
static bool is_explained(const struct worker *w)
{
    return w->exit_class == EXIT_NORMAL || (w->exit_class == EXIT_UNKNOWN && w->expected) || w->failure != NULL || w->pid == 0;
}

void dossier_make(struct worker *w)
{
    if (!w->config->dossier.enabled || is_explained(w))
        return;
    pit_value *dossier = pit_map(), *missing = pit_list();
    put_worker(w, dossier);
    put_exit(w, dossier);
    poollock_acquire(w->config->lock);
    pit_value *calls = running_calls(w);
    poollock_release(w->config->lock);
    pit_map_set_take(dossier, "calls", calls);
    char *tail = mem_alloc(STDERR_BYTES);
    struct crash_printed printed = {tail, tail != NULL ? capture_tail(&w->err, tail, STDERR_BYTES) : 0};
    put_page(w, printed, dossier, missing);
    put_stderr(printed, dossier);
    mem_free(tail);
    pit_map_set_take(dossier, "partial", pit_bool(pit_value_len(missing) != 0));
    pit_map_set_take(dossier, "missing", missing);
    if (pit_value_error(dossier) != 0) {
        pit_value_free(dossier);
        return;
    }
    value_freeze(dossier);
    w->dossier = dossier;
}

/* ---- into errors ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Of the thread that crashed, the function that ran. */
static const pit_value *last_function(const pit_value *dossier)
{
    const pit_value *thread, *threads = pit_value_get(dossier, "python");
    for (size_t i = 0; pit_value_next(threads, &i, NULL, &thread);) {
        bool crashed = false;
        if (pit_value_get_bool(pit_value_get(thread, "crashed"), &crashed) && crashed)
            return pit_value_at(pit_value_get(thread, "frames"), 0);
    }
    return NULL;
}

/* Where a frame is; false: that is not known. */
static bool say_frame(struct buf *b, const pit_value *frame)
{
    const char *module = pit_value_str(pit_value_get(frame, "module"));
    const char *symbol = pit_value_str(pit_value_get(frame, "symbol"));
    if (module == NULL)
        return false;
    if (symbol != NULL)
        buf_printf(b, "%s() of %s", symbol, base_name(module));
    else
        buf_printf(b, "%s+%s", base_name(module), pit_value_str_or(pit_value_get(frame, "offset"), "?"));
    return true;
}

/* The place of the fault; where that is a function without a name, or no place at all, also the next one that has a name. */
static void say_native(struct buf *b, const pit_value *native)
{
    const pit_value *first = pit_value_at(native, 0);
    if (first == NULL)
        return;
    if (!say_frame(b, first))
        buf_puts(b, pit_value_str_or(pit_value_get(first, "pc"), "?"));
    if (pit_value_get(first, "symbol") != NULL)
        return;
    for (size_t i = 1; i < pit_value_len(native); i++) {
        const pit_value *frame = pit_value_at(native, i);
        if (pit_value_get(frame, "symbol") == NULL)
            continue;
        buf_puts(b, ", below ");
        say_frame(b, frame);
        return;
    }
}

static void say_python(struct buf *b, const pit_value *function)
{
    int64_t line = 0;
    if (!pit_value_get_int(pit_value_get(function, "line"), &line))
        return;
    buf_printf(b, "%s, line %" PRId64 ", in %s", pit_value_str_or(pit_value_get(function, "file"), "?"), line,
               pit_value_str_or(pit_value_get(function, "function"), "?"));
}

static void put_text(pit_error *e, const char *key, struct buf *b)
{
    if (!b->failed && b->len != 0)
        error_detail_take(e, key, pit_strn((const char *)b->data, b->len));
    buf_finish(b);
}

static void put_place(const pit_value *dossier, pit_error *e)
{
    struct buf python = {0}, native = {0};
    say_python(&python, last_function(dossier));
    say_native(&native, pit_value_get(dossier, "native"));
    put_text(e, "python_at", &python);
    put_text(e, "native_at", &native);
}

bool dossier_put(const struct worker *w, pit_error *e)
{
    if (w->dossier == NULL)
        return false;
    error_dossier(e, w->dossier);
    put_place(w->dossier, e);
    return pit_value_get(w->dossier, "python") != NULL;
}
