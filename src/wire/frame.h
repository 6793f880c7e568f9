/* A frame: one message between host and worker, over a ring or a socket. docs/wire.md is the reference.
 *
 *   0  u8  version (1)        8  u64 id      the call it belongs to: its lane sequence (0: none)
 *   1  u8  kind              16  u64 stamp   CALL: absolute deadline, CLOCK_MONOTONIC ns (0: none);
 *   2  u16 flags                             RESULT and ERROR of a CALL with FRAME_TIMED: ns spent in the function
 *   4  u32 size, all told    24  if FRAME_FIELDS: u32 bytes of the fields, fields; then the payload: MessagePack values
 *
 * A field: u8 tag, u8 zero, u16 length, bytes. Unknown fields are skipped; unknown kinds, versions and flags end the connection
 * (protocol_error). All little-endian, nothing is aligned. Between two frames on a socket a single zero byte is a bell and means
 * nothing. The payload of each kind stands beside it. */
#ifndef PIT_WIRE_FRAME_H
#define PIT_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_VERSION 1
#define FRAME_HEADER 24
#define FRAME_MAX_DEFAULT (64u << 20)
#define PROTOCOL_MIN 1
#define PROTOCOL_MAX 1

/* X(CONSTANT, name, number, direction, payload): w = from the worker, h = from the host, b = both. Kinds of later versions are
 * reserved: today they are a protocol error. */
#define FRAME_KIND_LIST(X)                                                                                                     \
    X(HELLO, hello, 1, w, "map: protocol_min, protocol_max, pid, secret, channels, runtime")                                   \
    X(WELCOME, welcome, 2, h,                                                                                                  \
      "map: protocol, worker_id, pool, run_id, channel, lanes, max_frame_bytes, max_depth, call_prefix, now_ns, heartbeat, "   \
      "cancel_signal, profile, adapter_scope")                                                                                 \
    X(READY, ready, 3, w, "map: tools, capabilities, gil_enabled")                                                             \
    X(FAILED, failed, 4, w, "map: the error (code, message, python) for which the worker will not become ready")               \
    X(STOP, stop, 5, h, "nothing: finish, run cleanup, exit with status 0")                                                    \
    X(CALL, call, 16, h, "str command, then the arguments")                                                                    \
    X(RESULT, result, 17, w, "the value")                                                                                      \
    X(ERROR, error, 18, w, "map: code, message, python {type, message, traceback, notes}, details")                            \
    X(CANCEL, cancel, 19, h, "nothing: the call with this id shall end")                                                       \
    X(STREAM_CALL, stream_call, 24, h, "as CALL, with the field stream")                                                       \
    X(CHUNK, chunk, 25, w, "the value, then perhaps a map: metadata")                                                          \
    X(CREDIT, credit, 26, b, "uint chunks, uint bytes: granted beyond what was before")                                        \
    X(SEND, send, 27, h, "a value for the producer's inbox")                                                                   \
    X(SEND_END, send_end, 28, h, "nothing: the inbox ends here")                                                               \
    X(STREAM_END, stream_end, 29, b, "reserved: the stream is over")                                                           \
    X(TOOL_CALL, tool_call, 32, w,                                                                                             \
      "str name, then the arguments; the id is the worker's own; of a tool that streams with the field stream")                \
    X(TOOL_RESULT, tool_result, 33, h, "the value; the id is that of the TOOL_CALL")                                           \
    X(TOOL_ERROR, tool_error, 34, h, "map: as ERROR; the id is that of the TOOL_CALL")                                         \
    X(TOOL_LIST, tool_list, 35, b, "from the worker: nothing; the answer, with its id: list of maps, the host's tools")        \
    X(TOOL_CHUNK, tool_chunk, 36, h, "a value; the id is that of the TOOL_CALL")                                               \
    X(TOOL_CREDIT, tool_credit, 37, w, "uint chunks, uint bytes: granted beyond what was before; the id as above")             \
    X(TOOL_CLOSE, tool_close, 38, w, "nothing: no more is wanted of the tool; the id as above")                                \
    X(SLOT_GRANT, slot_grant, 40, h, "reserved: shared memory for a tensor")                                                   \
    X(SLOT_RELEASE, slot_release, 41, b, "reserved")                                                                           \
    X(SLOT_REQUEST, slot_request, 42, w, "reserved")                                                                           \
    X(PING, ping, 48, h, "nothing: the id is a number, which PONG repeats")                                                    \
    X(PONG, pong, 49, w, "nothing: the id is that of the PING")                                                                \
    X(HEALTH, health, 50, h, "nothing: the id is a number, which HEALTH_REPLY repeats")                                        \
    X(HEALTH_REPLY, health_reply, 51, w, "map: ok, reason, report (what health() returned)")                                   \
    X(SESSION_END, session_end, 52, h, "reserved")                                                                             \
    X(REPORT_LOADED, report_loaded, 53, w, "reserved")                                                                         \
    X(LOG, log, 56, w, "map: level, text, logger, correlation_id")                                                             \
    X(TELEMETRY, telemetry, 57, w, "reserved")                                                                                 \
    X(TELEMETRY_CONTROL, telemetry_control, 58, h, "reserved")                                                                 \
    X(FORK, fork, 64, h, "reserved: to a template, a request for a worker")                                                    \
    X(FORKED, forked, 65, w, "reserved")

enum {
#define FRAME_KIND_ENUM(constant, name, number, direction, payload) FRAME_##constant = number,
    FRAME_KIND_LIST(FRAME_KIND_ENUM)
#undef FRAME_KIND_ENUM
};

enum {
    FRAME_FIELDS = 1, /* fields follow the header */
    FRAME_TIMED = 2,  /* CALL: tell in the answer's stamp how long the function took */
    FRAME_FINAL = 4,  /* CHUNK: the producer says that it is the last one */
    FRAME_NESTED = 8, /* CALL, STREAM_CALL: made while the call that runs waits for a tool of the host; it is served at once */
    FRAME_KNOWN_FLAGS = 15
};

/* X(CONSTANT, name, number) */
#define FRAME_FIELD_LIST(X)                                                                                                    \
    X(SESSION, session_id, 1)                                                                                                  \
    X(CORRELATION, correlation_id, 2)                                                                                          \
    X(TRACEPARENT, traceparent, 3)                                                                                             \
    X(METADATA, metadata, 4)                                                                                                   \
    X(BINARY, binary_parameters, 5) X(OPTIONS, options, 6) X(STREAM, stream, 7)

enum {
#define FRAME_FIELD_ENUM(constant, name, number) FIELD_##constant = number,
    FRAME_FIELD_LIST(FRAME_FIELD_ENUM)
#undef FRAME_FIELD_ENUM
};

/* The field stream of a STREAM_CALL: u32 chunks, u32 flags, u64 bytes: the window, both ways. Of a TOOL_CALL: what the tool may send; no flags. */
enum { FIELD_STREAM_SIZE = 16, FIELD_STREAM_INBOX = 1 /* a flag: the host may send to the inbox */ };

/* The fields: four bytes of length; each: tag, and three bytes of length. */
enum { FRAME_FIELDS_HEAD = 4, FRAME_FIELD_HEAD = 4, FRAME_FIELD_MAX = (1 << 24) - 1 };

struct frame {
    uint8_t kind;
    uint16_t flags;
    uint64_t id, stamp;
    const uint8_t *fields; /* borrowed from the bytes */
    size_t fields_n;
    const uint8_t *payload;
    size_t payload_n;
};

/* Puts the header at p (FRAME_HEADER bytes); size is that of the whole frame. */
void frame_put_header(uint8_t *p, int kind, unsigned flags, uint64_t id, uint64_t stamp, size_t size);
void frame_put_field_head(uint8_t *p, int tag, size_t n); /* FRAME_FIELD_HEAD bytes; n <= FRAME_FIELD_MAX */
void frame_put_fields_head(uint8_t *p, size_t n);         /* FRAME_FIELDS_HEAD bytes; n: of all fields together */
/* Puts a field before the others of a good frame of `size` bytes that has room for FRAME_FIELDS_HEAD + FRAME_FIELD_HEAD + n more. Its size. */
size_t frame_insert_field(uint8_t *frame, size_t size, int tag, const void *data, size_t n);
/* The size that a header (FRAME_HEADER bytes) claims, or a negative PIT_E_PROTOCOL_ERROR or PIT_E_LIMIT_EXCEEDED (> max). */
int64_t frame_peek_size(const uint8_t *p, size_t max);
/* Checks n bytes, which must be one whole frame, and splits them. 0 or PIT_E_PROTOCOL_ERROR. Reads each byte once. */
int frame_parse(const uint8_t *p, size_t n, struct frame *ret);
/* One field; false when it is absent or the fields are malformed. frame_parse has checked that they are well-formed. */
bool frame_field(const struct frame *f, int tag, const uint8_t **ret, size_t *ret_n);
const char *frame_kind_name(int kind);

#endif
