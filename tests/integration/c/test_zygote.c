/* Workers that are forked from a template, with real Python: what the pool does when the template is there, is not safe, is lost, does not
 * answer. */
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/pass_rights.h"
#include "guard/guard_msg.h"
#include "integration/c/kit.h"
#include "skip.h"

#define ADAPTER TEST_SOURCE_DIR "/tests/integration/c/forked.py"

struct seen {
    atomic_uint ready, unsafe, lost, forked, execed, crashed;
    char reason[64], module[64], class[64];
};

static struct seen seen;

static int hear(const pit_event *ev, void *user)
{
    struct seen *s = user;
    const char *name = pit_event_name(ev), *mode = pit_event_text(ev, "mode");
    atomic_fetch_add(&s->ready, strcmp(name, "snakepit.zygote.ready") == 0);
    atomic_fetch_add(&s->lost, strcmp(name, "snakepit.zygote.lost") == 0);
    if (strcmp(name, "snakepit.zygote.unsafe") == 0) {
        snprintf(s->reason, sizeof s->reason, "%s", pit_event_text(ev, "reason"));
        snprintf(s->module, sizeof s->module, "%s", pit_event_text(ev, "module"));
        atomic_fetch_add(&s->unsafe, 1);
    }
    if (strcmp(name, "snakepit.worker.crash") == 0) {
        snprintf(s->class, sizeof s->class, "%s", pit_event_text(ev, "exit_class"));
        atomic_fetch_add(&s->crashed, 1);
    }
    if (strcmp(name, "snakepit.pool.worker.spawned") == 0) {
        atomic_fetch_add(&s->forked, strcmp(mode, "zygote") == 0);
        atomic_fetch_add(&s->execed, strcmp(mode, "exec") == 0);
    }
    return 0;
}

static pit *open_host_os(const struct os_ops *os)
{
    pit *p = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python = TEST_PYTHON;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.log = getenv("KIT_LOG") != NULL ? kit_log : NULL;
    o.log_level = PIT_LOG_DEBUG;
    o.require_ready = PIT_OFF;
    memset(&seen, 0, sizeof seen);
    assert_int_equal(api_open_os(os, &o, &p, NULL), 0);
    assert_int_equal(pit_telemetry_attach(p, "*", hear, &seen, NULL, NULL), 0);
    return p;
}

static pit *open_host(void)
{
    return open_host_os(&os_linux);
}

static int64_t ready_timeout_ms; /* 0: the default */

/* A pool of the adapter, whose import does what `import` says. */
static int start_pool(pit *p, const char *name, int workers, int start_mode, const char *import, pit_error **reterr)
{
    char mode[64];
    snprintf(mode, sizeof mode, "FORKED_MODE=%s", import);
    const char *env[] = {kit_mark, mode, "OMP_NUM_THREADS=3", NULL};
    pit_pool_options o = PIT_POOL_OPTIONS_INIT;
    o.name = name;
    o.adapter = ADAPTER;
    o.env = env;
    o.workers = workers;
    o.start_mode = start_mode;
    o.worker_ready_timeout_ms = ready_timeout_ms;
    o.canary_timeout_ms = KIT_LIMIT_MS; /* on a busy machine, too */
    o.restart_backoff = PIT_OFF;
    return pit_pool_start(p, &o, reterr);
}

static void must_start(pit *p, const char *name, int workers, int start_mode, const char *import)
{
    pit_error *e = NULL;
    if (start_pool(p, name, workers, start_mode, import, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_await_all_ready(p, name, KIT_LIMIT_MS, NULL), 0);
}

/* Of what pit_pool_zygote() tells: a text into ret (64 bytes), a number as the result. */
static int64_t zygote(pit *p, const char *pool, const char *key, char *ret)
{
    pit_value *v = NULL;
    int64_t n = 0;
    assert_int_equal(pit_pool_zygote(p, pool, &v, NULL), 0);
    const pit_value *found = pit_value_get(v, key);
    if (ret != NULL)
        snprintf(ret, 64, "%s", pit_value_str_or(found, ""));
    else
        pit_value_get_int(found, &n);
    pit_value_free(v);
    return n;
}

static bool is_state(pit *p, const char *pool, const char *state)
{
    char text[64];
    zygote(p, pool, "state", text);
    return strcmp(text, state) == 0;
}

/* pid and start mode of the ready worker of a slot; 0: there is none. */
static pid_t worker_of(pit *p, const char *pool, int slot, int *ret_mode)
{
    pit_worker_list *l = NULL;
    pid_t pid = 0;
    assert_int_equal(pit_list_workers(p, pool, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++) {
        const pit_worker_info *w = pit_worker_list_at(l, i);
        if (w->slot != slot || (w->state != PIT_WORKER_READY && w->state != PIT_WORKER_BUSY))
            continue;
        pid = w->pid;
        *ret_mode = w->start_mode;
    }
    pit_worker_list_free(l);
    return pid;
}

static int64_t call_int(pit *p, const char *pool, const char *command)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_value *v = NULL;
    pit_error *e = NULL;
    int64_t n = 0;
    o.pool = pool;
    if (pit_call(p, command, NULL, &o, &v, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    pit_value_get_int(v, &n);
    pit_value_free(v);
    return n;
}

/* Kills the worker of slot 0 and awaits the next one; how that was started. */
static int replace_first(pit *p, const char *pool)
{
    int mode = 0;
    pid_t old = worker_of(p, pool, 0, &mode), now = 0;
    assert_true(old > 0);
    assert_int_equal(kill(old, SIGKILL), 0);
    KIT_AWAIT((now = worker_of(p, pool, 0, &mode)) != 0 && now != old);
    return mode;
}

static void settle(pit *p, struct kit_before before, const char *what)
{
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
}

static void test_forked(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    must_start(p, "a", 3, PIT_START_ZYGOTE, "well");
    assert_true(is_state(p, "a", "ready"));
    int64_t template = zygote(p, "a", "pid", NULL);
    for (int i = 0; i < 3; i++) {
        int mode = 0;
        assert_true(worker_of(p, "a", i, &mode) > 0);
        assert_int_equal(mode, PIT_START_ZYGOTE);
    }
    assert_int_equal(call_int(p, "a", "imported_by"), template);
    assert_int_not_equal(call_int(p, "a", "pid"), template);
    pit_value *v = NULL;
    assert_int_equal(pit_call(p, "mode", NULL, NULL, &v, NULL), 0);
    assert_string_equal(pit_value_str(v), "3"); /* the pool's environment, not the template's */
    pit_value_free(v);
    assert_int_equal(replace_first(p, "a"), PIT_START_ZYGOTE);
    assert_int_equal(zygote(p, "a", "forks", NULL), 4);
    assert_int_equal(zygote(p, "a", "threads", NULL), 1);
    assert_int_equal(seen.ready, 1);
    assert_int_equal(seen.forked, 4);
    assert_int_equal(seen.execed, 0);
    settle(p, before, "forked");
}

/* The first by exec, at once; the others by fork, when the template is ready. */
static void test_first_by_exec(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    must_start(p, "a", 4, 0, "well");
    assert_int_equal(seen.execed, 1);
    assert_int_equal(seen.forked, 3);
    settle(p, before, "first by exec");
}

/* A small pool does not wait; it has a template later. */
static void test_small_pool(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    must_start(p, "a", 1, 0, "well");
    assert_int_equal(seen.execed, 1);
    KIT_AWAIT(is_state(p, "a", "ready"));
    assert_int_equal(replace_first(p, "a"), PIT_START_ZYGOTE);
    settle(p, before, "small pool");
}

static void test_two_pools_share_one(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    must_start(p, "a", 1, PIT_START_ZYGOTE, "well");
    must_start(p, "b", 2, 0, "well");
    assert_int_equal(zygote(p, "a", "pid", NULL), zygote(p, "b", "pid", NULL));
    assert_int_equal(seen.forked, 3);
    assert_int_equal(seen.ready, 1);
    assert_int_equal(pit_pool_stop(p, "a", PIT_NOW, NULL), 0);
    assert_true(is_state(p, "b", "ready"));
    assert_int_equal(replace_first(p, "b"), PIT_START_ZYGOTE);
    must_start(p, "c", 1, PIT_START_ZYGOTE, "otherwise"); /* another environment, another template */
    assert_int_not_equal(zygote(p, "c", "pid", NULL), zygote(p, "b", "pid", NULL));
    settle(p, before, "two pools");
}

static void test_by_exec_only(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    must_start(p, "a", 3, PIT_START_EXEC, "well");
    assert_true(is_state(p, "a", "off"));
    assert_int_equal(seen.forked, 0);
    settle(p, before, "exec only");
}

static atomic_long oom_kills;

static int no_group(char ret[])
{
    (void)ret;
    return -ENOENT;
}

static int64_t count_oom_kills(int counter)
{
    (void)counter;
    return atomic_load(&oom_kills);
}

/* What the kernel has counted for a template is that one's, and no worker's that is ended later by somebody else. */
static void test_template_ended_for_want_of_memory(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct os_ops os = os_linux;
    os.oom_kills = count_oom_kills;
    os.cgroup_above = no_group;
    pit *p = open_host_os(&os);
    must_start(p, "a", 1, PIT_START_ZYGOTE, "well");
    int64_t old = zygote(p, "a", "pid", NULL);
    atomic_fetch_add(&oom_kills, 1);
    assert_int_equal(kill((pid_t)old, SIGKILL), 0);
    KIT_AWAIT(seen.lost == 1);
    replace_first(p, "a");
    KIT_AWAIT(seen.crashed == 1);
    assert_string_equal(seen.class, "killed");
    settle(p, before, "template ended for want of memory");
}

/* Workers live on; a new template is made; starts meanwhile are execs. */
static void test_template_killed(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    int mode;
    must_start(p, "a", 3, 0, "well");
    for (int round = 0; round < 3; round++) {
        KIT_AWAIT(is_state(p, "a", "ready"));
        int64_t old = zygote(p, "a", "pid", NULL);
        pid_t kept = worker_of(p, "a", 1, &mode);
        assert_int_equal(kill((pid_t)old, SIGKILL), 0);
        replace_first(p, "a");
        KIT_AWAIT(is_state(p, "a", "ready") && zygote(p, "a", "pid", NULL) != old);
        assert_int_equal(worker_of(p, "a", 1, &mode), kept);
        assert_int_equal(seen.lost, round + 1);
    }
    assert_int_equal(replace_first(p, "a"), PIT_START_ZYGOTE);
    assert_int_equal(kit_stats(p).unforked, 0);
    settle(p, before, "template killed");
}

/* Stopped while a worker is asked of it: the guard gives it up, and the worker comes by exec. */
static void test_template_stopped(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    must_start(p, "a", 1, PIT_START_ZYGOTE, "well");
    must_start(p, "b", 3, 0, "well");
    int64_t old = zygote(p, "b", "pid", NULL);
    assert_int_equal(kill((pid_t)old, SIGSTOP), 0);
    assert_int_equal(replace_first(p, "b"), PIT_START_EXEC);
    KIT_AWAIT(is_state(p, "b", "ready") && zygote(p, "b", "pid", NULL) != old);
    /* the one that may only be forked has waited for the new one */
    assert_int_equal(replace_first(p, "a"), PIT_START_ZYGOTE);
    settle(p, before, "template stopped");
}

/* What it says of its refusal cannot be mistaken for the loss of the guard, which every slot would wait for. */
static void test_template_refuses(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    must_start(p, "a", 3, 0, "refuses");
    assert_int_equal(seen.execed, 3);
    assert_int_equal(replace_first(p, "a"), PIT_START_EXEC);
    settle(p, before, "template refuses");
}

/* It takes longer for a fork than a worker may to become ready, and does not rest: it is killed, the worker comes by exec, and neither the guard nor
 * another pool's worker has anything to do with it. */
static void test_template_spins(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    int mode;
    must_start(p, "other", 1, PIT_START_EXEC, "well");
    pid_t other = worker_of(p, "other", 0, &mode), guard = kit_guard();
    ready_timeout_ms = 10000;
    must_start(p, "a", 3, 0, "spins");
    ready_timeout_ms = 0;
    assert_int_equal(seen.forked, 0);
    assert_int_equal(kit_guard(), guard);
    assert_int_equal(worker_of(p, "other", 0, &mode), other);
    KIT_AWAIT(seen.lost > 0);
    settle(p, before, "template spins");
}

/* Descriptors that are sent to the host stay where they are: to close them could hold up the loop. */
static void test_descriptors_refused(void **state)
{
    (void)state;
    int pair[2], no = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    bool refuses = setsockopt(pair[0], SOL_SOCKET, SOCKET_PASS_RIGHTS, &no, sizeof no) == 0;
    close(pair[0]);
    close(pair[1]);
    if (!refuses)
        SKIP_BECAUSE("this kernel has no SO_PASSRIGHTS");
    struct kit_before before = kit_before();
    pit *p = open_host();
    must_start(p, "by_exec", 1, PIT_START_EXEC, "sends");
    must_start(p, "by_fork", 1, PIT_START_ZYGOTE, "sends"); /* the template has sent it */
    assert_int_equal(call_int(p, "by_exec", "sent"), EPERM);
    assert_int_equal(call_int(p, "by_fork", "sent"), EPERM);
    settle(p, before, "descriptors refused");
}

static void test_guard_killed(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    must_start(p, "a", 3, PIT_START_ZYGOTE, "well");
    int64_t old = zygote(p, "a", "pid", NULL);
    assert_int_equal(kill(kit_guard(), SIGKILL), 0);
    KIT_AWAIT(is_state(p, "a", "ready") && zygote(p, "a", "pid", NULL) != old);
    KIT_AWAIT(pit_await_all_ready(p, "a", 0, NULL) == 0);
    assert_int_equal(call_int(p, "a", "imported_by"), zygote(p, "a", "pid", NULL));
    settle(p, before, "guard killed");
}

/* The statistics say the same as pit_pool_zygote(), to whom that may not block. */
static void assert_unforked(pit *p, const char *pool, const char *reason)
{
    pit_stats s = PIT_STATS_INIT;
    char library[64], module[64];
    KIT_AWAIT(pit_get_stats(p, pool, &s) == 0 && s.unforked == 1);
    zygote(p, pool, "library", library);
    zygote(p, pool, "module", module);
    assert_string_equal(s.unforked_reason, reason);
    assert_string_equal(s.unforked_library, library);
    assert_string_equal(s.unforked_module, module);
    s = (pit_stats)PIT_STATS_INIT;
    assert_int_equal(pit_get_stats(p, NULL, &s), 0);
    assert_int_equal(s.unforked, 1);
    assert_string_equal(s.unforked_module, module);
}

/* A thread is left by the import. */
static void test_unsafe(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    pit_error *e = NULL;
    char text[64];
    must_start(p, "a", 3, 0, "thread");
    KIT_AWAIT(is_state(p, "a", "unsafe"));
    assert_int_equal(seen.unsafe, 1);
    assert_string_equal(seen.reason, "thread");
    zygote(p, "a", "reason", text);
    assert_string_equal(text, "thread");
    zygote(p, "a", "remedy", text);
    assert_non_null(strstr(text, "initialize()"));
    zygote(p, "a", "module", text);
    assert_string_not_equal(text, "");
    assert_unforked(p, "a", "thread");
    assert_int_equal(replace_first(p, "a"), PIT_START_EXEC);
    assert_int_equal(start_pool(p, "b", 1, PIT_START_ZYGOTE, "thread", &e), PIT_E_START_FAILED);
    assert_string_equal(pit_value_str(pit_value_get(pit_error_details(e), "reason")), "thread");
    assert_non_null(strstr(pit_value_str(pit_value_at(pit_error_suggestions(e), 0)), "initialize()"));
    assert_non_null(strstr(pit_value_str(pit_value_at(pit_error_suggestions(e), 1)), "started by exec"));
    pit_error_free(e);
    settle(p, before, "unsafe");
}

/* The import fails: in the template as in a worker. */
static void test_broken_import(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    pit_error *e = NULL;
    assert_int_equal(start_pool(p, "a", 3, 0, "broken", &e), PIT_E_NO_WORKERS_STARTED);
    assert_non_null(strstr(pit_error_string(e), "this import does not work"));
    pit_error_free(e);
    assert_int_equal(start_pool(p, "b", 2, PIT_START_ZYGOTE, "broken", &e), PIT_E_START_FAILED);
    assert_non_null(strstr(pit_error_string(e), "this import does not work"));
    pit_error_free(e);
    settle(p, before, "broken import");
}

static struct {
    atomic_bool welcomed;
    atomic_int exits; /* that the guard has told of: the first is that of the interpreter that was asked what it is */
} slow_reader;

static ssize_t send_and_note(int fd, const void *data, size_t n)
{
    if (n != sizeof(struct guard_msg))
        atomic_store(&slow_reader.welcomed, true);
    return os_linux.send(fd, data, n);
}

static ssize_t recv_late(int fd, void *data, size_t n)
{
    if (atomic_load(&slow_reader.welcomed) && atomic_load(&slow_reader.exits) < 2)
        return -EAGAIN;
    return os_linux.recv(fd, data, n);
}

static ssize_t recv_and_count(int fd, void *data, size_t n, int *ret_fds, int *ret_n_fds)
{
    ssize_t got = os_linux.recv_fds(fd, data, n, ret_fds, ret_n_fds);
    if (got == (ssize_t)sizeof(struct guard_msg) && ((const struct guard_msg *)data)->kind == GUARD_EXITED)
        atomic_fetch_add(&slow_reader.exits, 1);
    return got;
}

/* The guard's word on its end is read before its own on why. */
static void test_last_words_that_come_late(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct os_ops os = os_linux;
    os.send = send_and_note;
    os.recv = recv_late;
    os.recv_fds = recv_and_count;
    pit *p = open_host_os(&os);
    pit_error *e = NULL;
    assert_int_equal(start_pool(p, "a", 1, PIT_START_ZYGOTE, "broken", &e), PIT_E_START_FAILED);
    if (strstr(pit_error_string(e), "this import does not work") == NULL)
        fail_msg("%s", pit_error_string(e));
    pit_error_free(e);
    settle(p, before, "last words that come late");
}

/* It dies, and its last words would do something to a terminal and are no text. */
static void test_dies_at_import(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    pit_error *e = NULL;
    assert_int_equal(start_pool(p, "a", 1, PIT_START_ZYGOTE, "dies", &e), PIT_E_START_FAILED);
    assert_string_equal(pit_value_str(pit_value_get(pit_error_details(e), "reason")), "died");
    assert_non_null(strstr(pit_error_message(e), "it exited with status 3: ?   [2Jlast words password=<REDACTED> at the end"));
    assert_null(strstr(pit_error_string(e), "hunter2"));
    assert_null(strchr(pit_error_message(e), '\x1b'));
    pit_error_free(e);
    settle(p, before, "dies at import");
}

static void test_bad_options(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_host();
    assert_int_equal(start_pool(p, "a", 1, PIT_START_ATTACH, "well", NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(start_pool(p, "a", 1, -1, "well", NULL), PIT_E_INVALID_PARAMETER);
    pit_pool_options o = PIT_POOL_OPTIONS_INIT;
    o.name = "a";
    o.adapter = ADAPTER;
    o.canary_timeout_ms = PIT_NOW;
    assert_int_equal(pit_pool_start(p, &o, NULL), PIT_E_INVALID_TIMEOUT);
    o.canary_timeout_ms = PIT_INFINITE;
    assert_int_equal(pit_pool_start(p, &o, NULL), PIT_E_INVALID_TIMEOUT);
    assert_int_equal(pit_pool_zygote(p, "a", NULL, NULL), PIT_E_POOL_NOT_FOUND);
    settle(p, before, "bad options");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forked),
        cmocka_unit_test(test_first_by_exec),
        cmocka_unit_test(test_small_pool),
        cmocka_unit_test(test_two_pools_share_one),
        cmocka_unit_test(test_by_exec_only),
        cmocka_unit_test(test_template_killed),
        cmocka_unit_test(test_template_stopped),
        cmocka_unit_test(test_template_refuses),
        cmocka_unit_test(test_template_ended_for_want_of_memory),
        cmocka_unit_test(test_template_spins),
        cmocka_unit_test(test_descriptors_refused),
        cmocka_unit_test(test_guard_killed),
        cmocka_unit_test(test_unsafe),
        cmocka_unit_test(test_broken_import),
        cmocka_unit_test(test_last_words_that_come_late),
        cmocka_unit_test(test_dies_at_import),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
