/* For tests over the whole library: a pit on C workers, and what must be as it was before once it is closed. */
#ifndef TESTS_KIT_H
#define TESTS_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/api.h"
#include "base/alloc.h"
#include "children.h"
#include "integration/c/stage.h"

#define KIT_WORKER TEST_BUILD_DIR "/tests/integration/c/worker_c"
#define KIT_LIMIT_MS 60000 /* a wait that is longer has failed, also on a busy machine and under a sanitizer */

static struct stage *stage;
static char kit_stage_path[64], kit_mark[96];
static atomic_long kit_blocks, kit_allocs, kit_fail_at;

/* ---- memory ---- */

static inline bool kit_alloc_fails(void)
{
    long at = atomic_load(&kit_fail_at);
    return at != 0 && atomic_fetch_add(&kit_allocs, 1) + 1 == at;
}

static void *kit_alloc(size_t n, void *user)
{
    (void)user;
    void *p = kit_alloc_fails() ? NULL : malloc(n);
    atomic_fetch_add(&kit_blocks, p != NULL);
    return p;
}

static void *kit_realloc(void *block, size_t n, void *user)
{
    (void)user;
    void *p = kit_alloc_fails() ? NULL : realloc(block, n);
    atomic_fetch_add(&kit_blocks, p != NULL && block == NULL);
    return p;
}

static void kit_free(void *block, void *user)
{
    (void)user;
    atomic_fetch_sub(&kit_blocks, block != NULL);
    free(block);
}

/* ---- the stage ---- */

static inline void kit_remove_stage(void)
{
    if (kit_stage_path[0] != '\0')
        unlink(kit_stage_path);
    kit_stage_path[0] = '\0';
}

/* Once, before anything else of the library is used. A test's name as the program's argument runs that one alone. */
static inline void kit_init(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    static const pit_allocator counting = {sizeof counting, kit_alloc, kit_realloc, kit_free, NULL};
    pit_set_allocator(&counting);
    snprintf(kit_stage_path, sizeof kit_stage_path, "/tmp/snakepit-stage-XXXXXX");
    int fd = mkstemp(kit_stage_path);
    if (fd < 0 || fchmod(fd, 0666) != 0 || ftruncate(fd, sizeof *stage) != 0)
        exit(2);
    stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (stage == MAP_FAILED)
        exit(2);
    snprintf(kit_mark, sizeof kit_mark, "KIT_MARK=%s", kit_stage_path);
    atexit(kit_remove_stage);
}

static inline void kit_open_gate(void)
{
    atomic_store(&stage->go, 1);
    os_linux.futex_wake((uint32_t *)(void *)&stage->go, INT_MAX);
}

static inline void kit_reset_stage(void)
{
    memset((void *)stage, 0, sizeof *stage);
}

/* ---- waiting ---- */

static inline uint64_t kit_limit(void)
{
    return pit_now_ns() + UINT64_C(1000000) * KIT_LIMIT_MS;
}

/* Looks until the condition is true; false when that takes too long. */
#define KIT_COMES_TRUE(condition)                                                                                              \
    ({                                                                                                                         \
        uint64_t kit_until = kit_limit();                                                                                      \
        bool kit_true;                                                                                                         \
        while (!(kit_true = (condition)) && pit_now_ns() < kit_until)                                                          \
            poll(NULL, 0, 1); /* allow-sleep: between two looks */                                                             \
        kit_true;                                                                                                              \
    })

#define KIT_AWAIT(condition)                                                                                                   \
    do {                                                                                                                       \
        if (!KIT_COMES_TRUE(condition))                                                                                        \
            fail_msg("%s:%d: never came true: %s", __FILE__, __LINE__, #condition);                                            \
    } while (0)

/* ---- a pit ---- */

struct kit {
    int workers;         /* 1 */
    const char *channel; /* "ring" */
    const char *marks;   /* NULL, or "--no-marks" */
    int drive, require_ready;
    int64_t drain_ms;      /* of the host's end; 0: the usual time */
    pit_log_fn log;        /* NULL; KIT_LOG in the environment: to stderr */
    pit_pool_options pool; /* what else is wanted of it */
};

#define KIT_INIT                                                                                                               \
    {                                                                                                                          \
        .workers = 1, .channel = "ring", .pool = PIT_POOL_OPTIONS_INIT                                                         \
    }

static inline void kit_pool(const struct kit *k, const char *name, const char *command[5], const char *env[2],
                            pit_pool_options *ret)
{
    const char *c[5] = {KIT_WORKER, kit_stage_path, k->channel, k->marks, NULL};
    memcpy(command, c, sizeof c);
    env[0] = kit_mark;
    env[1] = NULL;
    *ret = k->pool;
    ret->name = name;
    ret->command = command;
    ret->env = env;
    ret->workers = k->workers;
}

static inline void kit_log(int level, const char *text, void *user)
{
    (void)user;
    fprintf(stderr, "log %d: %s\n", level, text);
}

static inline int kit_open_os(const struct os_ops *os, const struct kit *k, pit **ret, pit_error **reterr)
{
    const char *command[5], *env[2];
    pit_pool_options pool;
    kit_pool(k, "c", command, env, &pool);
    const pit_pool_options *pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.pools = pools;
    o.n_pools = 1;
    o.drive = k->drive;
    o.require_ready = k->require_ready;
    o.log = k->log != NULL ? k->log : getenv("KIT_LOG") != NULL ? kit_log : NULL;
    o.log_level = PIT_LOG_DEBUG;
    o.drain_timeout_ms = k->drain_ms;
    return api_open_os(os, &o, ret, reterr);
}

static inline pit *kit_open(const struct kit *k)
{
    pit *p = NULL;
    pit_error *e = NULL;
    if (kit_open_os(&os_linux, k, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    if (k->require_ready != PIT_OFF)
        assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    return p;
}

static inline pit_stats kit_stats(pit *p)
{
    pit_stats s = PIT_STATS_INIT;
    assert_int_equal(pit_get_stats(p, NULL, &s), 0);
    return s;
}

/* The pid of the n-th worker that is alive; 0: there is none. */
static inline pid_t kit_worker(pit *p, size_t n)
{
    pit_worker_list *l = NULL;
    pid_t pid = 0;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++) {
        const pit_worker_info *w = pit_worker_list_at(l, i);
        if ((w->state == PIT_WORKER_READY || w->state == PIT_WORKER_BUSY) && n-- == 0)
            pid = w->pid;
    }
    pit_worker_list_free(l);
    return pid;
}

/* The one child of this process; 0 while there is none. */
static inline pid_t kit_guard(void)
{
    pid_t found = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct os_proc info;
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (pid > 0 && os_linux.proc_info(pid, &info) == 0 && info.ppid == getpid() && info.state != 'Z')
            found = pid;
    }
    closedir(d);
    return found;
}

static inline int kit_call(pit *p, const char *command, int64_t n, int64_t timeout_ms, int64_t *ret)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_value *v = NULL;
    o.timeout_ms = timeout_ms;
    int rc = pit_callf(p, command, &o, &v, NULL, "[I]", n);
    if (rc == 0 && ret != NULL)
        pit_value_get_int(v, ret);
    pit_value_free(v);
    return rc;
}

static inline pit_future *kit_submit(pit *p, const char *command, int64_t n, const pit_call_options *o)
{
    pit_future *f = NULL;
    pit_error *e = NULL;
    pit_value *v = pit_pack("[I]", n);
    if (pit_submit(p, command, v, o, &f, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    pit_value_free(v);
    return f;
}

/* Its outcome; frees it. */
static inline int kit_outcome(pit_future *f, int64_t *ret)
{
    pit_value *v = NULL;
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    int rc = pit_future_result(f, &v, NULL);
    if (ret != NULL)
        pit_value_get_int(v, ret);
    pit_value_free(v);
    pit_future_free(f);
    return rc;
}

/* ---- what is left ---- */

static inline int kit_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n - 1;
}

struct kit_before {
    long blocks;
    int fds;
};

static inline struct kit_before kit_before(void)
{
    return (struct kit_before){atomic_load(&kit_blocks), kit_fds()};
}

/* Nothing of a closed pit is left: no process, no descriptor, no block. */
static inline void kit_clean(struct kit_before b, const char *what)
{
    int left = os_linux.kill_by_env(kit_mark);
    if (left != 0)
        fail_msg("%s: %d processes were left", what, left);
    if (!no_child_is_left())
        fail_msg("%s: a child was left", what);
    if (kit_fds() != b.fds)
        fail_msg("%s: %d descriptors instead of %d", what, kit_fds(), b.fds);
    if (atomic_load(&kit_blocks) != b.blocks)
        fail_msg("%s: %ld blocks were leaked", what, atomic_load(&kit_blocks) - b.blocks);
}

static inline bool kit_typed(int rc)
{
    return rc < 0 && strcmp(pit_error_code_name(rc), "unknown") != 0;
}

#endif
