/* The handshake, host side: HELLO from the worker, WELCOME to it, READY or FAILED from it. Loop thread, but for worker_side_frame.
 * Everything that comes in is hostile. */
#include <snakepit/value.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/codec.h"
#include "worker/worker_internal.h"

pit_value *worker_decode_map(const struct frame *f)
{
    static const struct codec_limits small = {.max_bytes = 16 << 20};
    enum { CONTROL_MAX = 1 << 20 }; /* the loop decodes these: nobody may keep it long */
    pit_value *v = NULL;
    if (f->payload_n > CONTROL_MAX || codec_decode(f->payload, f->payload_n, &small, &v, NULL, NULL) != 0)
        return NULL;
    if (pit_value_kind(v) == PIT_KIND_MAP)
        return v;
    pit_value_free(v);
    return NULL;
}

static bool offers(const pit_value *hello, const char *name)
{
    const pit_value *channels = pit_value_get(hello, "channels");
    for (size_t i = 0; i < pit_value_len(channels) && i < 8; i++) {
        const char *channel = pit_value_str(pit_value_at(channels, i));
        if (channel != NULL && strcmp(channel, name) == 0)
            return true;
    }
    return false;
}

static int mismatch(struct worker *w, int64_t min, int64_t max)
{
    pit_error *e = error_new(PIT_E_PROTOCOL_MISMATCH, "worker %s speaks protocol versions %lld to %lld, this library %d to %d",
                             w->id, (long long)min, (long long)max, PROTOCOL_MIN, PROTOCOL_MAX);
    error_detail_take(e, "worker_min", pit_int(min));
    error_detail_take(e, "worker_max", pit_int(max));
    error_detail_take(e, "host_min", pit_int(PROTOCOL_MIN));
    error_detail_take(e, "host_max", pit_int(PROTOCOL_MAX));
    error_suggest(e, "install the snakepit_bridge package that came with this library");
    worker_fail(w, PIT_E_PROTOCOL_MISMATCH, "it speaks no protocol version that this library speaks", e);
    return PIT_E_PROTOCOL_MISMATCH;
}

static int send_welcome(struct worker *w)
{
    struct buf b = {0};
    buf_reserve(&b, 512);
    b.len = FRAME_HEADER;
    pit_value *v = pit_pack("{s:i,s:s,s:s,s:s,s:s,s:u,s:U,s:i,s:u,s:U,s:b,s:i,s:s,s:s}", "protocol", PROTOCOL_MAX, "worker_id",
                            w->id, "pool", w->config->pool, "run_id", w->env->run_id, "channel", w->is_ring ? "ring" : "socket",
                            "lanes", (unsigned)w->config->lanes, "max_frame_bytes", (uint64_t)w->config->max_frame, "max_depth",
                            CODEC_MAX_DEPTH, "call_prefix", (unsigned)w->prefix, "now_ns", w->env->os->now_ns(), "heartbeat",
                            (int)w->config->heartbeat, "cancel_signal", CANCEL_SIGNAL, "profile",
                            w->config->threaded ? "thread" : "process", "adapter_scope", w->config->adapter_scope);
    int rc = codec_encode(&b, v, NULL);
    pit_value_free(v);
    size_t done = 0;
    if (rc == 0) {
        frame_put_header(b.data, FRAME_WELCOME, 0, 0, 0, b.len);
        rc = w->control->ops->send(w->control, b.data, b.len, &done);
    }
    buf_finish(&b);
    return rc == CHANNEL_AGAIN ? PIT_E_PROTOCOL_ERROR : rc;
}

static bool secret_matches(const struct worker *w, const pit_value *hello)
{
    const void *secret;
    size_t n;
    return pit_value_get_bytes(pit_value_get(hello, "secret"), &secret, &n) && n == sizeof w->secret &&
           memcmp(secret, w->secret, n) == 0;
}

/* Several lanes need rings: the socket is one. */
static int no_lanes(struct worker *w)
{
    pit_error *e = error_new(PIT_E_PROFILE_UNAVAILABLE,
                             "worker %s cannot be of the profile thread: the extension of snakepit_bridge is not there", w->id);
    error_suggest(
        e,
        "build the extension for the pool's interpreter (snakepit doctor tells what is missing), or use the profile process");
    worker_fail(w, PIT_E_PROFILE_UNAVAILABLE, "it cannot serve several calls at a time", e);
    return PIT_E_PROFILE_UNAVAILABLE;
}

static int on_hello(struct worker *w, const pit_value *hello)
{
    int64_t min = 0, max = 0;
    if (!pit_value_get_int(pit_value_get(hello, "protocol_min"), &min) ||
        !pit_value_get_int(pit_value_get(hello, "protocol_max"), &max))
        return PIT_E_PROTOCOL_ERROR;
    if (min > PROTOCOL_MAX || max < PROTOCOL_MIN)
        return mismatch(w, min, max);
    if (!secret_matches(w, hello))
        return PIT_E_PROTOCOL_ERROR;
    bool ring = offers(hello, "ring");
    if (!ring && w->config->threaded)
        return no_lanes(w);
    if (!ring && w->config->channel == PIT_CHANNEL_RING) {
        pit_error *e =
            error_new(PIT_E_START_FAILED, "worker %s cannot use rings: the extension of snakepit_bridge is not there", w->id);
        worker_fail(w, PIT_E_START_FAILED, "it cannot use rings", e);
        return PIT_E_START_FAILED;
    }
    poollock_acquire(w->config->lock);
    w->is_ring = ring && w->config->channel != PIT_CHANNEL_SOCKET;
    poollock_release(w->config->lock);
    pit_value_get_bool(pit_value_get(hello, "marks"), &w->marks);
    w->marks = w->marks || w->is_ring;
    w->hello = true;
    return send_welcome(w);
}

static int make_lanes(struct worker *w)
{
    struct lane *lanes = mem_array(w->config->lanes, sizeof *lanes);
    if (lanes == NULL)
        return PIT_E_ALLOCATION_FAILED;
    int rc = 0;
    for (uint32_t i = 0; i < w->config->lanes; i++) {
        struct lane *l = &lanes[i];
        l->worker = w;
        l->index = i;
        l->owner = LANE_IDLE;
        l->sequence = l->answered = (uint64_t)i << 48;
        l->status = w->marks ? channel_ring_status(w->segment, i, w->config->ring_bytes) : NULL;
        l->channel = w->is_ring ? channel_ring_create(w->env->os, w->segment, i, w->config->ring_bytes, w->config->max_frame)
                                : w->control;
        if (l->channel == NULL)
            rc = PIT_E_ALLOCATION_FAILED;
    }
    poollock_acquire(w->config->lock);
    w->lanes = lanes; /* worker_free() frees what there is */
    poollock_release(w->config->lock);
    return rc;
}

void handshake_announce(struct worker *w)
{
    if (!w->said_ready || !w->runs || w->dead)
        return;
    loop_timer_stop(w->env->loop, &w->ready_timer);
    uint64_t now = w->env->os->now_ns();
    poollock_acquire(w->config->lock);
    w->ready_ns = now; /* who lists workers looks at it */
    bool moved = worker_move(w, PIT_WORKER_READY);
    poollock_release(w->config->lock);
    if (moved) {
        recorder_note(w, RECORDER_READY, 0, 0);
        w->events->ready(w);
    }
}

/* Of the tools that READY names only those are kept that may be run again. */
static int keep_repeatable(struct worker *w, const pit_value *tools)
{
    pit_value *map = NULL;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < pit_value_len(tools); i++) {
        const pit_value *tool = pit_value_at(tools, i), *given = pit_value_get(tool, "idempotent");
        const char *name = pit_value_str(pit_value_get(tool, "name"));
        bool yes = false;
        if (given != NULL && (!pit_value_get_bool(given, &yes) || name == NULL))
            rc = PIT_E_PROTOCOL_ERROR;
        if (yes && map == NULL)
            map = pit_map();
        if (yes && rc == 0)
            pit_map_set_take(map, name, pit_bool(true));
    }
    rc = rc != 0 ? rc : pit_value_error(map);
    if (rc == 0)
        w->repeatable = map;
    else
        pit_value_free(map);
    return rc;
}

/* Of the tools that READY names only those with a time of their own are kept. */
static int keep_timeouts(struct worker *w, const pit_value *tools)
{
    pit_value *map = NULL;
    int64_t ms;
    for (size_t i = 0; i < pit_value_len(tools); i++) {
        const pit_value *tool = pit_value_at(tools, i), *given = pit_value_get(tool, "timeout_ms");
        const char *name = pit_value_str(pit_value_get(tool, "name"));
        if (given == NULL || pit_value_kind(given) == PIT_KIND_NIL)
            continue;
        if (name == NULL || !pit_value_get_int(given, &ms) || ms <= 0) {
            pit_value_free(map);
            return PIT_E_PROTOCOL_ERROR;
        }
        if (map == NULL)
            map = pit_map();
        pit_map_set_take(map, name, pit_int(ms));
    }
    int rc = pit_value_error(map);
    if (rc == 0)
        w->timeouts = map;
    else
        pit_value_free(map);
    return rc;
}

/* Only what a description should have, and of the kinds that it should have. */
static pit_value *clean_tool(const pit_value *tool)
{
    static const struct {
        const char *key;
        int kind;
    } parts[] = {{"description", PIT_KIND_STR},
                 {"parameters", PIT_KIND_LIST},
                 {"streaming", PIT_KIND_BOOL},
                 {"idempotent", PIT_KIND_BOOL},
                 {"timeout_ms", PIT_KIND_INT}};
    pit_value *map = pit_map();
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const pit_value *item = pit_value_get(tool, parts[i].key);
        if (pit_value_kind(item) == parts[i].kind)
            pit_map_set_take(map, parts[i].key, pit_value_ref(item));
    }
    return map;
}

/* What READY says of the tools is kept for whoever asks what there is. */
static int keep_tools(struct worker *w, const pit_value *tools)
{
    pit_value *map = pit_map();
    for (size_t i = 0; i < pit_value_len(tools); i++) {
        const pit_value *tool = pit_value_at(tools, i);
        const char *name = pit_value_str(pit_value_get(tool, "name"));
        if (name != NULL)
            pit_map_set_take(map, name, clean_tool(tool));
    }
    int rc = pit_value_error(map);
    if (rc == 0)
        w->tools = map;
    else
        pit_value_free(map);
    return rc;
}

static int on_ready(struct worker *w, const pit_value *ready)
{
    bool gil;
    int rc = keep_timeouts(w, pit_value_get(ready, "tools"));
    if (rc == 0)
        rc = keep_repeatable(w, pit_value_get(ready, "tools"));
    if (rc == 0)
        rc = keep_tools(w, pit_value_get(ready, "tools"));
    if (rc == 0)
        rc = make_lanes(w);
    w->capabilities = worker_capabilities(ready);
    if (pit_value_get_bool(pit_value_get(ready, "gil_enabled"), &gil))
        w->gil = gil ? PIT_ON : PIT_OFF;
    w->said_ready = rc == 0;
    if (rc == 0)
        handshake_announce(w);
    return rc;
}

/* The worker has said why it will not become ready; it exits by itself, and the exit completes the story. */
static void on_failed(struct worker *w, const struct frame *f)
{
    if (w->failure != NULL)
        return;
    pit_error *e = error_from_worker(f->payload, f->payload_n, PIT_E_START_FAILED);
    error_worker(e, w->id);
    error_pool(e, w->config->pool);
    w->failure = e;
}

/* What may come between the answers to calls. */
static int between_answers(struct worker *w, const struct frame *f)
{
    switch (f->kind) {
    case FRAME_LOG:
        return worker_log(w, f);
    case FRAME_PONG:
        worker_beat_pong(w, f->id);
        return f->payload_n == 0 ? 0 : PIT_E_PROTOCOL_ERROR;
    case FRAME_HEALTH_REPLY:
        return worker_health_reply(w, f);
    default:
        return PIT_E_PROTOCOL_ERROR;
    }
}

/* On a ring only answers come: the control socket is for the rest. */
int worker_side_frame(struct worker *w, const struct frame *f)
{
    return w->is_ring ? PIT_E_PROTOCOL_ERROR : between_answers(w, f);
}

int handshake_frame(struct worker *w, const struct frame *f)
{
    /* not its state, which callers move, too: only the lock's holder may look at that */
    bool fresh = w->ready_ns == 0, starting = fresh && !w->dead;
    if (f->kind == FRAME_HELLO && starting && !w->hello) {
        pit_value *hello = worker_decode_map(f);
        int rc = hello != NULL ? on_hello(w, hello) : PIT_E_PROTOCOL_ERROR;
        pit_value_free(hello);
        return rc;
    }
    if (f->kind == FRAME_READY && starting && w->hello && !w->said_ready) {
        pit_value *ready = worker_decode_map(f);
        int rc = ready != NULL ? on_ready(w, ready) : PIT_E_PROTOCOL_ERROR;
        pit_value_free(ready);
        return rc;
    }
    if (f->kind == FRAME_FAILED && fresh) { /* also among the last words that are read after its end */
        on_failed(w, f);
        return 0;
    }
    return fresh && f->kind != FRAME_LOG ? PIT_E_PROTOCOL_ERROR : between_answers(w, f);
}
