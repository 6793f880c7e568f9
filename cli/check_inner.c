/* snakepit worker-check: what comes in the middle of a call: chunks and credit, the inbox, tools of the host and calls made by them. Each check leaves a
 * worker that serves, or none. See check.h. */
#include <string.h>

#include "check.h"

enum { FLAG_NESTED = 8, WITH_INBOX = 1, QUIET_MS = 100 };
enum { MUCH = 1 << 30 /* bytes of credit that no check here uses up */ };

static const struct span nothing = {NULL, 0};

/* ---- streams ---- */

/* The id of a STREAM_CALL with this window, both ways. */
static uint64_t open_stream(struct checker *c, const char *tool, struct span arguments, uint32_t chunks, uint64_t bytes,
                            unsigned flags)
{
    struct bytes b = {0};

    bytes_put_little(&b, 4 + 16, 4);
    bytes_put(&b, "\7\0\20\0", 4); /* the field stream, 16 bytes */
    bytes_put_little(&b, chunks, 4);
    bytes_put_little(&b, flags, 4);
    bytes_put_little(&b, bytes, 8);
    put_text(&b, tool);
    bytes_put(&b, arguments.p, arguments.n);
    (void)peer_send(c, KIND_STREAM_CALL, FLAG_FIELDS, ++c->id, 0, SPAN_OF(b));
    bytes_free(&b);
    return c->id;
}

static uint64_t open_count(struct checker *c, int64_t n, uint32_t chunks, uint64_t bytes)
{
    struct bytes b = {0};

    put_list(&b, 1);
    put_int(&b, n);
    uint64_t id = open_stream(c, "count", SPAN_OF(b), chunks, bytes, 0);
    bytes_free(&b);
    return id;
}

static void grant(struct checker *c, uint64_t id, int64_t chunks, int64_t bytes)
{
    struct bytes b = {0};

    put_int(&b, chunks);
    put_int(&b, bytes);
    (void)peer_send(c, KIND_CREDIT, 0, id, 0, SPAN_OF(b));
    bytes_free(&b);
}

static bool is_int(struct span payload, int64_t expected)
{
    struct span value;
    int64_t n = 0;

    return take_value(&payload, &value) && read_int(value, &n) && n == expected;
}

static bool expect_chunk(struct checker *c, const char *name, uint64_t id, int64_t value)
{
    if (!check_expect(c, name, KIND_CHUNK, id))
        return false;
    return is_int(c->heard.payload, value) || check_failed(c, name, "the chunk %lld", (long long)value);
}

static bool expect_int(struct checker *c, const char *name, uint64_t id, int64_t value)
{
    if (!check_expect(c, name, KIND_RESULT, id))
        return false;
    return is_int(c->heard.payload, value) || check_failed(c, name, "the value %lld", (long long)value);
}

/* Nothing may come now. */
static bool expect_quiet(struct checker *c, const char *name, const char *why)
{
    if (peer_hear(c, QUIET_MS) != HEARD_NOTHING || c->received.n != 0)
        return check_failed(c, name, "nothing, for %s", why);
    c->heard.how = HEARD_FRAME; /* it serves on */
    return true;
}

static void check_chunks(struct checker *c)
{
    static const char name[] = "stream: chunks in order, then the result";
    bool good = true;

    if (!check_serving(c))
        return;
    uint64_t id = open_count(c, 5, 100, MUCH);
    for (int64_t i = 0; i < 5 && good; i++) {
        good = expect_chunk(c, name, id, i);
        if (good && (c->heard.flags & 4) != 0 && i != 4)
            good = check_failed(c, name, "the flag of the last chunk on no other");
    }
    if (good && expect_int(c, name, id, 5))
        check_ok(c, name);
}

static void check_empty(struct checker *c)
{
    static const char name[] = "stream: without a chunk";

    if (check_serving(c) && expect_int(c, name, open_count(c, 0, 100, MUCH), 0))
        check_ok(c, name);
}

static void check_window(struct checker *c)
{
    static const char name[] = "stream: no more chunks than there is credit for";
    bool good = true;

    if (!check_serving(c))
        return;
    uint64_t id = open_count(c, 7, 3, MUCH);
    for (int64_t i = 0; i < 7 && good; i++) {
        good = expect_chunk(c, name, id, i);
        if (good && i % 3 == 2) {
            good = expect_quiet(c, name, "three chunks had been granted");
            grant(c, id, 3, 1);
        }
    }
    if (good && expect_int(c, name, id, 7))
        check_ok(c, name);
}

/* Chunks of 25 bytes: the second one goes beyond 40, as it may; the third has to wait. */
static void check_bytes_window(struct checker *c)
{
    static const char name[] = "stream: no more bytes than there is credit for, but for the last chunk";

    if (!check_serving(c))
        return;
    uint64_t id = open_count(c, 3, 100, 40);
    bool good =
        expect_chunk(c, name, id, 0) && expect_chunk(c, name, id, 1) && expect_quiet(c, name, "40 bytes had been granted");
    grant(c, id, 0, 10); /* 0 are left then */
    good = good && expect_quiet(c, name, "no byte is left of 50");
    grant(c, id, 0, 1);
    if (good && expect_chunk(c, name, id, 2) && expect_int(c, name, id, 3))
        check_ok(c, name);
}

static void check_stream_cancel(struct checker *c)
{
    static const char name[] = "stream: cancelled while it waits for credit";

    if (!check_serving(c))
        return;
    if (!check_offers(c, "capabilities", "cancel")) {
        check_skipped(c, name, "cancel is not among its capabilities");
        return;
    }
    uint64_t id = open_count(c, 1000000, 2, MUCH);
    bool good = expect_chunk(c, name, id, 0) && expect_chunk(c, name, id, 1);
    (void)peer_send(c, KIND_CANCEL, 0, id, 0, nothing);
    if (good && check_expect_error(c, name, id, "cancelled") && check_alive(c, name))
        check_ok(c, name);
}

static void check_wrong_form(struct checker *c)
{
    static const char unary[] = "stream: a tool that streams, called as one that does not",
                      streamed[] = "stream: a tool that does not, called as one that streams";
    struct span ten = {(const uint8_t *)"\x91\n", 2};

    if (check_serving(c) && check_expect_error(c, unary, check_send_call(c, KIND_CALL, 0, "count", ten), "streaming_required"))
        check_ok(c, unary);
    if (!check_serving(c))
        return;
    if (!check_offers(c, "tools", "echo"))
        check_skipped(c, streamed, "READY names no tool `echo`");
    else if (check_expect_error(c, streamed, open_stream(c, "echo", ten, 100, MUCH, 0), "streaming_not_supported"))
        check_ok(c, streamed);
}

static void check_late(struct checker *c)
{
    static const char name[] = "stream: what comes for one that has ended is dropped";

    if (!check_serving(c))
        return;
    uint64_t id = open_count(c, 1, 100, MUCH);
    bool good = expect_chunk(c, name, id, 0) && expect_int(c, name, id, 1);
    grant(c, id, 1, 1);
    (void)peer_send(c, KIND_SEND, 0, id, 0, (struct span){(const uint8_t *)"\1", 1});
    (void)peer_send(c, KIND_SEND_END, 0, id, 0, nothing);
    if (good && check_alive(c, name))
        check_ok(c, name);
}

/* ---- the inbox ---- */

/* n values go there and come back, in a window of four; the worker's CREDITs are counted. */
static bool talk(struct checker *c, const char *name, uint64_t id, int64_t n)
{
    enum { WINDOW = 4 };
    int64_t credit = WINDOW, sent = 0, back = 0;

    while (back < n) {
        for (; sent < n && credit > 0; sent++, credit--) {
            struct bytes b = {0};
            put_int(&b, sent);
            (void)peer_send(c, KIND_SEND, 0, id, 0, SPAN_OF(b));
            bytes_free(&b);
        }
        if (peer_hear(c, -1) != HEARD_FRAME || c->heard.id != id)
            return check_failed(c, name, "a CHUNK or a CREDIT of %llu", (unsigned long long)id);
        struct span chunks = c->heard.payload, granted;
        int64_t more = 0;
        if (c->heard.kind == KIND_CHUNK && is_int(c->heard.payload, back)) {
            back++;
            grant(c, id, 1, (int64_t)c->received.n);
        } else if (c->heard.kind == KIND_CREDIT && take_value(&chunks, &granted) && read_int(granted, &more) && more > 0) {
            credit += more;
        } else {
            return check_failed(c, name, "the chunk %lld, or credit for the inbox", (long long)back);
        }
        if (credit > WINDOW)
            return check_failed(c, name, "no more credit than values were taken");
    }
    return true;
}

static void check_inbox(struct checker *c)
{
    static const char name[] = "inbox: each value comes back, beyond its window", shut[] = "inbox: of a stream that has none";
    struct span none = {(const uint8_t *)"\x90", 1};

    if (!check_serving(c))
        return;
    uint64_t id = open_stream(c, "talk", none, 4, MUCH, WITH_INBOX);
    bool good = talk(c, name, id, 10);
    (void)peer_send(c, KIND_SEND_END, 0, id, 0, nothing);
    while (good && peer_hear(c, -1) == HEARD_FRAME && c->heard.kind == KIND_CREDIT && c->heard.id == id)
        continue;
    if (good &&
        (c->heard.how != HEARD_FRAME || c->heard.kind != KIND_RESULT || c->heard.id != id || !is_int(c->heard.payload, 10)))
        good = check_failed(c, name, "the RESULT 10 of %llu", (unsigned long long)id);
    if (good)
        check_ok(c, name);
    if (check_serving(c) && expect_int(c, shut, open_stream(c, "talk", none, 4, MUCH, 0), 0))
        check_ok(c, shut);
}

static void check_inbox_cancel(struct checker *c)
{
    static const char name[] = "inbox: cancelled while it waits for a value";

    if (!check_serving(c) || !check_offers(c, "capabilities", "cancel"))
        return;
    uint64_t id = open_stream(c, "talk", (struct span){(const uint8_t *)"\x90", 1}, 4, MUCH, WITH_INBOX);
    (void)peer_send(c, KIND_CANCEL, 0, id, 0, nothing);
    if (check_expect_error(c, name, id, "cancelled") && check_alive(c, name))
        check_ok(c, name);
}

/* ---- tools of the host ---- */

/* A call of `ask`, up to the TOOL_CALL that it makes; *ret_asked is that one's id. 0: it did not come, told. */
static uint64_t ask(struct checker *c, const char *name, uint64_t *ret_asked)
{
    static const char arguments[] = "\x92\xa5"
                                    "price\x81\xa6"
                                    "symbol\xa1x",
                      payload[] = "\xa5"
                                  "price\x81\xa6"
                                  "symbol\xa1x";
    uint64_t id = check_send_call(c, KIND_CALL, 0, "ask", (struct span){(const uint8_t *)arguments, sizeof arguments - 1});
    struct span wanted = {(const uint8_t *)payload, sizeof payload - 1};

    if (peer_hear(c, -1) != HEARD_FRAME || c->heard.kind != KIND_TOOL_CALL || c->heard.id == 0 ||
        !span_equal(c->heard.payload, wanted))
        return (uint64_t)check_failed(c, name, "a TOOL_CALL with an id, of \"price\" with {\"symbol\": \"x\"}");
    *ret_asked = c->heard.id;
    return id;
}

static void answer(struct checker *c, uint64_t asked, int64_t value)
{
    struct bytes b = {0};

    put_int(&b, value);
    (void)peer_send(c, KIND_TOOL_RESULT, 0, asked, 0, SPAN_OF(b));
    bytes_free(&b);
}

static void check_tool_result(struct checker *c)
{
    static const char name[] = "tool: its result is handed on", twice[] = "tool: no number is used twice";
    uint64_t first = 0, second = 0, id;

    if (!check_serving(c) || (id = ask(c, name, &first)) == 0)
        return;
    answer(c, first, 42);
    if (!expect_int(c, name, id, 42))
        return;
    check_ok(c, name);
    if ((id = ask(c, twice, &second)) == 0)
        return;
    answer(c, second, 43);
    if (!expect_int(c, twice, id, 43))
        return;
    if (first == second)
        (void)check_failed(c, twice, "another number than before");
    else
        check_ok(c, twice);
}

static void check_tool_error(struct checker *c)
{
    static const char name[] = "tool: its error ends the call";
    struct bytes b = {0};
    uint64_t asked = 0, id;

    if (!check_serving(c) || (id = ask(c, name, &asked)) == 0)
        return;
    put_map(&b, 2);
    put_text(&b, "code");
    put_text(&b, "tool_execution_failed");
    put_text(&b, "message");
    put_text(&b, "the book is closed");
    (void)peer_send(c, KIND_TOOL_ERROR, 0, asked, 0, SPAN_OF(b));
    bytes_free(&b);
    if (check_expect_error(c, name, id, NULL) && check_alive(c, name))
        check_ok(c, name);
}

static void check_nested(struct checker *c)
{
    static const char name[] = "tool: the host calls while the worker waits for it";
    uint64_t asked = 0, inner_asked = 0, id, inner;

    if (!check_serving(c) || (id = ask(c, name, &asked)) == 0)
        return;
    static const char arguments[] = "\xa3"
                                    "ask\x92\xa5"
                                    "price\x81\xa6"
                                    "symbol\xa1x";
    inner = ++c->id;
    (void)peer_send(c, KIND_CALL, FLAG_NESTED, inner, 0, (struct span){(const uint8_t *)arguments, sizeof arguments - 1});
    if (peer_hear(c, -1) != HEARD_FRAME || c->heard.kind != KIND_TOOL_CALL || c->heard.id == 0 || c->heard.id == asked) {
        (void)check_failed(c, name, "a TOOL_CALL of the inner call, with a number of its own");
        return;
    }
    inner_asked = c->heard.id;
    answer(c, inner_asked, 1);
    if (!expect_int(c, name, inner, 1))
        return;
    answer(c, asked, 2);
    if (expect_int(c, name, id, 2))
        check_ok(c, name);
}

static void check_tool_cancel(struct checker *c)
{
    static const char name[] = "tool: cancelled while it waits, and answered too late";
    uint64_t asked = 0, id;

    if (!check_serving(c))
        return;
    if (!check_offers(c, "capabilities", "cancel")) {
        check_skipped(c, name, "cancel is not among its capabilities");
        return;
    }
    if ((id = ask(c, name, &asked)) == 0)
        return;
    (void)peer_send(c, KIND_CANCEL, 0, id, 0, nothing);
    if (!check_expect_error(c, name, id, "cancelled"))
        return;
    answer(c, asked, 1);
    if (check_alive(c, name))
        check_ok(c, name);
}

static void check_tool_list(struct checker *c)
{
    static const char name[] = "tool: what tools there are";
    static const char list[] = "\x91\x81\xa4"
                               "name\xa5"
                               "price";

    if (!check_serving(c))
        return;
    if (!check_offers(c, "tools", "tools")) {
        check_skipped(c, name, "READY names no tool `tools`");
        return;
    }
    uint64_t id = check_send_call(c, KIND_CALL, 0, "tools", (struct span){(const uint8_t *)"\x90", 1});
    if (peer_hear(c, -1) != HEARD_FRAME || c->heard.kind != KIND_TOOL_LIST || c->heard.id == 0 || c->heard.payload.n != 0) {
        (void)check_failed(c, name, "a TOOL_LIST with an id and nothing else");
        return;
    }
    (void)peer_send(c, KIND_TOOL_LIST, 0, c->heard.id, 0, (struct span){(const uint8_t *)list, sizeof list - 1});
    if (!check_expect(c, name, KIND_RESULT, id))
        return;
    if (memmem(c->heard.payload.p, c->heard.payload.n, "price", 5) != NULL)
        check_ok(c, name);
    else
        (void)check_failed(c, name, "a value that names the tool \"price\"");
}

void check_inner(struct checker *c)
{
    if (c->heard.how == HEARD_NOTHING || !check_serving(c)) /* it does not even answer calls */
        return;
    if (check_offers(c, "tools", "count")) {
        check_chunks(c);
        check_empty(c);
        check_window(c);
        check_bytes_window(c);
        check_stream_cancel(c);
        check_wrong_form(c);
        check_late(c);
    } else {
        check_skipped(c, "stream", "READY names no tool `count`");
    }
    if (!check_serving(c))
        return;
    if (check_offers(c, "tools", "talk")) {
        check_inbox(c);
        check_inbox_cancel(c);
    } else {
        check_skipped(c, "inbox", "READY names no tool `talk`");
    }
    if (!check_serving(c))
        return;
    if (check_offers(c, "tools", "ask")) {
        check_tool_result(c);
        check_tool_error(c);
        check_nested(c);
        check_tool_cancel(c);
        check_tool_list(c);
    } else {
        check_skipped(c, "tool", "READY names no tool `ask`");
    }
}
