/* What the program says, and whether it arrived.
 *
 * Failure modes: stdout closed or its reader gone (SIGPIPE is ignored, so it shows as EPIPE), the device full, also only at
 * close(): exit code 1. A standard stream that was closed at the start stays an error (its descriptor is held by /dev/null opened the
 * wrong way round), so that no file of ours ever takes its place. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void streams_secure(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR}; /* reading 0 and writing 1 fail with EBADF; 2 swallows */

    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", modes[fd]); /* takes the lowest free number: this one */
    }
}

static int first_error; /* the errno of the first write to stdout that failed: stdio keeps only that there was one */

void streams_flush(void)
{
    errno = 0;
    if (fflush(stdout) != 0 && first_error == 0)
        first_error = errno;
}

bool streams_failed(void)
{
    return ferror(stdout) != 0 || first_error != 0;
}

int streams_finish(const struct cli *cli, int code)
{
    streams_flush();
    bool failed = streams_failed();
    int error = first_error;

    if (fclose(stdout) != 0 && !failed) {
        failed = true;
        error = errno;
    }
    if (!failed)
        return code;
    if (error == 0)
        error = EIO;
    int written = report(cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "the result could not be written: %s", strerror(error));
    return code == EXIT_OK ? written : code;
}

bool stream_is_terminal(FILE *stream)
{
    return isatty(fileno(stream)) == 1;
}

bool stream_has_color(const struct cli *cli, FILE *stream)
{
    const char *term = getenv("TERM");

    return !cli->no_color && stream_is_terminal(stream) && (term == NULL || strcmp(term, "dumb") != 0);
}

/* The rule of pit_error_string(). */
bool is_obeyed(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xe0000 && c < 0xe1000);
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
    return n != 0 && is_obeyed(*ret) && *s != '\n' && *s != '\t' ? n : 0;
}

/* What a worker says may hold what a terminal would obey: there it is written as JSON writes it. */
void print_text(FILE *stream, const char *text)
{
    unsigned c = 0;

    if (!stream_is_terminal(stream)) {
        fputs(text, stream);
        return;
    }
    for (size_t n; *text != '\0'; text += n) {
        n = control_at(text, &c);
        if (n != 0 && c < 0x10000)
            fprintf(stream, "\\u%04x", c);
        else if (n != 0)
            fprintf(stream, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
        else
            fputc(text[n++], stream);
    }
}

/* The length of the character of valid UTF-8 at s; 0: it is none. */
static size_t character_of(const unsigned char *s)
{
    unsigned c = s[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;

    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
        return 0; /* longer than it need be, half of a pair, beyond the last one */
    return n;
}

/* A value for what may hold any bytes, an argument or a file's name: what is no UTF-8 becomes U+FFFD. */
static pit_value *text_value(const char *text)
{
    size_t n = 0;
    char *valid = malloc(strlen(text) * 3 + 1);

    if (valid == NULL)
        return pit_str("");
    for (const char *s = text; *s != '\0';) {
        size_t bytes = character_of((const unsigned char *)s);
        memcpy(valid + n, bytes != 0 ? s : "\xef\xbf\xbd", bytes != 0 ? bytes : 3);
        n += bytes != 0 ? bytes : 3;
        s += bytes != 0 ? bytes : 1;
    }
    pit_value *v = pit_strn(valid, n);
    free(valid);
    return v;
}

static pit_value *one_hint(const char *hint)
{
    pit_value *hints = pit_list();

    if (hint != NULL)
        (void)pit_list_append_take(hints, text_value(hint));
    return hints;
}

#define CATEGORY_NAME(constant, name) static const char category_##constant[] = #name;
PIT_CATEGORY_LIST(CATEGORY_NAME)
#undef CATEGORY_NAME

static const char *category_of(int rc)
{
    switch (rc) {
#define CATEGORY_CASE(constant, name, category, number, retriable, text)                                                       \
    case PIT_E_##constant:                                                                                                     \
        return category_##category;
        PIT_CODE_LIST(CATEGORY_CASE)
#undef CATEGORY_CASE
    default:
        return category_INTERNAL;
    }
}

/* The same shape as pit_error_json(). */
static void report_json(int rc, const char *hint, const char *message)
{
    pit_value *hints = one_hint(hint), *said = text_value(message);
    pit_value *v = pit_pack("{s:s,s:s,s:v,s:b,s:v}", "category", category_of(rc), "code", pit_error_code_name(rc), "message",
                            said, "retriable", 0, "suggestions", hints);
    char *text = pit_value_to_json(v, 0);

    print_text(stderr, text != NULL ? text : "{\"category\":\"resource\",\"code\":\"allocation_failed\"}");
    fputc('\n', stderr);
    pit_free(text);
    pit_value_free(v);
    pit_value_free(said);
    pit_value_free(hints);
}

static void report_text(const struct cli *cli, const char *hint, const char *message)
{
    bool color = stream_has_color(cli, stderr);

    fprintf(stderr, "%ssnakepit%s%s:%s ", color ? "\033[31m" : "", cli->command != NULL ? " " : "",
            cli->command != NULL ? cli->command->name : "", color ? "\033[0m" : "");
    print_text(stderr, message);
    fputc('\n', stderr);
    if (hint != NULL) {
        fputs("  try: ", stderr);
        print_text(stderr, hint);
        fputc('\n', stderr);
    }
}

static void report_v(const struct cli *cli, int rc, const char *hint, const char *format, va_list ap)
{
    char message[2048];

    (void)vsnprintf(message, sizeof message, format, ap);
    if (cli->json)
        report_json(rc, hint, message);
    else
        report_text(cli, hint, message);
}

int report(const struct cli *cli, int exit_code, int rc, const char *hint, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    report_v(cli, rc, hint, format, ap);
    va_end(ap);
    return exit_code;
}

int report_usage(const struct cli *cli, const char *format, ...)
{
    char hint[128];
    va_list ap;

    (void)snprintf(hint, sizeof hint, "snakepit help%s%s", cli->command != NULL ? " " : "",
                   cli->command != NULL ? cli->command->name : "");
    va_start(ap, format);
    report_v(cli, PIT_E_INVALID_PARAMETER, hint, format, ap);
    va_end(ap);
    return EXIT_USAGE;
}

static int exit_code_of(int rc)
{
    switch (rc) {
    case 0:
        return EXIT_OK;
    case PIT_E_DEADLINE_EXCEEDED:
        return EXIT_DEADLINE;
    case PIT_E_INVALID_POOL_NAME: /* what was typed is bad in itself, whatever is there */
    case PIT_E_INVALID_SESSION_ID:
        return EXIT_USAGE;
    default:
        return EXIT_ERROR;
    }
}

int report_error(const struct cli *cli, int rc, pit_error *err)
{
    if (cli->json) {
        char *text = err != NULL ? pit_error_json(err) : NULL;
        if (text != NULL) {
            print_text(stderr, text);
            fputc('\n', stderr);
        } else {
            report_json(rc, NULL, pit_strerror(rc));
        }
        pit_free(text);
    } else {
        report_text(cli, NULL, err != NULL ? pit_error_string(err) : pit_strerror(rc));
    }
    pit_error_free(err);
    return exit_code_of(rc);
}

static int print_json(const struct cli *cli, const pit_value *v, bool pretty)
{
    char *text;
    pit_error *err = NULL;
    int rc = pit_value_write_json(v, pretty ? PIT_JSON_PRETTY : 0, &text, NULL, &err);

    if (rc != 0)
        return report_error(cli, rc, err);
    print_text(stdout, text);
    fputc('\n', stdout);
    pit_free(text);
    return EXIT_OK; /* whether it arrived shows streams_finish() */
}

int print_value(const struct cli *cli, const pit_value *v)
{
    return print_json(cli, v, !cli->json && stream_is_terminal(stdout));
}

int print_line(const struct cli *cli, const pit_value *v)
{
    return print_json(cli, v, false);
}
