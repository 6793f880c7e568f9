/* stack.live: pit_worker_stack of a worker whose call runs a loop of Python, sleeps in C without the interpreter, or is stopped by a signal.
 *
 * The first look makes what later ones use; the median does not have it. The worker is killed in the end: its call never returns. */
#include "host.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000, LOOKS = 40, QUICK_LOOKS = 5 };

/* Where an answer came too late, on a machine under load, there are no stacks; *told counts those that are as they shall be. */
static int look_once(struct bench *b, pit *p, const char *id, bool stopped, int *told, struct result *ret)
{
    pit_value *map = NULL;
    pit_error *err = NULL;
    uint64_t start = clock_now();
    int rc = pit_worker_stack(p, NULL, id, &map, &err);
    samples_add(&b->samples, clock_now() - start);
    *told += rc == 0 && (pit_value_get(map, "python") != NULL) != stopped;
    if (rc != 0)
        result_fail(ret, "a look: %s", pit_error_message(err) != NULL ? pit_error_message(err) : pit_strerror(rc));
    pit_value_free(map);
    pit_error_free(err);
    return rc != 0 ? ret->status : BENCH_OK;
}

static void look_many(struct bench *b, pit *p, const pit_worker_info *w, bool stopped, struct result *ret)
{
    int times = b->o.quick ? QUICK_LOOKS : LOOKS, status = BENCH_OK, told = 0;
    if (stopped)
        kill(w->pid, SIGSTOP);
    nap_us(20000); /* it stands still by now; or is deep in its call */
    b->samples.n = 0;
    for (int i = 0; i < times && status == BENCH_OK; i++)
        status = look_once(b, p, w->id, stopped, &told, ret);
    if (stopped)
        kill(w->pid, SIGCONT);
    if (status == BENCH_OK && told == 0)
        result_fail(ret, "no look at a worker that is %s has %s stacks", stopped ? "stopped" : "busy",
                    stopped ? "left out the" : "the");
    else if (status == BENCH_OK)
        samples_reduce(&b->samples, b->clock_ns, ret);
}

/* With the call under way. */
static void look_at_call(struct bench *b, pit *p, const _Atomic uint8_t *started, bool stopped, struct result *ret)
{
    pit_worker_list *l = NULL;
    for (int i = 0; i < PATIENCE_MS * 10 && atomic_load(started) == 0; i++)
        nap_us(100);
    if (atomic_load(started) == 0 || pit_list_workers(p, host_pool_name(POOL_CRASH), &l, NULL) != 0 ||
        pit_worker_list_len(l) != 1) {
        result_fail(ret, "no call runs that could be looked at");
    } else {
        look_many(b, p, pit_worker_list_at(l, 0), stopped, ret);
        pit_kill(p, pit_worker_list_at(l, 0)->id, 0, NULL);
    }
    pit_worker_list_free(l);
}

int run_look(struct bench *b, int way, struct result *ret)
{
    int fd = -1;
    char path[64];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    pit_future *call = NULL;
    host_pool_stop(b, POOL_CRASH);
    pit *p = host_pool(b, POOL_CRASH, ret);
    _Atomic uint8_t *started = p != NULL ? memory_share(page, &fd) : NULL;
    if (started == NULL)
        return p != NULL ? result_fail(ret, "no shared page") : ret->status;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), fd);
    place_thread(b, PLACE_FREE);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = host_pool_name(POOL_CRASH);
    pit_value *args = pit_pack("{s:s}", "path", path);
    if (pit_submit(p, way == LOOK_FREE ? "hold" : "spin", args, &o, &call, NULL) != 0)
        result_fail(ret, "the call could not be made");
    else
        look_at_call(b, p, started, way == LOOK_STOPPED, ret);
    if (call != NULL)
        pit_future_wait(call, PATIENCE_MS);
    pit_future_free(call);
    pit_value_free(args);
    munmap(started, page);
    close(fd);
    return ret->status;
}
