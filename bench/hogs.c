/* Two processes that burn one CPU each while they are told to: the foreign load of the contended rows.
 *
 * They sleep on a shared word between measurements and cost nothing then. */
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HOGS = 2, HOG_MAP = 4096 };

struct hogs {
    _Atomic uint32_t *burn;
    pid_t pids[HOGS];
};

static void burn_futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

int role_hog(void)
{
    _Atomic uint32_t *burn = mmap(NULL, HOG_MAP, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
    if (burn == MAP_FAILED)
        return 1;
    for (volatile uint64_t work = 0;; work++)
        if ((work & 1023) == 0 && atomic_load_explicit(burn, memory_order_relaxed) == 0)
            burn_futex(burn, FUTEX_WAIT, 0);
}

static struct hogs *hogs_create(struct bench *b)
{
    int fd = -1;
    struct hogs *h = calloc(1, sizeof *h);
    _Atomic uint32_t *burn = h != NULL ? memory_share(HOG_MAP, &fd) : NULL;
    if (burn == NULL) {
        free(h);
        return NULL;
    }
    h->burn = burn;
    for (int i = 0; i < HOGS; i++) {
        h->pids[i] = child_spawn_role("hog", &fd, 1);
        if (h->pids[i] > 0) /* one on each CPU, as the kernel would balance them after a while */
            place_pid_cpu(h->pids[i], b->cpus[b->n_cpus == 2 ? i : 0]);
    }
    close(fd);
    return h;
}

int hogs_start(struct bench *b, struct result *ret)
{
    if (b->hogs == NULL)
        b->hogs = hogs_create(b);
    if (b->hogs == NULL || b->hogs->pids[0] <= 0 || b->hogs->pids[1] <= 0)
        return result_fail(ret, "the CPU hogs cannot be started");
    atomic_store(b->hogs->burn, 1);
    burn_futex(b->hogs->burn, FUTEX_WAKE, HOGS);
    nap_us(20000); /* until the scheduler has noticed them */
    return BENCH_OK;
}

void hogs_stop(struct bench *b)
{
    if (b->hogs != NULL)
        atomic_store(b->hogs->burn, 0);
}

void hogs_close(struct bench *b)
{
    if (b->hogs == NULL)
        return;
    for (int i = 0; i < HOGS; i++)
        child_end(b->hogs->pids[i]);
    munmap(b->hogs->burn, HOG_MAP);
    free(b->hogs);
    b->hogs = NULL;
}
