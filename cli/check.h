/* snakepit worker-check: what its parts share. The frames and values are those of docs/wire.md; nothing here is the library's, so that what the
 * library would mend or hide is seen.
 *
 * Invariants
 *  1. One worker runs at a time; each check begins with one that serves, a fresh one if the last has gone.
 *  2. A check that fails is told with the last frame sent and what came back; no wait is longer than `wait_ms`.
 *  3. Bytes from the worker are bounded by MOST_FRAME and looked at only after their length was. */
#ifndef SNAKEPIT_CLI_CHECK_H
#define SNAKEPIT_CLI_CHECK_H

#include "cli.h"

enum frame_kind {
    KIND_HELLO = 1,
    KIND_WELCOME = 2,
    KIND_READY = 3,
    KIND_FAILED = 4,
    KIND_STOP = 5,
    KIND_CALL = 16,
    KIND_RESULT = 17,
    KIND_ERROR = 18,
    KIND_CANCEL = 19,
    KIND_STREAM_CALL = 24,
    KIND_CHUNK = 25,
    KIND_CREDIT = 26,
    KIND_SEND = 27,
    KIND_SEND_END = 28,
    KIND_TOOL_CALL = 32,
    KIND_TOOL_RESULT = 33,
    KIND_TOOL_ERROR = 34,
    KIND_TOOL_LIST = 35,
    KIND_PING = 48,
    KIND_PONG = 49,
    KIND_HEALTH = 50,
    KIND_HEALTH_REPLY = 51,
    KIND_LOG = 56
};

enum { FLAG_FIELDS = 1, FLAG_TIMED = 2 };
enum { HEADER_BYTES = 24, MOST_FRAME = 64 << 20 };

/* ---- check_bytes.c: MessagePack, as far as it is needed ---- */

struct bytes {
    uint8_t *data; /* freed with free() */
    size_t n, room;
    bool failed; /* there was no memory */
};

struct span {
    const uint8_t *p;
    size_t n;
};

#define SPAN_OF(bytes)                                                                                                         \
    (struct span)                                                                                                              \
    {                                                                                                                          \
        (bytes).data, (bytes).n                                                                                                \
    }

void bytes_put(struct bytes *b, const void *data, size_t n);
void bytes_put_hex(struct bytes *b, const char *hex);
void bytes_put_little(struct bytes *b, uint64_t u, int bytes);
void bytes_free(struct bytes *b);
void put_int(struct bytes *b, int64_t i);
void put_text(struct bytes *b, const char *text);
void put_map(struct bytes *b, unsigned n);  /* fewer than 16; keys and items follow */
void put_list(struct bytes *b, unsigned n); /* fewer than 16 */
void put_bool(struct bytes *b, bool yes);
void put_blob(struct bytes *b, const void *data, size_t n);
/* The value that v begins with; v moves behind it. false: there is none. */
bool take_value(struct span *v, struct span *ret);
bool read_int(struct span v, int64_t *ret);
bool read_bool(struct span v, bool *ret);
bool read_text(struct span v, struct span *ret);
bool read_blob(struct span v, struct span *ret);
bool is_map(struct span v);
/* How many items a list has, v then stands on the first; -1: it is no list. */
int64_t list_items(struct span *v);
bool map_get(struct span map, const char *key, struct span *ret);
bool span_is(struct span s, const char *text);
bool span_equal(struct span a, struct span b);

/* ---- check_peer.c: the worker under test ---- */

enum heard_how { HEARD_UNASKED, HEARD_FRAME, HEARD_NOTHING, HEARD_END, HEARD_RUBBISH };

struct heard {
    enum heard_how how;
    int kind;
    unsigned flags;
    uint64_t id, stamp;
    struct span payload;
};

enum verdict { CHECK_OK, CHECK_FAILED, CHECK_SKIPPED };

struct checker {
    const struct cli *cli;
    struct interrupt *in;
    char *const *argv, *const *env; /* of the worker */
    int64_t wait_ms;                /* for each answer */
    unsigned counts[3];             /* rows by verdict */
    pit_value *rows;                /* for -o json; NULL: text */
    pid_t pid;                      /* 0: none runs */
    int fd;
    struct bytes sent, received; /* the last frame each way */
    struct heard heard;
    struct bytes ready; /* READY's payload */
    uint64_t id;        /* of the last call */
};

/* Starts a worker; false: that failed, and is told. */
bool peer_start(struct checker *c);
/* One frame. false: the worker takes none any more. */
bool peer_send(struct checker *c, int kind, unsigned flags, uint64_t id, uint64_t stamp, struct span body);
bool peer_send_raw(struct checker *c, struct span whole);
/* The next frame but LOGs, in c->heard; wait_ms -1: as long as an answer may take. */
enum heard_how peer_hear(struct checker *c, int64_t wait_ms);
/* Waits for the worker to end by itself: its status as of waitpid(), or -1: it did not. */
int peer_await_end(struct checker *c);
/* Lets it go: the socket is closed, and it is killed unless it has ended soon. Its status, or -1. */
int peer_end(struct checker *c);
bool was_interrupted(const struct checker *c);

/* ---- cmd_worker_check.c: rows ---- */

void check_ok(struct checker *c, const char *name);
void check_skipped(struct checker *c, const char *name, const char *why);
/* expected: what should have come; false, always. */
bool check_failed(struct checker *c, const char *name, const char *expected, ...) __attribute__((format(printf, 3, 4)));

/* ---- the checks ---- */

/* check_calls.c */
bool check_handshake(struct checker *c,
                     const char *name); /* of a worker that has just been started; told under this name unless that is NULL */
bool check_serving(struct checker *c);  /* there is a worker that serves; else false, told */
bool check_offers(const struct checker *c, const char *list, const char *name); /* a tool, or a capability */
/* Sends the CALL of a tool with these arguments (one value); its id. */
uint64_t check_send_call(struct checker *c, int kind, unsigned flags, const char *tool, struct span arguments);
/* The next frame is of this kind and call; else that is told as a failure of this check. */
bool check_expect(struct checker *c, const char *name, int kind, uint64_t id);
/* The same of an ERROR with this code, NULL: any that there is. */
bool check_expect_error(struct checker *c, const char *name, uint64_t id, const char *code);
/* The worker still serves: an unknown command is answered, in order. */
bool check_alive(struct checker *c, const char *name);
void check_calls(struct checker *c);

/* check_inner.c */
void check_inner(struct checker *c);

/* check_ends.c */
void check_ends(struct checker *c);

#endif
