/* The flight recorder as events. See recorder.h.
 *
 * Invariants
 *  1. No place that is read depends on what was read: rings and their sizes are the source's, indices are cut to them.
 *  2. A record counts if its word says the number that belongs there and is the same after its fields were read, or differs by the call's end. */
#include "crash/recorder.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "crash/crash.h"
#include "wire/time.h"

bool recorder_is_sound(const struct recorder_header *h, size_t n)
{
    uint32_t records = h->lane_records;
    return h->magic == RECORDER_MAGIC && h->bytes <= n && records >= RECORDER_LANE_MIN && (records & (records - 1)) == 0 &&
           h->lanes != 0 && h->lanes <= 65535 && h->clock <= RECORDER_TICKS && h->bytes >= RECORDER_LANES_AT &&
           (uint64_t)h->lanes * records * sizeof(struct recorder_record) <= h->bytes - RECORDER_LANES_AT;
}

/* ---- one record ---- */

struct ring {
    size_t at;
    uint32_t mask;
    int lane;                    /* -1: none */
    enum recorder_kind from, to; /* what may stand in it */
};

static uint64_t to_ns(const struct recorder_source *s, uint64_t at)
{
    if (s->clock == RECORDER_NS)
        return at;
    if (s->now_at <= s->base_at || s->now_ns <= s->base_ns || at <= s->base_at)
        return s->base_ns;
    unsigned __int128 ns = (unsigned __int128)(at - s->base_at) * (s->now_ns - s->base_ns) / (s->now_at - s->base_at);
    return at >= s->now_at ? s->now_ns : s->base_ns + (uint64_t)ns;
}

/* The text of a name, and its end. */
static void read_name(const struct recorder_source *s, unsigned place, char ret[RECORDER_NAME + 1])
{
    ret[0] = '\0';
    if (place == 0 || place > RECORDER_NAMES)
        return;
    size_t at = offsetof(struct recorder_header, names) + (size_t)(place - 1) * RECORDER_NAME;
    if (!s->read(s->user, at, ret, RECORDER_NAME))
        ret[0] = '\0';
    ret[RECORDER_NAME] = '\0';
}

static uint64_t word_at(const struct recorder_source *s, size_t at)
{
    uint64_t word = 0;
    return s->read(s->user, at + offsetof(struct recorder_record, word), &word, sizeof word) ? word : 0;
}

/* The record with this number; false: it is not there, or not yet, or not any more. */
static bool read_record(const struct recorder_source *s, const struct ring *ring, uint32_t number, struct recorder_event *ret)
{
    size_t at = ring->at + (size_t)((number - 1) & ring->mask) * sizeof(struct recorder_record);
    struct recorder_record r;
    if (!s->read(s->user, at, &r, sizeof r) || (uint32_t)r.word != number || word_at(s, at) != r.word)
        return false;
    unsigned kind = (uint8_t)(r.word >> 32), outcome = (uint8_t)(r.word >> 40);
    if (kind < ring->from || kind > ring->to || outcome >= RECORDER_OUTCOMES)
        return false;
    *ret = (struct recorder_event){.ns = to_ns(s, r.at),
                                   .id = r.id,
                                   .kind = (enum recorder_kind)kind,
                                   .outcome = (int)outcome,
                                   .lane = ring->lane,
                                   .extra = (uint16_t)(r.word >> 48)};
    if (kind == RECORDER_CALL) {
        read_name(s, ret->extra, ret->name);
        ret->extra = 0;
        ret->ended_ns = outcome != RECORDER_RUNS ? to_ns(s, r.ended) : 0;
    }
    return true;
}

/* ---- rings ---- */

struct newest {
    struct recorder_event *events, *room; /* events: 2 * cap */
    size_t n, cap;
};

/* The records up to number `last`, in the order of their numbers, into room: how many. */
static size_t read_ring(const struct recorder_source *s, const struct ring *ring, uint32_t last, struct newest *to)
{
    size_t n = 0, most = ring->mask + (size_t)1 < to->cap ? ring->mask + (size_t)1 : to->cap;
    for (uint32_t back = (uint32_t)most; back-- > 0;) {
        struct recorder_event *e = &to->room[n];
        if (!read_record(s, ring, last - back, e))
            continue;
        if (n != 0 && e->ns < e[-1].ns) /* two that were written at the same time, or a lie */
            e->ns = e[-1].ns;
        n++;
    }
    return n;
}

/* From the back, so that nothing is in the way. */
static void merge(struct newest *to, size_t got)
{
    size_t old = to->n, at = old + got;
    to->n = at;
    while (got > 0) {
        bool older = old > 0 && to->events[old - 1].ns > to->room[got - 1].ns;
        to->events[--at] = older ? to->events[--old] : to->room[--got];
    }
    if (to->n <= to->cap)
        return;
    memmove(to->events, to->events + (to->n - to->cap), to->cap * sizeof *to->events);
    to->n = to->cap;
}

/* The number of the newest record of a ring whose writer keeps that to itself; false: there is none. Slot 0 and those that were written after it have
 * numbers one after the other, the slots behind them older ones: so the end of that row is found by halving. */
static bool newest_of(const struct recorder_source *s, const struct ring *ring, uint32_t *ret)
{
    uint64_t word = word_at(s, ring->at);
    uint32_t first = (uint32_t)word, low = 0, high = ring->mask;
    if (word == 0) { /* nothing was written, or it is being written at this moment */
        word = word_at(s, ring->at + (size_t)ring->mask * sizeof(struct recorder_record));
        *ret = (uint32_t)word;
        return word != 0;
    }
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        word = word_at(s, ring->at + (size_t)middle * sizeof(struct recorder_record));
        if (word != 0 && (uint32_t)word == first + middle)
            low = middle;
        else
            high = middle - 1;
    }
    *ret = first + low;
    return true;
}

static uint32_t count_at(const struct recorder_source *s, size_t at)
{
    uint32_t n = 0;
    return s->read(s->user, at, &n, sizeof n) ? n : 0;
}

size_t recorder_read(const struct recorder_source *s, struct recorder_event *ret, struct recorder_event *room, size_t cap)
{
    struct newest to = {.events = ret, .room = room, .cap = cap};
    const struct ring host = {RECORDER_HOST_AT, RECORDER_SHARED - 1, -1, RECORDER_SPAWNED, RECORDER_DEAD};
    const struct ring process = {RECORDER_PROCESS_AT, RECORDER_SHARED - 1, -1, RECORDER_SERVING, RECORDER_LEFT};
    merge(&to, read_ring(s, &host, count_at(s, offsetof(struct recorder_header, host_n)), &to));
    merge(&to, read_ring(s, &process, count_at(s, offsetof(struct recorder_header, process_n)), &to));
    for (uint32_t i = 0; i < s->lanes; i++) {
        struct ring lane = {RECORDER_LANES_AT + (size_t)i * s->lane_records * sizeof(struct recorder_record),
                            s->lane_records - 1, (int)i, RECORDER_CALL, RECORDER_CALL};
        uint32_t last;
        if (newest_of(s, &lane, &last))
            merge(&to, read_ring(s, &lane, last, &to));
    }
    return to.n;
}

/* ---- values ---- */

static const struct {
    const char *name, *key;
} kinds[RECORDER_KINDS] = {{NULL, NULL},
#define RECORDER_ROW(constant, name, key) {#name, key},
                           RECORDER_EVENT_LIST(RECORDER_ROW)
#undef RECORDER_ROW
};

static const char *const outcomes[RECORDER_OUTCOMES] = {"running", "ok", "error", "cancelled", "no_memory"};

const char *recorder_time(uint64_t wall_ns, char ret[TIME_TEXT])
{
    time_put_utc(ret, wall_ns);
    unsigned us = (unsigned)(wall_ns / 1000 % 1000000);
    size_t at = strlen(ret) - 4; /* the milliseconds and the Z */
    for (int i = 5; i >= 0; i--, us /= 10)
        ret[at + (size_t)i] = (char)('0' + us % 10);
    memcpy(ret + at + 6, "Z", 2);
    return ret;
}

static void put_hex(char *to, uint64_t n, int digits)
{
    for (int i = digits - 1; i >= 0; i--, n >>= 4)
        to[i] = "0123456789abcdef"[n & 15];
}

/* As call_put_id() writes it. */
static pit_value *call_id(uint32_t prefix, uint64_t sequence)
{
    char text[3 + 8 + 16];
    memcpy(text, "sp-", 3);
    put_hex(text + 3, prefix, 8);
    put_hex(text + 11, sequence, 16);
    return pit_strn(text, sizeof text);
}

static void put_id(pit_value *map, const struct recorder_event *e, uint32_t prefix)
{
    const char *key = kinds[e->kind].key;
    if (key == NULL)
        return;
    const char *signal = e->kind == RECORDER_SIGNALLED && e->id < 128 ? crash_signal_name((int)e->id) : NULL;
    if (strcmp(key, "call") == 0)
        pit_map_set_take(map, key, call_id(prefix, e->id));
    else
        pit_map_set_take(map, key, signal != NULL ? pit_str(signal) : pit_uint(e->id));
}

static pit_value *event_value(const struct recorder_event *e, uint64_t wall_ns, uint32_t prefix)
{
    char time[TIME_TEXT];
    pit_value *map = pit_map();
    pit_map_set_take(map, "time", pit_str(recorder_time(e->ns + wall_ns, time)));
    pit_map_set_take(map, "monotonic_ns", pit_uint(e->ns));
    pit_map_set_take(map, "event", pit_str(kinds[e->kind].name));
    if (e->lane >= 0)
        pit_map_set_take(map, "lane", pit_int(e->lane));
    put_id(map, e, prefix);
    if (e->kind == RECORDER_RUNG || e->kind == RECORDER_SERVING || e->kind == RECORDER_LEFT)
        pit_map_set_take(map, e->kind == RECORDER_RUNG ? "rung" : "lane", pit_uint(e->extra));
    if (e->kind != RECORDER_CALL)
        return map;
    if (e->name[0] != '\0')
        pit_map_set_take(map, "command", crash_words(e->name, strlen(e->name)));
    pit_map_set_take(map, "outcome", pit_str(outcomes[e->outcome]));
    if (e->outcome != RECORDER_RUNS)
        pit_map_set_take(map, "took_us", pit_float(e->ended_ns > e->ns ? (double)(e->ended_ns - e->ns) / 1000 : 0));
    return map;
}

pit_value *recorder_values(const struct recorder_event *events, size_t n, uint64_t wall_ns, uint32_t prefix)
{
    pit_value *list = pit_list();
    for (size_t i = 0; i < n; i++)
        pit_list_append_take(list, event_value(&events[i], wall_ns, prefix));
    return list;
}

/* ---- the past ---- */

void recorder_past_put(struct recorder_past *past, const struct recorder_event *events, size_t n)
{
    size_t first = n > RECORDER_PAST ? n - RECORDER_PAST : 0;
    past->n = (uint32_t)(n - first);
    for (size_t i = first; i < n; i++) {
        const struct recorder_event *e = &events[i];
        struct recorder_note *note = &past->notes[i - first];
        *note = (struct recorder_note){.ns = e->ns,
                                       .ended_ns = e->ended_ns,
                                       .id = e->id,
                                       .kind = (uint8_t)e->kind,
                                       .outcome = (uint8_t)e->outcome,
                                       .extra = (uint16_t)e->extra,
                                       .lane = (uint16_t)(e->lane + 1)};
        memcpy(note->name, e->name, sizeof note->name - 1);
    }
}

size_t recorder_past_read(const struct recorder_past *past, struct recorder_event *ret)
{
    size_t n = 0;
    for (uint32_t i = 0; i < past->n && i < RECORDER_PAST; i++) {
        const struct recorder_note *note = &past->notes[i];
        if (note->kind == RECORDER_NOTHING || note->kind >= RECORDER_KINDS || note->outcome >= RECORDER_OUTCOMES)
            continue;
        struct recorder_event *e = &ret[n++];
        *e = (struct recorder_event){.ns = note->ns,
                                     .ended_ns = note->ended_ns,
                                     .id = note->id,
                                     .kind = (enum recorder_kind)note->kind,
                                     .outcome = note->outcome,
                                     .lane = note->lane - 1,
                                     .extra = note->extra};
        memcpy(e->name, note->name, sizeof note->name);
    }
    return n;
}
