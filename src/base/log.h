/* The library's log: lines for the host's callback, nothing without one. Thread: any. */
#ifndef PIT_BASE_LOG_H
#define PIT_BASE_LOG_H

#include <snakepit/runtime.h>

struct log {
    pit_log_fn fn;
    void *user;
    int level;
};

__attribute__((format(printf, 3, 4))) void log_line(const struct log *l, int level, const char *format, ...);

#endif
