/* cancel.python, cancel.sleep: from the request to end a call to the error in the hand of the thread that made it, while Python runs a loop or
 * sleeps. cancel.native: a call in C that reacts to nothing and has a deadline: how long after that its caller has the error, and how long
 * beyond the ladder's waits its slot answers the next call. And their floor: a signal from one process to another.
 *
 * The function in the worker says through a shared page that it runs, so that what is cancelled always runs. */
#include "host.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000, TIMES = 20, QUICK_TIMES = 5, NATIVE_TIMES = 3, TIMEOUT_MS = 50, RAISE_MS = 500, SIGNAL = 44 };
#define MS UINT64_C(1000000)

/* ---- a signal ---- */

static _Atomic uint64_t *arrived;

static void on_signal(int sig)
{
    (void)sig;
    atomic_store(arrived, clock_now());
}

int role_signal(void)
{
    struct sigaction a = {.sa_handler = on_signal};
    arrived = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
    if (arrived == MAP_FAILED || sigaction(SIGNAL, &a, NULL) != 0)
        return 1;
    atomic_store(arrived, 1);
    for (;;)
        pause();
}

static bool await_word(const _Atomic uint64_t *word)
{
    for (int i = 0; i < PATIENCE_MS * 10; i++) {
        if (atomic_load(word) != 0)
            return true;
        nap_us(100);
    }
    return false;
}

int run_signal(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int fd = -1, times = b->o.quick ? QUICK_TIMES : TIMES;
    _Atomic uint64_t *word = memory_share(page, &fd);
    if (word == NULL)
        return result_fail(ret, "no shared page");
    place_thread(b, PLACE_FREE);
    b->samples.n = 0;
    pid_t pid = child_spawn_role("signal", &fd, 1);
    bool good = pid > 0 && await_word(word);
    for (int i = 0; i < times && good; i++) {
        atomic_store(word, 0);
        nap_us(1000); /* it sleeps by now */
        uint64_t start = clock_now();
        kill(pid, SIGNAL);
        good = await_word(word);
        samples_add(&b->samples, atomic_load(word) - start);
    }
    child_end(pid);
    munmap((void *)word, page);
    close(fd);
    if (!good)
        return result_fail(ret, "the process that gets the signal does not answer");
    samples_reduce(&b->samples, b->clock_ns, ret);
    return BENCH_OK;
}

/* ---- calls ---- */

struct cancelled {
    pit *p;
    const char *command;
    char path[64];
    pit_call_options o;
    int rc;
    uint64_t answered;
};

static void *call_main(void *arg)
{
    struct cancelled *c = arg;
    c->rc = pit_callf(c->p, c->command, &c->o, NULL, NULL, "{s:s}", "path", c->path);
    c->answered = clock_now();
    return NULL;
}

static int cancel_once(struct bench *b, struct cancelled *c, _Atomic uint64_t *started, struct result *ret)
{
    pthread_t thread;
    atomic_store(started, 0);
    c->o.canceller = pit_canceller_new();
    bool calls = pthread_create(&thread, NULL, call_main, c) == 0, ran = calls && await_word(started);
    nap_us(1000); /* the caller sleeps by now */
    uint64_t start = clock_now();
    pit_canceller_fire(c->o.canceller, NULL);
    if (calls)
        pthread_join(thread, NULL);
    pit_canceller_free(c->o.canceller);
    if (!ran || c->rc != PIT_E_CANCELLED)
        return result_fail(ret, "the cancelled call ended with %s", pit_error_code_name(c->rc));
    samples_add(&b->samples, c->answered - start);
    return BENCH_OK;
}

/* whole: the next good call, beyond what the ladder waits; else the error of this one, beyond its deadline. */
static int overrun_once(struct bench *b, struct cancelled *c, bool whole, struct result *ret)
{
    c->o.canceller = NULL;
    c->o.deadline_ns = pit_now_ns() + TIMEOUT_MS * MS;
    call_main(c);
    if (c->rc != PIT_E_DEADLINE_EXCEEDED)
        return result_fail(ret, "the call in C ended with %s", pit_error_code_name(c->rc));
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = c->o.pool;
    struct call_target next = {c->p, &o, ret};
    if (call_inc(&next, 1) != 0)
        return ret->status;
    uint64_t since = c->o.deadline_ns + (whole ? RAISE_MS * MS : 0), now = whole ? clock_now() : c->answered;
    samples_add(&b->samples, now > since ? now - since : 0);
    return BENCH_OK;
}

int run_cancel(struct bench *b, int kind, struct result *ret)
{
    static const char *const commands[] = {
        [CANCEL_PYTHON] = "spin", [CANCEL_SLEEP] = "hold", [CANCEL_OVERRUN] = "native", [CANCEL_WHOLE] = "native"};
    bool native = kind == CANCEL_OVERRUN || kind == CANCEL_WHOLE;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int fd = -1, times = native ? NATIVE_TIMES : b->o.quick ? QUICK_TIMES : TIMES, status = BENCH_OK;
    struct cancelled c = {.p = host_pool(b, POOL_CANCEL, ret), .command = commands[kind], .o = PIT_CALL_OPTIONS_INIT};
    if (c.p == NULL)
        return ret->status;
    _Atomic uint64_t *started = memory_share(page, &fd);
    if (started == NULL)
        return result_fail(ret, "no shared page");
    snprintf(c.path, sizeof c.path, "/proc/%d/fd/%d", (int)getpid(), fd);
    c.o.pool = host_pool_name(POOL_CANCEL);
    place_thread(b, PLACE_FREE);
    b->samples.n = 0;
    for (int i = 0; i < times && status == BENCH_OK; i++)
        status = native ? overrun_once(b, &c, kind == CANCEL_WHOLE, ret) : cancel_once(b, &c, started, ret);
    munmap((void *)started, page);
    close(fd);
    host_pool_stop(b, POOL_CANCEL);
    if (status == BENCH_OK)
        samples_reduce(&b->samples, b->clock_ns, ret);
    return status;
}
