/* crash.error: from kill -9 of the worker that runs a call to the error in the hand of the thread that made the call.
 *
 * Each crash meets a pool that has just been started: a worker that dies again and again is replaced more and more slowly, by design. The
 * function in the worker says through a shared page that it runs, so that the kill always meets a started call. */
#include "host.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

struct victim {
    pit *p;
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
    o.pool = host_pool_name(POOL_CRASH);
    v->rc = pit_callf(v->p, "hold", &o, NULL, &err, "{s:s}", "path", v->path);
    v->answered = clock_now();
    snprintf(v->text, sizeof v->text, "%s", pit_error_message(err) != NULL ? pit_error_message(err) : pit_strerror(v->rc));
    pit_error_free(err);
    return NULL;
}

/* The pid of the pool's only worker, 0 when there is none. */
static pid_t only_worker(pit *p)
{
    pit_worker_list *l = NULL;
    pid_t pid = 0;
    if (pit_await_all_ready(p, host_pool_name(POOL_CRASH), 3 * PATIENCE_MS, NULL) == 0 &&
        pit_list_workers(p, host_pool_name(POOL_CRASH), &l, NULL) == 0 && pit_worker_list_len(l) == 1)
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

static int crash_once(struct bench *b, struct victim *v, _Atomic uint8_t *started, struct result *ret)
{
    pthread_t thread;
    host_pool_stop(b, POOL_CRASH);
    v->p = host_pool(b, POOL_CRASH, ret);
    if (v->p == NULL)
        return ret->status;
    pid_t pid = only_worker(v->p);
    if (pid <= 0)
        return result_fail(ret, "no worker came up to be killed");
    atomic_store(started, 0);
    if (pthread_create(&thread, NULL, victim_main, v) != 0)
        return result_fail(ret, "no thread");
    bool ran = await_started(started);
    nap_us(1000); /* the caller sleeps by now */
    uint64_t start = clock_now();
    kill(pid, SIGKILL);
    pthread_join(thread, NULL);
    if (!ran || v->rc != PIT_E_WORKER_CRASH)
        return result_fail(ret, "the killed call ended with %s: %s", pit_error_code_name(v->rc), v->text);
    samples_add(&b->samples, v->answered - start);
    return BENCH_OK;
}

int run_crash(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    int times = b->o.quick ? 3 : 10, fd = -1;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct victim v = {0};
    _Atomic uint8_t *started = memory_share(page, &fd);
    if (started == NULL)
        return result_fail(ret, "no shared page");
    snprintf(v.path, sizeof v.path, "/proc/%d/fd/%d", (int)getpid(), fd);
    place_thread(b, PLACE_FREE);
    b->samples.n = 0;
    for (int i = 0; i < times && ret->status == BENCH_OK; i++)
        crash_once(b, &v, started, ret);
    munmap(started, page);
    close(fd);
    if (ret->status != BENCH_OK)
        return ret->status;
    samples_reduce(&b->samples, b->clock_ns, ret);
    (void)only_worker(v.p); /* the replacement's start does not belong to the next series */
    return BENCH_OK;
}
