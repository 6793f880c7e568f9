/* confined PROFILE PROGRAM [ARGUMENT...]: runs a program under a profile of profiles[]. Ends with 77, and says why, where this machine
 * cannot show it: with the tests of ctest that means skipped. */
#include <stdio.h>
#include <stdlib.h>

#include "confine.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* newer than the headers of many a system */
#endif

enum { SKIPPED = 77, BAD_USE = 2 };

/* What the profiles of containers refuse, as those of some years ago do it: with EPERM. Not clone3: no C library that is newer than such
 * a profile could start a thread. */
static const struct refusal container[] = {
    {SYS_close_range, EPERM, 0},
    {SYS_epoll_pwait2, EPERM, 0},
    {SYS_openat2, EPERM, 0},
    {SYS_faccessat2, EPERM, 0},
    {SYS_pidfd_getfd, EPERM, 0},
    {SYS_unshare, EPERM, 0},
    {SYS_setns, EPERM, 0},
    {SYS_mount, EPERM, 0},
    {SYS_kcmp, EPERM, 0},
    {SYS_userfaultfd, EPERM, 0},
    {SYS_perf_event_open, EPERM, 0},
    {SYS_io_uring_setup, EPERM, 0},
    {SYS_bpf, EPERM, 0},
    {SYS_keyctl, EPERM, 0},
    {SYS_name_to_handle_at, EPERM, 0},
    {SYS_landlock_create_ruleset, EPERM, 0},
};

/* The oldest kernel that will do, and what a profile that knows how to refuse says of calls that it does not know. */
static const struct refusal old_kernel[] = {
    {SYS_clone3, ENOSYS, 0},
    {SYS_close_range, ENOSYS, 0},
    {SYS_epoll_pwait2, ENOSYS, 0},
    {SYS_openat2, ENOSYS, 0},
    {SYS_faccessat2, ENOSYS, 0},
    {SYS_pidfd_getfd, ENOSYS, 0},
    {SYS_rseq, ENOSYS, 0},
    {SYS_landlock_create_ruleset, ENOSYS, 0},
    {SYS_memfd_create, EINVAL, MFD_NOEXEC_SEAL},
};

static const struct profile {
    const char *name;
    const struct refusal *refused;
    size_t n;
} profiles[] = {
    {"container", container, sizeof container / sizeof container[0]},
    {"old_kernel", old_kernel, sizeof old_kernel / sizeof old_kernel[0]},
    {"unprivileged", NULL, 0},
};

static int skip(const char *why)
{
    printf("skipped: %s\n", why);
    return SKIPPED;
}

/* 0, or the status to end with. */
static int enter(const struct profile *p, const char *program)
{
    if (p->refused == NULL) {
        if (geteuid() != 0)
            return skip("this user has no privileges anyway");
        return confine_user(CONFINE_NOBODY, program) == 0 ? 0 : skip("there is no becoming nobody here");
    }
    if (confine_refuse(p->refused, p->n) != 0)
        return skip("the kernel takes no filter of system calls");
    if (syscall(SYS_close_range, 1000, 1000, 0) == 0)
        return skip("a filter of system calls has no effect");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: confined PROFILE PROGRAM [ARGUMENT...]\n");
        return BAD_USE;
    }
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++) {
        if (strcmp(profiles[i].name, argv[1]) != 0)
            continue;
        int status = enter(&profiles[i], argv[2]);
        if (status != 0)
            return status;
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        return BAD_USE;
    }
    fprintf(stderr, "confined: there is no profile '%s'\n", argv[1]);
    return BAD_USE;
}
