/* Hosts that die together with their guard, and what the next host, or one that runs, does about what they have left. */
#include "integration/c/kit.h"

#include <dirent.h>

static char place[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(place, sizeof place, "/tmp/snakepit-orphans-XXXXXX");
    assert_non_null(mkdtemp(place));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[96];
    os_linux.kill_by_env(kit_mark);
    kit_reset_stage();
    snprintf(command, sizeof command, "rm -rf %s", place);
    return system(command);
}

struct lines {
    pthread_mutex_t lock;
    char text[8192];
};

static void keep_line(int level, const char *text, void *user)
{
    struct lines *l = user;
    (void)level;
    pthread_mutex_lock(&l->lock);
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof l->text - n, "%s\n", text);
    pthread_mutex_unlock(&l->lock);
}

static int open_host(const char *data_dir, int64_t interval_ms, struct lines *lines, pit **ret, pit_error **reterr)
{
    struct kit k = KIT_INIT;
    const char *command[5], *env[2];
    pit_pool_options pool;
    kit_pool(&k, "c", command, env, &pool);
    const pit_pool_options *pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.pools = pools;
    o.n_pools = 1;
    o.data_dir = data_dir;
    o.registry_sweep_interval_ms = interval_ms;
    o.log = lines != NULL ? keep_line : NULL;
    o.log_user = lines;
    o.log_level = PIT_LOG_WARNING;
    return pit_open(&o, ret, reterr);
}

static pit *opened(int64_t interval_ms, struct lines *lines)
{
    pit *p = NULL;
    pit_error *e = NULL;
    if (open_host(place, interval_ms, lines, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    return p;
}

static unsigned files(void)
{
    char path[96];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/registry", place);
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    if (d != NULL)
        closedir(d);
    return n;
}

/* ---- a host in a process of its own ---- */

struct other {
    pid_t host, guard, worker;
    int64_t grandchild;
};

static void be_the_other(int fd)
{
    pit *p = opened(PIT_INFINITE, NULL);
    struct other me = {.host = getpid(), .guard = kit_guard(), .worker = kit_worker(p, 0)};
    if (kit_call(p, "grandchild", 0, 0, &me.grandchild) != 0 || write(fd, &me, sizeof me) != sizeof me)
        _exit(1);
    kit_call(p, "gate", 0, PIT_INFINITE, NULL);
    _exit(0);
}

static struct other other_host(void)
{
    struct other o;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0)
        be_the_other(fds[1]);
    close(fds[1]);
    assert_int_equal(read(fds[0], &o, sizeof o), sizeof o);
    close(fds[0]);
    return o;
}

static bool lives(pid_t pid)
{
    struct os_proc p;
    return os_linux.proc_info(pid, &p) == 0 && p.state != 'Z';
}

/* The host is stopped, all of its threads, so it does nothing about the loss of its guard; the kernel ends the worker. */
static void kill_both(const struct other *o)
{
    int status = 0;
    assert_int_equal(kill(o->host, SIGSTOP), 0);
    assert_int_equal(waitpid(o->host, &status, WUNTRACED), o->host);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(kill(o->guard, SIGKILL), 0);
    KIT_AWAIT(!lives(o->worker));
    assert_int_equal(kill(o->host, SIGKILL), 0);
    assert_int_equal(waitpid(o->host, NULL, 0), o->host);
}

static void test_the_next_host_ends_what_is_left(void **state)
{
    (void)state;
    struct lines lines = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct other o = other_host();
    assert_int_equal(files(), 1);
    kill_both(&o);
    assert_true(lives((pid_t)o.grandchild));
    assert_int_equal(files(), 1);
    pit *p = opened(PIT_INFINITE, &lines);
    assert_false(lives((pid_t)o.grandchild)); /* before pit_open returns */
    assert_int_equal(files(), 1);
    assert_non_null(strstr(lines.text, "had died and left 1 processes"));
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    assert_int_equal(files(), 0);
}

static void test_a_living_host_loses_nothing(void **state)
{
    (void)state;
    struct other o = other_host();
    pit *p = opened(PIT_INFINITE, NULL);
    assert_int_equal(files(), 2);
    assert_int_equal(pit_close(p), 0);
    assert_true(lives(o.worker) && lives((pid_t)o.grandchild));
    assert_int_equal(files(), 1);
    kill_both(&o);
}

/* ---- events ---- */

struct heard {
    atomic_int n;
    pthread_mutex_t lock;
    char name[64], run_id[32], survivors[16];
    double count, duration_ms;
};

static int hear(const pit_event *ev, void *user)
{
    struct heard *h = user;
    pthread_mutex_lock(&h->lock);
    snprintf(h->name, sizeof h->name, "%s", pit_event_name(ev));
    snprintf(h->run_id, sizeof h->run_id, "%s", pit_event_text(ev, "run_id"));
    snprintf(h->survivors, sizeof h->survivors, "%s", pit_event_text(ev, "survivors"));
    pit_event_number(ev, "count", &h->count);
    pit_event_number(ev, "duration_ms", &h->duration_ms);
    pthread_mutex_unlock(&h->lock);
    atomic_fetch_add(&h->n, 1);
    return 0;
}

static void listen_to(pit *p, const char *name, struct heard *h)
{
    *h = (struct heard){.lock = PTHREAD_MUTEX_INITIALIZER};
    assert_int_equal(pit_telemetry_attach(p, name, hear, h, NULL, NULL), 0);
}

static void test_a_host_that_runs_ends_it_too(void **state)
{
    (void)state;
    struct heard h;
    struct other o = other_host();
    pit *p = opened(10, NULL);
    listen_to(p, "snakepit.cleanup.orphans_found", &h);
    kill_both(&o);
    KIT_AWAIT(!lives((pid_t)o.grandchild));
    KIT_AWAIT(atomic_load(&h.n) > 0);
    assert_int_equal(h.count, 1);
    assert_string_equal(h.survivors, "0");
    assert_int_equal(strlen(h.run_id), 7);
    assert_true(h.duration_ms > 0);
    KIT_AWAIT(files() == 1);
    assert_int_equal(pit_close(p), 0);
    assert_int_equal(atomic_load(&h.n), 1);
    assert_int_equal(files(), 0);
}

static void test_a_damaged_file_is_told_of(void **state)
{
    (void)state;
    struct heard h;
    char path[96];
    pit *p = opened(10, NULL);
    listen_to(p, "snakepit.cleanup.registry_rebuilt", &h);
    snprintf(path, sizeof path, "%s/registry/zzzzzzz", place);
    FILE *f = fopen(path, "we");
    assert_true(f != NULL && fputs("rubbish\n", f) >= 0 && fclose(f) == 0);
    KIT_AWAIT(atomic_load(&h.n) > 0);
    assert_string_equal(h.run_id, "zzzzzzz");
    assert_int_equal(h.count, 0);
    assert_int_equal(pit_close(p), 0);
    assert_int_equal(atomic_load(&h.n), 1);
    assert_int_equal(files(), 1); /* put aside */
}

static void test_a_lost_guard_is_an_emergency(void **state)
{
    (void)state;
    struct heard h;
    pit *p = opened(PIT_INFINITE, NULL);
    listen_to(p, "snakepit.cleanup.emergency", &h);
    assert_int_equal(kill(kit_guard(), SIGKILL), 0);
    KIT_AWAIT(atomic_load(&h.n) == 1);
    assert_int_equal(strlen(h.run_id), 7);
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    assert_int_equal(files(), 0); /* the rows of the lost ones are gone, too */
}

/* ---- those that are to stay ---- */

static pit *opened_keeping(int descendants)
{
    struct kit k = KIT_INIT;
    k.pool.descendants = descendants;
    k.pool.restart_backoff = PIT_OFF;
    return kit_open(&k);
}

static pid_t make_grandchild(pit *p)
{
    int64_t pid = 0;
    assert_int_equal(kit_call(p, "grandchild", 0, 0, &pid), 0);
    return (pid_t)pid;
}

static void end(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    KIT_AWAIT(!lives(pid));
}

static void test_descendants_that_are_kept(void **state)
{
    (void)state;
    assert_int_equal(setenv("SNAKEPIT_DATA_DIR", place, 1), 0);
    pit *p = opened_keeping(PIT_DESCENDANTS_KEEP);
    pid_t of_dead = make_grandchild(p), worker = kit_worker(p, 0);
    assert_int_equal(kill(worker, SIGKILL), 0);
    KIT_AWAIT(kit_worker(p, 0) != 0 && kit_worker(p, 0) != worker);
    pid_t of_lost = make_grandchild(p);
    assert_true(
        lives(of_dead)); /* the guard has told of the worker's death, and looked at its children, before it forked another */
    pid_t guard = kit_guard();
    assert_int_equal(kill(guard, SIGKILL), 0); /* the host sweeps */
    KIT_AWAIT(kit_guard() != 0 && kit_guard() != guard);
    KIT_AWAIT(kit_worker(p, 0) != 0);
    pid_t of_closed = make_grandchild(p);
    assert_int_equal(pit_close(p), 0); /* the guard does not wait for who stays */
    assert_true(lives(of_dead) && lives(of_lost) && lives(of_closed));
    assert_int_equal(files(), 0);
    end(of_dead);
    end(of_lost);
    end(of_closed);
    assert_int_equal(unsetenv("SNAKEPIT_DATA_DIR"), 0);
}

/* The mark is believed only where it was asked for; and what a host inherits is not what it asks for. */
static void test_descendants_that_are_not_kept(void **state)
{
    (void)state;
    assert_int_equal(setenv("SNAKEPIT_DESCENDANTS", "keep", 1), 0);
    pit *p = opened_keeping(0);
    pid_t pid = make_grandchild(p);
    assert_int_equal(kill(kit_worker(p, 0), SIGKILL), 0);
    KIT_AWAIT(!lives(pid));
    KIT_AWAIT(kit_worker(p, 0) != 0);
    pid = make_grandchild(p);
    assert_int_equal(pit_close(p), 0);
    assert_false(lives(pid));
    assert_int_equal(unsetenv("SNAKEPIT_DESCENDANTS"), 0);
    struct kit k = KIT_INIT;
    k.pool.descendants = 3;
    pit_error *e = NULL;
    p = NULL;
    assert_int_equal(kit_open_os(&os_linux, &k, &p, &e), PIT_E_INVALID_PARAMETER);
    pit_error_free(e);
}

/* ---- places ---- */

static void test_a_place_that_was_named_must_do(void **state)
{
    (void)state;
    pit *p = NULL;
    pit_error *e = NULL;
    assert_int_equal(open_host("/dev/null", 0, NULL, &p, &e), PIT_E_SYSTEM_ERROR);
    assert_null(p);
    assert_non_null(strstr(pit_error_message(e), "the option data_dir is /dev/null"));
    assert_non_null(pit_value_str(pit_value_get(pit_error_details(e), "call")));
    pit_error_free(e);
    assert_int_equal(setenv("SNAKEPIT_DATA_DIR", "/dev/null/x", 1), 0);
    assert_int_equal(open_host(NULL, 0, NULL, &p, &e), PIT_E_SYSTEM_ERROR);
    assert_non_null(strstr(pit_error_message(e), "SNAKEPIT_DATA_DIR"));
    pit_error_free(e);
    assert_int_equal(unsetenv("SNAKEPIT_DATA_DIR"), 0);
    assert_int_equal(open_host(place, PIT_NOW, NULL, &p, &e), PIT_E_INVALID_INTERVAL);
    pit_error_free(e);
    assert_int_equal(open_host(place, -7, NULL, &p, &e), PIT_E_INVALID_INTERVAL);
    pit_error_free(e);
    assert_null(p);
}

/* A home that is read-only, or none at all, costs the registry and nothing else. */
static void test_without_a_home(void **state)
{
    (void)state;
    static const char *const homes[] = {"/dev/null", NULL};
    char *before = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *kept[] = {before != NULL ? strdup(before) : NULL, home != NULL ? strdup(home) : NULL};
    for (size_t i = 0; i < 2; i++) {
        struct lines lines = {.lock = PTHREAD_MUTEX_INITIALIZER};
        pit *p = NULL;
        unsetenv("XDG_STATE_HOME");
        unsetenv("HOME");
        if (homes[i] != NULL)
            assert_int_equal(setenv("HOME", homes[i], 1), 0);
        assert_int_equal(open_host(NULL, 1, &lines, &p, NULL), 0);
        assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
        assert_int_equal(pit_close(p), 0);
        const char *said = strstr(lines.text, "no registry is kept");
        assert_non_null(said);
        assert_null(strstr(said + strlen("no registry"), "registry")); /* once */
    }
    if (kept[0] != NULL)
        setenv("XDG_STATE_HOME", kept[0], 1);
    if (kept[1] != NULL)
        setenv("HOME", kept[1], 1);
    free(kept[0]);
    free(kept[1]);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_PLACE(test_the_next_host_ends_what_is_left),
        WITH_PLACE(test_a_living_host_loses_nothing),
        WITH_PLACE(test_a_host_that_runs_ends_it_too),
        WITH_PLACE(test_a_damaged_file_is_told_of),
        WITH_PLACE(test_a_lost_guard_is_an_emergency),
        WITH_PLACE(test_a_place_that_was_named_must_do),
        WITH_PLACE(test_without_a_home),
        WITH_PLACE(test_descendants_that_are_kept),
        WITH_PLACE(test_descendants_that_are_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
