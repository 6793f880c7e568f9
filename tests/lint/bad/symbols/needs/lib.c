#include <math.h>
#include <snakepit/lib.h>

volatile double x;

int pit_good(void)
{
    return (int)cos(x);
}
