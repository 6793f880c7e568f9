/* Log lines of a worker: LOG frames, on their way to the host's log.
 *
 * Invariants
 *  1. A LOG is at most 64 KiB and one flat map of scalars and texts. It is read where it lies: nothing is allocated for it, and what reading costs
 *     is one pass over its bytes.
 *  2. A worker is heard for so many lines and bytes a second. What is beyond is counted and goes no further; it neither blocks nor ends the worker.
 *  3. What reaches the log is valid UTF-8 without control characters: a worker cannot forge lines, nor speak to the terminal of who reads them.
 *
 * Failure: PIT_E_PROTOCOL_ERROR for what is no such map. Thread: any; the meter is under the pool's lock. */
#include <stdio.h>
#include <string.h>

#include "wire/mp.h"
#include "worker/worker_internal.h"

enum { LOG_MAX = 64 * 1024, ENTRIES_MAX = 64, LINES_A_SECOND = 1000, BYTES_A_SECOND = 1 << 20 };
enum { LOGGER_SIZE = 128, TEXT_SIZE = 1600 /* what the log has room for */ };
#define SECOND UINT64_C(1000000000)

struct text {
    const uint8_t *data;
    uint32_t n;
};

struct line {
    struct text level, logger, text;
};

/* May this be heard? Tells once in a second in which it may not. */
static bool within_meter(struct worker *w, size_t bytes)
{
    struct log_meter *m = &w->log_meter;
    uint64_t now = w->env->os->now_ns();
    poollock_acquire(w->config->lock);
    if (now - m->start_ns >= SECOND)
        *m = (struct log_meter){.start_ns = now, .dropped = m->dropped};
    m->lines++;
    m->bytes += bytes;
    bool heard = m->lines <= LINES_A_SECOND && m->bytes <= BYTES_A_SECOND;
    m->dropped += heard ? 0 : bytes;
    bool tell = !heard && !m->told;
    m->told = m->told || tell;
    uint64_t dropped = m->dropped;
    poollock_release(w->config->lock);
    if (tell) {
        log_line(w->env->log, PIT_LOG_WARNING,
                 "worker %s logs more than %d lines or %d KiB a second: what is beyond is dropped", w->id, LINES_A_SECOND,
                 BYTES_A_SECOND / 1024);
        worker_output_dropped(w, dropped, "log");
    }
    return heard;
}

/* The next token, if it may stand in the map of a LOG. */
static bool next_scalar(const uint8_t **p, const uint8_t *end, struct mp_token *t)
{
    if (mp_read(p, end, t) != MP_OK || t->type >= MP_ARRAY)
        return false;
    return t->type != MP_STR || mp_utf8_valid(t->data, t->n, NULL);
}

static void keep(struct line *line, const struct mp_token *key, const struct mp_token *value)
{
    static const char *const names[] = {"level", "logger", "text"};
    struct text *const fields[] = {&line->level, &line->logger, &line->text};
    for (int i = 0; i < 3; i++)
        if (value->type == MP_STR && key->n == strlen(names[i]) && memcmp(key->data, names[i], key->n) == 0)
            *fields[i] = (struct text){value->data, value->n};
}

static bool read_line(const struct frame *f, struct line *ret)
{
    const uint8_t *p = f->payload, *end = p + f->payload_n;
    struct mp_token map, key, value;
    memset(ret, 0, sizeof *ret);
    if (mp_read(&p, end, &map) != MP_OK || map.type != MP_MAP || map.n > ENTRIES_MAX)
        return false;
    for (uint32_t i = 0; i < map.n; i++) {
        if (!next_scalar(&p, end, &key) || key.type != MP_STR || !next_scalar(&p, end, &value))
            return false;
        keep(ret, &key, &value);
    }
    return p == end;
}

/* As much of the text as there is room for, its white space as spaces, other control characters as U+FFFD. */
static const char *clean(char *out, size_t size, struct text t)
{
    static const char unprintable[] = "\xef\xbf\xbd";
    size_t used = 0;
    for (uint32_t i = 0; i < t.n;) {
        const uint8_t *c = t.data + i;
        size_t n = *c < 0x80 ? 1 : mp_utf8_sequence(c, t.n - i);
        i += (uint32_t)n;
        bool space = *c >= '\t' && *c <= '\r';
        bool control = (*c < ' ' && !space) || *c == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0);
        const void *put = space ? " " : control ? unprintable : (const void *)c;
        size_t put_n = control ? sizeof unprintable - 1 : n;
        if (used + put_n >= size)
            break;
        memcpy(out + used, put, put_n);
        used += put_n;
    }
    out[used] = '\0';
    return out;
}

void worker_clean(char *out, size_t size, const char *t, size_t n)
{
    clean(out, size, (struct text){(const uint8_t *)t, (uint32_t)n});
}

static int level_of(struct text t)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    for (int i = 0; i < 4; i++)
        if (t.n == strlen(names[i]) && memcmp(t.data, names[i], t.n) == 0)
            return PIT_LOG_DEBUG + i;
    return PIT_LOG_INFO;
}

int worker_log(struct worker *w, const struct frame *f)
{
    struct line line;
    char logger[LOGGER_SIZE], text[TEXT_SIZE];
    if (f->payload_n > LOG_MAX)
        return PIT_E_PROTOCOL_ERROR;
    if (!within_meter(w, f->payload_n))
        return 0;
    if (!read_line(f, &line))
        return PIT_E_PROTOCOL_ERROR;
    if (line.logger.data == NULL)
        line.logger = (struct text){(const uint8_t *)"python", 6};
    log_line(w->env->log, level_of(line.level), "worker %s: %s: %s", w->id, clean(logger, sizeof logger, line.logger),
             clean(text, sizeof text, line.text));
    return 0;
}
