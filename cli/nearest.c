/* Which known name a mistyped one was meant to be.
 *
 * The distance counts inserted, lost and changed letters and two neighbours swapped, each as one. A name is near when at most a
 * third of its letters (in a short one: two) would have to change. */
#include "cli.h"

#include <string.h>

enum { LONGEST = 48 };

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];

    for (size_t j = 0; j <= m; j++)
        last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[m];
}

const char *nearest_name(const char *text, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX, length = strlen(text);

    if (length == 0 || length > LONGEST)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t candidate_length = strlen(candidates[i]);
        if (candidate_length > LONGEST)
            continue;
        size_t d = distance(text, length, candidates[i], candidate_length);
        size_t allowed = candidate_length < 6 ? 2 : candidate_length / 3;
        if (d <= allowed && d < candidate_length && d < best_distance) {
            best = candidates[i];
            best_distance = d;
        }
    }
    return best;
}
