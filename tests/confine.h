/* Less than a process usually has: system calls that fail, and a user without rights. Both last, for this process and all that it
 * starts. The filter is plain BPF: no library is needed, and what it refuses can be read here. */
#ifndef TESTS_CONFINE_H
#define TESTS_CONFINE_H

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CONFINE_NOBODY = 65534, CONFINE_MAX = 40 };

struct refusal {
    int call, error;
    uint32_t flags; /* 0: always; else only when the second argument has one of them */
};

#define CONFINE_LOAD(field) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define CONFINE_RETURN(what) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, (what))

/* From here on these calls fail. 0, or -1 where the kernel takes no filter. */
static inline int confine_refuse(const struct refusal *r, size_t n)
{
    struct sock_filter code[CONFINE_MAX * 5 + 1];
    size_t at = 0;
    if (n > CONFINE_MAX)
        return -1;
    for (size_t i = 0; i < n; i++) {
        code[at++] = CONFINE_LOAD(nr);
        code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r[i].call, 0, r[i].flags != 0 ? 3 : 1);
        if (r[i].flags != 0) {
            code[at++] = CONFINE_LOAD(args[1]);
            code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, r[i].flags, 0, 1);
        }
        code[at++] = CONFINE_RETURN(SECCOMP_RET_ERRNO | (uint32_t)r[i].error);
    }
    code[at++] = CONFINE_RETURN(SECCOMP_RET_ALLOW);
    struct sock_fprog program = {(unsigned short)at, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return -1;
    return 0;
}

static inline int confine_capabilities(uint32_t kept)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{kept, kept, kept}, {0, 0, 0}};
    return (int)syscall(SYS_capset, &head, data);
}

/* A user who has no process, for whoever's processes are counted: nobody may be many tests at once. */
static inline uid_t confine_lonely_user(void)
{
    enum { FIRST = 30000, USERS = 30000 }; /* nobody's by Debian's policy; a container has them too */
    uid_t user = FIRST + (uid_t)getpid() % USERS;
    bool taken = true;
    while (taken) {
        struct dirent *e;
        struct stat st;
        DIR *d = opendir("/proc");
        user = user + 1 < FIRST + USERS ? user + 1 : FIRST;
        taken = false;
        while (d != NULL && (e = readdir(d)) != NULL)
            taken = taken || (e->d_name[0] >= '0' && e->d_name[0] <= '9' && fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
                              st.st_uid == user);
        if (d != NULL)
            closedir(d);
    }
    return user;
}

/* Root becomes that user; anybody else stays who he is. Where the user cannot get at `needed`, as in a tree under /root, he keeps the right to
 * read and to search, and no other. 0 or -1. */
static inline int confine_user(uid_t user, const char *needed)
{
    if (geteuid() != 0)
        return 0;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setgroups(0, NULL) != 0 || setgid(CONFINE_NOBODY) != 0 || setuid(user) != 0)
        return -1;
    if (access(needed, X_OK) == 0)
        return confine_capabilities(0);
    uint32_t kept = UINT32_C(1) << CAP_DAC_READ_SEARCH;
    if (confine_capabilities(kept) != 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) != 0)
        return -1;
    return 0;
}

#endif
