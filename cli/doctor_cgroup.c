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

static const char mount_point[] = "/sys/fs/cgroup";

/* The folder of this process's group; false when there is none to be seen. */
static bool own_group(char folder[PATH_MAX])
{
    char line[PATH_MAX];
    bool found = false;
    FILE *f = fopen("/proc/self/cgroup", "re");

    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        found = strncmp(line, "0::/", 4) == 0 &&
                snprintf(folder, PATH_MAX, "%s%s", mount_point, line[4] != '\0' ? line + 3 : "") < PATH_MAX;
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
static double least(const char *group, const char *name)
{
    char folder[PATH_MAX], line[128];
    double found = -1;

    (void)snprintf(folder, sizeof folder, "%s", group);
    while (strlen(folder) >= sizeof mount_point - 1) {
        double limit = read_line(folder, name, line, sizeof line) ? limit_of(line) : -1;
        if (limit >= 0 && (found < 0 || limit < found))
            found = limit;
        *strrchr(folder, '/') = '\0';
    }
    return found;
}

/* Is the group above this one ours, so that the workers' can stand beside it? Root may write everywhere, and asks for the mark of a delegation. */
static bool may_have_a_sibling(const char *group)
{
    char above[PATH_MAX], mark = '0';
    struct stat st;

    (void)snprintf(above, sizeof above, "%s", group);
    char *slash = strrchr(above, '/');
    if (strlen(group) < sizeof mount_point || slash == NULL)
        return false;
    *slash = '\0';
    if (stat(above, &st) != 0)
        return false;
    return geteuid() != 0 ? st.st_uid == geteuid() : getxattr(above, "user.delegate", &mark, 1) == 1 && mark == '1';
}

bool cgroup_look(struct cgroup *ret)
{
    char folder[PATH_MAX];

    *ret = (struct cgroup){.cpus = -1, .memory = -1, .processes = -1};
    if (!own_group(folder))
        return false;
    ret->cpus = least(folder, "cpu.max");
    ret->memory = least(folder, "memory.max");
    ret->processes = least(folder, "pids.max");
    ret->delegated = may_have_a_sibling(folder);
    (void)snprintf(ret->name, sizeof ret->name, "%.255s",
                   strlen(folder) > sizeof mount_point - 1 ? folder + sizeof mount_point - 1 : "/");
    return true;
}
