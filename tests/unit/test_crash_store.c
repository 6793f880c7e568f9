/* Dossiers on disk: what is written, what makes room, whom it leaves alone, and what happens where nothing can be written. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <snakepit/snakepit.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/shell.h"
#include "crash/store.h"
#include "crash/store_files.h"

#define LIMIT_NS UINT64_C(60000000000) /* a wait that is longer has failed */

static char place[64], folder[128];
static struct os_ops os; /* os_linux, or with a fault in it */
static struct {
    unsigned calls, waits;
    uint64_t lost;
    char id[STORE_NAME], reason[128];
} told; /* by the writing thread; read when the store is closed */

static void on_lost(void *user, const struct crash_loss *l)
{
    (void)user;
    told.calls++;
    told.lost += l->count;
    snprintf(told.id, sizeof told.id, "%s", l->id);
    snprintf(told.reason, sizeof told.reason, "%s", l->reason);
    assert_string_equal(l->dir, folder);
}

static void on_waiting(void *user)
{
    (void)user;
    told.waits++;
}

static int set_up(void **state)
{
    (void)state;
    memset(&told, 0, sizeof told);
    os = os_linux;
    snprintf(place, sizeof place, "/tmp/snakepit-crashes-XXXXXX");
    assert_non_null(mkdtemp(place));
    snprintf(folder, sizeof folder, "%s/state/crashes", place);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", place);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static bool exists(const char *name)
{
    struct stat st;
    return lstat(path_of(name), &st) == 0;
}

static void make_file(const char *name, size_t bytes, time_t changed)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    assert_int_equal(close(fd), 0);
    const struct timeval times[2] = {{changed, 0}, {changed, 0}};
    assert_int_equal(utimes(path_of(name), times), 0);
}

struct counted {
    unsigned files, others;
    uint64_t bytes;
};

static bool count_one(void *user, const char *name)
{
    struct counted *c = user;
    struct stat st;
    c->files += store_name_is(name, ".json");
    c->others += !store_name_is(name, ".json");
    assert_int_equal(stat(path_of(name), &st), 0);
    c->bytes += store_name_is(name, ".json") ? (uint64_t)st.st_size : 0;
    return true;
}

static struct counted count(void)
{
    struct counted c = {0};
    int dir = os_linux.dir_open(folder);
    assert_true(dir >= 0);
    assert_int_equal(os_linux.dir_names(dir, count_one, &c), 0);
    os_linux.close(dir);
    return c;
}

static pit_value *dossier_of(const char *id, size_t bytes)
{
    char *text = calloc(1, bytes + 1);
    assert_non_null(text);
    memset(text, 'x', bytes);
    pit_value *d = pit_pack("{s:s,s:s}", "id", id, "stderr", text), *shared = pit_value_ref(d);
    free(text);
    pit_value_free(shared);
    return d;
}

static void put(struct crash_store *s, const char *id, size_t bytes, uint64_t most)
{
    pit_value *d = dossier_of(id, bytes);
    crash_store_put(s, (struct crash_place){folder, most}, d);
    crash_store_write(s);
    pit_value_free(d);
}

static struct crash_store *create(void)
{
    static const struct crash_store_events events = {on_waiting, on_lost};
    struct crash_store *s = crash_store_create(&os, &events, NULL);
    assert_non_null(s);
    return s;
}

/* One alone, by the functions that the thread uses. */
static int write_one(struct store_folder *f, const char *id, size_t bytes, uint64_t most)
{
    pit_value *d = dossier_of(id, bytes);
    int rc = store_write(&os, f, most, id, d);
    pit_value_free(d);
    return rc;
}

/* ---- names ---- */

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"0abc9zz-default-0.1.json", "0000000-a-b-12.7-3.44.json", "0000000-p.q_r-0.1.json"};
    static const char *const bad[] = {"",
                                      ".json",
                                      "notes.json",
                                      "0abc9zz-default-0.1.jsonx",
                                      "0abc9zz-default-0.json",
                                      "0abc9zz-default-.1.json",
                                      "0abc9zz-default-0..json",
                                      "0abc9zz-0.1.json",
                                      "0abc9zz--0.1.json",
                                      "0ABC9zz-default-0.1.json",
                                      "0abc9z-default-0.1.json",
                                      "package-lock.json",
                                      "package-lock-1.0.txt"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(store_name_is(good[i], ".json"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(store_name_is(bad[i], ".json"));
    assert_true(store_name_is("0abc9zz-default-0.1.tmp", ".tmp"));
}

static void test_words_of_a_shell(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"/srv/a-b_c.1", "/srv/a-b_c.1"}, {"", "''"},   {"a b", "'a b'"},       {"it's", "'it'\\''s'"},
        {"$(id)`;", "'$(id)`;'"},         {"~", "'~'"}, {"a\nb\033", "'a?b?'"}, {"\xc3\xa4", "'\xc3\xa4'"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = {0};
        shell_quote(&b, rows[i][0], strlen(rows[i][0]));
        char *text = buf_take_str(&b);
        assert_string_equal(text, rows[i][1]);
        mem_free(text);
    }
}

/* ---- writing ---- */

static void test_a_file_for_each(void **state)
{
    (void)state;
    struct stat st;
    char text[64] = "";
    struct crash_store *s = create();
    put(s, "0abc9zz-default-0.1", 3, 1 << 20);
    put(s, "0abc9zz-default-0.2", 3, 1 << 20);
    crash_store_close(s, UINT64_MAX);
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(path_of("0abc9zz-default-0.1.json"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    struct counted c = count();
    assert_int_equal(c.files, 2);
    assert_int_equal(c.others, 0);
    int fd = open(path_of("0abc9zz-default-0.2.json"), O_RDONLY);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    assert_string_equal(text, "{\"id\":\"0abc9zz-default-0.2\",\"stderr\":\"xxx\"}\n");
    assert_int_equal(told.calls, 0);
}

static int no_thread(pthread_t *ret, void *(*fn)(void *), void *arg)
{
    (void)ret;
    (void)fn;
    (void)arg;
    return -EAGAIN;
}

/* Another word on the same death, before it is written, and when it is too late. */
static void test_an_amended_one(void **state)
{
    (void)state;
    os.thread_start = no_thread;
    struct crash_store *s = create();
    put(s, "0abc9zz-default-0.1", 1, 1 << 20);
    put(s, "0abc9zz-default-0.2", 2, 1 << 20);
    pit_value *more = dossier_of("0abc9zz-default-0.2", 7), *unknown = dossier_of("0abc9zz-default-0.3", 7);
    const struct crash_place here = {folder, 1 << 20};
    crash_store_amend(s, here, more);
    assert_int_equal(told.waits, 2); /* it is in the place of another */
    crash_store_amend(s, here, unknown);
    assert_int_equal(told.waits, 3);
    crash_store_amend(NULL, here, more);
    crash_store_amend(s, (struct crash_place){NULL, 1 << 20}, more);
    crash_store_close(s, UINT64_MAX);
    pit_value_free(more);
    pit_value_free(unknown);
    struct stat st[2];
    assert_int_equal(stat(path_of("0abc9zz-default-0.1.json"), &st[0]), 0);
    assert_int_equal(stat(path_of("0abc9zz-default-0.2.json"), &st[1]), 0);
    assert_int_equal(st[1].st_size - st[0].st_size, 6);
    assert_int_equal(count().files, 3);
    assert_int_equal(told.calls, 0);
}

static void test_nowhere(void **state)
{
    (void)state;
    struct crash_store *s = create();
    pit_value *d = dossier_of("0abc9zz-default-0.1", 3);
    crash_store_put(s, (struct crash_place){NULL, 1 << 20}, d);
    crash_store_put(NULL, (struct crash_place){folder, 1 << 20}, d);
    assert_false(crash_store_works(s, (struct crash_place){NULL, 1 << 20}));
    assert_false(crash_store_works(NULL, (struct crash_place){folder, 1 << 20}));
    assert_true(crash_store_works(s, (struct crash_place){folder, 1 << 20}));
    crash_store_close(s, UINT64_MAX);
    crash_store_close(NULL, UINT64_MAX);
    pit_value_free(d);
    struct stat st;
    assert_int_equal(stat(folder, &st), -1);
    assert_int_equal(told.calls, 0);
}

/* ---- room ---- */

static void test_a_thousand(void **state)
{
    (void)state;
    enum { MOST = 256 * 1024, EACH = 3000 };
    struct store_folder f = {.dir = folder};
    char id[STORE_NAME];
    for (int i = 1; i <= 1000; i++) {
        snprintf(id, sizeof id, "0abc9zz-default-0.%d", i);
        assert_int_equal(write_one(&f, id, EACH, MOST), 0);
        if (i % 50 == 0)
            assert_true(count().bytes <= MOST);
    }
    struct counted c = count();
    assert_true(c.files > 30 && c.bytes > MOST / 2 && c.bytes <= MOST);
    assert_true(exists("0abc9zz-default-0.1000.json"));
    assert_false(exists("0abc9zz-default-0.1.json"));
}

/* Two hosts that know nothing of each other. */
static void test_a_folder_that_is_shared(void **state)
{
    (void)state;
    enum { MOST = 256 * 1024, EACH = 3000 };
    struct store_folder both[2] = {{.dir = folder}, {.dir = folder}};
    char id[STORE_NAME];
    for (int i = 1; i <= 600; i++) {
        snprintf(id, sizeof id, "%s-default-0.%d", i % 2 == 0 ? "0aaaaaa" : "0bbbbbb", i);
        assert_int_equal(write_one(&both[i % 2], id, EACH, MOST), 0);
        assert_true(i % 20 != 0 || count().bytes <= MOST + MOST / 16);
    }
    assert_true(count().bytes > MOST / 2);
}

static void test_the_oldest_go_and_nothing_else(void **state)
{
    (void)state;
    enum { MOST = 64 * 1024 };
    struct store_folder f = {.dir = folder};
    assert_int_equal(write_one(&f, "0abc9zz-default-0.1", 10, MOST), 0);
    time_t now = time(NULL);
    make_file("0abc9zz-default-0.2.json", 30000, now - 3000);
    make_file("zzzzzzz-other-7.9.json", 30000, now - 5000);
    make_file("0abc9zz-default-0.3.json", 20000, now - 1000);
    make_file("precious.json", 90000, now - 9000);
    make_file("0abc9zz-default-0.4.tmp", 10, now - 9000); /* its writer has been killed */
    make_file("0abc9zz-default-0.5.tmp", 10, now);        /* this one writes */
    assert_int_equal(symlink("/etc/passwd", path_of("0abc9zz-link-0.1.json")), 0);
    f.known = false;
    assert_int_equal(write_one(&f, "0abc9zz-default-0.6", 10, MOST), 0);
    assert_false(exists("zzzzzzz-other-7.9.json"));
    assert_false(exists("0abc9zz-default-0.2.json"));
    assert_true(exists("0abc9zz-default-0.3.json"));
    assert_true(exists("0abc9zz-default-0.1.json"));
    assert_true(exists("0abc9zz-default-0.6.json"));
    assert_true(exists("precious.json"));
    assert_true(exists("0abc9zz-link-0.1.json"));
    assert_false(exists("0abc9zz-default-0.4.tmp"));
    assert_true(exists("0abc9zz-default-0.5.tmp"));
}

static void test_one_that_is_too_large(void **state)
{
    (void)state;
    enum { MOST = 64 * 1024 };
    struct store_folder f = {.dir = folder};
    assert_int_equal(write_one(&f, "0abc9zz-default-0.1", 10, MOST), 0);
    assert_int_equal(write_one(&f, "0abc9zz-default-0.2", MOST, MOST), -EFBIG);
    assert_int_equal(count().files, 1);
    assert_non_null(strstr(store_reason(-EFBIG), "max_bytes"));
}

static void test_a_name_that_leads_elsewhere(void **state)
{
    (void)state;
    struct store_folder f = {.dir = folder};
    assert_int_equal(write_one(&f, "../0abc9zz-default-0.1", 10, 1 << 20), -EINVAL);
    assert_int_equal(write_one(&f, "", 10, 1 << 20), -EINVAL);
    assert_int_equal(count().files + count().others, 0);
}

/* ---- failures ---- */

static _Atomic int fails; /* the errno of what fails, 0: nothing does */
static unsigned failed;

static ssize_t failing_write(int fd, const void *data, size_t n)
{
    failed++;
    return fails != 0 ? os_linux.write(fd, data, n / 2) > 0 && failed % 2 == 1 ? (ssize_t)(n / 2) : -fails
                      : os_linux.write(fd, data, n);
}

static int failing_rename(int dir, const char *from, const char *to)
{
    return fails != 0 ? -fails : os_linux.file_rename(dir, from, to);
}

/* Half of it arrives, then the device is full; nothing stays, and it is told once. */
static void test_a_full_device(void **state)
{
    (void)state;
    os.write = failing_write;
    fails = ENOSPC;
    failed = 0;
    struct crash_store *s = create();
    put(s, "0abc9zz-default-0.1", 1000, 1 << 20);
    put(s, "0abc9zz-default-0.2", 1000, 1 << 20);
    put(s, "0abc9zz-default-0.3", 1000, 1 << 20);
    crash_store_close(s, UINT64_MAX);
    assert_int_equal(told.calls, 2); /* the first at once, the others at the end */
    assert_int_equal(told.lost, 3);
    assert_string_equal(told.id, "0abc9zz-default-0.3");
    assert_string_equal(told.reason, strerror(ENOSPC));
    assert_int_equal(count().files + count().others, 0);
}

static void test_no_rename(void **state)
{
    (void)state;
    os.file_rename = failing_rename;
    fails = EDQUOT;
    struct store_folder f = {.dir = folder};
    assert_int_equal(write_one(&f, "0abc9zz-default-0.1", 1000, 1 << 20), -EDQUOT);
    assert_int_equal(count().files + count().others, 0);
}

static bool works_again(struct crash_store *s, bool yes)
{
    uint64_t until = os_linux.now_ns() + LIMIT_NS;
    while (crash_store_works(s, (struct crash_place){folder, 1 << 20}) != yes && os_linux.now_ns() < until)
        poll(NULL, 0, 1); /* allow-sleep: between two looks */
    return crash_store_works(s, (struct crash_place){folder, 1 << 20}) == yes;
}

/* Whoever asks learns that nothing is kept there now; later it is. */
static void test_a_device_that_has_room_again(void **state)
{
    (void)state;
    os.file_rename = failing_rename;
    fails = ENOSPC;
    struct crash_store *s = create();
    put(s, "0abc9zz-default-0.1", 10, 1 << 20);
    assert_true(works_again(s, false));
    put(s, "0abc9zz-default-0.2", 10, 1 << 20);
    fails = 0;
    put(s, "0abc9zz-default-0.3", 10, 1 << 20);
    assert_true(works_again(s, true));
    crash_store_close(s, UINT64_MAX);
    assert_true(told.lost == 1 || told.lost == 2);
    assert_true(exists("0abc9zz-default-0.3.json"));
    assert_int_equal(count().files + told.lost, 3);
}

static void test_folders_that_are_no_place(void **state)
{
    (void)state;
    struct store_folder f = {.dir = folder};
    char above[128];
    snprintf(above, sizeof above, "%s/state", place);
    int fd = open(above, O_WRONLY | O_CREAT, 0600); /* a file in the way */
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(write_one(&f, "0abc9zz-default-0.1", 10, 1 << 20), -ENOTDIR);
    unlink(above);
    assert_int_equal(mkdir(above, 0700), 0);
    assert_int_equal(symlink("/tmp", folder), 0);
    int rc = write_one(&f, "0abc9zz-default-0.1", 10, 1 << 20);
    assert_true(rc == -ENOTDIR || rc == -EPERM); /* O_DIRECTORY | O_NOFOLLOW */
    unlink(folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(write_one(&f, "0abc9zz-default-0.1", 10, 1 << 20), -EPERM);
    assert_non_null(strstr(store_reason(-EPERM), "this user alone"));
}

/* It is told why the first folder could not be made, not that the last one is in none. */
static void test_a_place_that_is_read_only(void **state)
{
    (void)state;
    uid_t me = geteuid();
    assert_int_equal(chmod(place, 0555), 0);
    if (me == 0 && seteuid(65534) != 0)
        skip(); /* a namespace with one user */
    int rc = os_linux.dir_open(folder);
    if (me == 0)
        assert_int_equal(seteuid(me), 0);
    assert_int_equal(chmod(place, 0755), 0);
    assert_int_equal(rc, -EACCES);
}

static void test_a_folder_that_vanishes(void **state)
{
    (void)state;
    struct store_folder f = {.dir = folder};
    char command[160];
    assert_int_equal(write_one(&f, "0abc9zz-default-0.1", 10, 1 << 20), 0);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(write_one(&f, "0abc9zz-default-0.2", 10, 1 << 20), 0);
    assert_int_equal(count().files, 1);
}

/* What a try says is true before anything was lost, and the first loss is told all the same. */
static void test_a_try(void **state)
{
    (void)state;
    const struct crash_place here = {folder, 1 << 20};
    struct crash_store *s = create();
    crash_store_try(s, here, "0abc9zz");
    crash_store_try(s, (struct crash_place){NULL, 1 << 20}, "0abc9zz");
    crash_store_try(NULL, here, "0abc9zz");
    assert_true(crash_store_works(s, here));
    struct counted c = count();
    assert_int_equal(c.files + c.others, 0);
    crash_store_close(s, UINT64_MAX);

    char command[300];
    snprintf(command, sizeof command, "rm -rf %s && touch %s", folder, folder);
    assert_int_equal(system(command), 0);
    s = create();
    crash_store_try(s, here, "0abc9zz");
    assert_false(crash_store_works(s, here));
    assert_int_equal(told.calls, 0);
    put(s, "0abc9zz-default-0.1", 10, 1 << 20);
    put(s, "0abc9zz-default-0.2", 10, 1 << 20);
    crash_store_close(s, UINT64_MAX);
    assert_int_equal(told.lost, 2);
    assert_string_equal(told.reason, strerror(ENOTDIR));
    unlink(folder);
}

static ssize_t no_room(int fd, const void *data, size_t n)
{
    (void)fd;
    (void)data;
    (void)n;
    return -ENOSPC;
}

static void test_a_try_on_a_full_device(void **state)
{
    (void)state;
    const struct crash_place here = {folder, 1 << 20};
    os.write = no_room;
    struct crash_store *s = create();
    crash_store_try(s, here, "0abc9zz");
    assert_false(crash_store_works(s, here));
    struct counted c = count();
    assert_int_equal(c.files + c.others, 0);
    os.write = os_linux.write; /* somebody has made room */
    put(s, "0abc9zz-default-0.1", 10, 1 << 20);
    assert_true(works_again(s, true));
    crash_store_close(s, UINT64_MAX);
    assert_int_equal(told.calls, 0);
}

/* Then the end writes what waits, as far as there was room to wait. */
static void test_no_thread(void **state)
{
    (void)state;
    os.thread_start = no_thread;
    struct crash_store *s = create();
    char id[STORE_NAME];
    for (int i = 1; i <= STORE_QUEUE + 5; i++) {
        snprintf(id, sizeof id, "0abc9zz-default-0.%d", i);
        put(s, id, 10, 1 << 20);
    }
    crash_store_close(s, UINT64_MAX);
    assert_int_equal(count().files, STORE_QUEUE);
    assert_int_equal(told.lost, 5);
}

static void test_no_time_left(void **state)
{
    (void)state;
    os.thread_start = no_thread;
    struct crash_store *s = create();
    put(s, "0abc9zz-default-0.1", 10, 1 << 20);
    put(s, "0abc9zz-default-0.2", 10, 1 << 20);
    crash_store_close(s, 1);
    assert_int_equal(told.lost, 2);
    assert_non_null(strstr(told.reason, "closed"));
}

static _Atomic bool hangs;
static _Atomic unsigned hanging;

static int hanging_create(int dir, const char *name)
{
    hanging++;
    while (hangs)
        poll(NULL, 0, 1); /* allow-sleep: as long as the disk does not answer */
    return os_linux.file_create(dir, name);
}

static bool count_task(void *user, const char *name)
{
    *(int *)user += name[0] != '.';
    return true;
}

static int tasks(void)
{
    int n = 0, dir = open("/proc/self/task", O_RDONLY | O_DIRECTORY);
    assert_true(dir >= 0);
    assert_int_equal(os_linux.dir_names(dir, count_task, &n), 0);
    close(dir);
    return n;
}

static bool are_tasks(int n)
{
    uint64_t until = os_linux.now_ns() + LIMIT_NS;
    while (tasks() != n && os_linux.now_ns() < until)
        poll(NULL, 0, 1); /* allow-sleep: between two looks */
    return tasks() == n;
}

/* As the disk of another machine that is gone: the end waits for its time, says what is lost, and leaves the rest to the thread. */
static void test_a_disk_that_hangs(void **state)
{
    (void)state;
    os.file_create = hanging_create;
    for (int begun = 0; begun < 2; begun++) {
        int before = tasks();
        memset(&told, 0, sizeof told);
        hangs = true;
        hanging = 0;
        char *dir = strdup(folder), id[STORE_NAME]; /* the store's own, later on */
        struct crash_store *s = create();
        for (int i = 1; i <= 3; i++) {
            snprintf(id, sizeof id, "0abc9zz-default-0.%d", i);
            pit_value *d = dossier_of(id, 10);
            crash_store_put(s, (struct crash_place){dir, 1 << 20}, d);
            pit_value_free(d);
        }
        if (begun != 0)
            crash_store_write(s);
        for (uint64_t until = os_linux.now_ns() + LIMIT_NS; begun != 0 && hanging == 0 && os_linux.now_ns() < until;)
            poll(NULL, 0, 1); /* allow-sleep: between two looks */
        crash_store_close(s, os_linux.now_ns() + LIMIT_NS / 200);
        free(dir);
        assert_int_equal(told.lost, 3);
        assert_true(begun == 0 || hanging == 1);
        hangs = false;
        assert_true(are_tasks(before));
        bool gave_up = strstr(told.reason, "did not answer") != NULL; /* else it was too late before it had begun */
        assert_int_equal(hanging, gave_up);                           /* it began no other */
        assert_true(!gave_up || told.calls == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_words_of_a_shell),
#define WITH_A_STAGE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        WITH_A_STAGE(test_a_file_for_each),
        WITH_A_STAGE(test_an_amended_one),
        WITH_A_STAGE(test_nowhere),
        WITH_A_STAGE(test_a_thousand),
        WITH_A_STAGE(test_a_folder_that_is_shared),
        WITH_A_STAGE(test_the_oldest_go_and_nothing_else),
        WITH_A_STAGE(test_one_that_is_too_large),
        WITH_A_STAGE(test_a_name_that_leads_elsewhere),
        WITH_A_STAGE(test_a_full_device),
        WITH_A_STAGE(test_no_rename),
        WITH_A_STAGE(test_a_device_that_has_room_again),
        WITH_A_STAGE(test_folders_that_are_no_place),
        WITH_A_STAGE(test_a_folder_that_vanishes),
        WITH_A_STAGE(test_a_place_that_is_read_only),
        WITH_A_STAGE(test_a_try),
        WITH_A_STAGE(test_a_try_on_a_full_device),
        WITH_A_STAGE(test_no_thread),
        WITH_A_STAGE(test_no_time_left),
        WITH_A_STAGE(test_a_disk_that_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
