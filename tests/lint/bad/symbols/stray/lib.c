#include <snakepit/lib.h>

int buf_put(void);
int buf_put(void)
{
    return 0;
}

int pit_good(void)
{
    return buf_put();
}
