/* See oom.h. */
#include "fault/oom.h"

#include <stdbool.h>

/* One end that nobody has accounted for, and that came in the worker's life. */
static bool take_one(int64_t *told, int64_t before, int64_t now)
{
    int64_t from = *told > before ? *told : before;
    if (now < 0 || from < 0 || now <= from)
        return false;
    *told = from + 1;
    return true;
}

enum oom_verdict oom_judge(struct oom_counts *told, const struct oom_counts *before, const struct oom_counts *now)
{
    bool counted = before->group >= 0 && now->group >= 0;
    if (counted && !take_one(&told->group, before->group, now->group))
        return OOM_NO;
    bool rose =
        before->around >= 0 && take_one(&told->around, before->around, now->around); /* the same end, seen from farther off */
    return counted ? OOM_PROVED : rose ? OOM_SUSPECTED : OOM_NO;
}
