/* A worker written in C that speaks docs/wire.md: starts in a millisecond, and misbehaves on request.
 *
 *   worker_c STAGE [ring|socket] [--no-marks]
 *
 * Every command takes one number or nothing. It trusts its host. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <snakepit/value.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "channel/channel.h"
#include "integration/c/stage.h"
#include "ring/segment.h"
#include "wire/codec.h"
#include "wire/frame.h"

enum { CONTROL = 3, SEGMENT = 4 };

static struct stage *stage;
static struct channel *control, *lane;
static struct segment_header *header;
static struct lane_status *status;

static void *map(int fd)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        exit(90);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        exit(91);
    return p;
}

static void send_frame(struct channel *c, int kind, uint64_t id, uint64_t stamp, const pit_value *v)
{
    struct buf b = {0};
    buf_reserve(&b, 256);
    b.len = FRAME_HEADER;
    if (codec_encode(&b, v, NULL) != 0)
        exit(92);
    frame_put_header(b.data, kind, 0, id, stamp, b.len);
    for (size_t done = 0;;) {
        int rc = c->ops->send(c, b.data, b.len, &done);
        if (rc == 0)
            break;
        if (rc != CHANNEL_AGAIN)
            exit(93);
        c->ops->wait(c, CHANNEL_FOR_ROOM, UINT64_MAX, 0);
    }
    buf_finish(&b);
}

static void send_map_take(int kind, pit_value *v)
{
    send_frame(control, kind, 0, 0, v);
    pit_value_free(v);
}

static void sleep_ms(int64_t ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) /* allow-sleep */
        continue;
}

static void gate(void)
{
    atomic_fetch_add(&stage->arrived, 1);
    while (atomic_load(&stage->go) == 0)
        os_linux.futex_wait((const uint32_t *)(void *)&stage->go, 0, UINT64_MAX);
}

static void flood(int64_t bytes)
{
    char block[4096];
    memset(block, 'x', sizeof block);
    for (; bytes > 0; bytes -= (int64_t)sizeof block)
        if (write(1, block, sizeof block) < 0)
            return;
}

/* A child in a session of its own, already when this returns, that outlives everything that does not look for it. */
static int64_t grandchild(void)
{
    int left[2];
    char byte;
    if (pipe(left) != 0)
        exit(96);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        for (int fd = 0; fd < 16; fd++)
            close(fd);
        close(left[0]);
        close(left[1]);
        sleep_ms(600000);
        _exit(0);
    }
    close(left[1]);
    while (read(left[0], &byte, 1) < 0 && errno == EINTR)
        ;
    close(left[0]);
    return pid;
}

static void garbage(void)
{
    static const char rubbish[] = "this is no frame, and it never will be one";
    if (write(CONTROL, rubbish, sizeof rubbish) < 0)
        exit(94);
    sleep_ms(600000);
}

/* So many zero bytes on the control socket: bells that nobody asked for. */
static void bells(int64_t bytes)
{
    static const char block[1 << 16];
    for (; bytes > 0; bytes -= (int64_t)sizeof block)
        if (write(CONTROL, block, bytes < (int64_t)sizeof block ? (size_t)bytes : sizeof block) < 0)
            return;
}

/* A frame whose payload is one map of n integers, in an order that sorting finds hard. */
static void send_entries(struct channel *c, int kind, uint64_t id, uint32_t n)
{
    enum { ENTRY = 10, MAP = 5 };
    size_t size = FRAME_HEADER + MAP + (size_t)n * ENTRY, done = 0;
    uint8_t *frame = malloc(size), *p = frame + FRAME_HEADER;
    if (frame == NULL)
        exit(97);
    frame_put_header(frame, kind, 0, id, 0, size);
    *p++ = 0xdf;
    for (int shift = 24; shift >= 0; shift -= 8)
        *p++ = (uint8_t)(n >> shift);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t key = i * UINT64_C(0x9e3779b97f4a7c15);
        *p++ = 0xcf;
        for (int shift = 56; shift >= 0; shift -= 8)
            *p++ = (uint8_t)(key >> shift);
        *p++ = 0xc0;
    }
    for (int rc; (rc = c->ops->send(c, frame, size, &done)) != 0;) {
        if (rc != CHANNEL_AGAIN)
            exit(98);
        c->ops->wait(c, CHANNEL_FOR_ROOM, UINT64_MAX, 0);
    }
    free(frame);
}

/* Answers the first call of this worker, whose beginning has come and whose end has not, and reads no more. */
static void answer_early(bool ring)
{
    uint8_t head[FRAME_HEADER];
    uint64_t id;
    lane->ops->wait(lane, CHANNEL_FOR_FRAME, UINT64_MAX, 0);
    const uint8_t *lane_0 = (const uint8_t *)header + SEGMENT_LANES_OFFSET;
    if (ring)
        memcpy(head, lane_0 + LANE_REQUEST_DATA + sizeof(struct ring_record), sizeof head);
    else if (recv(CONTROL, head, sizeof head, MSG_PEEK | MSG_WAITALL) != (ssize_t)sizeof head)
        exit(99);
    memcpy(&id, head + 8, sizeof id);
    __atomic_store_n(&status->claims[id % SEGMENT_SLOTS], CLAIM(id, CLAIM_STARTED), __ATOMIC_SEQ_CST);
    pit_value *v = pit_int(1);
    send_frame(lane, FRAME_RESULT, id, 0, v);
    pit_value_free(v);
    sleep_ms(600000);
}

/* A log line with so many characters of text. */
static void say(struct channel *c, int64_t n)
{
    char *text = malloc((size_t)n + 1);
    if (text == NULL)
        exit(97);
    memset(text, 'x', (size_t)n);
    text[n] = '\0';
    pit_value *v = pit_pack("{s:s,s:s,s:n,s:i}", "level", "warning", "text", text, "correlation_id", "more", 1);
    send_frame(c, FRAME_LOG, 0, 0, v);
    pit_value_free(v);
    free(text);
}

/* Log lines that are more than that; false: another command. */
static bool say_badly(const char *command, int64_t n)
{
    if (strcmp(command, "say_control") == 0)
        send_map_take(FRAME_LOG, pit_pack("{s:s,s:s,s:s}", "level", "error", "logger", "a\nb\x7f", "text",
                                          "one\ntwo\tthree\x1b[31m\xc2\x9b\xe2\x82\xac"));
    else if (strcmp(command, "say_list") == 0)
        send_map_take(FRAME_LOG, pit_pack("{s:s,s:[i]}", "text", "a line", "more", 1));
    else if (strcmp(command, "say_decimal") == 0) {
        pit_value *v = pit_pack("{s:s}", "text", "a line");
        pit_map_put_take(v, pit_str("more"), pit_decimal("0.5"));
        send_map_take(FRAME_LOG, v);
    } else if (strcmp(command, "say_long") == 0)
        say(control, n);
    else if (strcmp(command, "say_often") == 0)
        for (; n > 0; n--)
            say(control, 10);
    else if (strcmp(command, "say_on_lane") == 0)
        for (; n != 0; n--) /* -1: for ever */
            say(lane, 20000);
    else
        return false;
    return true;
}

/* Answers that nobody asked for, and to the first health check one that is none. */
static void say_health(int64_t how)
{
    pit_value *v = how == 1 ? pit_pack("{s:i,s:i}", "ok", 1, "reason", 7) : pit_pack("{s:b}", "ok", 0);
    if (how == 3) {
        char *blob = calloc(1, 1 << 17);
        pit_value_free(v);
        v = pit_bytes(blob, 1 << 17);
        free(blob);
    }
    send_frame(control, how == 4 ? FRAME_PONG : FRAME_HEALTH_REPLY, how == 0 ? 999 : 1, 0, v);
    pit_value_free(v);
}

/* Its first runs end the worker by a signal: n = id << 16 | how many of them << 8 | signal. The result says how often it was run. */
static pit_value *fatal(int64_t n)
{
    unsigned run = atomic_fetch_add(&stage->runs[(n >> 16) % STAGE_RUNS], 1) + 1;
    if (run <= (unsigned)(n >> 8 & 0xff))
        kill(getpid(), (int)(n & 0xff)), sleep_ms(600000);
    return pit_int(run);
}

#include "integration/c/worker_tool_lies.h"

/* The result, owned; NULL: an unknown command. */
static pit_value *run(const char *command, int64_t n)
{
    pit_value *of_tools = run_tools(command, n);
    if (of_tools == NULL)
        of_tools = run_tool_lies(command, n);
    if (of_tools != NULL)
        return of_tools;
    if (strcmp(command, "echo") == 0)
        return pit_int(n);
    if (strcmp(command, "pid") == 0)
        return pit_int(getpid());
    if (strcmp(command, "run") == 0 || strcmp(command, "gate") == 0) {
        atomic_fetch_add(&stage->runs[n % STAGE_RUNS], 1);
        if (*command == 'g')
            gate();
        return pit_int(n);
    }
    if (strcmp(command, "fatal") == 0)
        return fatal(n);
    if (strcmp(command, "sleep") == 0)
        sleep_ms(n);
    else if (strcmp(command, "exit") == 0)
        exit((int)n);
    else if (strcmp(command, "die") == 0)
        kill(getpid(), (int)n);
    else if (strcmp(command, "close") == 0)
        close(CONTROL), sleep_ms(600000);
    else if (strcmp(command, "halfclose") == 0)
        shutdown(CONTROL, SHUT_WR), sleep_ms(600000);
    else if (strcmp(command, "garbage") == 0)
        garbage();
    else if (strcmp(command, "flood") == 0)
        flood(n);
    else if (strcmp(command, "bells") == 0)
        bells(n);
    else if (strcmp(command, "log") == 0)
        send_entries(control, FRAME_LOG, 0, (uint32_t)n), sleep_ms(600000);
    else if (strcmp(command, "say_health") == 0)
        say_health(n);
    else if (strcmp(command, "grandchild") == 0)
        return pit_int(grandchild());
    else if (strcmp(command, "ignore_term") == 0)
        signal(SIGTERM, SIG_IGN);
    else if (strcmp(command, "blob") == 0) {
        char *bytes = calloc(1, (size_t)n);
        pit_value *v = pit_bytes(bytes, (size_t)n);
        free(bytes);
        return v;
    } else if (!say_badly(command, n))
        return NULL;
    return pit_nil();
}

static int64_t number_of(const pit_value *args)
{
    int64_t n = 0;
    if (pit_value_kind(args) == PIT_KIND_LIST || pit_value_kind(args) == PIT_KIND_TUPLE)
        args = pit_value_at(args, 0);
    if (pit_value_kind(args) == PIT_KIND_MAP)
        args = pit_value_get(args, "n");
    if (pit_value_kind(args) == PIT_KIND_BYTES)
        return (int64_t)pit_value_len(args);
    pit_value_get_int(args, &n);
    return n;
}

static void serve(const struct frame *f)
{
    uint64_t *claim = &status->claims[f->id % SEGMENT_SLOTS];
    if (__atomic_exchange_n(claim, CLAIM(f->id, CLAIM_STARTED), __ATOMIC_SEQ_CST) == CLAIM(f->id, CLAIM_REVOKED))
        return;
    pit_value *command = NULL, *args = NULL;
    size_t used = 0;
    if (codec_decode(f->payload, f->payload_n, NULL, &command, &used, NULL) != 0 ||
        codec_decode(f->payload + used, f->payload_n - used, NULL, &args, NULL, NULL) != 0)
        exit(95);
    uint64_t began = os_linux.now_ns(), outer = tools.running;
    tools.running = f->id;
    pit_value *result = run(pit_value_str_or(command, ""), number_of(args));
    uint64_t took = (f->flags & FRAME_TIMED) != 0 ? os_linux.now_ns() - began + 1 : 0;
    __atomic_store_n(claim, CLAIM(f->id, CLAIM_FINISHED), __ATOMIC_SEQ_CST);
    if (strcmp(pit_value_str_or(command, ""), "entries") == 0) {
        send_entries(lane, FRAME_RESULT, f->id, (uint32_t)number_of(args));
    } else if (result != NULL) {
        send_frame(lane, FRAME_RESULT, f->id, took, result);
    } else {
        pit_value *e = pit_pack("{s:s,s:s}", "code", "tool_not_found", "message", "no such command");
        send_frame(lane, FRAME_ERROR, f->id, took, e);
        pit_value_free(e);
    }
    pit_value_free(result);
    pit_value_free(command);
    pit_value_free(args);
    tools.running = outer;
    if (outer == 0)
        serve_kept();
}

#include "integration/c/worker_stream.h"

/* One frame from c; false: none is there. */
static bool take(struct channel *c, struct channel_frame *in)
{
    struct frame f;
    int rc = c->ops->recv(c, in);
    if (rc == CHANNEL_AGAIN)
        return false;
    if (rc != 0 || frame_parse(in->data, in->n, &f) != 0)
        exit(0); /* the host has gone */
    if (f.kind == FRAME_STOP)
        exit(0);
    if (f.kind == FRAME_CALL)
        serve(&f);
    if (f.kind == FRAME_STREAM_CALL)
        serve_stream(&f);
    return true;
}

static void say_hello(bool ring, bool marks)
{
    send_map_take(FRAME_HELLO, pit_pack("{s:i,s:i,s:i,s:y,s:[s],s:b}", "protocol_min", PROTOCOL_MIN, "protocol_max",
                                        PROTOCOL_MAX, "pid", (int)getpid(), "secret", header->secret, (size_t)SEGMENT_SECRET,
                                        "channels", ring ? "ring" : "socket", "marks", (int)marks));
}

static void add_frame_take(struct buf *b, int kind, pit_value *v)
{
    size_t at = b->len;
    buf_reserve(b, FRAME_HEADER);
    b->len += FRAME_HEADER;
    if (codec_encode(b, v, NULL) != 0)
        exit(92);
    frame_put_header(b->data + at, kind, 0, 0, 0, b->len - at);
    pit_value_free(v);
}

/* n log lines and the frame, in one write: they reach the host together. */
static void say_at_length(unsigned n, int kind, pit_value *v)
{
    struct buf b = {0};
    while (n-- > 0)
        add_frame_take(&b, FRAME_LOG, pit_pack("{s:s}", "text", "a line"));
    add_frame_take(&b, kind, v);
    if (write(CONTROL, b.data, b.len) != (ssize_t)b.len)
        exit(93);
    buf_finish(&b);
}

/* A heart that lies. */
static pit_value *ready_map(void)
{
    unsigned how = atomic_load(&stage->heart);
    if (how == 2) {
        status->pong_ns = UINT64_MAX;
        status->ticks = UINT64_MAX;
        __atomic_store_n(&status->pong, UINT32_MAX / 2, __ATOMIC_RELEASE);
    }
    if (how == 3)
        __atomic_store_n(&status->ping, UINT32_MAX, __ATOMIC_RELEASE);
    return how != 0 ? pit_pack("{s:[s]}", "capabilities", how == 4 ? "health" : "heart") : pit_pack("{}");
}

static void become_ready(void)
{
    unsigned lines = atomic_load(&stage->chatty);
    atomic_fetch_add(&stage->starts, 1);
    if (atomic_load(&stage->refuse) != 0) {
        say_at_length(lines, FRAME_FAILED,
                      pit_pack("{s:s,s:s}", "code", "adapter_init_failed", "message", "the stage says no"));
        exit(1);
    }
    if (atomic_load(&stage->mute) != 0)
        sleep_ms(600000);
    if (atomic_load(&stage->late) != 0)
        gate();
    if (atomic_load(&stage->fat) != 0)
        send_entries(control, FRAME_READY, 0, 200000);
    else
        say_at_length(lines, FRAME_READY, ready_map());
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 96;
    bool ring = strcmp(argv[2], "ring") == 0, marks = argc < 4;
    struct lane_status private = {0};
    struct channel_frame in;
    stage = map(open(argv[1], O_RDWR | O_CLOEXEC));
    header = map(SEGMENT);
    channel_frame_init(&in);
    control = channel_socket_create(&os_linux, CONTROL, FRAME_MAX_DEFAULT);
    status = ring || marks ? channel_ring_status(header, 0, header->ring_bytes) : &private;
    lane = ring ? channel_ring_create_worker(&os_linux, header, 0, header->ring_bytes, FRAME_MAX_DEFAULT, CONTROL) : control;
    say_hello(ring, marks);
    while (!take(control, &in)) /* WELCOME */
        control->ops->wait(control, CHANNEL_FOR_FRAME, UINT64_MAX, 0);
    become_ready();
    if (atomic_exchange(&stage->early, 0) != 0)
        answer_early(ring);
    for (;;) {
        while (take(lane, &in))
            continue;
        if (ring && take(control, &in))
            continue;
        lane->ops->wait(lane, CHANNEL_FOR_FRAME, ring ? os_linux.now_ns() + UINT64_C(500000000) : UINT64_MAX, UINT64_C(20000));
    }
}
