/* The registry: its records, and a host's own file. */
#include "registry_kit.h"

/* ---- records ---- */

static void put_samples(struct buf *b)
{
    struct record r = dead_host();
    strcpy(r.host.cgroup, "/a/b");
    record_write(b, &r);
    put_reserved(b, 1, 0);
    r = active(&r, 1, getpid());
    record_write(b, &r);
    r.kind = RECORD_TERMINATING;
    record_write(b, &r);
    r.kind = RECORD_GONE;
    record_write(b, &r);
    assert_false(b->failed);
}

static void test_records_come_back(void **state)
{
    (void)state;
    struct buf b = {0};
    struct record r;
    size_t at = 0;
    put_samples(&b);
    assert_int_equal(record_read((char *)b.data, b.len, &at, &r), RECORD_OK);
    assert_int_equal(r.kind, RECORD_HOST);
    assert_string_equal(r.host.boot, boot);
    assert_string_equal(r.host.run, RUN);
    assert_string_equal(r.host.instance, "here");
    assert_string_equal(r.host.token, "");
    assert_string_equal(r.host.cgroup, "/a/b");
    assert_true(r.host.pid > 0 && r.host.start == 12345 && r.host.pid_namespace == name_space);
    assert_int_equal(record_read((char *)b.data, b.len, &at, &r), RECORD_OK);
    assert_true(r.kind == RECORD_RESERVED && r.row == 1 && r.time_ns > 0 && strcmp(r.worker, "default/0.1") == 0);
    assert_int_equal(record_read((char *)b.data, b.len, &at, &r), RECORD_OK);
    assert_true(r.kind == RECORD_ACTIVE && r.row == 1 && r.pid == getpid() && r.pgid == getpid() &&
                r.start == start_of(getpid()));
    assert_int_equal(record_read((char *)b.data, b.len, &at, &r), RECORD_OK);
    assert_true(r.kind == RECORD_TERMINATING && r.row == 1);
    assert_int_equal(record_read((char *)b.data, b.len, &at, &r), RECORD_OK);
    assert_true(r.kind == RECORD_GONE && r.row == 1);
    assert_int_equal(record_read((char *)b.data, b.len, &at, &r), RECORD_END);
    assert_int_equal(at, b.len);
    buf_finish(&b);
}

/* Cut off anywhere, a file is its whole records and nothing else. */
static void test_a_torn_tail_is_ignored(void **state)
{
    (void)state;
    struct buf b = {0};
    put_samples(&b);
    for (size_t n = 0; n < b.len; n++) {
        struct record r;
        size_t at = 0, lines = 0, records = 0;
        for (size_t i = 0; i < n; i++)
            lines += b.data[i] == '\n';
        int rc;
        while ((rc = record_read((char *)b.data, n, &at, &r)) == RECORD_OK)
            records++;
        assert_int_equal(rc, RECORD_END);
        assert_int_equal(records, lines);
    }
    buf_finish(&b);
}

/* Every bit counts. */
static void test_damage_is_seen(void **state)
{
    (void)state;
    struct buf b = {0};
    put_samples(&b);
    for (size_t i = 0; i < b.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct record r;
            size_t at = 0, line = 0, records = 0;
            for (size_t k = 0; k < i; k++)
                line += b.data[k] == '\n';
            b.data[i] ^= (uint8_t)(1 << bit);
            while (record_read((char *)b.data, b.len, &at, &r) == RECORD_OK)
                records++;
            b.data[i] ^= (uint8_t)(1 << bit);
            assert_int_equal(records, line);
        }
    }
    buf_finish(&b);
}

static int read_line(const char *text)
{
    struct buf b = {0};
    struct record r;
    size_t at = 0;
    uint32_t crc = ~UINT32_C(0);
    for (const char *c = text; *c != '\0'; c++) {
        crc ^= (unsigned char)*c;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
    }
    buf_printf(&b, "%04x %08x %s\n", (unsigned)strlen(text), ~crc, text);
    int rc = record_read((char *)b.data, b.len, &at, &r);
    buf_finish(&b);
    return rc;
}

/* What has a good checksum may still be nonsense. */
static void test_nonsense_is_no_record(void **state)
{
    (void)state;
    static const char *const good[] = {"gone 1",         "terminating 18446744073709551615", "reserved 1 2 default/0.1",
                                       "reserved 1 2 .", "host 1 5 6 boot 7 abcdefg . . .",  "active 1 2 3 4 boot abcdefg w"};
    static const char *const bad[] = {"",
                                      "gone",
                                      "gone ",
                                      "gone x",
                                      "gone -1",
                                      "gone 1 2",
                                      " gone 1",
                                      "gone  1",
                                      "gone 18446744073709551616",
                                      "gone 99999999999999999999",
                                      "Gone 1",
                                      "killed 1",
                                      "reserved 1",
                                      "reserved 1 2",
                                      "active 1 0 3 4 boot abcdefg w",
                                      "active 1 -5 3 4 boot abcdefg w",
                                      "active 1 2147483648 3 4 boot abcdefg w",
                                      "active 1 2 3 4 boot abcdefgh w",
                                      "host 2 5 6 boot 7 abcdefg . . .",
                                      "host 1 5 6 boot 7 abcdefg . .",
                                      "host 1 5 6 boot 7 abcdefg . . . .",
                                      "host 1 0 6 boot 7 abcdefg . . ."};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (read_line(good[i]) != RECORD_OK)
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (read_line(bad[i]) != RECORD_BAD)
            fail_msg("taken: %s", bad[i]);
}

/* ---- a host's own file ---- */

static struct registry *own(const char *run)
{
    struct registry *r;
    const char *call;
    assert_int_equal(registry_open(&os, place, "here", "", &r, &call), 0);
    assert_int_equal(registry_begin(r, run), 0);
    return r;
}

static unsigned count_lines(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

static void test_a_row_from_birth_to_death(void **state)
{
    (void)state;
    struct registry *r = own("mine001"), *second;
    const char *call;
    struct stat st;
    char expected[128];
    assert_int_equal(stat(path_of("mine001"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    snprintf(expected, sizeof expected, " host 1 %d %llu %s ", (int)getpid(), (unsigned long long)start_of(getpid()), boot);
    assert_non_null(strstr(file_text("mine001"), expected));
    assert_int_equal(registry_open(&os, place, "here", "", &second, &call), 0);
    assert_int_equal(registry_begin(second, "mine001"), -EEXIST);
    registry_close(second);
    assert_true(exists("mine001"));

    pid_t pid = sleeper("A=1");
    registry_reserve(r, 77, "default/0.1");
    assert_int_equal(count_lines(file_text("mine001"), " reserved 1 "), 1);
    registry_active(r, 77, pid);
    snprintf(expected, sizeof expected, " active 1 %d %d %llu %s mine001 default/0.1\n", (int)pid, (int)pid,
             (unsigned long long)start_of(pid), boot);
    assert_non_null(strstr(file_text("mine001"), expected));
    registry_ending(r, 77);
    registry_ending(r, 77);
    assert_int_equal(count_lines(file_text("mine001"), " terminating 1\n"), 1);
    registry_gone(r, 77, false); /* nobody has seen it end, and it lives */
    assert_int_equal(count_lines(file_text("mine001"), " gone 1\n"), 0);
    assert_int_equal(registry_tend(r), -1);
    assert_int_equal(count_lines(file_text("mine001"), " gone 1\n"), 0);
    kill(pid, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0); /* a zombie counts as gone */
    assert_int_equal(registry_tend(r), -1);
    assert_int_equal(count_lines(file_text("mine001"), " gone 1\n"), 1);
    end(pid);
    registry_close(r);
    assert_false(exists("mine001"));
}

static void test_a_file_stays_as_long_as_somebody_lives(void **state)
{
    (void)state;
    struct registry *r = own("mine002");
    pid_t pid = sleeper("A=1");
    registry_reserve(r, 1, "default/0.1");
    registry_active(r, 1, pid);
    registry_close(r);
    assert_true(exists("mine002"));
    end(pid);
}

static bool disk_full;

static ssize_t write_some(int fd, const void *data, size_t n)
{
    return disk_full ? os_linux.write(fd, data, n / 2) : os_linux.write(fd, data, n);
}

/* A full disk costs the rows, not the host; when there is room again all is as it was. */
static void test_a_full_disk(void **state)
{
    (void)state;
    os.write = write_some;
    struct registry *r = own("mine003");
    pid_t pid = sleeper("A=1");
    registry_reserve(r, 1, "default/0.1");
    disk_full = true;
    registry_active(r, 1, pid);
    assert_int_equal(registry_error(r), ENOSPC);
    registry_reserve(r, 2, "default/1.1");
    assert_int_equal(registry_tend(r), -1);
    assert_int_equal(registry_error(r), ENOSPC);
    assert_false(exists("mine003.tmp"));
    disk_full = false;
    assert_int_equal(registry_tend(r), 2);
    assert_int_equal(registry_error(r), 0);
    const char *text = file_text("mine003");
    assert_int_equal(count_lines(text, "\n"), 4); /* host, reserved, active, reserved */
    assert_int_equal(count_lines(text, " active 1 "), 1);
    registry_gone(r, 2, true);
    registry_gone(r, 1, true);
    end(pid);
    registry_close(r);
    assert_false(exists("mine003"));
}

static void test_a_file_that_has_grown_is_made_anew(void **state)
{
    (void)state;
    struct registry *r = own("mine004");
    struct stat st;
    for (int i = 0; i < 2000; i++) {
        registry_reserve(r, 5, "default/0.1");
        registry_gone(r, 5, true);
    }
    registry_reserve(r, 6, "default/9.9");
    assert_int_equal(stat(path_of("mine004"), &st), 0);
    assert_true(st.st_size > 64 * 1024);
    assert_int_equal(registry_tend(r), -1);
    assert_int_equal(stat(path_of("mine004"), &st), 0);
    assert_true(st.st_size < 1024);
    assert_int_equal(count_lines(file_text("mine004"), "default/9.9"), 1);
    registry_gone(r, 6, true);
    assert_int_equal(count_lines(file_text("mine004"), " gone 2001\n"), 1); /* it goes on in the new file */
    registry_close(r);
}

static int open_error(const char *at)
{
    struct registry *r = NULL;
    const char *call;
    int rc = registry_open(&os, at, "here", "", &r, &call);
    registry_close(r);
    return rc;
}

/* Where somebody else could write, nothing is believed. */
static void test_folders_that_are_not_trusted(void **state)
{
    (void)state;
    char at[128], inner[160];
    snprintf(at, sizeof at, "%s/a/b/c", place);
    assert_int_equal(open_error(at), 0); /* made, with those above it */
    snprintf(inner, sizeof inner, "%s/registry", at);
    assert_int_equal(chmod(inner, 0770), 0);
    assert_int_equal(open_error(at), -EPERM);
    assert_int_equal(rmdir(inner), 0);
    assert_int_equal(symlink(folder, inner), 0);
    int rc = open_error(at);
    assert_true(rc == -EPERM || rc == -ENOTDIR);
    assert_int_equal(unlink(inner), 0);
    assert_int_equal(close(open(inner, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
    assert_int_equal(open_error(at), -ENOTDIR);
    assert_int_equal(unlink(inner), 0);
    assert_int_equal(open_error("relative"), -EINVAL);
    if (geteuid() == 0) {
        assert_int_equal(mkdir(inner, 0700), 0);
        assert_int_equal(chown(inner, 65534, 65534), 0);
        assert_int_equal(open_error(at), -EPERM);
    } else {
        assert_int_equal(open_error("/proc/nobody/may"), -ENOENT);
    }
}

int main(void)
{
    kit_name_run();
    const struct CMUnitTest tests[] = {
        WITH_STAGE(test_records_come_back),
        WITH_STAGE(test_a_torn_tail_is_ignored),
        WITH_STAGE(test_damage_is_seen),
        cmocka_unit_test(test_nonsense_is_no_record),
        WITH_STAGE(test_a_row_from_birth_to_death),
        WITH_STAGE(test_a_file_stays_as_long_as_somebody_lives),
        WITH_STAGE(test_a_full_disk),
        WITH_STAGE(test_a_file_that_has_grown_is_made_anew),
        WITH_STAGE(test_folders_that_are_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
