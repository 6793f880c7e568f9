/* clock_gettime() in a comment is fine. */
#include <time.h>

void bad(struct timespec *t)
{
    clock_gettime(CLOCK_MONOTONIC, t);
}
