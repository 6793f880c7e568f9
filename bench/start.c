/* start, start.pool32, close, memory.idle, crash.next_good: what a worker costs before its first call, forked from a template that is there already and
 * by exec; and after its predecessor was killed.
 *
 * A start is a pool of one worker: from the request for it to the answer of its first call. The template belongs to a pool of its own, with the
 * same adapter and environment, so it is warm; a pause before each start, and before each kill, gives it the time to fork
 * the next worker ahead. The host of these pools is opened for them alone and closed with the benchmark. */
#include "host.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { FORKS = 20, EXECS = 3, QUICK = 2, POOL = 32, PATIENCE_MS = 120000, PAUSE_US = 20000 };

static const struct {
    const char *name, *import;
} kinds[START_KINDS] = {
    [START_SMALL] = {"small", "BENCH_IMPORT="},
    [START_NUMPY] = {"numpy", "BENCH_IMPORT=numpy"},
    [START_TORCH] = {"torch", "BENCH_IMPORT=torch"},
};

struct starts {
    pit *p;
    bool warm[START_KINDS], missing[START_KINDS];
};

static int start_pool(struct bench *b, int kind, const char *name, int workers, int mode, pit_error **reterr)
{
    char adapter[PATH_MAX + 32];
    const char *env[] = {kinds[kind].import, NULL};
    pit_pool_options o = PIT_POOL_OPTIONS_INIT;
    snprintf(adapter, sizeof adapter, "%s/start_worker.py", b->dir);
    o.name = name;
    o.adapter = adapter;
    o.env = env;
    o.workers = workers;
    o.python = b->o.python;
    o.start_mode = mode;
    o.startup_batch_size = workers; /* an exec that waits for nobody */
    o.canary_timeout_ms = o.worker_ready_timeout_ms = PATIENCE_MS;
    return pit_pool_start(b->starts->p, &o, reterr);
}

static int answered(struct bench *b, const char *pool, pit_error **reterr)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = pool;
    return pit_call(b->starts->p, "answer", NULL, &o, NULL, reterr);
}

/* What is not installed here is skipped. */
static int failed(struct bench *b, int kind, struct result *ret, int rc, pit_error *err)
{
    if (strstr(pit_error_string(err), "No module named") == NULL)
        return host_fail(ret, kinds[kind].name, rc, err);
    pit_error_free(err);
    b->starts->missing[kind] = true;
    return result_skip(ret, "%s is not installed", kinds[kind].name);
}

static int prepare(struct bench *b, int kind, struct result *ret)
{
    pit_error *err = NULL;
    char name[32];
    if (b->starts == NULL)
        b->starts = calloc(1, sizeof *b->starts);
    if (b->starts == NULL)
        return result_fail(ret, "no memory");
    if (b->starts->missing[kind])
        return result_skip(ret, "%s is not installed", kinds[kind].name);
    int rc = b->starts->p == NULL ? pit_open(NULL, &b->starts->p, &err) : 0;
    if (rc != 0)
        return host_fail(ret, "pit_open", rc, err);
    if (b->starts->warm[kind])
        return BENCH_OK;
    snprintf(name, sizeof name, "warm-%s", kinds[kind].name);
    rc = start_pool(b, kind, name, 1, PIT_START_ZYGOTE, &err);
    b->starts->warm[kind] = rc == 0;
    return rc == 0 ? BENCH_OK : failed(b, kind, ret, rc, err);
}

static int times(const struct bench *b, int mode)
{
    int n = mode == PIT_START_EXEC ? EXECS : FORKS;
    return b->o.quick && n > QUICK ? QUICK : n;
}

/* One start; the pool is gone afterwards. */
static int one_start(struct bench *b, int kind, int workers, int mode, struct result *ret)
{
    pit_error *err = NULL;
    nap_us(PAUSE_US);
    uint64_t begin = clock_now();
    int rc = start_pool(b, kind, "started", workers, mode, &err);
    if (rc == 0 && workers > 1)
        rc = pit_await_all_ready(b->starts->p, "started", PATIENCE_MS, &err);
    if (rc == 0)
        rc = answered(b, "started", &err);
    uint64_t took = clock_now() - begin;
    if (rc != 0)
        return failed(b, kind, ret, rc, err);
    samples_add(&b->samples, took);
    pit_pool_stop(b->starts->p, "started", PIT_NOW, NULL);
    return BENCH_OK;
}

static int several(struct bench *b, int kind, int workers, int mode, int n, struct result *ret)
{
    int status = prepare(b, kind, ret);
    place_thread(b, PLACE_FREE);
    b->samples.n = 0;
    for (int i = 0; i < n && status == BENCH_OK; i++)
        status = one_start(b, kind, workers, mode, ret);
    if (status == BENCH_OK)
        samples_reduce(&b->samples, b->clock_ns, ret);
    return status;
}

int run_start(struct bench *b, int kind, struct result *ret)
{
    return several(b, kind, 1, PIT_START_ZYGOTE, times(b, PIT_START_ZYGOTE), ret);
}

int run_start_exec(struct bench *b, int kind, struct result *ret)
{
    return several(b, kind, 1, PIT_START_EXEC, times(b, PIT_START_EXEC), ret);
}

int run_start_pool(struct bench *b, int mode, struct result *ret)
{
    return several(b, START_NUMPY, POOL, mode, 1, ret);
}

/* ---- the end ---- */

static int one_close(struct bench *b, int kind, struct result *ret)
{
    pit_error *err = NULL;
    int rc = start_pool(b, kind, "closed", POOL, PIT_START_ZYGOTE, &err);
    if (rc == 0)
        rc = pit_await_all_ready(b->starts->p, "closed", PATIENCE_MS, &err);
    if (rc != 0)
        return failed(b, kind, ret, rc, err);
    nap_us(PAUSE_US);
    uint64_t begin = clock_now();
    rc = pit_pool_stop(b->starts->p, "closed", PIT_NOW, &err);
    samples_add(&b->samples, clock_now() - begin);
    return rc == 0 ? BENCH_OK : host_fail(ret, "pit_pool_stop", rc, err);
}

int run_close_pool(struct bench *b, int kind, struct result *ret)
{
    int status = prepare(b, kind, ret);
    place_thread(b, PLACE_FREE);
    b->samples.n = 0;
    for (int i = 0; i < times(b, PIT_START_EXEC) && status == BENCH_OK; i++)
        status = one_close(b, kind, ret);
    if (status == BENCH_OK)
        samples_reduce(&b->samples, b->clock_ns, ret);
    return status;
}

/* ---- memory ---- */

static long private_dirty(pid_t pid)
{
    char path[64], line[128];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "Private_Dirty:", 14) == 0)
            kib = atol(line + 14);
    if (f != NULL)
        fclose(f);
    return kib * 1024;
}

static int weigh(struct bench *b, struct result *ret)
{
    pit_worker_list *l = NULL;
    pit_error *err = NULL;
    int rc = pit_list_workers(b->starts->p, "weighed", &l, &err);
    if (rc != 0)
        return host_fail(ret, "pit_list_workers", rc, err);
    b->samples.n = 0;
    for (size_t i = 0; i < pit_worker_list_len(l); i++) {
        long bytes = private_dirty(pit_worker_list_at(l, i)->pid);
        if (bytes > 0)
            samples_add(&b->samples, (uint64_t)bytes);
    }
    pit_worker_list_free(l);
    if (b->samples.n == 0)
        return result_skip(ret, "the kernel does not tell the memory of processes (smaps_rollup)");
    samples_reduce(&b->samples, 0, ret);
    return BENCH_OK;
}

int run_memory(struct bench *b, int workers_and_mode, struct result *ret)
{
    pit_error *err = NULL;
    int workers = workers_and_mode / START_MODES, mode = workers_and_mode % START_MODES;
    int status = prepare(b, START_NUMPY, ret);
    if (status != BENCH_OK)
        return status;
    int rc = start_pool(b, START_NUMPY, "weighed", workers, mode, &err);
    if (rc == 0)
        rc = pit_await_all_ready(b->starts->p, "weighed", PATIENCE_MS, &err);
    status = rc == 0 ? weigh(b, ret) : failed(b, START_NUMPY, ret, rc, err);
    pit_pool_stop(b->starts->p, "weighed", PIT_NOW, NULL);
    return status;
}

/* ---- after a kill ---- */

static pid_t only_worker(struct bench *b, const char *pool)
{
    pit_worker_list *l = NULL;
    pid_t pid = 0;
    if (pit_list_workers(b->starts->p, pool, &l, NULL) == 0 && pit_worker_list_len(l) == 1)
        pid = pit_worker_list_at(l, 0)->pid;
    pit_worker_list_free(l);
    return pid;
}

static int one_kill(struct bench *b, struct result *ret)
{
    pit_error *err = NULL;
    int rc = start_pool(b, START_SMALL, "killed", 1, 0, &err);
    if (rc == 0)
        rc = answered(b, "killed", &err);
    pid_t pid = rc == 0 ? only_worker(b, "killed") : 0;
    if (pid <= 0)
        return host_fail(ret, "a worker to be killed", rc, err);
    nap_us(PAUSE_US);
    uint64_t begin = clock_now();
    kill(pid, SIGKILL);
    while ((rc = answered(b, "killed", NULL)) != 0 && clock_now() - begin < PATIENCE_MS * UINT64_C(1000000))
        nap_us(20);
    samples_add(&b->samples, clock_now() - begin);
    bool same = only_worker(b, "killed") == pid;
    pit_pool_stop(b->starts->p, "killed", PIT_NOW, NULL);
    return rc == 0 && !same ? BENCH_OK : result_fail(ret, "after the kill: %s", pit_error_code_name(rc));
}

int run_next_good(struct bench *b, int arg, struct result *ret)
{
    int status = prepare(b, START_SMALL, ret), n = times(b, PIT_START_ZYGOTE);
    (void)arg;
    place_thread(b, PLACE_FREE);
    b->samples.n = 0;
    for (int i = 0; i < n && status == BENCH_OK; i++)
        status = one_kill(b, ret);
    if (status == BENCH_OK)
        samples_reduce(&b->samples, b->clock_ns, ret);
    return status;
}

void starts_close(struct bench *b)
{
    if (b->starts != NULL)
        pit_close(b->starts->p);
    free(b->starts);
    b->starts = NULL;
}
