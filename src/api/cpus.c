/* How many CPUs this process may use: the affinity mask, and the quota of its cgroup and of those above it. */
#include <stdio.h>
#include <string.h>

#include "api/api.h"

enum { LINE = 4096 };

/* "max 100000" or "150000 100000": CPUs rounded up, 0 without a quota. */
static int quota_of(const char *folder)
{
    char path[LINE + 64], text[64] = "";
    long long quota, period;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", folder);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    bool read = fgets(text, sizeof text, f) != NULL;
    fclose(f);
    if (!read || sscanf(text, "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0)
        return 0;
    return (int)((quota + period - 1) / period);
}

static int cgroup_quota(void)
{
    char line[LINE], *folder = NULL;
    FILE *f = fopen("/proc/self/cgroup", "re");
    int least = 0;
    if (f == NULL)
        return 0;
    while (folder == NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "0::", 3) == 0)
            folder = line + 3;
    fclose(f);
    if (folder == NULL)
        return quota_of("");
    folder[strcspn(folder, "\n")] = '\0';
    for (;;) {
        int n = quota_of(strcmp(folder, "/") == 0 ? "" : folder);
        if (n > 0 && (least == 0 || n < least))
            least = n;
        char *slash = strrchr(folder, '/');
        if (slash == NULL || folder[0] == '\0')
            return least;
        *slash = '\0';
    }
}

int usable_cpus(const struct os_ops *os)
{
    int n = os->cpus_allowed();
    int quota = cgroup_quota();
    if (quota > 0 && quota < n)
        n = quota;
    return n;
}
