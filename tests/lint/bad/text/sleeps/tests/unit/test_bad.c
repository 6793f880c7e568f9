#include <unistd.h>

void test_bad(void)
{
    usleep(1000);
}
