/* See recorder.h. */
#include "worker/recorder.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "crash/recorder.h"
#include "worker/worker_internal.h"

enum { LAST = 64 /* events of a dead worker */ };

static uint32_t lane_records(const struct recorder_rules *r, uint32_t lanes)
{
    uint32_t records = RECORDER_LANE_MIN;
    while ((uint64_t)records * 2 * lanes * sizeof(struct recorder_record) <= r->ring_bytes)
        records *= 2;
    return records;
}

size_t recorder_segment_bytes(const struct recorder_rules *r, uint32_t lanes, size_t *ret_ready)
{
    *ret_ready = 0;
    if (!r->enabled)
        return 0;
    *ret_ready = RECORDER_LANES_AT;
    size_t bytes = (size_t)lanes * lane_records(r, lanes) * sizeof(struct recorder_record);
    return RECORDER_LANES_AT + (bytes + RECORDER_PAGE - 1) / RECORDER_PAGE * RECORDER_PAGE;
}

/* NULL: it has none. */
static struct recorder_header *header_of(const struct worker *w)
{
    if (w->segment == NULL || w->recorder_at == 0)
        return NULL;
    return (struct recorder_header *)(void *)((uint8_t *)w->segment + w->recorder_at);
}

static uint64_t now_of(const struct worker *w)
{
    const struct os_ops *os = w->env->os;
    return os->has_ticks() ? cpu_ticks() : os->now_ns();
}

void recorder_offer(struct worker *w, size_t at)
{
    const struct os_ops *os = w->env->os;
    const struct recorder_rules *rules = &w->env->recorder;
    size_t ready;
    w->recorder_at = 0;
    if (!rules->enabled)
        return;
    w->recorder_at = at;
    w->recorder_base_ns = os->now_ns();
    w->recorder_base_at = now_of(w);
    struct recorder_header *h = header_of(w);
    h->magic = RECORDER_MAGIC;
    h->bytes = (uint32_t)recorder_segment_bytes(rules, w->config->lanes, &ready);
    h->lanes = w->config->lanes;
    h->lane_records = lane_records(rules, w->config->lanes);
    h->clock = os->has_ticks() ? RECORDER_TICKS : RECORDER_NS;
    h->base_at = w->recorder_base_at;
    h->base_ns = w->recorder_base_ns;
    h->prefix = w->prefix;
    ((struct segment_header *)w->segment)->recorder_offset = (uint32_t)at;
}

void recorder_note(struct worker *w, enum recorder_kind kind, unsigned extra, uint64_t id)
{
    struct recorder_header *h = header_of(w);
    if (h == NULL)
        return;
    struct recorder_record *ring = (struct recorder_record *)(void *)((uint8_t *)h + RECORDER_HOST_AT);
    recorder_note_shared(ring, &h->host_n, kind, extra, now_of(w), id);
}

/* ---- reading ---- */

/* How far the recorder is known to be there: what of the lanes nobody has written is a hole, and so is what the worker makes one of. To read
 * there would make memory, or, where there is none, end the host. */
struct reach {
    const struct worker *w;
    size_t page; /* the last one that was found there */
};

/* Word by word: the worker, and another thread of the host, may write there. n: a multiple of 4; of more than that, of 8. */
static void copy_words(void *to, const uint8_t *from, size_t n)
{
    uint8_t *p = to;
    for (; n >= sizeof(uint64_t); n -= sizeof(uint64_t), from += sizeof(uint64_t), p += sizeof(uint64_t)) {
        uint64_t word = __atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_ACQUIRE);
        memcpy(p, &word, sizeof word);
    }
    if (n >= sizeof(uint32_t)) {
        uint32_t half = __atomic_load_n((const uint32_t *)(const void *)from, __ATOMIC_ACQUIRE);
        memcpy(p, &half, sizeof half);
    }
}

static bool read_segment(void *user, size_t at, void *to, size_t n)
{
    struct reach *r = user;
    const struct worker *w = r->w;
    if (w->recorder_at + at + n > w->segment_bytes)
        return false;
    const uint8_t *from = (const uint8_t *)w->segment + w->recorder_at + at;
    if (at >= RECORDER_LANES_AT && at / RECORDER_PAGE != r->page) { /* nothing that is read crosses a page */
        if (!w->env->os->segment_has(from, n))
            return false;
        r->page = at / RECORDER_PAGE;
    }
    copy_words(to, from, n);
    return true;
}

static size_t read_events(const struct worker *w, struct recorder_event *events)
{
    const struct os_ops *os = w->env->os;
    struct reach reach = {.w = w};
    const struct recorder_source source = {.read = read_segment,
                                           .user = &reach,
                                           .lanes = w->config->lanes,
                                           .lane_records = lane_records(&w->env->recorder, w->config->lanes),
                                           .clock = os->has_ticks() ? RECORDER_TICKS : RECORDER_NS,
                                           .base_at = w->recorder_base_at,
                                           .base_ns = w->recorder_base_ns,
                                           .now_at = now_of(w),
                                           .now_ns = os->now_ns()};
    return recorder_read(&source, events, events + 2 * (size_t)LAST, LAST);
}

static struct recorder_past *make_past(const struct worker *w, const struct recorder_event *events, size_t n)
{
    struct recorder_past *past = mem_zalloc(sizeof *past);
    if (past == NULL)
        return NULL;
    past->generation = w->generation;
    past->ended_ns = w->env->os->now_ns();
    past->pid = (uint32_t)w->pid;
    past->prefix = w->prefix;
    snprintf(past->how, sizeof past->how, "%s", exit_class_name(w->exit_class));
    recorder_past_put(past, events, n);
    return past;
}

pit_value *recorder_take(struct worker *w, bool wanted)
{
    const struct os_ops *os = w->env->os;
    struct recorder_event *events = header_of(w) != NULL ? mem_array(3 * (size_t)LAST, sizeof *events) : NULL;
    if (events == NULL)
        return NULL;
    recorder_note(w, RECORDER_DEAD, 0, 0);
    size_t n = read_events(w, events);
    w->past = make_past(w, events, n);
    pit_value *list = wanted ? recorder_values(events, n, os->wall_ns() - os->now_ns(), w->prefix) : NULL;
    mem_free(events);
    return list;
}

void recorder_inherit(struct worker *w, const struct recorder_past *past)
{
    struct recorder_header *h = header_of(w);
    if (h != NULL && past != NULL)
        memcpy((uint8_t *)h + RECORDER_PAST_AT, past, sizeof *past);
}
