#include <stdio.h>

void bad(void)
{
    fprintf(stderr, "no");
}
