/* Child processes: this program in its hidden roles (the other side of the C floors, hogs), and interpreters.
 *
 * Everything is started by posix_spawn, never by fork: the process has threads once the library is open. A role dies with the benchmark
 * by PR_SET_PDEATHSIG; an interpreter ends when its socket or its standard input does. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* fds[i] becomes descriptor first + i. */
static pid_t spawn_with(char *const argv[], const int *fds, int n_fds, int first)
{
    enum { ABOVE = 100 }; /* first above the targets, so that no source is overwritten before it is used */
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    pid_t pid = 0;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    for (int i = 0; i < n_fds; i++)
        posix_spawn_file_actions_adddup2(&actions, fds[i], ABOVE + i);
    for (int i = 0; i < n_fds; i++) {
        posix_spawn_file_actions_adddup2(&actions, ABOVE + i, first + i);
        posix_spawn_file_actions_addclose(&actions, ABOVE + i);
    }
    int rc = posix_spawnp(&pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return rc == 0 ? pid : -rc;
}

pid_t child_spawn(char *const argv[], const int *fds, int n_fds)
{
    return spawn_with(argv, fds, n_fds, 3);
}

pid_t child_spawn_piped(char *const argv[], int in, int out)
{
    return spawn_with(argv, (const int[]){in, out}, 2, 0);
}

pid_t child_spawn_role(const char *role, const int *fds, int n_fds)
{
    char name[32];
    snprintf(name, sizeof name, "--role=%s", role);
    char *argv[] = {(char *)"/proc/self/exe", name, NULL};
    return child_spawn(argv, fds, n_fds);
}

void child_end(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

void child_die_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == 1) /* it died before the call above */
        _exit(0);
}

void *memory_share(size_t bytes, int *ret_fd)
{
    int fd = memfd_create("snakepit-bench", MFD_CLOEXEC);
    if (fd < 0)
        return NULL;
    void *map = MAP_FAILED;
    if (ftruncate(fd, (off_t)bytes) == 0)
        map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED) {
        close(fd);
        return NULL;
    }
    *ret_fd = fd;
    return map;
}

bool child_role(int argc, char **argv, int *ret_status)
{
    static const struct {
        const char *argument;
        int (*play)(void);
    } roles[] = {{"--role=ring", role_ring},
                 {"--role=socket", role_socket},
                 {"--role=pause", role_pause},
                 {"--role=hog", role_hog},
                 {"--role=signal", role_signal}};
    if (argc != 2)
        return false;
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(argv[1], roles[i].argument) != 0)
            continue;
        child_die_with_parent();
        *ret_status = roles[i].play();
        return true;
    }
    return false;
}
