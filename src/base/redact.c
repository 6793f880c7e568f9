/* See redact.h. */
#include "base/redact.h"

#include <string.h>

enum { BLANKS = 8, ESCAPES = 8, TOKEN = 10, PREFIXED = 16, SUFFIX = 41, OPTION = 64, URL_PART = 256, PEM_KIND = 40 };
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

/* The one word after a scheme of HTTP and its blanks. */
static bool find_credentials(struct text t, size_t at, struct found *ret)
{
    ret->from = skip(t, at, " \t", t.n);
    if (ret->from == at)
        return false;
    for (ret->to = ret->from; ret->to < t.n; ret->to++)
        if (is_space(t.p[ret->to]) || strchr("\"',;<>", t.p[ret->to]) != NULL)
            break;
    return ret->to > ret->from;
}

static bool find_bearer(struct text t, size_t at, struct found *ret)
{
    size_t n = word_at(t, at, "bearer");
    bool begins = at == 0 || !(is_alnum(t.p[at - 1]) || t.p[at - 1] == '_');
    return n != 0 && begins && find_credentials(t, at + n, ret);
}

/* Behind the quote of a name, blanks, : or =, and blanks; 0: there is none of it. */
static size_t skip_equals(struct text t, size_t at)
{
    at = skip(t, skip(t, at, "\\", ESCAPES), "\"'", 1);
    at = skip(t, at, " \t", BLANKS);
    if (at >= t.n || (t.p[at] != ':' && t.p[at] != '='))
        return 0;
    return skip(t, at + 1, " \t", BLANKS);
}

/* Authorization: Basic x. Bearer needs no name before it. */
static bool find_authorization(struct text t, size_t at, struct found *ret)
{
    static const char *const schemes[] = {"basic", "digest", "token", "apikey"};
    size_t n = word_at(t, at, "authorization");
    if (n == 0 || (at = skip_equals(t, at + n)) == 0)
        return false;
    at = skip(t, skip(t, at, "\\", ESCAPES), "\"'", 1);
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if ((n = word_at(t, at, schemes[i])) != 0)
            return find_credentials(t, at + n, ret);
    return false;
}

/* A kind of token: how it begins, and how many letters and digits in a row make it one. */
struct token_kind {
    size_t row;
    const char *prefixes[14];
};

static const struct token_kind token_kinds[] = {
    {TOKEN, {"sk-"}},
    {PREFIXED, {"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_", "npm_", "AKIA", "ASIA", "AIza", "xox"}},
};
enum { TOKEN_KINDS = sizeof token_kinds / sizeof token_kinds[0] };

static size_t prefix_at(struct text t, size_t at, const struct token_kind *kind)
{
    if (at > 0 && is_alnum(t.p[at - 1]))
        return 0;
    for (size_t i = 0; i < sizeof kind->prefixes / sizeof kind->prefixes[0] && kind->prefixes[i] != NULL; i++) {
        size_t n = strlen(kind->prefixes[i]);
        if (t.n - at > n && memcmp(t.p + at, kind->prefixes[i], n) == 0)
            return n;
    }
    return 0;
}

/* A word that begins like a token, which is one when it is long enough: false, but *ret says where it ends. */
static bool find_token(struct text t, size_t at, const struct token_kind *kind, struct found *ret)
{
    size_t row = 0, longest = 0, n = prefix_at(t, at, kind);
    ret->from = ret->to = at;
    if (n == 0)
        return false;
    for (ret->to = at + n; ret->to < t.n; ret->to++) {
        char c = t.p[ret->to];
        if (!is_alnum(c) && c != '_' && c != '-')
            break;
        row = is_alnum(c) ? row + 1 : 0;
        longest = row > longest ? row : longest;
    }
    return longest >= kind->row;
}

static const char *const key_names[] = {"api", "access", "account", "private", "secret", "signing", "encryption"};
static const char *const names[] = {"token",  "secret", "secrets",    "password",   "passwords",
                                    "passwd", "pwd",    "passphrase", "credential", "credentials"};
enum { KEY_NAMES = sizeof key_names / sizeof key_names[0], NAMES = KEY_NAMES + sizeof names / sizeof names[0] };

static bool is_of_name(char c)
{
    return is_alnum(c) || c == '_' || c == '-';
}

/* Behind the i-th name, with what is hung on to it by _ or -; 0: it is not here. */
static size_t name_end(struct text t, size_t at, size_t i)
{
    size_t n = word_at(t, at, i < KEY_NAMES ? key_names[i] : names[i - KEY_NAMES]);
    if (n == 0)
        return 0;
    at += n;
    if (i < KEY_NAMES) {
        at = skip(t, at, "_-", 1);
        if ((n = word_at(t, at, "key")) == 0)
            return 0;
        at = skip(t, at + n, "sS", 1);
    }
    if (at < t.n && (t.p[at] == '_' || t.p[at] == '-'))
        for (size_t k = 0; k < SUFFIX && at < t.n && is_of_name(t.p[at]); k++)
            at++;
    return at;
}

static bool pem_at(struct text t, size_t at, const char *word, size_t *ret_end);

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
    size_t end;
    ret->from = ret->to = at;
    if (pem_at(t, at, "BEGIN", &end))
        return false;
    if (at < t.n && (t.p[at] == '[' || t.p[at] == '{')) {
        char close = t.p[at] == '[' ? ']' : '}';
        const char *found = memchr(t.p + at, close, t.n - at);
        ret->to = found != NULL ? (size_t)(found + 1 - t.p) : t.n;
        return true;
    }
    size_t n = word_at(t, at, "bearer");
    n = n != 0 ? n : word_at(t, at, "basic");
    size_t word = skip(t, at + n, " \t", t.n);
    if (n != 0 && word > at + n && word < t.n && !is_space(t.p[word]) && strchr(",;&)}]\"'", t.p[word]) == NULL)
        ret->to = word;
    while (ret->to < t.n && !is_space(t.p[ret->to]) && strchr(",;&)}]\"'", t.p[ret->to]) == NULL)
        ret->to++;
    return ret->to > ret->from;
}

static bool find_field(struct text t, size_t at, struct found *ret)
{
    for (size_t i = 0; i < NAMES; i++) {
        size_t value, n = name_end(t, at, i);
        if (n != 0 && (value = skip_equals(t, n)) != 0 && (find_quoted(t, value, ret) || find_bare(t, value, ret)))
            return true;
    }
    return false;
}

static bool is_secret_option(struct text name)
{
    for (size_t at = 0; at < name.n; at++)
        for (size_t i = 0; i < NAMES; i++)
            if (name_end(name, at, i) == name.n)
                return true;
    return false;
}

/* --password X, '--password', 'X'. */
static bool find_option(struct text t, size_t at, struct found *ret)
{
    size_t end = at + 2;
    if (t.n - at < 3 || memcmp(t.p + at, "--", 2) != 0)
        return false;
    while (end < t.n && end - at - 2 <= OPTION && is_of_name(t.p[end]))
        end++;
    size_t value = skip(t, end, " \t", BLANKS);
    if (t.n - end > 1 && (t.p[end] == '"' || t.p[end] == '\'') && t.p[end + 1] == ',')
        value = skip(t, end + 2, " \t", BLANKS);
    if (end == at + 2 || end - at - 2 > OPTION || value == end || value >= t.n ||
        !is_secret_option((struct text){t.p + at + 2, end - at - 2}))
        return false;
    char quote = t.p[value] == '"' || t.p[value] == '\'' ? t.p[value] : '\0';
    ret->from = ret->to = value + (quote != '\0');
    while (ret->to < t.n && (quote != '\0' ? t.p[ret->to] != quote && t.p[ret->to] != '\n' && t.p[ret->to] != '\r'
                                           : !is_space(t.p[ret->to]) && strchr("\"',;)]}", t.p[ret->to]) == NULL))
        ret->to++;
    return quote != '\0' || (ret->to > ret->from && t.p[ret->from] != '-');
}

/* scheme://user:password@host: what is between the colon and the last @ before the path. */
static bool find_url(struct text t, size_t at, struct found *ret)
{
    if (t.n - at < 3 || memcmp(t.p + at, "://", 3) != 0)
        return false;
    size_t colon = at + 3;
    for (size_t k = 0; k < URL_PART && colon < t.n && !is_space(t.p[colon]) && strchr(":/@\"'", t.p[colon]) == NULL; k++)
        colon++;
    if (colon >= t.n || t.p[colon] != ':')
        return false;
    ret->from = ret->to = colon + 1;
    for (size_t i = ret->from; i < t.n && i - ret->from <= URL_PART; i++) {
        if (i > ret->from && t.p[i] == '@')
            ret->to = i;
        if (is_space(t.p[i]) || strchr("/\"'", t.p[i]) != NULL)
            break;
    }
    return ret->to > ret->from;
}

/* -----BEGIN RSA PRIVATE KEY-----: its end. */
static bool pem_at(struct text t, size_t at, const char *word, size_t *ret_end)
{
    static const char dashes[] = "-----", key[] = "PRIVATE KEY", block[] = " BLOCK";
    size_t n = strlen(word);
    if (t.n - at < 6 + n || memcmp(t.p + at, dashes, 5) != 0 || memcmp(t.p + at + 5, word, n) != 0 || t.p[at + 5 + n] != ' ')
        return false;
    at += 6 + n;
    for (size_t k = 0; k <= PEM_KIND && at < t.n; k++, at++) {
        size_t end = at + sizeof key - 1;
        if (t.n - at >= sizeof key - 1 && memcmp(t.p + at, key, sizeof key - 1) == 0) {
            if (t.n - end >= sizeof block - 1 && memcmp(t.p + end, block, sizeof block - 1) == 0)
                end += sizeof block - 1;
            if (t.n - end >= 5 && memcmp(t.p + end, dashes, 5) == 0) {
                *ret_end = end + 5;
                return true;
            }
        }
        if (!is_alnum(t.p[at]) && t.p[at] != ' ')
            break;
    }
    return false;
}

static bool find_pem(struct text t, size_t at, struct found *ret)
{
    size_t end;
    if (!pem_at(t, at, "BEGIN", &ret->from))
        return false;
    for (ret->to = ret->from; ret->to < t.n; ret->to++)
        if (t.p[ret->to] == '-' && pem_at(t, ret->to, "END", &end))
            break;
    return true;
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

static bool find_any(struct text t, size_t at, struct found *f)
{
    return find_bearer(t, at, f) || find_field(t, at, f) || find_authorization(t, at, f) || find_option(t, at, f) ||
           find_url(t, at, f) || find_pem(t, at, f);
}

void redact(struct buf *out, const char *text, size_t n)
{
    struct text t = {text, n};
    size_t kept = 0, looked_at[TOKEN_KINDS] = {0}; /* looked_at: no token begins before */
    for (size_t at = 0; at < n;) {
        struct found f;
        bool found = find_any(t, at, &f);
        for (size_t i = 0; i < TOKEN_KINDS && !found; i++) {
            if (at < looked_at[i])
                continue;
            found = find_token(t, at, &token_kinds[i], &f);
            looked_at[i] = f.to;
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

size_t redact_rest(const char *text, size_t n)
{
    struct text t = {text, n};
    size_t line = 0, end, at;
    while (line < n && text[line] != '\n' && text[line] != '\r')
        line++;
    line += line < n;
    for (at = 0; at < n; at++) {
        if (text[at] != '-')
            continue;
        if (pem_at(t, at, "BEGIN", &end))
            break;
        if (pem_at(t, at, "END", &end))
            return end > line ? end : line;
    }
    return line;
}

void redact_end(struct buf *out, const char *text, size_t n, bool is_cut)
{
    size_t rest = is_cut ? redact_rest(text, n) : 0;
    if (rest != 0 && rest == n)
        buf_puts(out, "<REDACTED>"); /* a single line, of which nobody knows what it is the end of */
    else
        redact(out, text + rest, n - rest);
}
