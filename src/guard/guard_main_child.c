/* The child between fork and exec. The guard is single-threaded, so everything may be called here; what fails is told by number and
 * name through the report pipe, which the exec closes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/dirents.h"
#include "guard/guard_main.h"

enum { REPORT_FD = 5 }; /* the first above those that the program gets */

_Noreturn static void fail(int report, const char *call, int error)
{
    struct child_failure f = {.error = error};
    snprintf(f.call, sizeof f.call, "%s", call);
    while (write(report, &f, sizeof f) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* Containers may refuse close_range: then one by one, by the list that the kernel keeps, or by number. */
void close_from(int from)
{
    if (syscall(SYS_close_range, (unsigned)from, ~0U, 0) == 0)
        return;
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        long most = sysconf(_SC_OPEN_MAX);
        for (int fd = from; fd < most; fd++)
            close(fd);
        return;
    }
    DIRENTS_BLOCK(block, 2048);
    long n;
    while ((n = syscall(SYS_getdents64, dir, block, sizeof block)) > 0)
        for (long at = 0, fd; (fd = dirents_next(block, n, &at)) >= 0;)
            if (fd >= from && fd != dir)
                close((int)fd);
    close(dir);
}

struct program {
    char **argv, **envp;
    const char *cwd;
};

/* Takes the next NUL-terminated string out of [*p, end), or NULL. */
static char *take(char **p, const char *end)
{
    char *s = *p, *nul = *p < end ? memchr(*p, '\0', (size_t)(end - *p)) : NULL;
    if (nul == NULL)
        return NULL;
    *p = nul + 1;
    return s;
}

static char **take_list(char **p, const char *end, uint32_t n, uint32_t spare)
{
    char **list = calloc((size_t)n + spare + 1, sizeof *list);
    for (uint32_t i = 0; list != NULL && i < n; i++)
        if ((list[i] = take(p, end)) == NULL)
            return NULL;
    return list;
}

/* The serial of an outer host's guard, inherited, would hide ours. */
static void set_serial(char **envp, uint32_t envc, pid_t guard, uint64_t serial)
{
    static const char name[] = GUARD_ENV_SERIAL "=";
    static char entry[sizeof name + 48];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < envc; i++)
        if (strncmp(envp[i], name, sizeof name - 1) != 0)
            envp[kept++] = envp[i];
    snprintf(entry, sizeof entry, "%s%d.%llu", name, (int)guard, (unsigned long long)serial);
    envp[kept++] = entry;
    envp[kept] = NULL;
}

/* 0 or an errno. */
static int read_request(int fd, pid_t guard, uint64_t serial, struct program *ret)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return errno;
    struct guard_request head;
    if (st.st_size < (off_t)sizeof head)
        return EPROTO;
    size_t n = (size_t)st.st_size;
    char *map = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return errno;
    memcpy(&head, map, sizeof head);
    if (head.magic != GUARD_REQUEST_MAGIC || head.bytes != n - sizeof head || head.argc == 0 || head.argc > head.bytes ||
        head.envc > head.bytes)
        return EPROTO;
    char *p = map + sizeof head;
    const char *end = map + n;
    ret->argv = take_list(&p, end, head.argc, 0);
    ret->envp = ret->argv != NULL ? take_list(&p, end, head.envc, 1) : NULL;
    if (ret->envp == NULL)
        return EPROTO;
    ret->cwd = NULL;
    if (head.has_cwd != 0 && (ret->cwd = take(&p, end)) == NULL)
        return EPROTO;
    set_serial(ret->envp, head.envc, guard, serial);
    return 0;
}

/* The guard holds 0 to 4 itself, so what came by message lies above: nothing is overwritten before it is copied. */
static const char *place_fds(int *report, const struct spawn_fds *fds)
{
    const int from[] = {fds->out, fds->err, fds->control, fds->segment}, to[] = {1, 2, 3, 4};
    for (int i = 0; i < 4; i++) {
        if (from[i] >= 0 && dup2(from[i], to[i]) < 0)
            return "dup2";
        if (from[i] < 0 && to[i] > 2)
            close(to[i]);
    }
    if (*report != REPORT_FD && dup3(*report, REPORT_FD, O_CLOEXEC) < 0)
        return "dup3";
    *report = REPORT_FD;
    close_from(REPORT_FD + 1);
    return NULL;
}

static void reset_signals(void)
{
    struct sigaction dfl;
    memset(&dfl, 0, sizeof dfl);
    dfl.sa_handler = SIG_DFL;
    for (int sig = 1; sig < NSIG; sig++)
        sigaction(sig, &dfl, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn void child_run(pid_t guard, uint64_t serial, int report, const struct spawn_fds *fds)
{
    if (setsid() < 0)
        fail(report, "setsid", errno);
    /* the guard may have died before this took hold: then nobody would tell us */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        fail(report, "prctl", errno);
    if (getppid() != guard)
        _exit(127);
    struct program program = {NULL, NULL, NULL};
    int error = read_request(fds->request, guard, serial, &program);
    if (error != 0 || program.argv == NULL)
        fail(report, "request", error);
    const char *failed = place_fds(&report, fds);
    if (failed != NULL)
        fail(report, failed, errno);
    if (program.cwd != NULL && chdir(program.cwd) != 0)
        fail(report, "chdir", errno);
    reset_signals();
    if (GUARD_SYS("hang", 0) != 0)
        pause();
    execve(program.argv[0], program.argv, program.envp);
    fail(report, "exec", errno);
}
