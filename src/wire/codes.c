/* Names, texts and categories of the status codes, all from PIT_CODE_LIST; and the nearest name to one that is none.
 *
 * Failure: "unknown", 0, NULL. Thread: any. */
#include <snakepit/error.h>
#include <string.h>

#include "wire/error.h"

#define CATEGORY_NAME(constant, name) static const char category_##constant[] = #name;
PIT_CATEGORY_LIST(CATEGORY_NAME)
#undef CATEGORY_NAME

static const struct code_row {
    int code;
    bool retriable;
    const char *name, *category, *text;
} rows[] = {
#define CODE_ROW(constant, name, category, number, retriable, text)                                                            \
    {number, (retriable) != 0, #name, category_##category, text},
    PIT_CODE_LIST(CODE_ROW)
#undef CODE_ROW
};

static const struct code_row *find_row(int code)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].code == code)
            return &rows[i];
    return NULL;
}

const char *pit_strerror(int rc)
{
    const struct code_row *row = find_row(rc);
    return rc == 0 ? "no error" : row != NULL ? row->text : "unknown error code";
}

const char *pit_error_code_name(int rc)
{
    if (rc == 0) /* of every call that goes well, where somebody listens: without a search */
        return "ok";
    const struct code_row *row = find_row(rc);
    return row != NULL ? row->name : "unknown";
}

const char *error_code_category(int code)
{
    const struct code_row *row = find_row(code);
    return row != NULL ? row->category : "internal";
}

bool error_code_retriable(int code)
{
    const struct code_row *row = find_row(code);
    return row != NULL && row->retriable;
}

int error_code_from_name(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0)
            return rows[i].code;
    return 0;
}

#define NAME_MAX_COMPARED 64u

/* Levenshtein's distance of two names of at most NAME_MAX_COMPARED bytes, with swapped neighbours as one step. */
static unsigned distance(const char *a, size_t an, const char *b, size_t bn)
{
    unsigned before[NAME_MAX_COMPARED + 1] = {0}, above[NAME_MAX_COMPARED + 1], row[NAME_MAX_COMPARED + 1];
    for (unsigned j = 0; j <= bn; j++)
        above[j] = j;
    for (unsigned i = 1; i <= an; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= bn; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        memcpy(before, above, sizeof before);
        memcpy(above, row, sizeof above);
    }
    return above[bn];
}

const char *error_nearest(const char *name, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t length = strlen(name);
    if (length > NAME_MAX_COMPARED)
        return NULL;
    unsigned limit = length < 3 ? 1 : (unsigned)length / 3 + 1;
    for (size_t i = 0; i < n; i++) {
        size_t other = names[i] != NULL ? strlen(names[i]) : 0;
        if (other == 0 || other > NAME_MAX_COMPARED)
            continue;
        unsigned d = distance(name, length, names[i], other);
        if (d <= limit && d < (length > other ? length : other)) {
            best = names[i];
            limit = d == 0 ? 0 : d - 1; /* only a nearer one from now on */
            if (d == 0)
                break;
        }
    }
    return best;
}
