/* Peers that measure themselves: multiprocessing (mp_peer.py) and an embedded interpreter (snakepit-bench-embed).
 *
 * A peer reads one line for each measurement and answers "ok COUNT RATE QUANTILES..." or "error TEXT". Between two it sleeps in read(). It ends
 * when its standard input does. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MS = 60000, LINE = 512 };

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

static int mp_run(struct bench *b, const char *what, enum place place, struct result *ret)
{
    if (b->mp == NULL) {
        char script[PATH_MAX + 32];
        snprintf(script, sizeof script, "%s/mp_peer.py", b->dir);
        char *argv[] = {(char *)b->o.python, (char *)"-I", script, NULL};
        b->mp = peer_create(argv);
    }
    return peer_ask(b->mp, ret, "%s %s %d %d %d\n", what, place == PLACE_TWO ? "two" : "one", b->cpus[0], b->cpus[1],
                    (int)measure_ms(b));
}

int run_mp_pipe(struct bench *b, int place, struct result *ret)
{
    return mp_run(b, "pipe", (enum place)place, ret);
}

int run_mp_pool(struct bench *b, int place, struct result *ret)
{
    return mp_run(b, "pool", (enum place)place, ret);
}

int run_embed(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    if (b->embed == NULL) {
        char program[PATH_MAX + 32];
        snprintf(program, sizeof program, "%s/snakepit-bench-embed", b->dir);
        if (access(program, X_OK) != 0)
            return result_skip(ret, "snakepit-bench-embed was not built: the build found no libpython to link with");
        char *argv[] = {program, b->dir, NULL};
        b->embed = peer_create(argv);
    }
    return peer_ask(b->embed, ret, "%d %d\n", b->cpus[0], b->o.quick ? 1 : 0);
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
    peer_end(&b->mp);
    peer_end(&b->embed);
}
