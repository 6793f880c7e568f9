/* See redact.h. */
#include "base/redact.h"

#include <string.h>

enum { BLANKS = 8, ESCAPES = 8, TOKEN = 10 };
static const char redacted[] = "<REDACTED>";

struct text {
    const char *p;
    size_t n;
};

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* How many of the bytes at `at` are the word, whatever their case: all of it, or none. */
static size_t word_at(struct text t, size_t at, const char *word)
{
    size_t n = strlen(word);
    if (t.n - at < n)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (lower(t.p[at + i]) != word[i])
            return 0;
    return n;
}

/* Behind at most `most` characters out of `set`. */
static size_t skip(struct text t, size_t at, const char *set, size_t most)
{
    for (size_t i = 0; i < most && at < t.n && t.p[at] != '\0' && strchr(set, t.p[at]) != NULL; i++)
        at++;
    return at;
}

/* Each finds where a secret begins and ends, from `at` on, or says false. */
struct found {
    size_t from, to;
};

static bool find_bearer(struct text t, size_t at, struct found *ret)
{
    size_t n = word_at(t, at, "bearer");
    bool begins = at == 0 || !(is_alnum(t.p[at - 1]) || t.p[at - 1] == '_');
    if (n == 0 || !begins)
        return false;
    ret->from = skip(t, at + n, " \t", t.n);
    if (ret->from == at + n)
        return false;
    for (ret->to = ret->from; ret->to < t.n; ret->to++)
        if (is_space(t.p[ret->to]) || strchr("\"',;<>", t.p[ret->to]) != NULL)
            break;
    return ret->to > ret->from;
}

/* A word that begins like a token, which is one when it is long enough: false, but *ret says where it ends. */
static bool find_token(struct text t, size_t at, struct found *ret)
{
    size_t row = 0, longest = 0;
    ret->from = ret->to = at;
    if (t.n - at < 3 || memcmp(t.p + at, "sk-", 3) != 0 || (at > 0 && is_alnum(t.p[at - 1])))
        return false;
    for (ret->to = at + 3; ret->to < t.n; ret->to++) {
        char c = t.p[ret->to];
        if (!is_alnum(c) && c != '_' && c != '-')
            break;
        row = is_alnum(c) ? row + 1 : 0;
        longest = row > longest ? row : longest;
    }
    return longest >= TOKEN;
}

static size_t field_name(struct text t, size_t at)
{
    static const char *const names[] = {"api_key", "api-key", "apikey", "token", "secret", "password"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t n = word_at(t, at, names[i]);
        if (n != 0)
            return n;
    }
    return 0;
}

/* A value in quotes, which may be escaped themselves: to the same quotes, or the end. */
static bool find_quoted(struct text t, size_t at, struct found *ret)
{
    size_t open = skip(t, at, "bruBRU", 2);
    size_t quote = skip(t, open, "\\", ESCAPES);
    if (quote >= t.n || (t.p[quote] != '"' && t.p[quote] != '\''))
        return false;
    size_t n = quote + 1 - open;
    ret->from = quote + 1;
    for (ret->to = ret->from; ret->to < t.n; ret->to += t.p[ret->to] == '\\' ? 2 : 1)
        if (t.n - ret->to >= n && memcmp(t.p + ret->to, t.p + open, n) == 0)
            break;
    ret->to = ret->to < t.n ? ret->to : t.n;
    return true;
}

static bool find_bare(struct text t, size_t at, struct found *ret)
{
    ret->from = ret->to = at;
    if (at < t.n && (t.p[at] == '[' || t.p[at] == '{')) {
        char close = t.p[at] == '[' ? ']' : '}';
        const char *end = memchr(t.p + at, close, t.n - at);
        ret->to = end != NULL ? (size_t)(end + 1 - t.p) : t.n;
        return true;
    }
    while (ret->to < t.n && !is_space(t.p[ret->to]) && strchr(",;&)}]\"'", t.p[ret->to]) == NULL)
        ret->to++;
    return ret->to > ret->from;
}

static bool find_field(struct text t, size_t at, struct found *ret)
{
    size_t n = field_name(t, at);
    if (n == 0)
        return false;
    at = skip(t, skip(t, at + n, "\\", ESCAPES), "\"'", 1);
    at = skip(t, at, " \t", BLANKS);
    if (at >= t.n || (t.p[at] != ':' && t.p[at] != '='))
        return false;
    at = skip(t, at + 1, " \t", BLANKS);
    return find_quoted(t, at, ret) || find_bare(t, at, ret);
}

/* A field may begin inside of a token. */
static void end_before_field(struct text t, struct found *f)
{
    struct found field;
    for (size_t at = f->from + 1; at < f->to; at++)
        if (find_field(t, at, &field)) {
            f->to = at;
            return;
        }
}

void redact(struct buf *out, const char *text, size_t n)
{
    struct text t = {text, n};
    size_t kept = 0, looked_at = 0; /* looked_at: no token begins before */
    for (size_t at = 0; at < n;) {
        struct found f;
        bool found = find_bearer(t, at, &f) || find_field(t, at, &f);
        if (!found && at >= looked_at) {
            found = find_token(t, at, &f);
            looked_at = f.to;
            if (found)
                end_before_field(t, &f);
        }
        if (!found) {
            at++;
            continue;
        }
        buf_append(out, text + kept, f.from - kept);
        buf_puts(out, redacted);
        kept = at = f.to;
    }
    buf_append(out, text + kept, n - kept);
}
