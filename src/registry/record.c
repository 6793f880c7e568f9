/* See record.h. Everything that is read is checked: the file may be torn, damaged, or forged. */
#include "registry/record.h"

#include <stdio.h>
#include <string.h>

enum { VERSION = 1, HEAD = 14 /* "LLLL CCCCCCCC " */, LONGEST = 2048 };

/* ---- writing ---- */

static uint32_t crc32_of(const char *data, size_t n)
{
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

static const char *or_dot(const char *text)
{
    return text[0] != '\0' ? text : ".";
}

static void put_text(struct buf *b, const struct record *r)
{
    const struct registry_host *h = &r->host;
    unsigned long long row = r->row;
    switch (r->kind) {
    case RECORD_HOST:
        buf_printf(b, "host %d %d %llu %s %llu %s %s %s %s", VERSION, (int)h->pid, (unsigned long long)h->start, h->boot,
                   (unsigned long long)h->pid_namespace, h->run, or_dot(h->instance), or_dot(h->token), or_dot(h->cgroup));
        break;
    case RECORD_RESERVED:
        buf_printf(b, "reserved %llu %llu %s", row, (unsigned long long)r->time_ns, or_dot(r->worker));
        break;
    case RECORD_ACTIVE:
        buf_printf(b, "active %llu %d %d %llu %s %s %s", row, (int)r->pid, (int)r->pgid, (unsigned long long)r->start, h->boot,
                   h->run, or_dot(r->worker));
        break;
    case RECORD_TERMINATING:
        buf_printf(b, "terminating %llu", row);
        break;
    case RECORD_GONE:
        buf_printf(b, "gone %llu", row);
        break;
    }
}

void record_write(struct buf *b, const struct record *r)
{
    char room[LONGEST], head[HEAD + 1];
    struct buf text;
    buf_init_fixed(&text, room, sizeof room);
    put_text(&text, r);
    snprintf(head, sizeof head, "%04x %08x ", (unsigned)text.len & 0xffff, crc32_of(room, text.len));
    buf_append(b, head, HEAD);
    buf_append(b, room, text.len);
    buf_putc(b, '\n');
    b->failed = b->failed || text.failed;
}

/* ---- reading ---- */

struct words {
    const char *at, *end;
    bool bad;
};

/* The next word into room bytes, with a NUL. */
static void take_text(struct words *w, char *ret, size_t room)
{
    const char *stop = w->at < w->end ? memchr(w->at, ' ', (size_t)(w->end - w->at)) : NULL;
    if (stop == NULL)
        stop = w->end;
    size_t n = (size_t)(stop - w->at);
    if (n == 0 || n >= room || memchr(w->at, '\0', n) != NULL) {
        w->bad = true;
        n = 0;
    } else {
        memcpy(ret, w->at, n);
        w->at = stop < w->end ? stop + 1 : stop;
    }
    ret[n] = '\0';
}

static void take_name(struct words *w, char *ret, size_t room)
{
    take_text(w, ret, room);
    if (strcmp(ret, ".") == 0)
        ret[0] = '\0';
}

static uint64_t take_number(struct words *w, uint64_t most)
{
    char text[24];
    uint64_t n = 0;
    take_text(w, text, sizeof text);
    for (const char *c = text; *c != '\0' && !w->bad; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        w->bad = *c < '0' || *c > '9' || n > (most - (digit <= 9 ? digit : 0)) / 10;
        n = n * 10 + digit;
    }
    return w->bad ? 0 : n;
}

static pid_t take_pid(struct words *w)
{
    pid_t pid = (pid_t)take_number(w, INT32_MAX);
    w->bad = w->bad || pid <= 0;
    return pid;
}

static void take_host(struct words *w, struct registry_host *h)
{
    w->bad = take_number(w, VERSION) != VERSION || w->bad;
    h->pid = take_pid(w);
    h->start = take_number(w, UINT64_MAX);
    take_text(w, h->boot, sizeof h->boot);
    h->pid_namespace = take_number(w, UINT64_MAX);
    take_text(w, h->run, sizeof h->run);
    take_name(w, h->instance, sizeof h->instance);
    take_name(w, h->token, sizeof h->token);
    take_name(w, h->cgroup, sizeof h->cgroup);
}

static void take_active(struct words *w, struct record *r)
{
    r->pid = take_pid(w);
    r->pgid = take_pid(w);
    r->start = take_number(w, UINT64_MAX);
    take_text(w, r->host.boot, sizeof r->host.boot);
    take_text(w, r->host.run, sizeof r->host.run);
    take_name(w, r->worker, sizeof r->worker);
}

static bool parse(const char *text, size_t n, struct record *r)
{
    static const char *const kinds[] = {"", "host", "reserved", "active", "terminating", "gone"};
    struct words w = {text, text + n, false};
    char kind[16];
    *r = (struct record){0};
    take_text(&w, kind, sizeof kind);
    for (unsigned i = RECORD_HOST; i <= RECORD_GONE; i++)
        if (strcmp(kind, kinds[i]) == 0)
            r->kind = (enum record_kind)i;
    if (r->kind == 0)
        return false;
    if (r->kind == RECORD_HOST) {
        take_host(&w, &r->host);
        return !w.bad && w.at == w.end;
    }
    r->row = take_number(&w, UINT64_MAX);
    if (r->kind == RECORD_RESERVED) {
        r->time_ns = take_number(&w, UINT64_MAX);
        take_name(&w, r->worker, sizeof r->worker);
    } else if (r->kind == RECORD_ACTIVE) {
        take_active(&w, r);
    }
    return !w.bad && w.at == w.end;
}

static bool take_hex(const char *text, int digits, uint32_t *ret)
{
    *ret = 0;
    for (int i = 0; i < digits; i++) {
        char c = text[i];
        bool number = c >= '0' && c <= '9';
        if (!number && (c < 'a' || c > 'f'))
            return false;
        *ret = *ret * 16 + (uint32_t)(number ? c - '0' : c - 'a' + 10);
    }
    return true;
}

int record_read(const char *data, size_t n, size_t *at, struct record *ret)
{
    const char *line = data + *at;
    size_t left = n - *at;
    const char *end = left > 0 ? memchr(line, '\n', left) : NULL;
    if (end == NULL)
        return left > HEAD + LONGEST ? RECORD_BAD : RECORD_END;
    size_t len = (size_t)(end - line);
    uint32_t bytes, crc;
    if (len < HEAD || line[4] != ' ' || line[13] != ' ' || !take_hex(line, 4, &bytes) || !take_hex(line + 5, 8, &crc) ||
        bytes != len - HEAD || crc != crc32_of(line + HEAD, bytes) || !parse(line + HEAD, bytes, ret))
        return RECORD_BAD;
    *at += len + 1;
    return RECORD_OK;
}
