/* Hostile tool calls: what a worker asks of the host's tools is read, run and answered as on a lane. Whatever it sends, it gets one whole frame with its number: the
 * result of the tool that it has named, with the arguments that it gave, or an error with a code; or it has broken the protocol. The input: a byte of flags,
 * of what size the field beside the payload is, that field, the payload. */
#include <pthread.h>
#include <snakepit/snakepit.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"
#include "pool/host.h"
#include "pool/inner_private.h"
#include "pool/pool_internal.h"
#include "telemetry/event.h"
#include "wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { HAS_FIELD = 1, LISTS = 2, FIELD_NAME = 4 /* it is FIELD_BINARY */, ID = 7, FRAME_MOST = 1 << 14 };

static struct host host;
static struct pool pool;
static struct worker worker;
static struct lane lane;

/* Its arguments, and the bytes beside them. */
static int echo(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)user;
    const pit_value *binary = pit_tool_binary_parameters(c);
    if (binary != NULL && pit_tool_set_binary(c, binary) != 0)
        abort();
    *ret = pit_value_ref((pit_value *)(uintptr_t)args);
    return 0;
}

static int fail(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)ret, (void)user;
    return pit_tool_fail(c, "%s", pit_value_str_or(pit_value_at(args, 0), "no"));
}

static void add(const char *name, pit_tool_fn fn)
{
    struct tool *t = tool_new(NULL, name, strlen(name));
    size_t bad, count;
    t->fn = fn;
    t->exposed = true;
    t->described = pit_pack("{s:s}", "name", name);
    if (tools_add(&host.tools, &t, 1, &bad, &count) != 0)
        abort();
    tool_unref(t);
}

static void set_up(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    host.os = &os_linux;
    host.telemetry = telemetry_create(os_linux.now_ns);
    pthread_mutex_init(&host.lock, NULL);
    list_init(&host.pools);
    tools_init(&host.tools);
    pool.host = &host;
    pool.set.max_frame = FRAME_MOST;
    lane.worker = &worker;
    add("echo", echo);
    add("fail", fail);
}

/* The frame as it came, whole. */
static void make_frame(struct buf *b, unsigned flags, const uint8_t *field, size_t field_n, const uint8_t *payload, size_t n)
{
    uint8_t head[FRAME_HEADER + FRAME_FIELDS_HEAD + FRAME_FIELD_HEAD] = {0};
    bool has = (flags & HAS_FIELD) != 0;
    frame_put_fields_head(head + FRAME_HEADER, FRAME_FIELD_HEAD + field_n);
    frame_put_field_head(head + FRAME_HEADER + FRAME_FIELDS_HEAD, (flags & FIELD_NAME) != 0 ? FIELD_BINARY : FIELD_METADATA,
                         field_n);
    buf_append(b, head, has ? sizeof head : FRAME_HEADER);
    if (has)
        buf_append(b, field, field_n);
    buf_append(b, payload, n);
    frame_put_header(b->data, (flags & LISTS) != 0 ? FRAME_TOOL_LIST : FRAME_TOOL_CALL, has ? FRAME_FIELDS : 0, ID, 0, b->len);
}

/* The result is what the tool was called with; no arguments are an empty map. */
static void check_echo(const struct asked *a, const pit_value *v)
{
    struct buf asked = {0}, got = {0};
    pit_value *args = NULL;
    if (a->args_n != 0 && codec_decode(a->args, a->args_n, NULL, &args, NULL, NULL) != 0)
        abort();
    if (args == NULL || pit_value_kind(args) == PIT_KIND_NIL) {
        pit_value_free(args);
        args = pit_map();
    }
    codec_encode(&asked, args, NULL);
    codec_encode(&got, v, NULL);
    if (asked.len != got.len || memcmp(asked.data, got.data, got.len) != 0)
        abort();
    pit_value_free(args);
    buf_finish(&asked);
    buf_finish(&got);
}

static void check_answer(const struct buf *out, const struct asked *a, bool lists)
{
    struct frame f;
    pit_value *v = NULL;
    if (out->failed || out->len > FRAME_MOST || frame_parse(out->data, out->len, &f) != 0 || f.id != ID)
        abort();
    if (codec_decode(f.payload, f.payload_n, NULL, &v, NULL, NULL) != 0)
        abort();
    if (lists && (f.kind != FRAME_TOOL_LIST || pit_value_len(v) != 2))
        abort();
    if (!lists && f.kind != FRAME_TOOL_RESULT && f.kind != FRAME_TOOL_ERROR)
        abort();
    if (f.kind == FRAME_TOOL_RESULT && strcmp(a->name, "echo") != 0)
        abort();
    if (f.kind == FRAME_TOOL_RESULT)
        check_echo(a, v);
    if (f.kind == FRAME_TOOL_ERROR && pit_value_str(pit_value_get(v, "code")) == NULL)
        abort();
    pit_value_free(v);
}

static void serve(const struct frame *f)
{
    struct asked a = {0};
    struct buf out = {0};
    bool lists = f->kind == FRAME_TOOL_LIST;
    if (lists) {
        inner_list(&pool, NULL, f->id, &out);
    } else {
        int rc = inner_read(f, &a);
        if (rc != 0 && rc != PIT_E_PROTOCOL_ERROR)
            abort();
        if (rc != 0)
            return;
        struct tool *t = tools_find(&host.tools, NULL, a.name);
        struct pit_tool_ctx c = {.host = &host, .pool = &pool, .id = f->id, .depth = 1, .deadline_ns = UINT64_MAX};
        if (t != NULL)
            inner_run(&c, t, &a, &out);
        else
            inner_refuse_missing(&pool, &lane, NULL, &a, &out);
        tool_let_go(&c);
        tool_unref(t);
    }
    check_answer(&out, &a, lists);
    buf_finish(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf in = {0};
    struct frame f;
    if (n < 2)
        return 0;
    set_up();
    size_t field_n = data[1] < n - 2 ? data[1] : n - 2;
    make_frame(&in, data[0], data + 2, field_n, data + 2 + field_n, n - 2 - field_n);
    if (frame_parse(in.data, in.len, &f) != 0)
        abort();
    serve(&f);
    buf_finish(&in);
    return 0;
}
