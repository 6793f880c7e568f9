/* What the worker written in C does with tools of the host: it asks, serves the calls that come meanwhile, and breaks the rules on request. */
#ifndef TESTS_WORKER_TOOLS_H
#define TESTS_WORKER_TOOLS_H

enum { KEPT_MAX = 256 };

static struct {
    uint64_t asked;   /* the last number of a tool call */
    uint64_t running; /* the innermost call */
    struct buf kept[KEPT_MAX];
    unsigned n; /* written ahead of the call that runs, and met while it waited */
} tools;

static void serve(const struct frame *f);

static void send_buf(struct buf *b)
{
    for (size_t done = 0; lane->ops->send(lane, b->data, b->len, &done) == CHANNEL_AGAIN;)
        lane->ops->wait(lane, CHANNEL_FOR_ROOM, UINT64_MAX, 0);
    buf_finish(b);
}

/* A call of the tool with one positional argument (taken); binary (taken) may be NULL. */
static void ask(uint64_t id, const char *name, pit_value *arg, pit_value *binary)
{
    struct buf b = {0};
    buf_reserve(&b, 256);
    b.len = FRAME_HEADER;
    if (binary != NULL) {
        size_t at = b.len;
        b.len += FRAME_FIELDS_HEAD + FRAME_FIELD_HEAD;
        codec_encode(&b, binary, NULL);
        size_t n = b.len - at - FRAME_FIELDS_HEAD - FRAME_FIELD_HEAD;
        frame_put_fields_head(b.data + at, n + FRAME_FIELD_HEAD);
        frame_put_field_head(b.data + at + FRAME_FIELDS_HEAD, FIELD_BINARY, n);
    }
    pit_value *text = pit_str(name), *list = pit_list();
    pit_list_append_take(list, arg);
    codec_encode(&b, text, NULL);
    codec_encode(&b, list, NULL);
    frame_put_header(b.data, FRAME_TOOL_CALL, binary != NULL ? FRAME_FIELDS : 0, id, 0, b.len);
    pit_value_free(text);
    pit_value_free(list);
    pit_value_free(binary);
    send_buf(&b);
}

/* The same without arguments, or with none. */
static void ask_nothing(uint64_t id, const char *name, bool with_nil)
{
    struct buf b = {0};
    pit_value *text = pit_str(name), *nil = pit_nil();
    buf_append(&b, (const uint8_t[FRAME_HEADER]){0}, FRAME_HEADER);
    codec_encode(&b, text, NULL);
    if (with_nil)
        codec_encode(&b, nil, NULL);
    frame_put_header(b.data, FRAME_TOOL_CALL, 0, id, 0, b.len);
    pit_value_free(text);
    pit_value_free(nil);
    send_buf(&b);
}

static void ask_empty(int kind, uint64_t id)
{
    struct buf b = {0};
    buf_reserve(&b, FRAME_HEADER);
    b.len = FRAME_HEADER;
    frame_put_header(b.data, kind, 0, id, 0, b.len);
    send_buf(&b);
}

static bool has_been_cancelled(void)
{
    return __atomic_load_n(&status->cancel, __ATOMIC_SEQ_CST) == tools.running;
}

static void keep(const struct channel_frame *in)
{
    if (tools.n == KEPT_MAX)
        exit(89);
    buf_append(&tools.kept[tools.n++], in->data, in->n);
}

/* The answer to that number: its payload as a value; of a TOOL_ERROR the map. nil: the call was cancelled. */
static pit_value *answer_to(uint64_t id)
{
    struct channel_frame in;
    pit_value *v = NULL;
    channel_frame_init(&in);
    while (v == NULL) {
        struct frame f;
        int rc = lane->ops->recv(lane, &in);
        if (rc == CHANNEL_AGAIN && has_been_cancelled())
            v = pit_nil();
        else if (rc == CHANNEL_AGAIN)
            lane->ops->wait(lane, CHANNEL_FOR_FRAME, os_linux.now_ns() + UINT64_C(2000000), UINT64_C(20000));
        else if (rc != 0 || frame_parse(in.data, in.n, &f) != 0)
            exit(0);
        else if (f.kind == FRAME_CALL && (f.flags & FRAME_NESTED) != 0)
            serve(&f);
        else if (f.kind == FRAME_CALL)
            keep(&in);
        else if (f.kind >= FRAME_TOOL_RESULT && f.kind <= FRAME_TOOL_LIST && f.id == id)
            codec_decode(f.payload, f.payload_n, NULL, &v, NULL, NULL);
    }
    channel_frame_finish(&in);
    return v;
}

static pit_value *ask_and_wait(const char *name, pit_value *arg)
{
    uint64_t id = ++tools.asked;
    ask(id, name, arg, NULL);
    return answer_to(id);
}

static pit_value *list_tools(void)
{
    uint64_t id = ++tools.asked;
    ask_empty(FRAME_TOOL_LIST, id);
    return answer_to(id);
}

static void serve_kept(void)
{
    while (tools.n != 0) {
        struct buf first = tools.kept[0];
        struct frame f;
        memmove(tools.kept, tools.kept + 1, --tools.n * sizeof first);
        tools.kept[tools.n] = (struct buf){0};
        if (frame_parse(first.data, first.len, &f) == 0)
            serve(&f);
        buf_finish(&first);
    }
}

/* What a worker may not do. */
static bool ask_badly(const char *command, int64_t n)
{
    static const char *const kinds[] = {"zero", "twice", "rubbish", "empty", "flood", "result", "other", "flags"};
    unsigned how = 0;
    if (strncmp(command, "ask_", 4) != 0)
        return false;
    while (how < sizeof kinds / sizeof kinds[0] && strcmp(command + 4, kinds[how]) != 0)
        how++;
    uint64_t id = ++tools.asked;
    switch (how) {
    case 0:
        ask(0, "tool", pit_int(n), NULL);
        break;
    case 1:
        ask(id, "tool", pit_int(n), NULL);
        pit_value_free(answer_to(id));
        ask(id, "tool", pit_int(n), NULL);
        break;
    case 2: {
        pit_value *v = pit_int(7);
        send_frame(lane, FRAME_TOOL_CALL, id, 0, v);
        pit_value_free(v);
        break;
    }
    case 3:
        ask_empty(FRAME_TOOL_CALL, id);
        break;
    case 4:
        for (; n > 0; n--)
            ask(tools.asked++, "tool", pit_int(n), NULL);
        break;
    case 5:
        ask_empty(FRAME_TOOL_RESULT, id);
        break;
    case 6: {
        pit_value *v = pit_int(7); /* an answer to no call */
        ask(id, "tool", pit_int(n), NULL);
        send_frame(lane, FRAME_RESULT, tools.running + 5, 0, v);
        break;
    }
    case 7: { /* a flag that is known, and no tool call's */
        struct buf b = {0};
        pit_value *text = pit_str("tool");
        buf_reserve(&b, FRAME_HEADER);
        b.len = FRAME_HEADER;
        codec_encode(&b, text, NULL);
        frame_put_header(b.data, FRAME_TOOL_CALL, n == 0 ? FRAME_TIMED : FRAME_NESTED, id, 0, b.len);
        pit_value_free(text);
        send_buf(&b);
        break;
    }
    default:
        return false;
    }
    sleep_ms(600000);
    return true;
}

/* The result, owned; NULL: another command. */
static pit_value *run_tools(const char *command, int64_t n)
{
    if (strcmp(command, "ask") == 0)
        return ask_and_wait("tool", pit_int(n));
    if (strcmp(command, "ask_missing") == 0)
        return ask_and_wait("nowhere", pit_int(n));
    if (strcmp(command, "ask_long") == 0)
        return ask_and_wait("a23456789b123456789c123456789d123456789e123456789f123456789g12345", pit_int(n));
    if (strcmp(command, "ask_list") == 0)
        return list_tools();
    if (strcmp(command, "ask_nothing") == 0) {
        uint64_t id = ++tools.asked;
        ask_nothing(id, "tool", n != 0);
        return answer_to(id);
    }
    if (strcmp(command, "ask_often") == 0) {
        for (; n > 1; n--)
            pit_value_free(ask_and_wait("tool", pit_int(1))); /* a call inside each */
        return ask_and_wait("tool", pit_int(1));
    }
    if (strcmp(command, "ask_bytes") == 0) {
        char *block = calloc(1, (size_t)n);
        pit_value *v = ask_and_wait("tool", pit_bytes(block, (size_t)n));
        free(block);
        return v;
    }
    if (strcmp(command, "ask_binary") == 0) {
        uint64_t id = ++tools.asked;
        pit_value *bytes = pit_pack("{s:y}", "blob", "abc", (size_t)3);
        ask(id, "tool", pit_int(n), n == 1 ? bytes : pit_int(1));
        if (n != 1)
            pit_value_free(bytes);
        return answer_to(id);
    }
    if (strcmp(command, "ask_die") == 0) {
        ask(++tools.asked, "tool", pit_int(n), NULL);
        kill(getpid(), SIGKILL);
    }
    return ask_badly(command, n) ? pit_nil() : NULL;
}

#endif
