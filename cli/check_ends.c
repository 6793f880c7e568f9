/* snakepit worker-check: how a worker ends. Each check has one of its own. See check.h. */
#include <string.h>
#include <sys/wait.h>

#include "check.h"

/* A worker that nobody has called yet. */
static bool fresh(struct checker *c)
{
    (void)peer_end(c);
    return !was_interrupted(c) && peer_start(c) && check_handshake(c, NULL);
}

static void check_stop(struct checker *c)
{
    static const char name[] = "end: STOP";

    if (!check_serving(c))
        return;
    (void)peer_send(c, KIND_STOP, 0, 0, 0, (struct span){NULL, 0});
    int status = peer_await_end(c);
    if (status < 0)
        (void)check_failed(c, name, "its process to end");
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        (void)check_failed(c, name, "exit status 0, not %s %d", WIFEXITED(status) ? "exit status" : "the end by signal",
                           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    else
        check_ok(c, name);
}

static void check_lost(struct checker *c)
{
    static const char name[] = "end: of the socket";

    if (!fresh(c))
        return;
    if (peer_end(c) >= 0)
        check_ok(c, name);
    else
        (void)check_failed(c, name, "its process to end when its host has gone");
}

/* The host is trusted, but a stream of bytes that has lost its place is of no use: who goes on takes garbage for calls. */
static void check_broken(struct checker *c)
{
    static const struct {
        const char *name, *frame;
    } frames[] = {
        {"broken: a frame of version 2", "021000001800000001000000000000000000000000000000"},
        {"broken: a frame of an unknown kind", "01c800001800000001000000000000000000000000000000"},
        {"broken: a frame that only a worker sends", "011100001900000001000000000000000000000000000000c0"},
        {"broken: a flag that is not known", "011000801800000001000000000000000000000000000000"},
        {"broken: a frame shorter than its header", "011000001700000001000000000000000000000000000000"},
        {"broken: a frame longer than max_frame_bytes", "01100000ffffffff01000000000000000000000000000000"},
        {"broken: fields longer than their frame", "011001001c000000010000000000000000000000000000000500000000"},

    };
    for (size_t i = 0; i < sizeof frames / sizeof frames[0] && fresh(c); i++) {
        struct bytes b = {0};
        bytes_put_hex(&b, frames[i].frame);
        (void)peer_send_raw(c, SPAN_OF(b));
        bytes_free(&b);
        while (peer_hear(c, -1) == HEARD_FRAME && c->heard.kind != KIND_RESULT)
            continue;
        if (c->heard.how == HEARD_FRAME || peer_await_end(c) < 0) {
            (void)check_failed(c, frames[i].name, "its process to end by itself");
            break; /* it would take as long with each of them */
        }
        check_ok(c, frames[i].name);
    }
}

void check_ends(struct checker *c)
{
    check_stop(c);
    check_lost(c);
    check_broken(c);
    (void)peer_end(c);
}
