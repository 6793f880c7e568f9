/* A worker of a Snakepit pool in plain C: libc alone, nothing of Snakepit. What it says and hears is docs/wire.md; the guide is
 * docs/guide-other-languages.md.
 *
 *   cc -O2 -o worker worker.c && snakepit worker-check -- ./worker
 *
 * Its tools are those that worker-check looks for: echo, add, fail, sleep; count and talk, which stream; ask and tools, which call the host. One thread
 * serves one call at a time, and reads its socket whenever a tool waits: so a call can be cancelled, and a tool of the host may call back.
 *
 * Values stay the MessagePack that they came as: a tool takes out what it needs.
 * Exit status: 0 after STOP or when the host has gone, 1 when the host breaks the protocol, 2 when no host has started it. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HELLO = 1, WELCOME = 2, READY = 3, STOP = 5, PING = 48, PONG = 49 };
enum { CALL = 16, RESULT = 17, ERROR = 18, CANCEL = 19 };
enum { STREAM_CALL = 24, CHUNK = 25, CREDIT = 26, SEND = 27, SEND_END = 28 };
enum { TOOL_CALL = 32, TOOL_RESULT = 33, TOOL_ERROR = 34, TOOL_LIST = 35 };
enum { WITH_FIELDS = 1, TIMED = 2, FINAL = 4, NESTED = 8, KNOWN_FLAGS = 15 };
enum { HEADER = 24, FIELD_STREAM = 7, WITH_INBOX = 1, DEPTH = 128, TUPLE = 2, ARGS = 3 };

enum first { A_MAP = 0x80, AN_ARRAY = 0x90, A_NIL = 0xc0, A_FALSE = 0xc2, A_TRUE = 0xc3, SOME_BYTES = 0xc4 };

static int control = -1;
static uint64_t max_frame = 64u << 20;

static void die(const char *why)
{
    fprintf(stderr, "worker: %s\n", why);
    exit(1);
}

static void *must(void *p)
{
    if (p == NULL)
        die("out of memory");
    return p;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- MessagePack, written ---- */

struct buf {
    uint8_t *p;
    size_t n, cap;
};

static uint8_t *room(struct buf *b, size_t n)
{
    if (b->cap - b->n < n) {
        b->cap = 2 * (b->n + n);
        b->p = must(realloc(b->p, b->cap));
    }
    b->n += n;
    return b->p + b->n - n;
}

static void put(struct buf *b, const void *data, size_t n)
{
    if (n != 0)
        memcpy(room(b, n), data, n);
}

/* A first byte, and a number of so many bytes, the highest first. */
static void put_head(struct buf *b, int first, uint64_t number, int bytes)
{
    uint8_t *p = room(b, (size_t)bytes + 1);
    *p++ = (uint8_t)first;
    while (bytes-- > 0)
        *p++ = (uint8_t)(number >> 8 * bytes);
}

/* The smallest of 1, 2, 4 and 8 bytes that hold u, as a power of two. */
static int log_size(uint64_t u)
{
    return u <= UINT8_MAX ? 0 : u <= UINT16_MAX ? 1 : u <= UINT32_MAX ? 2 : 3;
}

static void put_int(struct buf *b, int64_t i)
{
    uint64_t u = (uint64_t)i, size = i < 0 ? 2 * ~u + 1 : u; /* a sign takes a bit */
    if (i >= -32 && i < 128)
        put_head(b, (int)(i & 0xff), 0, 0);
    else
        put_head(b, (i < 0 ? 0xd0 : 0xcc) + log_size(size), u, 1 << log_size(size));
}

static void put_str(struct buf *b, const char *text)
{
    size_t n = strlen(text);
    if (n < 32)
        put_head(b, 0xa0 | (int)n, 0, 0);
    else
        put_head(b, 0xd9 + log_size(n), n, 1 << log_size(n));
    put(b, text, n);
}

/* Of fewer than 16 items, which follow. */
static void put_container(struct buf *b, enum first first, int n)
{
    put_head(b, (int)first | n, 0, 0);
}

/* ---- MessagePack, read ---- */

struct slice {
    const uint8_t *p, *end;
};

/* What a value begins with; p moves behind it. */
struct head {
    char kind;       /* N nil, B bool, I int, F float, S str, Y bytes, A array, M map, X extension, - nothing that there is */
    uint64_t number; /* of an int; of the bytes of S, Y and X, the items of A and M */
    int ext;         /* an extension's code */
    bool negative;   /* number is an int64_t */
};

static uint64_t number_at(const uint8_t *p, int bytes)
{
    uint64_t u = 0;
    for (int i = 0; i < bytes; i++)
        u = u << 8 | p[i];
    return u;
}

static struct head take_head(struct slice *s)
{
    static const char kinds[] = "N-BBYYYXXXFFIIIIIIIIXXXXXSSSAAMM",
                      sizes[] = "00001241244812481248000001242424"; /* of c0 to ff */
    int first = s->p != s->end ? *s->p++ : 0xc1;
    if (first < 0x80 || first >= 0xe0)
        return (struct head){.kind = 'I', .number = (uint64_t)(int64_t)(int8_t)first, .negative = first >= 0xe0};
    if (first < 0xc0)
        return (struct head){.kind = first < 0x90   ? 'M'
                                     : first < 0xa0 ? 'A'
                                                    : 'S',
                             .number = (uint64_t)first & (first < 0xa0 ? 15 : 31)};
    int bytes = sizes[first - 0xc0] - '0';
    struct head h = {.kind = kinds[first - 0xc0]};
    if (s->end - s->p < bytes + (h.kind == 'X'))
        return (struct head){.kind = '-'};
    h.number = number_at(s->p, bytes);
    s->p += bytes;
    if (h.kind == 'X')
        h.ext = *s->p++;
    if (h.kind == 'X' && bytes == 0)
        h.number = UINT64_C(1) << (first - 0xd4);
    if (first >= 0xd0 && first <= 0xd3) /* two's complement */
        h.number = (uint64_t)((int64_t)(h.number << (64 - 8 * bytes)) >> (64 - 8 * bytes));
    h.negative = first >= 0xd0 && first <= 0xd3 && (int64_t)h.number < 0;
    return h;
}

/* Takes one value; false: there is none. What an extension holds is not looked at. */
static bool take_value(struct slice *s, struct slice *ret, int depth)
{
    struct slice at = *s;
    struct head h = take_head(&at);
    if (h.kind == '-')
        return false;
    bool bytes = h.kind == 'S' || h.kind == 'Y' || h.kind == 'X', many = h.kind == 'A' || h.kind == 'M';
    if (((bytes || many) && h.number > (uint64_t)(at.end - at.p)) || (many && depth == 0))
        return false;
    if (bytes)
        at.p += h.number;
    for (uint64_t i = h.kind == 'M' ? 2 * h.number : h.number; many && i > 0; i--) {
        struct slice item;
        if (!take_value(&at, &item, depth - 1))
            return false;
    }
    *ret = (struct slice){s->p, at.p};
    s->p = at.p;
    return true;
}

static bool read_int(struct slice v, int64_t *ret)
{
    struct head h = take_head(&v);
    *ret = (int64_t)h.number;
    return h.kind == 'I' && (h.negative || h.number <= INT64_MAX);
}

/* The characters of a str. */
static bool read_str(struct slice v, struct slice *ret)
{
    struct head h = take_head(&v);
    *ret = v;
    return h.kind == 'S';
}

static bool is_text(struct slice s, const char *text)
{
    return (size_t)(s.end - s.p) == strlen(text) && memcmp(s.p, text, strlen(text)) == 0;
}

/* The value of a key in a map. */
static bool map_get(struct slice map, const char *key, struct slice *ret)
{
    struct slice name, item;
    struct head h = take_head(&map);
    for (uint64_t i = 0; h.kind == 'M' && i < h.number; i++) {
        if (!take_value(&map, &name, DEPTH) || !take_value(&map, &item, DEPTH))
            return false;
        if (read_str(name, &name) && is_text(name, key)) {
            *ret = item;
            return true;
        }
    }
    return false;
}

/* ---- frames ---- */

struct frame {
    int kind;
    unsigned flags;
    uint64_t id, stamp;
    struct slice fields, payload;
    struct frame *next;
    uint8_t data[]; /* all of it */
};

static uint64_t little(const uint8_t *p, int bytes)
{
    uint64_t u = 0;
    while (bytes-- > 0)
        u = u << 8 | p[bytes];
    return u;
}

static void set_little(uint8_t *p, uint64_t u, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(u >> 8 * i);
}

static void begin_frame(struct buf *b)
{
    b->n = 0;
    room(b, HEADER);
}

/* Fills the header in and writes all; the host gone is the end. */
static void send_frame(struct buf *b, int kind, unsigned flags, uint64_t id, uint64_t stamp)
{
    b->p[0] = 1;
    b->p[1] = (uint8_t)kind;
    set_little(b->p + 2, flags, 2);
    set_little(b->p + 4, b->n, 4);
    set_little(b->p + 8, id, 8);
    set_little(b->p + 16, stamp, 8);
    for (size_t done = 0; done < b->n;) {
        ssize_t n = write(control, b->p + done, b->n - done);
        if (n < 0 && errno != EINTR)
            exit(0);
        done += n > 0 ? (size_t)n : 0;
    }
}

/* Reads exactly n bytes; the end of the socket is the worker's. */
static void read_all(uint8_t *to, size_t n)
{
    while (n > 0) {
        ssize_t part = read(control, to, n);
        if (part == 0 || (part < 0 && errno != EINTR))
            exit(0);
        to += part > 0 ? part : 0;
        n -= part > 0 ? (size_t)part : 0;
    }
}

/* The next frame, owned. NULL: none has begun in that time (-1: for ever), or it was a bell. */
static struct frame *next_frame(int timeout_ms)
{
    uint8_t header[HEADER];
    struct pollfd fd = {control, POLLIN, 0};
    if (poll(&fd, 1, timeout_ms) <= 0)
        return NULL;
    read_all(header, 1);
    if (header[0] == 0)
        return NULL;
    if (header[0] != 1)
        die("an unknown version");
    read_all(header + 1, HEADER - 1);
    size_t size = (size_t)little(header + 4, 4);
    if (size < HEADER || size > max_frame)
        die("a frame of a bad size");
    struct frame *f = must(calloc(1, sizeof *f + size));
    memcpy(f->data, header, HEADER);
    read_all(f->data + HEADER, size - HEADER);
    f->kind = header[1];
    f->flags = (unsigned)little(header + 2, 2);
    f->id = little(header + 8, 8);
    f->stamp = little(header + 16, 8);
    f->payload = (struct slice){f->data + HEADER, f->data + size};
    if ((f->flags & ~(unsigned)KNOWN_FLAGS) != 0)
        die("unknown flags");
    if ((f->flags & WITH_FIELDS) != 0) {
        uint64_t n = size >= HEADER + 4 ? little(f->payload.p, 4) : UINT64_MAX;
        if (n > size - HEADER - 4)
            die("fields that do not fit");
        f->fields = (struct slice){f->payload.p + 4, f->payload.p + 4 + n};
        f->payload.p = f->fields.end;
    }
    return f;
}

/* A field's bytes. */
static bool field(const struct frame *f, int tag, struct slice *ret)
{
    for (const uint8_t *p = f->fields.p; f->fields.end - p >= 4;) {
        size_t n = (size_t)p[1] << 16 | (size_t)p[3] << 8 | p[2];
        if (n > (size_t)(f->fields.end - p) - 4)
            break;
        *ret = (struct slice){p + 4, p + 4 + n};
        if (p[0] == tag)
            return true;
        p = ret->end;
    }
    return false;
}

/* ---- calls ---- */

/* A call that runs. They nest: while a tool of the host works for one, it may call this worker again. */
struct run {
    struct run *outer;
    uint64_t id;
    bool streams, cancelled, inbox_open;
    int64_t chunks, bytes;         /* credit */
    uint64_t window, window_bytes; /* of the inbox */
    uint64_t taken, taken_bytes;   /* from the inbox since the last CREDIT */
    struct frame *inbox;           /* SENDs */
    uint64_t asked;                /* the TOOL_CALL that it waits for; 0: none */
    struct frame *answer;
};

static struct run *running;

struct arguments {
    struct slice positional, keywords; /* an array and a map; empty: there are none */
    struct slice whole;                /* anything else: one positional argument */
};

static bool argument(const struct arguments *a, unsigned at, const char *name, struct slice *ret)
{
    struct slice s = a->positional;
    struct head h = take_head(&s);
    if (a->whole.p != NULL && at == 0) {
        *ret = a->whole;
        return true;
    }
    if (h.kind == 'A' && at < h.number) {
        for (unsigned i = 0; i <= at; i++)
            if (!take_value(&s, ret, DEPTH))
                return false;
        return true;
    }
    return map_get(a->keywords, name, ret);
}

static bool argument_int(const struct arguments *a, unsigned at, const char *name, int64_t *ret)
{
    struct slice v;
    return argument(a, at, name, &v) && read_int(v, ret);
}

/* A map whose keys are all str: keyword arguments. */
static bool is_keywords(struct slice v)
{
    struct slice key, item;
    struct head h = take_head(&v);
    for (uint64_t i = 0; h.kind == 'M' && i < h.number; i++)
        if (!take_value(&v, &key, DEPTH) || !take_value(&v, &item, DEPTH) || take_head(&key).kind != 'S')
            return false;
    return h.kind == 'M';
}

static bool read_arguments(struct slice v, struct arguments *a)
{
    struct slice s = v, second;
    struct head h = take_head(&s);
    memset(a, 0, sizeof *a);
    if (h.kind == 'A') {
        a->positional = v;
    } else if (is_keywords(v)) {
        a->keywords = v;
    } else if (h.kind == 'X' && h.ext == TUPLE) {
        a->positional = s;
    } else if (h.kind == 'X' && h.ext == ARGS) {
        if (!take_value(&s, &a->positional, DEPTH) || !take_value(&s, &second, DEPTH) || s.p != s.end)
            return false;
        a->keywords = second;
    } else if (h.kind != 'N') {
        a->whole = v;
    }
    return true;
}

/* The payload of an ERROR. Gives false, as a tool does that fails. */
__attribute__((format(printf, 3, 4))) static bool failed(struct buf *ret, const char *code, const char *format, ...)
{
    char message[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    begin_frame(ret);
    put_container(ret, A_MAP, 2);
    put_str(ret, "code");
    put_str(ret, code);
    put_str(ret, "message");
    put_str(ret, message);
    return false;
}

static void handle(struct frame *f);

/* Serves what comes, for so long at most (-1: until something has come). false: the call shall end. */
static bool wait_for_host(struct run *r, int timeout_ms)
{
    struct frame *f = r->cancelled ? NULL : next_frame(timeout_ms);
    if (f != NULL)
        handle(f);
    return !r->cancelled;
}

/* One chunk, as soon as there is credit for it; `value` begins with room for the header, and is used up. */
static bool send_chunk(struct run *r, struct buf *value, bool last)
{
    while (r->chunks <= 0 || r->bytes <= 0)
        if (!wait_for_host(r, -1))
            return false;
    while (poll(&(struct pollfd){control, POLLIN, 0}, 1, 0) > 0) /* it may have been cancelled */
        if (!wait_for_host(r, 0))
            return false;
    send_frame(value, CHUNK, last ? FINAL : 0, r->id, 0);
    r->chunks--;
    r->bytes -= (int64_t)value->n;
    return !r->cancelled;
}

/* The next value that the host sends to the inbox, owned; NULL: there are no more, or the call is cancelled. */
static struct frame *receive(struct run *r)
{
    while (r->inbox == NULL && r->inbox_open)
        if (!wait_for_host(r, -1))
            return NULL;
    struct frame *f = r->inbox;
    if (f == NULL)
        return NULL;
    r->inbox = f->next;
    r->taken++;
    r->taken_bytes += (uint64_t)(f->payload.end - f->data);
    if (r->taken >= r->window / 2 || r->taken_bytes >= r->window_bytes / 2) {
        struct buf b = {0};
        begin_frame(&b);
        put_int(&b, (int64_t)r->taken);
        put_int(&b, (int64_t)r->taken_bytes);
        send_frame(&b, CREDIT, 0, r->id, 0);
        free(b.p);
        r->taken = r->taken_bytes = 0;
    }
    return f;
}

/* Asks the host, and frees the request: its answer as the result of the call, or as its error. */
static bool ask_host(struct run *r, int kind, struct buf *request, struct buf *ret)
{
    static uint64_t last_asked;
    r->asked = ++last_asked;
    send_frame(request, kind, 0, r->asked, 0);
    free(request->p);
    while (r->answer == NULL && wait_for_host(r, -1))
        continue;
    r->asked = 0;
    if (r->answer == NULL)
        return failed(ret, "cancelled", "the call was cancelled");
    struct slice v = r->answer->payload;
    bool good = r->answer->kind != TOOL_ERROR;
    begin_frame(ret);
    put(ret, v.p, (size_t)(v.end - v.p));
    free(r->answer);
    r->answer = NULL;
    return good;
}

/* ---- the tools: the value, or what failed() says, goes to ret, behind room for a header ---- */

static bool tool_echo(struct run *r, const struct arguments *a, struct buf *ret)
{
    struct slice v;
    (void)r;
    if (!argument(a, 0, "value", &v))
        return failed(ret, "invalid_parameter", "echo needs a value");
    put(ret, v.p, (size_t)(v.end - v.p));
    return true;
}

static bool tool_add(struct run *r, const struct arguments *a, struct buf *ret)
{
    int64_t x, y;
    (void)r;
    if (!argument_int(a, 0, "a", &x) || !argument_int(a, 1, "b", &y) || __builtin_add_overflow(x, y, &x))
        return failed(ret, "invalid_parameter", "add needs two integers whose sum is one of 64 bits");
    put_int(ret, x);
    return true;
}

static bool tool_fail(struct run *r, const struct arguments *a, struct buf *ret)
{
    struct slice v;
    (void)r;
    bool given = argument(a, 0, "message", &v) && read_str(v, &v);
    return failed(ret, "tool_execution_failed", "%.*s", given ? (int)(v.end - v.p) : 0, given ? (const char *)v.p : "");
}

static bool tool_sleep(struct run *r, const struct arguments *a, struct buf *ret)
{
    int64_t ms = 0;
    if (!argument_int(a, 0, "ms", &ms) || ms < 0 || ms > INT32_MAX)
        return failed(ret, "invalid_parameter", "sleep needs milliseconds");
    uint64_t end = now_ns() + (uint64_t)ms * 1000000u;
    for (uint64_t now; (now = now_ns()) < end;)
        if (!wait_for_host(r, (int)((end - now + 999999u) / 1000000u)))
            return failed(ret, "cancelled", "the call was cancelled");
    put_container(ret, A_NIL, 0);
    return true;
}

static bool tool_count(struct run *r, const struct arguments *a, struct buf *ret)
{
    int64_t n = 0;
    struct buf chunk = {0};
    if (!argument_int(a, 0, "n", &n))
        return failed(ret, "invalid_parameter", "count needs a number");
    bool good = true;
    for (int64_t i = 0; i < n && good; i++) {
        begin_frame(&chunk);
        put_int(&chunk, i);
        good = send_chunk(r, &chunk, i == n - 1);
    }
    free(chunk.p);
    if (!good)
        return failed(ret, "cancelled", "the call was cancelled");
    put_int(ret, n);
    return true;
}

static bool tool_talk(struct run *r, const struct arguments *a, struct buf *ret)
{
    int64_t n = 0;
    struct buf chunk = {0};
    struct frame *f;
    (void)a;
    for (bool good = true; good && (f = receive(r)) != NULL; n++) {
        begin_frame(&chunk);
        put(&chunk, f->payload.p, (size_t)(f->payload.end - f->payload.p));
        free(f);
        good = send_chunk(r, &chunk, false);
    }
    free(chunk.p);
    if (r->cancelled)
        return failed(ret, "cancelled", "the call was cancelled");
    put_int(ret, n);
    return true;
}

/* A tool of the host, by its name; without one, what tools there are. */
static bool tool_ask(struct run *r, const struct arguments *a, struct buf *ret)
{
    struct slice name, values;
    struct buf request = {0};
    bool named = argument(a, 0, "name", &name);
    if (named && !argument(a, 1, "arguments", &values))
        return failed(ret, "invalid_parameter", "ask needs the name of a tool, and arguments for it");
    begin_frame(&request);
    if (named) {
        put(&request, name.p, (size_t)(name.end - name.p));
        put(&request, values.p, (size_t)(values.end - values.p));
    }
    return ask_host(r, named ? TOOL_CALL : TOOL_LIST, &request, ret);
}

static const struct tool {
    const char *name;
    bool streams;
    bool (*run)(struct run *r, const struct arguments *a, struct buf *ret);
} tools[] = {{"echo", false, tool_echo},  {"add", false, tool_add},  {"fail", false, tool_fail}, {"sleep", false, tool_sleep},
             {"count", true, tool_count}, {"talk", true, tool_talk}, {"ask", false, tool_ask},   {"tools", false, tool_ask}};
enum { TOOLS = sizeof tools / sizeof tools[0] };

/* ---- serving ---- */

static bool call_tool(struct run *r, struct slice payload, struct buf *ret)
{
    struct slice name, values;
    struct arguments a;
    if (!take_value(&payload, &name, DEPTH) || !read_str(name, &name) || !take_value(&payload, &values, DEPTH + 1) ||
        payload.p != payload.end || !read_arguments(values, &a))
        return failed(ret, "deserialization_failed", "the payload of the call is none");
    for (int i = 0; i < TOOLS; i++) {
        if (!is_text(name, tools[i].name))
            continue;
        if (tools[i].streams != r->streams)
            return failed(ret, r->streams ? "streaming_not_supported" : "streaming_required", "%s %s", tools[i].name,
                          r->streams ? "does not stream" : "streams: call it as a stream");
        return tools[i].run(r, &a, ret);
    }
    return failed(ret, "tool_not_found", "there is no tool %.*s", (int)(name.end - name.p), (const char *)name.p);
}

static void open_stream(struct run *r, const struct frame *f)
{
    struct slice s;
    r->streams = true;
    if (!field(f, FIELD_STREAM, &s) || s.end - s.p != 16)
        die("a STREAM_CALL without its window");
    r->window = little(s.p, 4);
    r->window_bytes = little(s.p + 8, 8);
    r->chunks = (int64_t)r->window;
    r->bytes = r->window_bytes <= INT64_MAX ? (int64_t)r->window_bytes : INT64_MAX;
    r->inbox_open = (little(s.p + 4, 4) & WITH_INBOX) != 0;
}

static void serve(struct frame *f)
{
    struct run r = {.outer = running, .id = f->id};
    struct buf out = {0};
    uint64_t began = now_ns();
    if (f->kind == STREAM_CALL)
        open_stream(&r, f);
    running = &r;
    begin_frame(&out);
    bool good = f->stamp != 0 && began >= f->stamp
                    ? failed(&out, "deadline_exceeded", "the call's deadline had passed before it began")
                    : call_tool(&r, f->payload, &out);
    if (out.n > max_frame)
        good = failed(&out, "limit_exceeded", "the result is longer than max_frame_bytes");
    running = r.outer;
    while (r.inbox != NULL) {
        struct frame *unread = r.inbox;
        r.inbox = unread->next;
        free(unread);
    }
    send_frame(&out, good ? RESULT : ERROR, 0, f->id, (f->flags & TIMED) != 0 ? now_ns() - began : 0);
    free(out.p);
    free(f);
}

static void add_credit(struct run *r, struct slice payload)
{
    struct slice chunks, bytes;
    int64_t n, size;
    if (!take_value(&payload, &chunks, 0) || !take_value(&payload, &bytes, 0) || !read_int(chunks, &n) ||
        !read_int(bytes, &size))
        die("a CREDIT that is none");
    if (r != NULL) {
        r->chunks += n;
        r->bytes += size;
    }
}

/* The frame goes to the call for which it is, or that has asked; one that comes too late is dropped. */
static void to_call(struct frame *f)
{
    struct frame **to;
    bool is_answer = f->kind >= TOOL_CALL;
    struct run *r = running;
    while (r != NULL && (f->id == 0 || (is_answer ? r->asked : r->id) != f->id))
        r = r->outer;
    if (f->kind == CREDIT)
        add_credit(r, f->payload);
    if (r != NULL && f->kind == CANCEL)
        r->cancelled = true;
    if (r != NULL && f->kind == SEND_END)
        r->inbox_open = false;
    if (r != NULL && f->kind == SEND && r->inbox_open) {
        for (to = &r->inbox; *to != NULL; to = &(*to)->next)
            continue;
        *to = f;
    } else if (r != NULL && is_answer && r->answer == NULL) {
        r->answer = f;
    } else {
        free(f);
    }
}

static void say_hello(int segment)
{
    uint8_t secret[16];
    bool shared = segment >= 0 && pread(segment, secret, sizeof secret, 40) == (ssize_t)sizeof secret;
    struct buf b = {0};
    begin_frame(&b);
    put_container(&b, A_MAP, 5);
    put_str(&b, "protocol_min");
    put_int(&b, 1);
    put_str(&b, "protocol_max");
    put_int(&b, 1);
    put_str(&b, "pid");
    put_int(&b, getpid());
    put_str(&b, "channels");
    put_container(&b, AN_ARRAY, 1);
    put_str(&b, "socket");
    put_str(&b, "secret");
    put_head(&b, SOME_BYTES, shared ? sizeof secret : 0, 1);
    put(&b, secret, shared ? sizeof secret : 0);
    send_frame(&b, HELLO, 0, 0, 0);
    free(b.p);
}

/* WELCOME is answered by READY. */
static void become_ready(const struct frame *welcome)
{
    struct slice v;
    int64_t most;
    struct buf b = {0};
    if (map_get(welcome->payload, "max_frame_bytes", &v) && read_int(v, &most) && most > 0)
        max_frame = (uint64_t)most;
    begin_frame(&b);
    put_container(&b, A_MAP, 2);
    put_str(&b, "capabilities");
    put_container(&b, AN_ARRAY, 2);
    put_str(&b, "ping");
    put_str(&b, "cancel");
    put_str(&b, "tools");
    put_container(&b, AN_ARRAY, TOOLS);
    for (int i = 0; i < TOOLS; i++) {
        put_container(&b, A_MAP, 2);
        put_str(&b, "name");
        put_str(&b, tools[i].name);
        put_str(&b, "streaming");
        put_container(&b, tools[i].streams ? A_TRUE : A_FALSE, 0);
    }
    send_frame(&b, READY, 0, 0, 0);
    free(b.p);
}

/* Takes f. */
static void handle(struct frame *f)
{
    struct buf b = {0};
    switch (f->kind) {
    case CALL:
    case STREAM_CALL:
        if (running != NULL && ((f->flags & NESTED) == 0 || running->asked == 0))
            die("a call in the middle of another");
        serve(f);
        return;
    case CANCEL:
    case CREDIT:
    case SEND:
    case SEND_END:
    case TOOL_RESULT:
    case TOOL_ERROR:
    case TOOL_LIST:
        to_call(f);
        return;
    case PING:
        begin_frame(&b);
        send_frame(&b, PONG, 0, f->id, 0);
        free(b.p);
        break;
    case WELCOME:
        become_ready(f);
        break;
    case STOP:
        exit(0);
    default:
        die("a frame of a kind that has no place here");
    }
    free(f);
}

int main(void)
{
    const char *fds = getenv("SNAKEPIT_FDS");
    int segment = -1;
    if (fds == NULL || sscanf(fds, "%d,%d", &control, &segment) != 2 || control < 0) {
        fputs("worker: a Snakepit host starts this, with its socket in SNAKEPIT_FDS\n", stderr);
        return 2;
    }
    say_hello(segment);
    for (struct frame *f;;)
        if ((f = next_frame(-1)) != NULL)
            handle(f);
}
