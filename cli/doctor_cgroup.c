/* What the control group (version 2) that this program is in allows; a limit of any group above counts too.
 *
 * Failure modes: no /proc or no mounted hierarchy: there is nothing to say, and nothing is limited as far as anybody can see. */
#include "doctor.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FIRST_NAMESPACE 0xEFFFFFFBu /* the kernel's own number for the one that it starts with */
enum { MOUNT = 256 };

/* Where the whole hierarchy is mounted: /sys/fs/cgroup, or a folder of it beside those of version 1. */
static bool mount_point(char ret[MOUNT])
{
    char line[PATH_MAX], root[16];
    bool found = false;
    FILE *f = fopen("/proc/self/mountinfo", "re");

    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
        found = strstr(line, " - cgroup2 ") != NULL && sscanf(line, "%*s %*s %*s %15s %255s", root, ret) == 2 &&
                strcmp(root, "/") == 0;
    if (f != NULL)
        (void)fclose(f);
    return found;
}

/* The folder of this process's group; false when there is none to be seen. */
static bool own_group(const char *mount, char folder[PATH_MAX])
{
    char line[PATH_MAX];
    bool found = false;
    FILE *f = fopen("/proc/self/cgroup", "re");

    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        found = strncmp(line, "0::/", 4) == 0 &&
                snprintf(folder, PATH_MAX, "%s%s", mount, line[4] != '\0' ? line + 3 : "") < PATH_MAX;
    }
    if (f != NULL)
        (void)fclose(f);
    return found && access(folder, R_OK) == 0;
}

/* The first line of a file of a group; false when there is none. */
static bool read_line(const char *folder, const char *name, char *ret, size_t room)
{
    char path[PATH_MAX + 32];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "re");
    bool ok = f != NULL && fgets(ret, (int)room, f) != NULL;
    if (f != NULL)
        (void)fclose(f);
    return ok;
}

/* "max" or "123" -> infinity or 123; "50000 100000" -> 0.5 */
static double limit_of(const char *text)
{
    char *end = NULL;
    double n = strtod(text, &end);

    if (end == text)
        return -1;
    double period = strtod(end, NULL);
    return period > 0 ? n / period : n;
}

/* The least limit of this kind from the group up to the root; -1: none. */
static double least(size_t mount, const char *group, const char *name)
{
    char folder[PATH_MAX], line[128];
    double found = -1;

    (void)snprintf(folder, sizeof folder, "%s", group);
    while (strlen(folder) >= mount) {
        double limit = read_line(folder, name, line, sizeof line) ? limit_of(line) : -1;
        if (limit >= 0 && (found < 0 || limit < found))
            found = limit;
        *strrchr(folder, '/') = '\0';
    }
    return found;
}

/* Does this group, or one above it, carry the mark of a delegation? */
static bool is_marked(size_t mount, const char *group)
{
    char folder[PATH_MAX], mark = '0';

    (void)snprintf(folder, sizeof folder, "%s", group);
    for (; strlen(folder) > mount; *strrchr(folder, '/') = '\0')
        if (getxattr(folder, "user.delegate", &mark, 1) == 1 && mark == '1')
            return true;
    return false;
}

/* Is the group above this one ours, so that the workers' can stand beside it? Root may write everywhere: he needs a mark, or a namespace of his own. */
static bool may_have_a_sibling(size_t mount, const char *group)
{
    char above[PATH_MAX];
    struct stat st, namespace;

    if (strlen(group) <= mount)
        return false;
    (void)snprintf(above, sizeof above, "%s", group);
    *strrchr(above, '/') = '\0';
    if (stat(above, &st) != 0)
        return false;
    if (geteuid() != 0)
        return st.st_uid == geteuid();
    return is_marked(mount, above) || (stat("/proc/self/ns/cgroup", &namespace) == 0 && namespace.st_ino != FIRST_NAMESPACE);
}

bool cgroup_look(struct cgroup *ret)
{
    char mounted[MOUNT], folder[PATH_MAX];

    *ret = (struct cgroup){.cpus = -1, .memory = -1, .processes = -1};
    if (!mount_point(mounted) || !own_group(mounted, folder))
        return false;
    size_t mount = strlen(mounted);
    ret->cpus = least(mount, folder, "cpu.max");
    ret->memory = least(mount, folder, "memory.max");
    ret->processes = least(mount, folder, "pids.max");
    ret->delegated = may_have_a_sibling(mount, folder);
    (void)snprintf(ret->name, sizeof ret->name, "%.255s", strlen(folder) > mount ? folder + mount : "/");
    return true;
}
