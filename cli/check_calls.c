/* snakepit worker-check: the handshake and calls. Each check leaves a worker that serves, or none. See check.h. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "check_vectors.h"

static const struct {
    const char *name, *bytes, *shortest;
} vectors[] = {
#define VECTOR_ROW(name, bytes, shortest) {name, bytes, shortest},
    CHECK_VECTOR_LIST(VECTOR_ROW)
#undef VECTOR_ROW
};

/* ---- the handshake ---- */

static bool hello_is_good(struct checker *c, const char *name)
{
    struct span hello = c->heard.payload, v;
    int64_t min = 0, max = 0;

    if (c->heard.kind != KIND_HELLO || !is_map(hello))
        return check_failed(c, name, "HELLO, with a map");
    if (!map_get(hello, "protocol_min", &v) || !read_int(v, &min) || !map_get(hello, "protocol_max", &v) || !read_int(v, &max))
        return check_failed(c, name, "HELLO with protocol_min and protocol_max, integers");
    if (min > 1 || max < 1)
        return check_failed(c, name, "HELLO of a worker that speaks version 1");
    if (!map_get(hello, "secret", &v) || !read_blob(v, &v) || v.n != 0)
        return check_failed(c, name, "HELLO with an empty `secret` (bytes): there is no shared memory");
    if (!map_get(hello, "channels", &v))
        return check_failed(c, name, "HELLO with `channels`");
    for (int64_t n = list_items(&v); n > 0; n--) {
        struct span item;
        if (!take_value(&v, &item))
            break;
        if (read_text(item, &item) && span_is(item, "socket"))
            return true;
    }
    return check_failed(c, name, "HELLO with \"socket\" among its `channels`");
}

static bool say_welcome(struct checker *c)
{
    struct bytes b = {0};

    put_map(&b, 12);
    put_text(&b, "protocol");
    put_int(&b, 1);
    put_text(&b, "worker_id");
    put_text(&b, "check/0.1");
    put_text(&b, "pool");
    put_text(&b, "check");
    put_text(&b, "run_id");
    put_text(&b, "0000000");
    put_text(&b, "channel");
    put_text(&b, "socket");
    put_text(&b, "lanes");
    put_int(&b, 1);
    put_text(&b, "max_frame_bytes");
    put_int(&b, MOST_FRAME);
    put_text(&b, "max_depth");
    put_int(&b, 128);
    put_text(&b, "call_prefix");
    put_int(&b, 1);
    put_text(&b, "now_ns");
    put_int(&b, (int64_t)pit_now_ns());
    put_text(&b, "profile");
    put_text(&b, "process");
    put_text(&b, "of a later version"); /* what a worker does not know it skips */
    put_list(&b, 0);
    bool sent = !b.failed && peer_send(c, KIND_WELCOME, 0, 0, 0, SPAN_OF(b));
    bytes_free(&b);
    return sent;
}

bool check_handshake(struct checker *c, const char *name)
{
    const char *told = name != NULL ? name : "start";

    if (peer_hear(c, -1) != HEARD_FRAME)
        return check_failed(c, told, "HELLO as the first frame");
    if (!hello_is_good(c, told))
        return false;
    if (!say_welcome(c) || peer_hear(c, -1) != HEARD_FRAME || c->heard.kind != KIND_READY || !is_map(c->heard.payload))
        return check_failed(c, told, "READY, with a map, after WELCOME");
    c->ready.n = 0;
    bytes_put(&c->ready, c->heard.payload.p, c->heard.payload.n);
    c->id = 0;
    if (name != NULL)
        check_ok(c, name);
    return true;
}

bool check_serving(struct checker *c)
{
    if (c->pid != 0 && c->heard.how == HEARD_FRAME)
        return true;
    (void)peer_end(c);
    return !was_interrupted(c) && peer_start(c) && check_handshake(c, NULL);
}

bool check_offers(const struct checker *c, const char *list, const char *name)
{
    struct span items, item;

    if (!map_get(SPAN_OF(c->ready), list, &items))
        return false;
    for (int64_t n = list_items(&items); n > 0 && take_value(&items, &item); n--) {
        (void)map_get(item, "name", &item); /* of a tool: a map */
        if (read_text(item, &item) && span_is(item, name))
            return true;
    }
    return false;
}

/* ---- calls ---- */

uint64_t check_send_call(struct checker *c, int kind, unsigned flags, const char *tool, struct span arguments)
{
    struct bytes b = {0};

    put_text(&b, tool);
    bytes_put(&b, arguments.p, arguments.n);
    (void)peer_send(c, kind, flags, ++c->id, 0, SPAN_OF(b));
    bytes_free(&b);
    return c->id;
}

bool check_expect(struct checker *c, const char *name, int kind, uint64_t id)
{
    static const struct {
        int kind;
        const char *text;
    } names[] = {{KIND_RESULT, "a RESULT"},       {KIND_ERROR, "an ERROR"},
                 {KIND_PONG, "a PONG"},           {KIND_HEALTH_REPLY, "a HEALTH_REPLY"},
                 {KIND_CHUNK, "a CHUNK"},         {KIND_CREDIT, "a CREDIT"},
                 {KIND_TOOL_CALL, "a TOOL_CALL"}, {KIND_TOOL_LIST, "a TOOL_LIST"}};
    const char *text = "a frame";

    if (peer_hear(c, -1) == HEARD_FRAME && c->heard.kind == kind && c->heard.id == id)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        text = names[i].kind == kind ? names[i].text : text;
    return check_failed(c, name, "%s of %llu", text, (unsigned long long)id);
}

static bool is_code(struct span text)
{
    static const char *const names[] = {
#define CODE_NAME(constant, name, category, number, retriable, text) #name,
        PIT_CODE_LIST(CODE_NAME)
#undef CODE_NAME
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_is(text, names[i]))
            return true;
    return false;
}

bool check_expect_error(struct checker *c, const char *name, uint64_t id, const char *code)
{
    struct span map, found, message;

    if (!check_expect(c, name, KIND_ERROR, id))
        return false;
    map = c->heard.payload;
    if (!is_map(map) || !map_get(map, "code", &found) || !read_text(found, &found) || !map_get(map, "message", &message) ||
        !read_text(message, &message))
        return check_failed(c, name, "an ERROR with a map of `code` and `message`, texts");
    if (code != NULL ? !span_is(found, code) : !is_code(found))
        return check_failed(c, name, "an ERROR with the code %s", code != NULL ? code : "of docs/errors.md");
    return true;
}

bool check_alive(struct checker *c, const char *name)
{
    static const uint8_t none[] = {0xc0};
    uint64_t id = check_send_call(c, KIND_CALL, 0, "no such tool", (struct span){none, 1});

    return check_expect_error(c, name, id, "tool_not_found");
}

/* Calls a tool with arguments in hex; its result is one of two forms. */
static bool call_gives(struct checker *c, const char *name, const char *tool, const char *arguments, const char *expected,
                       const char *shortest)
{
    struct bytes given = {0}, wanted = {0}, other = {0};

    bytes_put_hex(&given, arguments);
    bytes_put_hex(&wanted, expected);
    bytes_put_hex(&other, shortest);
    bool good = check_expect(c, name, KIND_RESULT, check_send_call(c, KIND_CALL, 0, tool, SPAN_OF(given)));
    if (good && !span_equal(c->heard.payload, SPAN_OF(wanted)) && !span_equal(c->heard.payload, SPAN_OF(other)))
        good = check_failed(c, name, "the value %s%s%s", expected, shortest[0] != '\0' ? " or " : "", shortest);
    bytes_free(&given);
    bytes_free(&wanted);
    bytes_free(&other);
    return good;
}

/* It does not answer any more: the next question of this kind would cost as long. */
static bool is_silent(const struct checker *c)
{
    return c->heard.how == HEARD_NOTHING;
}

static void check_values(struct checker *c)
{
    enum { MOST_FAILED = 8 };
    char name[160], arguments[2048];
    unsigned failed = c->counts[CHECK_FAILED] + MOST_FAILED;

    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0] && c->counts[CHECK_FAILED] < failed && check_serving(c); i++) {
        (void)snprintf(name, sizeof name, "value: %s", vectors[i].name);
        (void)snprintf(arguments, sizeof arguments, "91%s", vectors[i].bytes);
        if (call_gives(c, name, "echo", arguments, vectors[i].bytes, vectors[i].shortest))
            check_ok(c, name);
        else if (is_silent(c))
            return;
    }
    if (c->counts[CHECK_FAILED] >= failed)
        check_skipped(c, "values", "so many have failed that the rest was not tried");
}

static void check_arguments(struct checker *c)
{
    static const struct {
        const char *name, *tool, *bytes, *result;
    } forms[] = {
        {"arguments: a list", "add", "920102", "03"},
        {"arguments: a map", "add", "82a16101a162d0fe", "ff"},
        {"arguments: a tuple", "add", "c9000000050292cd012c02", "cd012e"},
        {"arguments: list and map in one", "add", "c90000000603910181a16202", "03"},
        {"arguments: nothing and a map", "add", "c90000000803c082a16101a16202", "03"},
        {"arguments: one alone", "echo", "07", "07"},
        {"arguments: one alone, a map whose key is no text", "echo", "810203", "810203"},
        {"integers of 64 bits", "add", "92cf7fffffffffffffffd38000000000000000", "ff"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && check_serving(c); i++) {
        if (!check_offers(c, "tools", forms[i].tool))
            check_skipped(c, forms[i].name, "READY names no such tool");
        else if (call_gives(c, forms[i].name, forms[i].tool, forms[i].bytes, forms[i].result, ""))
            check_ok(c, forms[i].name);
        else if (is_silent(c))
            break;
    }
}

static void check_one_frame(struct checker *c, const char *name, int kind, unsigned flags, uint64_t stamp, const char *body,
                            bool (*judge)(struct checker *c, const char *name))
{
    struct bytes b = {0};

    if (!check_serving(c))
        return;
    bytes_put_hex(&b, body);
    (void)peer_send(c, kind, flags, ++c->id, stamp, SPAN_OF(b));
    bytes_free(&b);
    if (judge(c, name))
        check_ok(c, name);
}

static bool is_three(struct checker *c, const char *name)
{
    struct span three = {(const uint8_t *)"\3", 1};

    if (!check_expect(c, name, KIND_RESULT, c->id))
        return false;
    return span_equal(c->heard.payload, three) || check_failed(c, name, "the value 03");
}

static bool is_three_untimed(struct checker *c, const char *name)
{
    return is_three(c, name) && (c->heard.stamp == 0 || check_failed(c, name, "no stamp, for it was not asked for"));
}

static bool is_three_timed(struct checker *c, const char *name)
{
    return is_three(c, name) && (c->heard.stamp != 0 || check_failed(c, name, "a stamp: nanoseconds in the function"));
}

static bool is_late(struct checker *c, const char *name)
{
    return check_expect_error(c, name, c->id, "deadline_exceeded");
}

static bool is_refused(struct checker *c, const char *name)
{
    return check_expect_error(c, name, c->id, NULL);
}

static void check_frames(struct checker *c)
{
    static const char add[] = "a3616464920102";
    static const char with_fields[] = "1d000000010002007331"
                                      "0200070073702d30313233c80003006e6577010001007a"
                                      "a3616464920102";

    check_one_frame(c, "call: without flags", KIND_CALL, 0, 0, add, is_three_untimed);
    check_one_frame(c, "call: told how long it took", KIND_CALL, FLAG_TIMED, 0, add, is_three_timed);
    check_one_frame(c, "call: with fields, one of them unknown", KIND_CALL, FLAG_FIELDS, 0, with_fields, is_three);
    check_one_frame(c, "call: a deadline that is far", KIND_CALL, 0, UINT64_MAX, add, is_three);
    check_one_frame(c, "call: a deadline that has passed", KIND_CALL, 0, 1, add, is_late);
    check_one_frame(c, "call: an argument that is missing", KIND_CALL, 0, 0, "a36164649101", is_refused);
    check_one_frame(c, "call: arguments that are cut", KIND_CALL, 0, 0, "a36164649201", is_refused);
    check_one_frame(c, "call: bytes behind the arguments", KIND_CALL, 0, 0, "a3616464920102c0", is_refused);
}

/* The bytes of a call one at a time, with bells before and behind it. */
static void check_pieces(struct checker *c)
{
    static const char name[] = "call: in pieces, between bells", body[] = "\xa3"
                                                                          "add\x92\1\2";
    struct bytes whole = {0};

    if (!check_serving(c))
        return;
    bytes_put(&whole, "\0\0\1\x10\0\0", 6);
    bytes_put_little(&whole, HEADER_BYTES + sizeof body - 1, 4);
    bytes_put_little(&whole, ++c->id, 8);
    bytes_put_little(&whole, 0, 8);
    bytes_put(&whole, body, sizeof body - 1);
    bytes_put(&whole, "\0", 1);
    for (size_t i = 0; !whole.failed && i < whole.n && peer_send_raw(c, (struct span){whole.data + i, 1}); i++)
        continue;
    bytes_free(&whole);
    if (is_three(c, name))
        check_ok(c, name);
}

static void check_large(struct checker *c)
{
    static const char name[] = "call: three million bytes there and back";
    enum { LARGE = 3000000 };
    struct bytes arguments = {0};
    uint8_t *data = malloc(LARGE);

    if (data == NULL || !check_serving(c)) {
        free(data);
        return;
    }
    for (size_t i = 0; i < LARGE; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    put_list(&arguments, 1);
    put_blob(&arguments, data, LARGE);
    struct span value = {arguments.data + 1, arguments.n - 1};
    if (check_expect(c, name, KIND_RESULT, check_send_call(c, KIND_CALL, 0, "echo", SPAN_OF(arguments)))) {
        if (span_equal(c->heard.payload, value))
            check_ok(c, name);
        else
            (void)check_failed(c, name, "the bytes that were sent");
    }
    free(data);
    bytes_free(&arguments);
}

static void check_errors(struct checker *c)
{
    static const char message[] = "that is how it is";
    struct bytes b = {0};

    if (check_serving(c) && check_alive(c, "error: of an unknown tool"))
        check_ok(c, "error: of an unknown tool");
    if (!check_serving(c))
        return;
    if (!check_offers(c, "tools", "fail")) {
        check_skipped(c, "error: of a tool", "READY names no tool `fail`");
        return;
    }
    put_list(&b, 1);
    put_text(&b, message);
    uint64_t id = check_send_call(c, KIND_CALL, 0, "fail", SPAN_OF(b));
    bytes_free(&b);
    struct span text;
    if (!check_expect_error(c, "error: of a tool", id, NULL))
        return;
    (void)map_get(c->heard.payload, "message", &text);
    (void)read_text(text, &text);
    if (memmem(text.p, text.n, message, sizeof message - 1) == NULL)
        (void)check_failed(c, "error: of a tool", "a message with \"%s\" in it", message);
    else if (check_alive(c, "error: the worker serves on"))
        check_ok(c, "error: of a tool");
}

/* ---- between calls ---- */

static void check_signs(struct checker *c)
{
    struct span v;
    bool ok = false;

    if (!check_serving(c))
        return;
    if (!check_offers(c, "capabilities", "ping")) {
        check_skipped(c, "ping", "not among its capabilities");
    } else {
        (void)peer_send(c, KIND_PING, 0, 12345, 0, (struct span){NULL, 0});
        if (check_expect(c, "ping", KIND_PONG, 12345) && (c->heard.payload.n == 0 || check_failed(c, "ping", "no payload")))
            check_ok(c, "ping");
    }
    if (!check_serving(c))
        return;
    if (!check_offers(c, "capabilities", "health")) {
        check_skipped(c, "health", "not among its capabilities");
        return;
    }
    (void)peer_send(c, KIND_HEALTH, 0, 9, 0, (struct span){NULL, 0});
    if (!check_expect(c, "health", KIND_HEALTH_REPLY, 9))
        return;
    if (map_get(c->heard.payload, "ok", &v) && read_bool(v, &ok) && ok)
        check_ok(c, "health");
    else
        (void)check_failed(c, "health", "a map with `ok`: true");
}

static void check_cancel(struct checker *c)
{
    static const char late[] = "cancel: of a call that has ended", name[] = "cancel: of a call that runs";

    if (!check_serving(c))
        return;
    if (!check_offers(c, "capabilities", "cancel")) {
        check_skipped(c, name, "not among its capabilities: such a call is ended with its worker");
        return;
    }
    (void)peer_send(c, KIND_CANCEL, 0, c->id, 0, (struct span){NULL, 0});
    if (check_alive(c, late))
        check_ok(c, late);
    if (!check_serving(c))
        return;
    if (!check_offers(c, "tools", "sleep")) {
        check_skipped(c, name, "READY names no tool `sleep`");
        return;
    }
    uint64_t id =
        check_send_call(c, KIND_CALL, 0, "sleep", (struct span){(const uint8_t *)"\x91\xce\0\x36\xee\x80", 6}); /* an hour */
    (void)peer_send(c, KIND_CANCEL, 0, id, 0, (struct span){NULL, 0});
    if (check_expect_error(c, name, id, "cancelled") && check_alive(c, "cancel: the worker serves on"))
        check_ok(c, name);
}

void check_calls(struct checker *c)
{
    if (!check_serving(c))
        return;
    check_errors(c);
    if (is_silent(c))
        return;
    if (check_offers(c, "tools", "echo")) {
        check_values(c);
        check_large(c);
    } else {
        check_skipped(c, "values", "READY names no tool `echo`");
    }
    check_arguments(c);
    if (check_offers(c, "tools", "add")) {
        check_frames(c);
        check_pieces(c);
    } else {
        check_skipped(c, "call", "READY names no tool `add`");
    }
    check_signs(c);
    check_cancel(c);
}
