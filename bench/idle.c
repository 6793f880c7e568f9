/* idle: how often do the threads of host, guards and workers wake up while nothing is called.
 *
 * Counted are the voluntary context switches of every thread (/proc/PID/task/TID/status), since a thread must go to sleep once for each time
 * that it woke up. The thread that counts is left out: it belongs to the benchmark. */
#include "host.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_THREADS = 512, MOST_PROCESSES = 128 };

struct census {
    struct {
        pid_t tid;
        long switches;
    } threads[MOST_THREADS];
    int n;
};

static long status_number(const char *path, const char *key)
{
    char line[256];
    long number = -1;
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            number = atol(line + strlen(key));
    if (f != NULL)
        fclose(f);
    return number;
}

static void census_add(struct census *c, pid_t pid)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    if (d == NULL)
        return;
    for (struct dirent *e = readdir(d); e != NULL && c->n < MOST_THREADS; e = readdir(d)) {
        pid_t tid = (pid_t)atoi(e->d_name);
        if (tid <= 0 || tid == (pid_t)syscall(SYS_gettid))
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%d/status", (int)pid, (int)tid);
        long switches = status_number(path, "voluntary_ctxt_switches:");
        if (switches < 0)
            continue;
        c->threads[c->n].tid = tid;
        c->threads[c->n++].switches = switches;
    }
    closedir(d);
}

/* This process, the workers, and their parents (the guards), each once. */
static int idle_processes(struct bench *b, pid_t *pids)
{
    int n = 1;
    pids[0] = getpid();
    n += host_workers(b, pids + 1, MOST_PROCESSES / 2);
    for (int i = 1, workers = n; i < workers; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/status", (int)pids[i]);
        pid_t parent = (pid_t)status_number(path, "PPid:");
        bool known = parent <= 1;
        for (int k = 0; k < n; k++)
            known = known || pids[k] == parent;
        if (!known)
            pids[n++] = parent;
    }
    return n;
}

static long census_difference(const struct census *before, const struct census *after)
{
    long sum = 0;
    for (int i = 0; i < after->n; i++) {
        sum += after->threads[i].switches;
        for (int k = 0; k < before->n; k++)
            if (before->threads[k].tid == after->threads[i].tid)
                sum -= before->threads[k].switches;
    }
    return sum;
}

/* A template is made behind its pool's first workers, once; idleness begins when that is done. */
static void await_template(pit *p, const char *pool)
{
    enum { STEP_US = 50 * 1000, MAY_BEGIN = 20, MOST = 400 };
    for (int step = 0; step < MOST; step++) {
        pit_value *facts = NULL;
        const char *state =
            pit_pool_zygote(p, pool, &facts, NULL) == 0 ? pit_value_str_or(pit_value_get(facts, "state"), "off") : "off";
        bool more = strcmp(state, "starting") == 0 || (strcmp(state, "idle") == 0 && step < MAY_BEGIN);
        pit_value_free(facts);
        if (!more)
            break;
        nap_us(STEP_US);
    }
    nap_us(STEP_US); /* and forks its first worker ahead */
}

int run_idle(struct bench *b, int arg, struct result *ret)
{
    static struct census before, after; /* large */
    pid_t pids[MOST_PROCESSES + 1];
    (void)arg;
    pit *p = host_default(b, ret);
    if (p == NULL)
        return ret->status;
    await_template(p, NULL);
    for (int pool = 0; pool < POOL_COUNT; pool++) {
        p = host_pool(b, pool, ret);
        if (p == NULL)
            return ret->status;
        await_template(p, host_pool_name(pool));
    }
    int n = idle_processes(b, pids);
    before.n = after.n = 0;
    for (int i = 0; i < n; i++)
        census_add(&before, pids[i]);
    uint64_t start = clock_now();
    nap_us(b->o.quick ? 1000000 : 10000000);
    for (int i = 0; i < n; i++)
        census_add(&after, pids[i]);
    ret->seconds = (double)(clock_now() - start) / 1e9;
    ret->total = (double)census_difference(&before, &after);
    ret->n = (size_t)after.n;
    return BENCH_OK;
}
