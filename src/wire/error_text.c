/* An error for people (pit_error_string) and for programs (pit_error_json).
 *
 * The text is made when it is first asked for and kept; threads that ask at once race for it harmlessly. Failure: when memory runs out
 * the text is the message alone, the JSON NULL. Thread: any. */
#include <string.h>

#include "base/alloc.h"
#include "wire/error.h"
#include "wire/error_object.h"
#include "wire/json.h"

enum { WORDS_LINES = 20, WORDS_BYTES = 4096, JSON_BYTES = 300 };

/* Adds text with `indent` spaces before each line and a newline at the end. */
static void put_lines(struct buf *b, const char *text, unsigned indent)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        for (unsigned i = 0; i < indent && n != 0; i++)
            buf_putc(b, ' ');
        buf_append(b, text, n);
        buf_putc(b, '\n');
        text += n + (text[n] == '\n');
    }
}

/* The last of what a process has printed: whole lines of it, where that is possible. */
static const char *end_of(const char *text)
{
    const char *end = text + strlen(text);
    unsigned lines = 0;
    end -= end > text && end[-1] == '\n';
    const char *from = end;
    while (from > text && end - from < WORDS_BYTES && !(from[-1] == '\n' && ++lines == WORDS_LINES))
        from--;
    if (from == text || from[-1] == '\n')
        return from;
    const char *newline = memchr(from, '\n', (size_t)(end - from));
    if (newline != NULL)
        return newline + 1;
    while (((unsigned char)*from & 0xc0) == 0x80)
        from++;
    return from;
}

static void put_words(struct buf *b, const char *text)
{
    const char *from = end_of(text);
    if (from != text)
        buf_printf(b, "    ... %zu bytes before\n", (size_t)(from - text));
    put_lines(b, from, 4);
}

/* What a map, or the dossier in it, says; NULL: nothing. Of more lines the first. */
static const char *fact_of(const pit_value *death, const char *key, int *ret_n)
{
    const char *text = pit_value_str(pit_value_get(death, key));
    if (text == NULL)
        text = pit_value_str(pit_value_get(pit_value_get(death, "dossier"), key));
    *ret_n = text != NULL ? (int)strcspn(text, "\n") : 0;
    return text;
}

/* The deaths that a poison_call is about: a line each. */
static void put_deaths(struct buf *b, const pit_value *deaths)
{
    static const struct {
        const char *key, *before;
    } facts[] = {{"exit_class", ": "}, {"id", ", dossier "}, {"python_at", ", at "}};
    const pit_value *death;
    int n;
    buf_putc(b, '\n');
    for (size_t i = 0; pit_value_next(deaths, &i, NULL, &death);) {
        const char *text = fact_of(death, "worker", &n);
        buf_printf(b, "    worker %.*s", text != NULL ? n : 1, text != NULL ? text : "?");
        for (size_t k = 0; k < sizeof facts / sizeof facts[0]; k++)
            if ((text = fact_of(death, facts[k].key, &n)) != NULL)
                buf_printf(b, "%s%.*s", facts[k].before, n, text);
        buf_putc(b, '\n');
    }
}

/* As JSON, which is cut where it is long. */
static void put_json_of(struct buf *b, const pit_value *v)
{
    struct buf json = {0};
    if (json_write(&json, v, 0, NULL) != 0 || json.failed) {
        buf_puts(b, "...");
    } else if (json.len <= JSON_BYTES) {
        buf_append(b, json.data, json.len);
    } else {
        size_t n = JSON_BYTES;
        while (n > 0 && (json.data[n] & 0xc0) == 0x80)
            n--; /* no character is cut */
        buf_append(b, json.data, n);
        buf_puts(b, "... (in the JSON form)");
    }
    buf_finish(&json);
}

static void put_detail(struct buf *b, const char *key, const pit_value *v)
{
    const char *text = pit_value_str(v);
    buf_printf(b, "  %s:", key);
    if (pit_value_kind(v) == PIT_KIND_LIST && strcmp(key, "crashes") == 0) {
        put_deaths(b, v);
        return;
    }
    if (text != NULL && (strchr(text, '\n') != NULL || strlen(text) > WORDS_BYTES)) {
        buf_putc(b, '\n');
        if (strcmp(key, "stderr") == 0)
            put_words(b, text);
        else
            put_lines(b, text, 4);
        return;
    }
    buf_putc(b, ' ');
    if (text != NULL)
        buf_puts(b, text);
    else
        put_json_of(b, v);
    buf_putc(b, '\n');
}

/* Does the message name the path already, or is it that of the whole? */
static bool is_told(const pit_error *e, const pit_value *key, const pit_value *path)
{
    const char *text = pit_value_str(path);
    return text != NULL && strcmp(pit_value_str(key), "key") == 0 && strstr(pit_error_message(e), text) != NULL;
}

/* One error without its cause, each line ended. */
static void put_error(struct buf *b, const pit_error *e)
{
    const pit_value *key, *item;
    buf_printf(b, "[%s/%s] %s\n", pit_error_category(e), pit_error_name(e), pit_error_message(e));
    for (size_t i = 0; pit_value_next(e->details, &i, &key, &item);)
        if (pit_value_str(key) != NULL && !is_told(e, key, item))
            put_detail(b, pit_value_str(key), item);
    for (size_t i = 0; pit_value_next(e->suggestions, &i, NULL, &item);)
        if (pit_value_str(item) != NULL)
            buf_printf(b, "  try: %s\n", pit_value_str(item));
    if (e->traceback != NULL)
        put_lines(b, e->traceback, 0);
}

/* Controls but newline and tab, and what turns the direction of writing round, or is not seen. The rule of cli/output.c. */
static bool is_obeyed(unsigned c)
{
    return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xe0000 && c < 0xe1000);
}

/* The length of the character at s if a terminal would obey it, and which it is. 0: it is none of them. */
static size_t control_at(const char *s, unsigned *ret)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t n = u[0] < 0x80 ? 1 : u[0] < 0xc2 || u[0] > 0xf4 ? 0 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
    *ret = n < 2 ? u[0] : u[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        *ret = *ret << 6 | (u[i] & 0x3fu);
    }
    return n != 0 && is_obeyed(*ret) ? n : 0;
}

/* What a worker says may hold what a terminal would obey: it is written as JSON writes it. */
static void make_printable(struct buf *b, const char *text)
{
    unsigned c = 0;
    for (const char *from = text;;) {
        size_t n = 0;
        while (*text != '\0' && (n = control_at(text, &c)) == 0)
            text++;
        buf_append(b, from, (size_t)(text - from));
        if (*text == '\0')
            return;
        if (c < 0x10000)
            buf_printf(b, "\\u%04x", c);
        else
            buf_printf(b, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
        from = text += n;
    }
}

static char *make_text(const pit_error *e)
{
    struct buf b = {0};
    put_error(&b, e);
    for (e = e->cause; e != NULL; e = e->cause) {
        buf_puts(&b, "caused by: ");
        put_error(&b, e);
    }
    if (b.len != 0)
        b.len--; /* the last newline */
    return buf_take_str(&b);
}

static char *make_string(const pit_error *e)
{
    struct buf b = {0};
    char *text = make_text(e);
    if (text == NULL)
        return NULL;
    make_printable(&b, text);
    mem_free(text);
    return buf_take_str(&b);
}

const char *pit_error_string(const pit_error *e)
{
    if (e == NULL)
        return "";
    char *text = __atomic_load_n(&e->string, __ATOMIC_ACQUIRE);
    if (text != NULL)
        return text;
    if (__atomic_load_n(&e->refs, __ATOMIC_RELAXED) == 0)
        return pit_error_message(e); /* static: nothing can be kept in it */
    text = make_string(e);
    if (text == NULL)
        return pit_error_message(e);
    char *expected = NULL;
    pit_error *mine = (pit_error *)(uintptr_t)e;
    if (__atomic_compare_exchange_n(&mine->string, &expected, text, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return text;
    mem_free(text);
    return expected;
}

static void put_text_member(struct buf *b, const char *name, const char *text)
{
    buf_printf(b, "\"%s\":", name);
    if (text != NULL)
        json_write_text(b, text, strlen(text), 0);
    else
        buf_puts(b, "null");
}

static void put_value_member(struct buf *b, const char *name, const pit_value *v, const char *absent)
{
    buf_printf(b, ",\"%s\":", name);
    size_t at = b->len;
    if (v != NULL && json_write(b, v, 0, NULL) == 0)
        return;
    b->len = at;
    buf_puts(b, absent);
}

/* All of one error but the closing bracket and its cause. */
static void put_json(struct buf *b, const pit_error *e)
{
    buf_putc(b, '{');
    put_text_member(b, "category", pit_error_category(e));
    buf_putc(b, ',');
    put_text_member(b, "code", pit_error_name(e));
    buf_putc(b, ',');
    put_text_member(b, "message", pit_error_message(e));
    buf_printf(b, ",\"retriable\":%s,", pit_error_retriable(e) ? "true" : "false");
    put_text_member(b, "worker_id", e->worker);
    buf_putc(b, ',');
    put_text_member(b, "pool", e->pool);
    buf_putc(b, ',');
    put_text_member(b, "correlation_id", e->correlation);
    put_value_member(b, "details", e->details, "null");
    buf_puts(b, ",\"python\":");
    if (e->type != NULL) {
        buf_putc(b, '{');
        put_text_member(b, "type", e->type);
        buf_putc(b, ',');
        put_text_member(b, "message", e->python_message);
        buf_putc(b, ',');
        put_text_member(b, "traceback", e->traceback);
        put_value_member(b, "notes", e->notes, "[]");
        buf_putc(b, '}');
    } else {
        buf_puts(b, "null");
    }
    put_value_member(b, "suggestions", e->suggestions, "[]");
    put_value_member(b, "dossier", e->dossier, "null");
    buf_puts(b, ",\"cause\":");
}

char *pit_error_json(const pit_error *e)
{
    struct buf b = {0};
    size_t depth = 0;
    for (; e != NULL; e = e->cause, depth++)
        put_json(&b, e);
    buf_puts(&b, "null");
    while (depth-- > 0)
        buf_putc(&b, '}');
    return buf_take_str(&b);
}
