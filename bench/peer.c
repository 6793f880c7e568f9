/* Peers that measure themselves: other means in Python, one process for each so that none disturbs another, and an embedded interpreter
 * (snakepit-bench-embed). They are started when the first series needs them.
 *
 * A peer reads one line for each measurement and answers "ok COUNT RATE QUANTILES...", "skip TEXT" or "error TEXT". Between two it sleeps in read().
 * It ends when its standard input does. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MS = 60000, LINE = 512 };

static const struct {
    const char *script, *argument; /* no script: snakepit-bench-embed */
} programs[PEER_COUNT] = {
    [PEER_EMBED] = {NULL, NULL},
    [PEER_PIPE] = {"mp_peer.py", "pipe"},
    [PEER_PIPE_STREAM] = {"mp_peer.py", "pipe-stream"},
    [PEER_POOL] = {"mp_peer.py", "pool"},
    [PEER_MAP] = {"mp_peer.py", "map"},
    [PEER_EXECUTOR] = {"mp_peer.py", "executor"},
    [PEER_ZMQ] = {"zmq_peer.py", NULL},
    [PEER_GRPC] = {"grpc_peer.py", NULL},
    [PEER_CODEC] = {"codec_peer.py", "../python"},
    [PEER_FORK_NUMPY] = {"fork_peer.py", "numpy"},
    [PEER_FORK_TORCH] = {"fork_peer.py", "torch"},
    [PEER_LIFE_POOL] = {"life_peer.py", "pool"},
    [PEER_LIFE_FORKSERVER] = {"life_peer.py", "forkserver"},
    [PEER_LIFE_EXECUTOR] = {"life_peer.py", "executor"},
    [PEER_LIFE_PEBBLE] = {"life_peer.py", "pebble"},
    [PEER_LIFE_LOKY] = {"life_peer.py", "loky"},
};

struct peer {
    pid_t pid;
    int in, out; /* its standard input and output, at our side */
};

static struct peer *peer_create(char *const argv[])
{
    int to[2], from[2];
    struct peer *p = calloc(1, sizeof *p);
    if (p == NULL || pipe2(to, O_CLOEXEC) != 0) {
        free(p);
        return NULL;
    }
    if (pipe2(from, O_CLOEXEC) != 0) {
        close(to[0]);
        close(to[1]);
        free(p);
        return NULL;
    }
    p->in = to[1];
    p->out = from[0];
    p->pid = child_spawn_piped(argv, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    return p;
}

/* One line of its output, at most LINE bytes; false at its end, or when it takes too long. */
static bool peer_read(struct peer *p, char *line)
{
    size_t n = 0;
    while (n < LINE - 1) {
        struct pollfd wait = {.fd = p->out, .events = POLLIN};
        if (poll(&wait, 1, ANSWER_MS) <= 0 || read(p->out, &line[n], 1) != 1)
            return false;
        if (line[n] == '\n')
            break;
        n++;
    }
    line[n] = '\0';
    return true;
}

static int peer_parse(const char *line, struct result *ret)
{
    char *at;
    if (strncmp(line, "skip ", 5) == 0)
        return result_skip(ret, "%s", line + 5);
    if (strncmp(line, "ok ", 3) != 0)
        return result_fail(ret, "%s", line);
    ret->n = strtoul(line + 3, &at, 10);
    ret->rate = strtod(at, &at);
    for (int i = 0; i < Q_COUNT; i++)
        ret->q[i] = strtod(at, &at);
    return ret->n > 0 ? BENCH_OK : result_fail(ret, "the peer measured nothing");
}

__attribute__((format(printf, 3, 4))) static int peer_ask(struct peer *p, struct result *ret, const char *format, ...)
{
    char line[LINE];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (p == NULL || p->pid <= 0)
        return result_fail(ret, "the peer cannot be started");
    if (write(p->in, line, (size_t)n) != n || !peer_read(p, line))
        return result_fail(ret, "the peer ended or does not answer");
    return peer_parse(line, ret);
}

/* Asks a peer in Python, which is started when it does not run yet. */
static int script_ask(struct bench *b, int which, const char *what, enum place place, struct result *ret)
{
    static const char *const places[] = {[PLACE_FREE] = "free", [PLACE_ONE] = "one", [PLACE_TWO] = "two"};
    if (b->peers[which] == NULL) {
        char script[PATH_MAX + 32], argument[PATH_MAX + 32] = "";
        bool path = programs[which].argument != NULL && programs[which].argument[0] == '.';
        snprintf(script, sizeof script, "%s/%s", b->dir, programs[which].script);
        if (programs[which].argument != NULL)
            snprintf(argument, sizeof argument, path ? "%2$s/%1$s" : "%1$s", programs[which].argument, b->dir);
        char *argv[] = {(char *)b->o.python, (char *)"-Es", script, argument, NULL};
        b->peers[which] = peer_create(argv);
    }
    return peer_ask(b->peers[which], ret, "%s %s %d %d %d\n", what, places[place], b->cpus[0], b->cpus[1], (int)measure_ms(b));
}

int run_peer(struct bench *b, int which_and_place, struct result *ret)
{
    return script_ask(b, which_and_place / PEER_PLACES, "hot", (enum place)(which_and_place % PEER_PLACES), ret);
}

int run_peer_start(struct bench *b, int which, struct result *ret)
{
    return script_ask(b, which, "start", PLACE_FREE, ret);
}

int run_peer_kill(struct bench *b, int which, struct result *ret)
{
    return script_ask(b, which, "kill", PLACE_FREE, ret);
}

int run_grpc_unary(struct bench *b, int place, struct result *ret)
{
    return script_ask(b, PEER_GRPC, "unary", (enum place)place, ret);
}

int run_grpc_window(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    return script_ask(b, PEER_GRPC, "depth64", PLACE_FREE, ret);
}

int run_grpc_stream(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    return script_ask(b, PEER_GRPC, "stream", PLACE_TWO, ret);
}

int run_codec(struct bench *b, int series, struct result *ret)
{
    static const char *const whats[] = {[CODEC_FLOATS] = "snakepit-floats",
                                        [JSON_FLOATS] = "json-floats",
                                        [CODEC_DICT] = "snakepit-dict",
                                        [MARSHAL_DICT] = "marshal-dict"};
    return script_ask(b, PEER_CODEC, whats[series], PLACE_ONE, ret);
}

int run_embed(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    if (b->peers[PEER_EMBED] == NULL) {
        char program[PATH_MAX + 32];
        snprintf(program, sizeof program, "%s/snakepit-bench-embed", b->dir);
        if (access(program, X_OK) != 0)
            return result_skip(ret, "snakepit-bench-embed was not built: the build found no libpython to link with");
        char *argv[] = {program, b->dir, NULL};
        b->peers[PEER_EMBED] = peer_create(argv);
    }
    return peer_ask(b->peers[PEER_EMBED], ret, "%d %d\n", b->cpus[0], b->o.quick ? 1 : 0);
}

static void peer_end(struct peer **p)
{
    if (*p == NULL)
        return;
    close((*p)->in);
    struct pollfd wait = {.fd = (*p)->out, .events = POLLIN};
    (void)poll(&wait, 1, 2000); /* the end of its output: it has ended by itself */
    child_end((*p)->pid);
    close((*p)->out);
    free(*p);
    *p = NULL;
}

void peer_close(struct bench *b)
{
    for (int i = 0; i < PEER_COUNT; i++)
        peer_end(&b->peers[i]);
}
