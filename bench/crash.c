/* crash.error: from kill -9 of the worker that runs a call to the error in the hand of the thread that made the call. And pidfd.worker, in the
 * same kills: to the wake-up of a thread that polls a pidfd of its own on that worker. barrier.retry: the same kill of a call that may be repeated, to its
 * good answer from the worker's successor. crash.dossier: from a SIGSEGV in the same call to the error that has the stacks; .off: where none are wanted.
 *
 * Each crash meets a pool that has just been started: a worker that dies again and again is replaced more and more slowly, by design. The
 * function in the worker says through a shared page that it runs, so that the kill always meets a started call. */
#include "host.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000, KILLS = 10, QUICK_KILLS = 3 };

struct victim {
    pit *p;
    int pool;
    int sig;
    bool again; /* it may be repeated, and is good then */
    bool told;  /* the error has the stacks */
    char path[64];
    int rc;
    uint64_t answered;
    char text[BENCH_WHY];
};

static void *victim_main(void *arg)
{
    struct victim *v = arg;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_error *err = NULL;
    o.pool = host_pool_name(v->pool);
    o.idempotent = v->again ? PIT_ON : 0;
    v->rc = pit_callf(v->p, v->again ? "hold_once" : "hold", &o, NULL, &err, "{s:s}", "path", v->path);
    v->answered = clock_now();
    v->told = pit_value_get(pit_error_dossier(err), "python") != NULL;
    snprintf(v->text, sizeof v->text, "%s", pit_error_message(err) != NULL ? pit_error_message(err) : pit_strerror(v->rc));
    pit_error_free(err);
    return NULL;
}

/* The pid of the pool's only worker, 0 when there is none. */
static pid_t only_worker(pit *p, int pool)
{
    pit_worker_list *l = NULL;
    pid_t pid = 0;
    if (pit_await_all_ready(p, host_pool_name(pool), 3 * PATIENCE_MS, NULL) == 0 &&
        pit_list_workers(p, host_pool_name(pool), &l, NULL) == 0 && pit_worker_list_len(l) == 1)
        pid = pit_worker_list_at(l, 0)->pid;
    pit_worker_list_free(l);
    return pid;
}

static bool await_started(const _Atomic uint8_t *started)
{
    for (int i = 0; i < PATIENCE_MS * 10; i++) {
        if (atomic_load(started) != 0)
            return true;
        nap_us(100);
    }
    return false;
}

static int crash_once(struct bench *b, struct victim *v, _Atomic uint8_t *started, struct samples *pidfds, struct result *ret)
{
    pthread_t thread;
    struct watcher w;
    host_pool_stop(b, v->pool);
    v->p = host_pool(b, v->pool, ret);
    if (v->p == NULL)
        return ret->status;
    pid_t pid = only_worker(v->p, v->pool);
    if (pid <= 0)
        return result_fail(ret, "no worker came up to be killed");
    atomic_store(started, 0);
    if (watcher_start(&w, pid) != 0)
        return result_fail(ret, "the worker cannot be watched");
    bool calls = pthread_create(&thread, NULL, victim_main, v) == 0, ran = calls && await_started(started);
    nap_us(1000); /* the caller sleeps by now */
    uint64_t start = clock_now();
    kill(pid, v->sig);
    if (calls)
        pthread_join(thread, NULL);
    watcher_finish(&w);
    if (!ran || v->rc != (v->again ? 0 : PIT_E_WORKER_CRASH))
        return result_fail(ret, "the killed call ended with %s: %s", pit_error_code_name(v->rc), v->text);
    if (v->told != (v->pool == POOL_DOSSIER))
        return result_fail(ret, "the error of a %s has %s stacks", v->sig == SIGKILL ? "kill" : "crash",
                           v->told ? "the" : "no");
    samples_add(&b->samples, v->answered - start);
    samples_add(pidfds, w.woken - start);
    return BENCH_OK;
}

static int kill_them(struct bench *b, _Atomic uint8_t *started, struct victim *v, struct deaths *d)
{
    uint32_t ns[KILLS];
    struct samples pidfds = {.ns = ns, .cap = KILLS};
    int times = b->o.quick ? QUICK_KILLS : KILLS, status = BENCH_OK;
    place_thread(b, PLACE_FREE);
    b->samples.n = 0;
    for (int i = 0; i < times && status == BENCH_OK; i++)
        status = crash_once(b, v, started, &pidfds, &d->result[0]);
    if (status != BENCH_OK) {
        d->result[1] = d->result[0];
        return status;
    }
    samples_reduce(&b->samples, b->clock_ns, &d->result[0]);
    samples_reduce(&pidfds, b->clock_ns, &d->result[1]);
    (void)only_worker(v->p, v->pool); /* the replacement's start does not belong to the next series */
    return BENCH_OK;
}

static void kill_a_round(struct bench *b, struct deaths *d, int pool, int sig)
{
    int fd = -1;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct victim v = {.pool = pool, .sig = sig, .again = pool == POOL_RETRY};
    *d = (struct deaths){0};
    _Atomic uint8_t *started = memory_share(page, &fd);
    if (started == NULL) {
        result_fail(&d->result[0], "no shared page");
        d->result[1] = d->result[0];
        return;
    }
    snprintf(v.path, sizeof v.path, "/proc/%d/fd/%d", (int)getpid(), fd);
    kill_them(b, started, &v, d);
    munmap(started, page);
    close(fd);
}

/* series: 0 the error, 1 the pidfd. The first of the two in a round kills for both. */
int run_crash(struct bench *b, int series, struct result *ret)
{
    struct deaths *d = &b->deaths;
    if (d->taken[series] || !d->taken[1 - series])
        kill_a_round(b, d, POOL_CRASH, SIGKILL);
    d->taken[series] = true;
    if (d->taken[1 - series])
        d->taken[0] = d->taken[1] = false;
    *ret = d->result[series];
    return ret->status;
}

int run_retry(struct bench *b, int arg, struct result *ret)
{
    struct deaths d;
    (void)arg;
    kill_a_round(b, &d, POOL_RETRY, SIGKILL);
    *ret = d.result[0];
    return ret->status;
}

int run_dossier(struct bench *b, int wanted, struct result *ret)
{
    struct deaths d;
    kill_a_round(b, &d, wanted ? POOL_DOSSIER : POOL_NO_DOSSIER, SIGSEGV);
    *ret = d.result[0];
    return ret->status;
}
