#include <snakepit/lib.h>

int inject_now(void);
int inject_now(void)
{
    return 0;
}

int pit_good(void)
{
    return inject_now();
}
