/* The fault table of the guard, in the test binary only (-DGUARD_FAULTS): the k-th call of a name fails.
 *
 * The host has no other way to speak to a guard that starts than its run id, so the table follows it after an '@':
 * "abc1234@fork:2" fails the second fork, "abc1234@sendmsg:1+" every sendmsg; '=' and a number set another errno than EAGAIN. */
#ifdef GUARD_FAULTS
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guard/guard_main.h"

static char fault_name[32];
static int fault_at, fault_errno = EAGAIN, fault_calls;
static bool fault_on;

void fault_parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *spec = strchr(argv[i], '@');
        char more = 0;
        if (spec == NULL || sscanf(spec, "@%31[a-z_]:%d%c", fault_name, &fault_at, &more) < 2)
            continue;
        fault_on = more == '+';
        const char *number = strchr(spec, '=');
        if (number != NULL)
            sscanf(number, "=%d", &fault_errno);
    }
}

bool fault_hits(const char *what)
{
    if (fault_at == 0 || strcmp(what, fault_name) != 0)
        return false;
    fault_calls++;
    if (fault_calls != fault_at && !(fault_on && fault_calls > fault_at))
        return false;
    errno = fault_errno;
    return true;
}
#endif
