/* See log.h. A line longer than LOG_LINE is cut: logging allocates nothing. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

enum { LOG_LINE = 2048 };

void log_line(const struct log *l, int level, const char *format, ...)
{
    if (l->fn == NULL || level < l->level || l->level == PIT_LOG_NONE)
        return;
    char line[LOG_LINE];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    l->fn(level, line, l->user);
}
