/* Ends calls that do not end by themselves, each on another rung of the ladder, and shows what it came to. The caller never waits for that:
 * it has its error at once, and a worker that had to be killed has been replaced before the next call. */
#include <fcntl.h>
#include <pthread.h>
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const outcomes[] = {
    "",
    "it had not begun, and never will",
    "it noticed that it was no longer wanted",
    "Cancelled was raised inside it",
    "its worker was killed and replaced",
};

/* The ladder goes on behind the caller's back; this is how it ends. */
struct ladder {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int n, rung;
};

static int on_cancelled(const pit_event *ev, void *user)
{
    struct ladder *l = user;
    const char *rung = pit_event_text(ev, "rung");
    pthread_mutex_lock(&l->lock);
    l->n++;
    l->rung = rung != NULL ? atoi(rung) : 0;
    pthread_cond_signal(&l->ended);
    pthread_mutex_unlock(&l->lock);
    return 0;
}

static int await_ladder(struct ladder *l, int n)
{
    pthread_mutex_lock(&l->lock);
    while (l->n < n)
        pthread_cond_wait(&l->ended, &l->lock);
    int rung = l->rung;
    pthread_mutex_unlock(&l->lock);
    return rung > 0 && rung < 5 ? rung : 0;
}

static int fail(const char *what, pit_error *e)
{
    fprintf(stderr, "cancellation: %s: %s\n", what, pit_error_string(e));
    pit_error_free(e);
    return 1;
}

/* Begins a call, cancels it once it runs, and waits for the end of its ladder. */
static int cancel_one(pit *p, const char *command, const char *path, int begun, struct ladder *l)
{
    pit_future *f = NULL;
    pit_error *e = NULL;
    pit_value *args = pit_pack("[s]", path);
    int before = l->n;
    char byte;
    int rc = pit_submit(p, command, args, NULL, &f, &e);
    pit_value_free(args);
    if (rc != 0)
        return fail(command, e);
    if (read(begun, &byte, 1) != 1)
        return fail("the pipe", NULL);
    uint64_t asked = pit_now_ns();
    pit_future_cancel(f, "an example");
    pit_future_wait(f, PIT_INFINITE);
    double answered_ms = (double)(pit_now_ns() - asked) / 1e6;
    rc = pit_future_result(f, NULL, NULL);
    pit_future_free(f);
    int rung = await_ladder(l, before + 1);
    double ended_ms = (double)(pit_now_ns() - asked) / 1e6;
    printf("%-8s  %s after %5.2f ms; rung %d after %7.2f ms: %s\n", command, pit_error_code_name(rc), answered_ms, rung,
           ended_ms, outcomes[rung]);
    return rc != PIT_E_CANCELLED;
}

static int run(pit *p, const char *path)
{
    static const char *const commands[] = {"polite", "waiting", "busy", "asleep", "native"};
    struct ladder l = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    int begun = open(path, O_RDWR | O_CLOEXEC), failed = begun < 0;
    pit_error *e = NULL;
    if (pit_telemetry_attach(p, "snakepit.call.cancelled", on_cancelled, &l, NULL, &e) != 0)
        failed = fail("pit_telemetry_attach", e);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0] && !failed; i++)
        failed = cancel_one(p, commands[i], path, begun, &l);
    if (begun >= 0)
        close(begun);
    pit_close(p); /* no handler runs from here on: l may go */
    return failed;
}

int main(void)
{
    char folder[] = "/tmp/cancellation-XXXXXX", path[64];
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *pools[] = {&pool};
    pit *p = NULL;
    pit_error *e = NULL;
    pool.name = "work";
    pool.adapter = "work.py:Work";
    pool.workers = 1;
    pool.cancel_grace_ms = 1000; /* so long a call may take to notice by itself */
    o.pools = pools;
    o.n_pools = 1;
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/begun", folder);
    int failed = mkfifo(path, 0600) != 0;
    if (!failed && pit_open(&o, &p, &e) != 0)
        failed = fail("pit_open", e);
    else if (!failed)
        failed = run(p, path);
    unlink(path);
    rmdir(folder);
    return failed;
}
