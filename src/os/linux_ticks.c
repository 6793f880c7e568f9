/* May the CPU's counter be used in place of a clock? Contracts: os.h.
 *
 * The kernel watches it against other clocks and gives it up when it is not the same on all CPUs, stops in sleep, or when the machine is a guest
 * that may be moved: so its own choice of a clock is the answer. Asked once for each process. Failure: no. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "os/linux.h"

enum { NOT_ASKED = 0, YES, NO };

static bool ask(void)
{
    char name[32];
    int fd = (int)LINUX_RETRY(open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return false;
    ssize_t n = linux_read(fd, name, sizeof name - 1);
    linux_close(fd);
    name[n > 0 ? n : 0] = '\0';
#if defined(__x86_64__)
    return strcmp(name, "tsc\n") == 0;
#elif defined(__aarch64__)
    return strcmp(name, "arch_sys_counter\n") == 0;
#else
    return false;
#endif
}

bool linux_has_ticks(void)
{
    static int answer;
    int known = __atomic_load_n(&answer, __ATOMIC_RELAXED);
    if (known == NOT_ASKED) {
        known = ask() ? YES : NO;
        __atomic_store_n(&answer, known, __ATOMIC_RELAXED);
    }
    return known == YES;
}
