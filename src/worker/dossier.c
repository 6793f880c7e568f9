/* See dossier.h. */
#include "worker/dossier.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/shell.h"
#include "crash/crash.h"
#include "crash/look.h"
#include "ring/segment.h"
#include "wire/time.h"
#include "wire/value.h"
#include "worker/call_digest.h"
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

static int told_signal(const struct worker *w)
{
    return w->how.code != 0 ? exit_signal(w->how) : CRASH_SIGNAL_LOST;
}

/* Owned; NULL: no memory, or there is nothing in it: a caller waits, and nothing is copied in vain. */
static struct crash_page *copy_page(struct worker *w)
{
    int sig = told_signal(w);
    bool wanted = w->segment != NULL && (sig == CRASH_SIGNAL_LOST || crash_is_told(sig));
    struct crash_page *copy = wanted ? mem_alloc(sizeof *copy) : NULL;
    if (copy == NULL)
        return NULL;
    memcpy(copy, (const uint8_t *)w->segment + segment_bytes(w->config->lanes, w->config->ring_bytes), sizeof *copy);
    copy->wanted = CRASH_PYTHON | (w->config->dossier.native_stack ? CRASH_NATIVE | CRASH_SYMBOLS : 0);
    w->sent = sig != CRASH_SIGNAL_LOST && crash_sent_by_another(copy, sig, &w->sender);
    return copy;
}

static void put_page(const struct worker *w, const struct crash_page *copy, struct crash_printed printed, pit_value *dossier,
                     pit_value *missing)
{
    int sig = told_signal(w);
    if (copy != NULL || (sig != CRASH_SIGNAL_LOST && !crash_is_told(sig)))
        crash_read_page(copy, sig, printed, dossier, missing);
    else
        pit_list_append_take(missing, pit_str("fault, python, native: no memory"));
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
    pit_map_set_take(dossier, "reason", pit_str(w->end_text != NULL ? w->end_text : worker_exit_text(w, text)));
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

/* Since it was sent; of some calls that is the clock's last tick. */
static uint64_t running_ms(const struct worker *w, const struct call *c)
{
    uint64_t now = w->env->os->now_ns(), sent = __atomic_load_n(&c->sent_ns, __ATOMIC_RELAXED);
    return now > sent ? (now - sent) / MS : 0;
}

static pit_value *digest_of(const struct worker *w, const struct call *c)
{
    uint8_t digest[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    call_digest(c, &w->env->digest_key, digest);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return pit_str(hex);
}

static pit_value *describe_call(const struct worker *w, uint32_t lane, const struct flight *f)
{
    char id[CALL_ID];
    pit_value *call = pit_map();
    call_put_id(id, w->prefix, f->sequence);
    pit_map_set_take(call, "id", pit_str(id));
    pit_map_set_take(call, "command", pit_str(f->call->command));
    pit_map_set_take(call, "digest", digest_of(w, f->call));
    pit_map_set_take(call, "lane", pit_uint(lane));
    pit_map_set_take(call, "running_ms", pit_uint(running_ms(w, f->call)));
    if (f->call->correlation_id != NULL)
        pit_map_set_take(call, "correlation_id", crash_words(f->call->correlation_id, strlen(f->call->correlation_id)));
    return call;
}

pit_value *dossier_running_calls(const struct worker *w)
{
    pit_value *calls = pit_list();
    for (uint32_t i = 0; w->lanes != NULL && i < w->config->lanes; i++) {
        struct lane *l = &w->lanes[i];
        for (unsigned k = 0; k < l->count && pit_value_len(calls) < CALLS_MAX; k++) {
            const struct flight *f = lane_at(l, k);
            if (f->call != NULL && lane_started(l, f->sequence))
                pit_list_append_take(calls, describe_call(w, i, f));
        }
    }
    return calls;
}

static const char usage_later[] = "usage: it was not known yet when callers were told";

static pit_value *usage_of(const struct guard_used *used)
{
    return pit_pack("{s:U,s:U,s:U,s:U}", "peak_memory_bytes", used->peak_bytes, "cpu_user_ms", (uint64_t)used->user_ms,
                    "cpu_system_ms", (uint64_t)used->system_ms, "major_faults", used->major_faults);
}

static void put_usage(const struct worker *w, pit_value *dossier, pit_value *missing)
{
    if (pit_value_get(dossier, "usage") != NULL)
        return;
    if (w->used.peak_bytes != 0)
        pit_map_set_take(dossier, "usage", usage_of(&w->used));
    else
        pit_list_append_take(missing, pit_str(usage_later));
}

struct crash_place dossier_place(const struct worker *w)
{
    const struct dossier_rules *r = &w->config->dossier;
    const char *dir = r->dir != NULL ? r->dir : w->env->crashes_dir;
    return (struct crash_place){.dir = r->max_bytes != 0 ? dir : NULL, .max_bytes = r->max_bytes};
}

void dossier_complete(struct worker *w)
{
    const pit_value *key, *item, *word;
    if (w->dossier == NULL || w->used.peak_bytes == 0 || pit_value_get(w->dossier, "usage") != NULL)
        return;
    pit_value *whole = pit_map(), *missing = pit_list();
    for (size_t i = 0; pit_value_next(pit_value_get(w->dossier, "missing"), &i, NULL, &word);)
        if (strcmp(pit_value_str_or(word, ""), usage_later) != 0)
            pit_list_append_take(missing, pit_value_ref(word));
    for (size_t i = 0; pit_value_next(w->dossier, &i, &key, &item);)
        if (strcmp(pit_value_str_or(key, ""), "missing") != 0 && strcmp(pit_value_str_or(key, ""), "partial") != 0)
            pit_map_put_take(whole, pit_value_ref(key), pit_value_ref(item));
    pit_map_set_take(whole, "usage", usage_of(&w->used));
    pit_map_set_take(whole, "partial", pit_bool(pit_value_len(missing) != 0));
    pit_map_set_take(whole, "missing", missing);
    if (pit_value_error(whole) == 0)
        crash_store_amend(w->env->crashes, dossier_place(w), whole);
    pit_value_free(whole);
}

/* It told why it did not start, we ended it, or its end is as little known as it matters. */
static bool is_explained(const struct worker *w)
{
    if (w->last_look != NULL)
        return false;
    return w->exit_class == EXIT_NORMAL || (w->exit_class == EXIT_UNKNOWN && w->expected) || w->failure != NULL || w->pid == 0;
}

void dossier_make(struct worker *w)
{
    bool wanted = w->config->dossier.enabled && !is_explained(w);
    pit_value *events = recorder_take(w, wanted);
    if (!wanted)
        return;
    pit_value *dossier = pit_map(), *missing = pit_list();
    struct crash_page *page = copy_page(w);
    put_worker(w, dossier);
    put_exit(w, dossier);
    poollock_acquire(w->config->lock);
    pit_value *calls = dossier_running_calls(w);
    poollock_release(w->config->lock);
    pit_map_set_take(dossier, "calls", calls);
    if (w->last_look != NULL)
        pit_map_set_take(dossier, "look", pit_value_ref(w->last_look));
    char *tail = mem_alloc(STDERR_BYTES);
    struct crash_printed printed = {tail, tail != NULL ? capture_tail(&w->err, tail, STDERR_BYTES) : 0};
    put_page(w, page, printed, dossier, missing);
    mem_free(page);
    put_usage(w, dossier, missing);
    dossier_say_place(dossier);
    pit_value *words = exit_words((struct exit_printed){printed.text, printed.n, capture_is_cut(&w->err, printed.n)});
    if (words != NULL)
        pit_map_set_take(dossier, "stderr", words);
    mem_free(tail);
    if (events != NULL)
        pit_map_set_take(dossier, "events", events);
    else if (w->env->recorder.enabled)
        pit_list_append_take(missing, pit_str("events: no memory"));
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

bool dossier_suggest(const struct worker *w, pit_error *e)
{
    struct crash_place place = dossier_place(w);
    const char *id = pit_value_str(pit_value_get(w->dossier, "id"));
    if (id == NULL || place.dir == NULL || !crash_store_works(w->env->crashes, place))
        return false;
    struct buf b = {0};
    if (w->config->dossier.dir != NULL || !w->env->crashes_found) {
        buf_puts(&b, " --dir ");
        shell_quote(&b, place.dir, strlen(place.dir));
    }
    buf_putc(&b, '\0');
    if (!b.failed)
        error_suggest(e, "snakepit crash show %s%s", id, (const char *)b.data);
    buf_finish(&b);
    return true;
}

static const char *const places[] = {"python_at", "library_at", "native_at"};

bool dossier_put(const struct worker *w, pit_error *e)
{
    if (w->dossier == NULL)
        return false;
    error_dossier(e, w->dossier);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const pit_value *text = pit_value_get(w->dossier, places[i]);
        if (text != NULL)
            error_detail_take(e, places[i], pit_value_ref(text));
    }
    look_into_error(w->last_look, e);
    return pit_value_get(w->dossier, "python") != NULL;
}
