/* What the worker written in C does with a STREAM_CALL: one tool for each thing that a producer may do, or must not. */
#ifndef TESTS_WORKER_STREAM_H
#define TESTS_WORKER_STREAM_H

struct producer {
    uint64_t id, chunks;
    int64_t bytes;
    bool inbox, inbox_over;
    pit_value *came; /* a list: sent to the inbox, and not read yet */
    uint64_t window, taken, taken_bytes;
    uint64_t index;
};

static bool is_cancelled(const struct producer *s)
{
    return __atomic_load_n(&status->cancel, __ATOMIC_SEQ_CST) == s->id;
}

static void put_chunk(struct producer *s, const pit_value *v, const pit_value *metadata, unsigned flags, uint64_t id)
{
    struct buf b = {0};
    buf_reserve(&b, FRAME_HEADER);
    b.len = FRAME_HEADER;
    codec_encode(&b, v, NULL);
    if (metadata != NULL)
        codec_encode(&b, metadata, NULL);
    frame_put_header(b.data, FRAME_CHUNK, flags, id, 0, b.len);
    for (size_t done = 0; lane->ops->send(lane, b.data, b.len, &done) == CHANNEL_AGAIN;)
        lane->ops->wait(lane, CHANNEL_FOR_ROOM, UINT64_MAX, 0);
    s->chunks--;
    s->bytes -= (int64_t)b.len;
    s->index++;
    buf_finish(&b);
}

static void put_credit(uint64_t id, uint64_t chunks, uint64_t bytes)
{
    struct buf b = {0};
    pit_value *c = pit_uint(chunks), *n = pit_uint(bytes);
    buf_reserve(&b, FRAME_HEADER);
    b.len = FRAME_HEADER;
    codec_encode(&b, c, NULL);
    codec_encode(&b, n, NULL);
    frame_put_header(b.data, FRAME_CREDIT, 0, id, 0, b.len);
    for (size_t done = 0; lane->ops->send(lane, b.data, b.len, &done) == CHANNEL_AGAIN;)
        lane->ops->wait(lane, CHANNEL_FOR_ROOM, UINT64_MAX, 0);
    buf_finish(&b);
    pit_value_free(c);
    pit_value_free(n);
}

static uint64_t number_at(const uint8_t *p, size_t n, size_t *used)
{
    pit_value *v = NULL;
    uint64_t u = 0;
    if (codec_decode(p, n, NULL, &v, used, NULL) != 0 || !pit_value_get_uint(v, &u))
        exit(95);
    pit_value_free(v);
    return u;
}

/* Waits for one frame that belongs to the stream; false: it shall end. */
static bool hear(struct producer *s)
{
    struct channel_frame in;
    struct frame f;
    bool heard = false;
    channel_frame_init(&in);
    while (!heard && !is_cancelled(s)) {
        int rc = lane->ops->recv(lane, &in);
        if (rc == CHANNEL_AGAIN) {
            lane->ops->wait(lane, CHANNEL_FOR_FRAME, os_linux.now_ns() + UINT64_C(100000000), 0);
            continue;
        }
        if (rc != 0 || frame_parse(in.data, in.n, &f) != 0 || f.kind == FRAME_STOP)
            exit(0);
        heard = f.id == s->id;
        if (heard && f.kind == FRAME_CREDIT) {
            size_t used;
            s->chunks += number_at(f.payload, f.payload_n, &used);
            s->bytes += (int64_t)number_at(f.payload + used, f.payload_n - used, NULL);
        } else if (heard && f.kind == FRAME_SEND) {
            pit_value *v = NULL;
            if (codec_decode(f.payload, f.payload_n, NULL, &v, NULL, NULL) != 0)
                exit(95);
            pit_value *entry = pit_list();
            pit_list_append_take(entry, v);
            pit_list_append_take(entry, pit_uint(in.n));
            pit_list_append_take(s->came, entry);
        } else if (heard && f.kind == FRAME_SEND_END) {
            s->inbox_over = true;
        }
    }
    channel_frame_finish(&in);
    return heard;
}

/* false: it shall end. */
static bool give(struct producer *s, const pit_value *v)
{
    while (!is_cancelled(s) && (s->chunks == 0 || s->bytes <= 0))
        if (!hear(s))
            return false;
    if (is_cancelled(s))
        return false;
    put_chunk(s, v, NULL, 0, s->id);
    return true;
}

static bool give_number(struct producer *s, int64_t n)
{
    pit_value *v = pit_int(n);
    bool more = give(s, v);
    pit_value_free(v);
    return more;
}

static pit_value *echo_inbox(struct producer *s)
{
    size_t at = 0;
    for (;;) {
        while (at == pit_value_len(s->came) && !s->inbox_over)
            if (!hear(s))
                return NULL;
        if (at == pit_value_len(s->came))
            return pit_uint(at);
        const pit_value *entry = pit_value_at(s->came, at++);
        uint64_t bytes = 0;
        pit_value_get_uint(pit_value_at(entry, 1), &bytes);
        s->taken++;
        s->taken_bytes += bytes;
        if (2 * s->taken >= s->window) {
            put_credit(s->id, s->taken, s->taken_bytes);
            s->taken = s->taken_bytes = 0;
        }
        if (!give(s, pit_value_at(entry, 0)))
            return NULL;
    }
}

/* What no worker may do, by number. */
static void lie(struct producer *s, int64_t which)
{
    pit_value *v = pit_int(7), *list = pit_pack("[i]", 1);
    if (which == 1)
        put_chunk(s, v, NULL, 0, s->id + 1);
    else if (which == 2)
        put_chunk(s, v, NULL, FRAME_FINAL, s->id), put_chunk(s, v, NULL, 0, s->id);
    else if (which == 3)
        put_chunk(s, v, list, 0, s->id);
    else if (which == 4)
        put_credit(s->id, 1, 1);
    else if (which == 5)
        put_credit(s->id + 1, 0, 0);
    else if (which == 6)
        for (int i = 0; i < 100000; i++)
            put_chunk(s, v, NULL, 0, s->id);
    else if (which == 7)
        put_credit(s->id, UINT64_MAX, UINT64_MAX);
    else if (which == 8)
        send_frame(lane, FRAME_CREDIT, s->id, 0, list);
    pit_value_free(v);
    pit_value_free(list);
    if (which != 3)
        sleep_ms(600000);
}

static pit_value *produce(struct producer *s, const char *command, int64_t n)
{
    if (strcmp(command, "count") == 0) {
        for (int64_t i = 0; i < n; i++)
            if (!give_number(s, i))
                return NULL;
        return pit_int(n);
    }
    if (strcmp(command, "endless") == 0) {
        for (int64_t i = 0; give_number(s, i); i++)
            atomic_store(&stage->runs[0], (unsigned)i + 1);
        return NULL;
    }
    if (strcmp(command, "big") == 0) {
        for (int i = 0; i < 8; i++) {
            char *block = calloc(1, (size_t)n);
            pit_value *v = pit_bytes(block, (size_t)n);
            bool more = give(s, v);
            free(block);
            pit_value_free(v);
            if (!more)
                return NULL;
            atomic_fetch_add(&stage->runs[0], 1);
        }
        return pit_nil();
    }
    if (strcmp(command, "marked") == 0) {
        pit_value *v = pit_str("last"), *m = pit_pack("{s:i}", "part", 1);
        put_chunk(s, v, m, FRAME_FINAL, s->id);
        pit_value_free(v);
        pit_value_free(m);
        return pit_nil();
    }
    if (strcmp(command, "talk") == 0)
        return echo_inbox(s);
    if (strcmp(command, "silent") == 0)
        while (hear(s))
            continue;
    else if (strcmp(command, "deaf") == 0)
        give_number(s, 0), sleep_ms(600000);
    else if (strcmp(command, "dies") == 0) {
        for (int64_t i = 0; i < n; i++)
            give_number(s, i);
        kill(getpid(), SIGKILL), sleep_ms(600000);
    } else if (strcmp(command, "fails") == 0)
        give_number(s, 0);
    else if (strcmp(command, "lie") == 0)
        lie(s, n);
    return NULL;
}

static void open_producer(struct producer *s, const struct frame *f)
{
    const uint8_t *field;
    size_t n;
    uint32_t chunks, flags;
    uint64_t bytes;
    if (!frame_field(f, FIELD_STREAM, &field, &n) || n != FIELD_STREAM_SIZE)
        exit(89);
    memcpy(&chunks, field, sizeof chunks);
    memcpy(&flags, field + 4, sizeof flags);
    memcpy(&bytes, field + 8, sizeof bytes);
    *s = (struct producer){.id = f->id,
                           .chunks = chunks,
                           .bytes = (int64_t)bytes,
                           .inbox = (flags & FIELD_STREAM_INBOX) != 0,
                           .inbox_over = (flags & FIELD_STREAM_INBOX) == 0,
                           .window = chunks,
                           .came = pit_list()};
}

static void serve_stream(const struct frame *f)
{
    struct producer s;
    pit_value *command = NULL, *args = NULL;
    size_t used = 0;
    uint64_t *claim = &status->claims[f->id % SEGMENT_SLOTS];
    if (__atomic_exchange_n(claim, CLAIM(f->id, CLAIM_STARTED), __ATOMIC_SEQ_CST) == CLAIM(f->id, CLAIM_REVOKED))
        return;
    if (codec_decode(f->payload, f->payload_n, NULL, &command, &used, NULL) != 0 ||
        codec_decode(f->payload + used, f->payload_n - used, NULL, &args, NULL, NULL) != 0)
        exit(95);
    open_producer(&s, f);
    pit_value *result = produce(&s, pit_value_str_or(command, ""), number_of(args));
    __atomic_store_n(claim, CLAIM(f->id, CLAIM_FINISHED), __ATOMIC_SEQ_CST);
    if (result == NULL) {
        pit_value *e = pit_pack("{s:s,s:s}", "code", is_cancelled(&s) ? "cancelled" : "value_error", "message", "it stopped");
        send_frame(lane, FRAME_ERROR, f->id, 0, e);
        pit_value_free(e);
    } else {
        send_frame(lane, FRAME_RESULT, f->id, 0, result);
    }
    pit_value_free(result);
    pit_value_free(command);
    pit_value_free(args);
    pit_value_free(s.came);
}

#endif
