/* The sweep after dead hosts, with real processes and forged files. */
#include "registry_kit.h"

static void test_an_orphan_is_ended(void **state)
{
    (void)state;
    struct record host = dead_host();
    pid_t worker = sleeper(RUN_ENTRY), descendant = sleeper(RUN_ENTRY), foreign = sleeper("SNAKEPIT_RUN_ID=zzzz124");
    struct record row = active(&host, 1, worker);
    put_dead(RUN, &host, &row);
    put_file(run_with(".tmp"), &(struct buf){0});
    struct seen s = sweep();
    assert_int_equal(s.n, 1);
    assert_int_equal(s.orphans, 2);
    assert_int_equal(s.survivors, 0);
    assert_int_equal(s.host, host.host.pid);
    assert_false(lives(worker));
    assert_false(lives(descendant));
    assert_true(lives(foreign));
    end(foreign);
    /* its reservation has been resolved: nothing is left to wait for */
    assert_false(exists(RUN));
    assert_false(exists(run_with(".tmp")));
    assert_int_equal(sweep().n, 0);
}

/* Each a way in which a row may name a process that is none of the dead host's. X(what, how the host or the row is changed, whether the
 * file stays) */
static void spared(const char *what, struct record host, bool stays, void (*change)(struct record *row), const char *entry)
{
    pid_t pid = sleeper(entry);
    struct record row = active(&host, 1, pid);
    if (change != NULL)
        change(&row);
    put_dead(RUN, &host, &row);
    struct seen s = sweep();
    if (!lives(pid))
        fail_msg("%s: killed", what);
    if (s.orphans != 0 || exists(RUN) != stays)
        fail_msg("%s: %u orphans, the file is %s", what, s.orphans, exists(RUN) ? "there" : "gone");
    unlink(path_of(RUN));
    end(pid);
}

static void other_start(struct record *row)
{
    row->start++;
}

static void test_what_is_not_ours_is_spared(void **state)
{
    (void)state;
    struct record host = dead_host(), h;
    spared("a number that was used again", host, false, other_start, "A=1");
    spared("a process that was never ours", host, false, NULL, "A=1");
    spared("a worker of another run", host, false, NULL, "SNAKEPIT_RUN_ID=zzzz124");
    h = host;
    strcpy(h.host.boot, "1dc4e1e6-3b6b-4f5e-a8a5-ec0eb3266000");
    spared("another boot", h, false, NULL, RUN_ENTRY);
    h = host;
    h.host.pid_namespace++;
    spared("another PID namespace", h, true, NULL, RUN_ENTRY);
    h = host;
    strcpy(h.host.instance, "there");
    spared("another instance", h, true, NULL, RUN_ENTRY);
    h = host;
    strcpy(h.host.token, "secret");
    spared("another token", h, true, NULL, RUN_ENTRY);
    h = host;
    h.host.pid = getpid();
    h.host.start = start_of(getpid());
    spared("a living host", h, true, NULL, RUN_ENTRY);
}

static void wrong_boot(struct record *row)
{
    strcpy(row->host.boot, "1dc4e1e6-3b6b-4f5e-a8a5-ec0eb3266000");
}

/* A row that contradicts its file is damage: nothing of it is acted upon. */
static void test_a_row_of_another_boot(void **state)
{
    (void)state;
    struct record host = dead_host();
    pid_t pid = sleeper("A=1");
    struct record row = active(&host, 1, pid);
    wrong_boot(&row);
    put_dead(RUN, &host, &row);
    struct seen s = sweep();
    assert_true(lives(pid));
    assert_int_equal(s.orphans, 0);
    end(pid);
}

static void expect_untouched(const char *what, pid_t pid)
{
    struct seen s = sweep();
    if (s.n != 0 || !lives(pid) || !exists(RUN))
        fail_msg("%s: %u hosts, the process %s, the file %s", what, s.n, lives(pid) ? "lives" : "is dead",
                 exists(RUN) ? "stays" : "is gone");
    assert_true(unlink(path_of(RUN)) == 0 || rmdir(path_of(RUN)) == 0);
}

/* What somebody else could have put there is not even read. */
static void test_files_that_are_not_trusted(void **state)
{
    (void)state;
    struct record host = dead_host();
    pid_t pid = sleeper(RUN_ENTRY);
    struct record row = active(&host, 1, pid);
    char other[128];
    put_dead("elsewhere", &host, &row);
    snprintf(other, sizeof other, "%s/elsewhere", folder);
    assert_int_equal(symlink(other, path_of(RUN)), 0);
    expect_untouched("a symbolic link", pid);
    assert_int_equal(link(other, path_of(RUN)), 0);
    expect_untouched("a hard link", pid);
    assert_int_equal(mkfifo(path_of(RUN), 0600), 0);
    expect_untouched("a pipe", pid);
    assert_int_equal(mkdir(path_of(RUN), 0700), 0);
    expect_untouched("a folder", pid);
    put_dead(RUN, &host, &row);
    assert_int_equal(chmod(path_of(RUN), 0620), 0);
    expect_untouched("a file that a group may write", pid);
    if (geteuid() == 0) {
        put_dead(RUN, &host, &row);
        assert_int_equal(chown(path_of(RUN), 65534, 65534), 0);
        expect_untouched("another user's file", pid);
    }
    static const char *const names[] = {"abcd12", "abcd1234", "ABCD123", "abcd12_", "zzzz123.tmp", ".abcd12"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        put_dead(names[i], &host, &row);
    assert_int_equal(sweep().n, 0);
    assert_true(lives(pid));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(exists(names[i]));
    end(pid);
}

/* A copy under another name is nobody's file: put aside, and nothing is killed for it. */
static void test_a_file_under_another_name(void **state)
{
    (void)state;
    struct record host = dead_host();
    pid_t pid = sleeper(RUN_ENTRY);
    struct record row = active(&host, 1, pid);
    put_dead("zzzz999", &host, &row);
    struct seen s = sweep();
    assert_int_equal(s.orphans, 0);
    assert_int_equal(s.damaged, 1);
    assert_true(lives(pid));
    assert_false(exists("zzzz999"));
    assert_non_null(begins_with("zzzz999.corrupt."));
    end(pid);
}

/* What stands before the damage counts; the file is kept for whoever wants to know. */
static void test_a_damaged_file_is_put_aside(void **state)
{
    (void)state;
    struct record host = dead_host();
    pid_t pid = sleeper(RUN_ENTRY);
    struct record row = active(&host, 1, pid);
    struct buf b = {0};
    record_write(&b, &host);
    put_reserved(&b, 1, 0);
    record_write(&b, &row);
    size_t good = b.len;
    put_reserved(&b, 2, 0);
    b.data[good + 20] ^= 1;
    put_file(RUN, &b);
    buf_finish(&b);
    struct seen s = sweep();
    assert_int_equal(s.n, 1);
    assert_int_equal(s.orphans, 1);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.rows, 1);
    assert_false(lives(pid));
    assert_false(exists(RUN));
    const char *aside = begins_with(run_with(".corrupt."));
    assert_non_null(aside);
    unsigned long long when = strtoull(aside + strlen(run_with(".corrupt.")), NULL, 10), now = os_linux.wall_ns() / SECOND;
    assert_true(when <= now && when + 600 > now);
}

/* A host that is just being opened has an empty file for a moment. */
static void test_a_file_without_a_first_record(void **state)
{
    (void)state;
    const struct timeval old[2] = {{1000, 0}, {1000, 0}}, future[2] = {{4000000000, 0}, {4000000000, 0}};
    put_file(RUN, &(struct buf){0});
    assert_int_equal(sweep().n, 0);
    assert_true(exists(RUN));
    assert_int_equal(utimes(path_of(RUN), future), 0);
    assert_int_equal(sweep().n, 0);
    assert_true(exists(RUN));
    assert_int_equal(utimes(path_of(RUN), old), 0);
    assert_int_equal(sweep().n, 0);
    assert_false(exists(RUN));
}

/* A reservation may stand for a process that is yet to come, for a minute. */
static void test_reservations(void **state)
{
    (void)state;
    for (int young = 0; young < 2; young++) {
        struct record host = dead_host();
        struct buf b = {0};
        pid_t pid = sleeper(RUN_ENTRY);
        record_write(&b, &host);
        put_reserved(&b, 1, young ? 0 : 61 * SECOND);
        put_file(RUN, &b);
        buf_finish(&b);
        struct seen s = sweep();
        assert_int_equal(s.orphans, 1);
        assert_false(lives(pid));
        assert_int_equal(exists(RUN), young);
        unlink(path_of(RUN));
    }
}

/* Nobody has so many: what stands in the first of them is believed, and the time that the rest takes is nobody's. */
static void test_too_many_rows(void **state)
{
    (void)state;
    enum { ROWS = 400000, BELIEVED = 8192 };
    struct record host = dead_host();
    struct buf b = {0};
    record_write(&b, &host);
    for (uint64_t id = 1; id <= ROWS; id++)
        put_reserved(&b, id, 61 * SECOND);
    put_file(RUN, &b);
    buf_finish(&b);
    struct seen s = sweep();
    assert_int_equal(s.n, 1);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.rows, BELIEVED);
    assert_false(exists(RUN));
}

/* A sweep that is told to stop looks at no further file. */
static void test_a_sweep_stops(void **state)
{
    (void)state;
    struct record host = dead_host();
    pid_t pid = sleeper(RUN_ENTRY);
    struct record row = active(&host, 1, pid);
    struct seen s = {0};
    bool stop = true;
    put_dead(RUN, &host, &row);
    registry_sweep(sweeper, see, &s, &stop);
    assert_true(s.n == 0 && lives(pid) && exists(RUN));
    end(pid);
}

static int no_proc(pid_t pid, struct os_proc *ret)
{
    (void)pid;
    (void)ret;
    return -EMFILE;
}

/* Whoever cannot be looked at counts as alive. */
static void test_doubt_spares(void **state)
{
    (void)state;
    struct record host = dead_host();
    pid_t pid = sleeper(RUN_ENTRY);
    struct record row = active(&host, 1, pid);
    put_dead(RUN, &host, &row);
    os.proc_info = no_proc;
    assert_int_equal(sweep().n, 0);
    assert_true(lives(pid));
    assert_true(exists(RUN));
    os.proc_info = os_linux.proc_info;
    assert_int_equal(sweep().orphans, 1);
    assert_false(lives(pid));
}

static void test_null_is_no_registry(void **state)
{
    (void)state;
    registry_sweep(NULL, see, NULL, NULL);
    registry_reserve(NULL, 1, "a");
    registry_active(NULL, 1, 1);
    registry_ending(NULL, 1);
    registry_gone(NULL, 1, true);
    assert_int_equal(registry_tend(NULL), -1);
    assert_int_equal(registry_error(NULL), 0);
    registry_close(NULL);
}

int main(void)
{
    kit_name_run();
    const struct CMUnitTest tests[] = {
        WITH_STAGE(test_an_orphan_is_ended),
        WITH_STAGE(test_what_is_not_ours_is_spared),
        WITH_STAGE(test_a_row_of_another_boot),
        WITH_STAGE(test_files_that_are_not_trusted),
        WITH_STAGE(test_a_file_under_another_name),
        WITH_STAGE(test_a_damaged_file_is_put_aside),
        WITH_STAGE(test_a_file_without_a_first_record),
        WITH_STAGE(test_reservations),
        WITH_STAGE(test_too_many_rows),
        WITH_STAGE(test_a_sweep_stops),
        WITH_STAGE(test_doubt_spares),
        cmocka_unit_test(test_null_is_no_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
