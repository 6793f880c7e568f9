/* A thousand deaths in a row: one host, workers that die in every way there is, recorder and dossiers on, successors at once.
 *
 * Each call has one outcome, of the class of death that was asked for, with a dossier of its own; the counters say what the callers saw; what is on disk
 * stays below its bound at every look; and the second half of the deaths costs no descriptor, process or memory, in the host, the guard or the template.
 *
 * SNAKEPIT_STORM_DEATHS: how many (1,000). */
#include <inttypes.h>

#include "integration/c/kit_python.h"

enum { WORKERS = 4, CALLERS = 4, DEATHS = 1000, REPEATED = 20 /* one of so many calls may be run again, and kills twice */ };
/* Of memory between the two halves: a dossier, a frame or a thread's stack kept for each death would be many times as much; of the guard and the
 * template, which keep nothing, 100 bytes would be too much. */
enum { MOST_BYTES = 256 * 1024, SLACK_BLOCKS = 64, SLACK_RSS = 8 << 20, SLACK_SMALL = 48 * 1024 };

/* X(command, exit class, another one that fits) */
#define DEED_LIST(X)                                                                                                           \
    X(segfault, "segfault", NULL)                                                                                              \
    X(abort, "abort", NULL)                                                                                                    \
    X(killed, "killed", "oom_suspected")                                                                                       \
    X(exits, "exit_code", NULL)                                                                                                \
    X(bus_error, "bus_error", NULL)                                                                                            \
    X(segfault_in_a_thread, "segfault", NULL)                                                                                  \
    X(leaves, "unexpected_exit", NULL)                                                                                         \
    X(terminated, "signal", NULL)                                                                                              \
    X(fpe, "fpe", NULL)                                                                                                        \
    X(segfault_with_words, "segfault", NULL)                                                                                   \
    X(fails, "python_error", NULL)                                                                                             \
    X(illegal, "illegal_instruction", NULL)                                                                                    \
    X(fatal, "abort", NULL)                                                                                                    \
    X(segfault_under_faulthandler, "segfault", NULL)                                                                           \
    X(overflow, "segfault", NULL)

static const struct {
    const char *command, *class, *also;
} deeds[] = {
#define DEED_ROW(name, class, also) {#name, class, also},
    DEED_LIST(DEED_ROW)
#undef DEED_ROW
};
enum { DEEDS = sizeof deeds / sizeof deeds[0] };

static struct {
    pit *p;
    char dir[64];
    atomic_ulong tickets, until; /* of the calls that kill: the next one, and where this half ends */
    atomic_ulong outcomes, good, crashed, twice;
    atomic_ulong told, lost, restarted; /* events */
    atomic_ulong most_bytes, looks;
    pthread_mutex_t lock;
    char wrong[256]; /* lock: the first outcome that does not fit */
    char last[96];   /* lock: a dossier that must be on disk, for hardly any is newer */
} s = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void blame(const char *command, unsigned long number, const char *what, const char *text)
{
    pthread_mutex_lock(&s.lock);
    if (s.wrong[0] == '\0')
        snprintf(s.wrong, sizeof s.wrong, "%s(%lu): %s: %.128s", command, number, what, text);
    pthread_mutex_unlock(&s.lock);
}

static const char *text_of(const pit_value *map, const char *key)
{
    return pit_value_str_or(pit_value_get(map, key), "(none)");
}

/* What a caller is told of a death is of the one that he has asked for. */
static void judge(size_t deed, unsigned long number, int rc, const pit_error *e)
{
    const char *command = deeds[deed].command, *class = text_of(pit_error_details(e), "exit_class");
    const pit_value *d = pit_error_dossier(e), *call = pit_value_at(pit_value_get(d, "calls"), 0);
    atomic_fetch_add(&s.outcomes, 1);
    if (rc != PIT_E_WORKER_CRASH) {
        blame(command, number, "the outcome", pit_error_code_name(rc));
        return;
    }
    atomic_fetch_add(&s.crashed, 1);
    if (strcmp(class, deeds[deed].class) != 0 && (deeds[deed].also == NULL || strcmp(class, deeds[deed].also) != 0))
        blame(command, number, "the class", class);
    else if (strcmp(text_of(call, "command"), command) != 0)
        blame(command, number, "the call of the dossier", text_of(call, "command"));
    else if (strcmp(text_of(d, "worker_id"), pit_error_worker(e)) != 0)
        blame(command, number, "the worker of the dossier", text_of(d, "worker_id"));
    else if (strstr(text_of(d, "stderr"), "hunter") != NULL)
        blame(command, number, "a secret in the dossier", text_of(d, "stderr"));
    pthread_mutex_lock(&s.lock);
    snprintf(s.last, sizeof s.last, "%s", text_of(d, "id"));
    pthread_mutex_unlock(&s.lock);
}

static void kill_one(unsigned long number)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_error *e = NULL;
    size_t deed = number % DEEDS;
    o.timeout_ms = KIT_LIMIT_MS;
    if (number % REPEATED == 0) {
        o.idempotent = PIT_ON;
        atomic_fetch_add(&s.twice, 1);
    }
    int rc = pit_callf(s.p, deeds[deed].command, &o, NULL, &e, "{s:I}", "number", (int64_t)number);
    judge(deed, number, rc, e);
    pit_error_free(e);
}

static void *call_on(void *arg)
{
    (void)arg;
    for (unsigned long number; (number = atomic_fetch_add(&s.tickets, 1)) < atomic_load(&s.until);) {
        int64_t got = 0;
        kill_one(number);
        int rc = kit_call(s.p, "good", (int64_t)number, KIT_LIMIT_MS, &got);
        atomic_fetch_add(&s.outcomes, 1);
        atomic_fetch_add(&s.good, rc == 0);
        if (rc != 0 || got != (int64_t)number * 3 + 1)
            blame("good", number, "the outcome", pit_error_code_name(rc));
    }
    return NULL;
}

/* ---- the disk ---- */

static unsigned long bytes_kept(unsigned *ret_files)
{
    unsigned long bytes = 0;
    *ret_files = 0;
    DIR *d = opendir(s.dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue; /* it has just made room */
        bytes += (unsigned long)st.st_size;
        ++*ret_files;
    }
    closedir(d);
    return bytes;
}

static bool is_kept(void)
{
    char path[192];
    pthread_mutex_lock(&s.lock);
    snprintf(path, sizeof path, "%s/%s.json", s.dir, s.last);
    pthread_mutex_unlock(&s.lock);
    return access(path, R_OK) == 0;
}

static void look(void)
{
    unsigned files;
    unsigned long bytes = bytes_kept(&files);
    atomic_fetch_add(&s.looks, 1);
    if (bytes > atomic_load(&s.most_bytes))
        atomic_store(&s.most_bytes, bytes);
}

static void remove_dir(void)
{
    DIR *d = opendir(s.dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        unlinkat(dirfd(d), e->d_name, 0);
    if (d != NULL)
        closedir(d);
    rmdir(s.dir);
}

/* ---- what it costs ---- */

struct cost {
    struct kit_before host;
    int guard_fds, template_fds, children;
    long host_rss, guard_rss, template_rss;
};

static int fds_of(int64_t pid)
{
    char path[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/fd", pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    if (d != NULL)
        closedir(d);
    return n;
}

/* Anonymous memory, in bytes, wherever it is now: of what is shared with workers the segments of those that live are a part. */
static long rss_of(int64_t pid)
{
    char path[64], line[128];
    long kb = 0, swapped = 0;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/status", pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "RssAnon: %ld", &kb) != 1)
            (void)sscanf(line, "VmSwap: %ld", &swapped);
    fclose(f);
    return (kb + swapped) * 1024;
}

/* Those of the guard: workers, the template, the next worker that it keeps ahead, and whatever is on its way to its end. */
static int children_of(pid_t guard)
{
    int n = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct os_proc info;
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        n += pid > 0 && os_linux.proc_info(pid, &info) == 0 && info.ppid == guard;
    }
    closedir(d);
    return n;
}

static int64_t template_pid(void)
{
    pit_value *v = NULL;
    int64_t pid = 0;
    assert_int_equal(pit_pool_zygote(s.p, NULL, &v, NULL), 0);
    pit_value_get_int(pit_value_get(v, "pid"), &pid);
    pit_value_free(v);
    return pid;
}

static struct cost cost_now(void)
{
    pid_t guard = kit_guard();
    int64_t template = template_pid();
    return (struct cost){
        .host = kit_before(),
        .children = children_of(guard),
        .guard_fds = fds_of(guard),
        .template_fds = fds_of(template),
        .host_rss = rss_of(getpid()),
        .guard_rss = rss_of(guard),
        .template_rss = rss_of(template),
    };
}

/* At rest: every slot has its worker, every death has been told and written, what the pool remembers of calls that kill is forgotten. */
static struct cost settle(void)
{
    pid_t guard = kit_guard();
    assert_int_equal(pit_await_all_ready(s.p, NULL, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(pit_poison_clear(s.p, NULL, NULL), 0);
    KIT_AWAIT(is_kept());
    KIT_AWAIT(children_of(guard) == WORKERS + 2);
    return cost_now();
}

static unsigned long deaths(void)
{
    return atomic_load(&s.crashed) + atomic_load(&s.twice);
}

static struct cost die_until(unsigned long number)
{
    pthread_t threads[CALLERS];
    atomic_store(&s.tickets, atomic_load(&s.until));
    atomic_store(&s.until, number);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, NULL), 0);
    while (atomic_load(&s.tickets) < number) {
        look();
        poll(NULL, 0, 5); /* allow-sleep: between two looks */
    }
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    if (s.wrong[0] != '\0')
        fail_msg("%s", s.wrong);
    KIT_AWAIT(atomic_load(&s.told) == deaths());
    struct cost c = settle();
    look();
    return c;
}

static int hear(const pit_event *ev, void *user)
{
    (void)user;
    const char *name = pit_event_name(ev);
    atomic_fetch_add(&s.told, strcmp(name, "snakepit.worker.crash") == 0);
    atomic_fetch_add(&s.lost, strcmp(name, "snakepit.worker.dossier_lost") == 0);
    return 0;
}

static void open_it(void)
{
    pit_dossier_options dossier = PIT_DOSSIER_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pit_options o = PIT_OPTIONS_INIT;
    snprintf(s.dir, sizeof s.dir, "/tmp/snakepit-thousand-XXXXXX");
    assert_non_null(mkdtemp(s.dir));
    dossier.dir = s.dir;
    dossier.max_bytes = MOST_BYTES;
    pool.name = "dying";
    pool.adapter = TEST_SOURCE_DIR "/tests/storm/thousand.py";
    pool.workers = WORKERS;
    pool.start_mode = PIT_START_ZYGOTE;
    pool.restart_backoff = PIT_OFF;
    pool.queue_timeout_ms = KIT_LIMIT_MS;
    pool.dossier = &dossier;
    s.p = kit_open_python(&o, &pool);
    assert_int_equal(pit_telemetry_attach(s.p, "snakepit.worker.*", hear, NULL, NULL, NULL), 0);
    assert_int_equal(pit_await_all_ready(s.p, NULL, KIT_LIMIT_MS, NULL), 0);
}

/* The pool has counted what its callers have heard. */
static void check_counters(unsigned long calls)
{
    pit_stats st = kit_stats(s.p);
    pit_health health = PIT_HEALTH_INIT;
    assert_int_equal(atomic_load(&s.outcomes), 2 * calls);
    assert_int_equal(atomic_load(&s.crashed), calls);
    assert_int_equal(st.requests, 2 * calls);
    assert_int_equal(st.errors, calls);
    assert_int_equal(st.succeeded, atomic_load(&s.good));
    assert_int_equal(st.retries, atomic_load(&s.twice));
    assert_int_equal(st.crashes, deaths());
    assert_int_equal(st.restarts, deaths());
    assert_int_equal(st.poisoned, 0);
    assert_int_equal(pit_health_get(s.p, NULL, &health), 0);
    assert_int_equal(health.total_crashes, deaths());
    assert_int_equal(health.is_healthy, 0);
    assert_int_equal(atomic_load(&s.lost), 0);
}

static bool costs_no_more(const struct cost *now, const struct cost *half)
{
    bool same = now->host.fds <= half->host.fds && now->host.blocks <= half->host.blocks + SLACK_BLOCKS &&
                now->guard_fds <= half->guard_fds && now->template_fds <= half->template_fds;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which keep freed memory back */
    same = same && now->host_rss <= half->host_rss + SLACK_RSS && now->guard_rss <= half->guard_rss + SLACK_SMALL;
#endif
    return same && now->children == half->children && now->template_rss <= half->template_rss + SLACK_SMALL;
}

static void test_a_thousand_deaths(void **state)
{
    (void)state;
    const char *text = getenv("SNAKEPIT_STORM_DEATHS");
    unsigned long n = text != NULL ? strtoul(text, NULL, 10) : DEATHS, calls = n * REPEATED / (REPEATED + 1) + 1;
    struct kit_before before = kit_before();
    uint64_t began = pit_now_ns();
    unsigned files;
    open_it();
    struct cost half = die_until(calls / 2), end = die_until(calls);
    print_message("%lu deaths in %.1f s; at most %lu bytes on disk in %lu looks\n"
                  "  memory in bytes, after one half and after the other: host %ld %ld (blocks %ld %ld), guard %ld %ld, "
                  "template %ld %ld\n"
                  "  descriptors: host %d %d, guard %d %d, template %d %d; children %d %d\n",
                  deaths(), (double)(pit_now_ns() - began) / 1e9, atomic_load(&s.most_bytes), atomic_load(&s.looks),
                  half.host_rss, end.host_rss, half.host.blocks, end.host.blocks, half.guard_rss, end.guard_rss,
                  half.template_rss, end.template_rss, half.host.fds, end.host.fds, half.guard_fds, end.guard_fds,
                  half.template_fds, end.template_fds, half.children, end.children);
    check_counters(calls);
    KIT_AWAIT((end = cost_now(), costs_no_more(&end, &half))); /* the thread that writes may be there for a moment yet */
    assert_in_range(atomic_load(&s.most_bytes), MOST_BYTES / 2, MOST_BYTES); /* so full that room had to be made */
    assert_in_range(bytes_kept(&files), MOST_BYTES / 2, MOST_BYTES);
    assert_int_equal(pit_close(s.p), 0);
    remove_dir();
    kit_clean(before, "a thousand deaths");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_thousand_deaths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
