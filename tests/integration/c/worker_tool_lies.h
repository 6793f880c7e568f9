/* What the worker written in C does with tools that stream: it reads them, and breaks the rules on request. */
#ifndef TESTS_WORKER_TOOL_LIES_H
#define TESTS_WORKER_TOOL_LIES_H

#include "integration/c/worker_tools.h"

/* A call of the tool `rows`, of n rows; the field stream has so many bytes. */
static void open_rows(uint64_t id, int64_t n, uint32_t chunks, uint32_t flags, uint64_t bytes, size_t field_n)
{
    struct buf b = {0};
    uint8_t field[FIELD_STREAM_SIZE + 8] = {0};
    pit_value *name = pit_str("rows"), *list = pit_list();
    pit_list_append_take(list, pit_int(n));
    memcpy(field, &chunks, 4);
    memcpy(field + 4, &flags, 4);
    memcpy(field + 8, &bytes, 8);
    buf_append(&b, (const uint8_t[FRAME_HEADER + FRAME_FIELDS_HEAD + FRAME_FIELD_HEAD]){0},
               FRAME_HEADER + FRAME_FIELDS_HEAD + FRAME_FIELD_HEAD);
    frame_put_fields_head(b.data + FRAME_HEADER, FRAME_FIELD_HEAD + field_n);
    frame_put_field_head(b.data + FRAME_HEADER + FRAME_FIELDS_HEAD, FIELD_STREAM, field_n);
    buf_append(&b, field, field_n);
    codec_encode(&b, name, NULL);
    codec_encode(&b, list, NULL);
    frame_put_header(b.data, FRAME_TOOL_CALL, FRAME_FIELDS, id, 0, b.len);
    pit_value_free(name);
    pit_value_free(list);
    send_buf(&b);
}

static void send_two(int kind, uint64_t id, uint64_t chunks, uint64_t bytes)
{
    struct buf b = {0};
    pit_value *c = pit_uint(chunks), *n = pit_uint(bytes);
    buf_append(&b, (const uint8_t[FRAME_HEADER]){0}, FRAME_HEADER);
    codec_encode(&b, c, NULL);
    codec_encode(&b, n, NULL);
    frame_put_header(b.data, kind, 0, id, 0, b.len);
    pit_value_free(c);
    pit_value_free(n);
    send_buf(&b);
}

/* Reads to its end, granting each chunk again; how many there were, -1: it failed, -2: more came than was granted. */
static int64_t read_rows(uint64_t id, uint32_t window)
{
    struct channel_frame in;
    int64_t n = 0;
    uint32_t credit = window;
    channel_frame_init(&in);
    for (bool over = false; !over;) {
        struct frame f;
        int rc = lane->ops->recv(lane, &in);
        if (rc == CHANNEL_AGAIN) {
            lane->ops->wait(lane, CHANNEL_FOR_FRAME, os_linux.now_ns() + UINT64_C(2000000), UINT64_C(20000));
            continue;
        }
        if (rc != 0 || frame_parse(in.data, in.n, &f) != 0)
            exit(0);
        over = f.id == id && f.kind != FRAME_TOOL_CHUNK;
        if (f.id == id && f.kind == FRAME_TOOL_ERROR)
            n = -1;
        if (f.id != id || f.kind != FRAME_TOOL_CHUNK)
            continue;
        if (credit-- == 0)
            n = -2, over = true;
        n++;
        if (credit == 0) {
            send_two(FRAME_TOOL_CREDIT, id, window, (uint64_t)1 << 20);
            credit = window;
        }
    }
    channel_frame_finish(&in);
    return n;
}

/* The result, owned; NULL: another command. */
static pit_value *run_tool_lies(const char *command, int64_t n)
{
    static const char *const kinds[] = {"read",  "strange", "leave", "die",   "credit",  "number",
                                        "close", "again",   "short", "flags", "negative"};
    unsigned how = 0;
    if (strncmp(command, "rows_", 5) != 0)
        return NULL;
    while (how < sizeof kinds / sizeof kinds[0] && strcmp(command + 5, kinds[how]) != 0)
        how++;
    uint64_t id = ++tools.asked;
    if (how != 8 && how != 9)
        open_rows(id, n, 10, 0, UINT64_C(1) << 20, FIELD_STREAM_SIZE);
    switch (how) {
    case 0:
        return pit_int(read_rows(id, 10));
    case 1: /* nothing of it does harm */
        send_two(FRAME_TOOL_CREDIT, id + 1000, 5, 5);
        ask_empty(FRAME_TOOL_CLOSE, id + 1000);
        ask_empty(FRAME_TOOL_CLOSE, id);
        ask_empty(FRAME_TOOL_CLOSE, id);
        return pit_int(1);
    case 2:
        return pit_int(1);
    case 3:
        kill(getpid(), SIGKILL);
        break;
    case 4:
        send_two(FRAME_TOOL_CREDIT, id, 1000000, 5);
        break;
    case 5: {
        pit_value *v = pit_str("much");
        send_frame(lane, FRAME_TOOL_CREDIT, id, 0, v);
        pit_value_free(v);
        break;
    }
    case 6:
        send_two(FRAME_TOOL_CLOSE, id, 1, 1);
        break;
    case 7:
        open_rows(id, n, 10, 0, UINT64_C(1) << 20, FIELD_STREAM_SIZE);
        break;
    case 8:
        open_rows(id, n, 10, 0, UINT64_C(1) << 20, FIELD_STREAM_SIZE - 1);
        break;
    case 9:
        open_rows(id, n, 10, 1, UINT64_C(1) << 20, FIELD_STREAM_SIZE);
        break;
    case 10: {
        pit_value *v = pit_int(-1);
        send_frame(lane, FRAME_TOOL_CREDIT, id, 0, v);
        pit_value_free(v);
        break;
    }
    default:
        return NULL;
    }
    sleep_ms(600000);
    return pit_nil();
}

#endif
