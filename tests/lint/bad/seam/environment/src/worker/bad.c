#include <stdlib.h>

const char *bad(void)
{
    return getenv("HOME");
}
