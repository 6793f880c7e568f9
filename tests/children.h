/* Whether a test has left a child. */
#ifndef TESTS_CHILDREN_H
#define TESTS_CHILDREN_H

#include <errno.h>
#include <stdbool.h>
#include <sys/wait.h>

/* No child of this process is left, alive or unreaped. */
static inline bool no_child_is_left(void)
{
#ifdef __SANITIZE_ADDRESS__ /* a guard that ends while its leak checker traces it cannot be reaped at once */
    while (waitpid(-1, NULL, 0) > 0)
        continue;
#endif
    return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;
}

#endif
