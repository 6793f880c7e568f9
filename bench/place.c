/* Placement: where the benchmark lies, which two CPUs it uses, and who runs on which.
 *
 * The process is confined to the two CPUs before it starts anything, so that every child inherits them; PLACE_FREE is "either of the two". */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int bench_folder(struct bench *b)
{
    ssize_t n = readlink("/proc/self/exe", b->dir, sizeof b->dir - 1);
    char *slash = n > 0 ? strrchr(b->dir, '/') : NULL;
    if (slash == NULL)
        return -1;
    *slash = '\0';
    return 0;
}

/* Two hardware threads of one core share its execution units: not the two CPUs that we look for. */
static bool same_core(int a, int b)
{
    char path[96], list[64] = "";
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", a);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    bool same = false;
    if (fgets(list, sizeof list, f) != NULL) {
        for (char *save = NULL, *part = strtok_r(list, ",\n", &save); part != NULL; part = strtok_r(NULL, ",\n", &save)) {
            char *dash = strchr(part, '-');
            int low = atoi(part), high = dash != NULL ? atoi(dash + 1) : low;
            same = same || (b >= low && b <= high);
        }
    }
    fclose(f);
    return same;
}

static void cpu_mask(const struct bench *b, enum place place, bool other_side, cpu_set_t *set)
{
    CPU_ZERO(set);
    bool both = place == PLACE_FREE && b->n_cpus == 2;
    if (both || place != PLACE_TWO || !other_side)
        CPU_SET((size_t)b->cpus[0], set);
    if (both || (place == PLACE_TWO && other_side))
        CPU_SET((size_t)b->cpus[1], set);
}

int place_choose(struct bench *b, char *why, size_t n)
{
    cpu_set_t usable, chosen;
    if (sched_getaffinity(0, sizeof usable, &usable) != 0) {
        snprintf(why, n, "sched_getaffinity: %s", strerror(errno));
        return -1;
    }
    int first = b->o.cpus[0], second = b->o.cpus[1], fallback = -1;
    for (int cpu = 0; cpu < CPU_SETSIZE && b->o.cpus[0] < 0; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &usable))
            continue;
        if (first < 0)
            first = cpu;
        else if (second < 0 && !same_core(first, cpu))
            second = cpu;
        else if (fallback < 0)
            fallback = cpu;
    }
    b->cpus[0] = first;
    b->cpus[1] = second >= 0 ? second : fallback;
    b->n_cpus = b->cpus[1] >= 0 ? 2 : 1;
    cpu_mask(b, PLACE_FREE, false, &chosen);
    if (sched_setaffinity(0, sizeof chosen, &chosen) != 0) {
        snprintf(why, n, "cannot run on CPUs %d and %d: %s", b->cpus[0], b->cpus[1], strerror(errno));
        return -1;
    }
    return 0;
}

void place_thread(const struct bench *b, enum place place)
{
    cpu_set_t set;
    cpu_mask(b, place, false, &set);
    (void)sched_setaffinity(0, sizeof set, &set); /* the CPUs were checked by place_choose */
}

static int place_tasks(pid_t pid, const cpu_set_t *set)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    if (d == NULL)
        return -errno;
    int rc = 0;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        pid_t task = (pid_t)atoi(e->d_name);
        if (task > 0 && sched_setaffinity(task, sizeof *set, set) != 0)
            rc = -errno;
    }
    closedir(d);
    return rc;
}

int place_process(const struct bench *b, pid_t pid, enum place place)
{
    cpu_set_t set;
    cpu_mask(b, place, true, &set);
    return place_tasks(pid, &set);
}

int place_pid_cpu(pid_t pid, int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return place_tasks(pid, &set);
}
