/* A stage for the tests of the registry: a folder of its own, processes to be ended or spared, files that are forged. */
#ifndef TESTS_REGISTRY_KIT_H
#define TESTS_REGISTRY_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "registry/record.h"
#include "registry/registry.h"

#define SECOND UINT64_C(1000000000)

static char RUN[8], RUN_ENTRY[32]; /* of this very process: two of it may run at a time, and each ends what carries its own */
static char place[64];             /* what registry_open is given */
static char folder[96];            /* where the files are */
static char boot[OS_BOOT_ID];
static uint64_t name_space;
static struct registry *sweeper;
static struct os_ops os; /* os_linux, or with a fault in it */

/* ---- a stage ---- */

static inline int set_up(void **state)
{
    (void)state;
    const char *call;
    os = os_linux;
    snprintf(place, sizeof place, "/tmp/snakepit-registry-XXXXXX");
    assert_non_null(mkdtemp(place));
    snprintf(folder, sizeof folder, "%s/registry", place);
    assert_int_equal(os.boot_id(boot, &name_space), 0);
    assert_int_equal(registry_open(&os, place, "here", "", &sweeper, &call), 0);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    char command[128];
    registry_close(sweeper);
    sweeper = NULL;
    snprintf(command, sizeof command, "rm -rf %s", place);
    return system(command);
}

static inline const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline bool exists(const char *name)
{
    struct stat st;
    return lstat(path_of(name), &st) == 0;
}

/* The run's name with something behind it. */
static inline const char *run_with(const char *suffix)
{
    static char name[64];
    snprintf(name, sizeof name, "%s%s", RUN, suffix);
    return name;
}

/* The first name that begins so, or NULL. */
static inline const char *begins_with(const char *start)
{
    static char found[128];
    char command[256];
    snprintf(command, sizeof command, "ls %s | grep ^%s", folder, start);
    FILE *f = popen(command, "r");
    bool any = f != NULL && fgets(found, sizeof found, f) != NULL;
    if (f != NULL)
        pclose(f);
    found[strcspn(found, "\n")] = '\0';
    return any ? found : NULL;
}

static inline void put_file(const char *name, const struct buf *b)
{
    FILE *f = fopen(path_of(name), "we");
    assert_non_null(f);
    if (b->len > 0)
        assert_int_equal(fwrite(b->data, 1, b->len, f), b->len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path_of(name), 0600), 0);
}

static inline char *file_text(const char *name)
{
    static char text[1 << 20];
    FILE *f = fopen(path_of(name), "re");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

static inline uint64_t start_of(pid_t pid)
{
    struct os_proc p;
    return os_linux.proc_info(pid, &p) == 0 ? p.start : 0;
}

/* A process that sleeps, in a session of its own, with this environment entry. */
static inline pid_t sleeper(const char *entry)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char *argv[] = {"sleep", "1000", NULL}, *envp[] = {"OTHER=1", (char *)(uintptr_t)entry, NULL};
        setsid();
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody who holds its output open */
        execve("/bin/sleep", argv, envp);
        _exit(127);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* the exec has closed it */
    close(ready[0]);
    return pid;
}

static inline bool lives(pid_t pid)
{
    return waitpid(pid, NULL, WNOHANG) == 0;
}

static inline void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* A host that has died. */
static inline struct record dead_host(void)
{
    struct record r = {.kind = RECORD_HOST, .host = {.start = 12345, .pid_namespace = name_space, .instance = "here"}};
    r.host.pid = sleeper("A=1");
    end(r.host.pid);
    strcpy(r.host.boot, boot);
    strcpy(r.host.run, RUN);
    return r;
}

static inline struct record active(const struct record *host, uint64_t row, pid_t pid)
{
    struct record r = {.kind = RECORD_ACTIVE, .host = host->host, .row = row, .pid = pid, .pgid = pid, .worker = "default/0.1"};
    r.start = start_of(pid);
    return r;
}

static inline void put_reserved(struct buf *b, uint64_t row, uint64_t age_ns)
{
    struct record r = {.kind = RECORD_RESERVED, .row = row, .worker = "default/0.1"};
    r.time_ns = os_linux.now_ns() - age_ns;
    record_write(b, &r);
}

/* A file of this host with one row of this process. */
static inline void put_dead(const char *name, const struct record *host, const struct record *row)
{
    struct buf b = {0};
    record_write(&b, host);
    put_reserved(&b, row->row, 0);
    record_write(&b, row);
    assert_false(b.failed);
    put_file(name, &b);
    buf_finish(&b);
}

struct seen {
    unsigned n, orphans, survivors, damaged, rows;
    pid_t host;
};

static inline void see(void *user, const struct registry_found *f)
{
    struct seen *s = user;
    s->n++;
    s->orphans += f->orphans;
    s->survivors += f->survivors;
    s->damaged += f->damaged;
    s->rows += f->rows;
    s->host = f->host;
}

static inline struct seen sweep(void)
{
    struct seen s = {0};
    registry_sweep(sweeper, see, &s, NULL);
    return s;
}

/* Once, before any test. */
static inline void kit_name_run(void)
{
    snprintf(RUN, sizeof RUN, "a%06x", (unsigned)getpid() & 0xffffff);
    snprintf(RUN_ENTRY, sizeof RUN_ENTRY, "SNAKEPIT_RUN_ID=%s", RUN);
}

#define WITH_STAGE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
