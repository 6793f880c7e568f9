/* See leak.h. */
#include "fault/leak.h"

static const struct leak_sample *last(const struct leak *l)
{
    return &l->samples[(l->next + LEAK_SAMPLES - 1) % LEAK_SAMPLES];
}

void leak_add(struct leak *l, uint64_t calls, uint64_t bytes)
{
    if (l->n != 0 && last(l)->calls >= (double)calls)
        l->next = (l->next + LEAK_SAMPLES - 1) % LEAK_SAMPLES;
    else if (l->n < LEAK_SAMPLES)
        l->n++;
    l->samples[l->next] = (struct leak_sample){(double)calls, (double)bytes};
    l->next = (l->next + 1) % LEAK_SAMPLES;
}

bool leak_slope(const struct leak *l, double *ret)
{
    enum { SIGMAS = 3 };
    if (l->n < LEAK_ENOUGH)
        return false;
    double x = 0, y = 0, xx = 0, xy = 0, yy = 0, n = l->n;
    for (unsigned i = 0; i < l->n; i++) {
        x += l->samples[i].calls / n;
        y += l->samples[i].bytes / n;
    }
    for (unsigned i = 0; i < l->n; i++) {
        double dx = l->samples[i].calls - x, dy = l->samples[i].bytes - y;
        xx += dx * dx;
        xy += dx * dy;
        yy += dy * dy;
    }
    if (xx <= 0 || xy <= 0)
        return false;
    double slope = xy / xx, rest = yy - slope * xy; /* what the line leaves unexplained */
    if (slope * slope * xx * (n - 2) <= SIGMAS * SIGMAS * rest)
        return false;
    *ret = slope;
    return true;
}

double leak_calls_left(const struct leak *l, double slope, uint64_t limit)
{
    double room = (double)limit - last(l)->bytes;
    return room > 0 ? room / slope : 0;
}
