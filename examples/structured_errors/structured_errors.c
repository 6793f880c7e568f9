/* Every part of an error, of failures that really happen: Python raises, a deadline passes, a worker dies of a bad pointer, a command and a pool are
 * misspelt. For a person pit_error_string() says all of this at once, for a log pit_error_json(); a program takes what it decides by. */
#include <inttypes.h>
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <string.h>

static void print_text(const char *name, const char *text)
{
    if (text != NULL)
        printf("  %-12s %.*s\n", name, (int)strcspn(text, "\n"), text);
}

static void print_value(const char *name, const pit_value *v)
{
    char *json = pit_value_str(v) == NULL ? pit_value_to_json(v, 0) : NULL;
    print_text(name, json != NULL ? json : pit_value_str(v));
    pit_free(json);
}

/* All of it, the exceptions that had led to it first, as Python would print it. */
static void print_traceback(const char *text)
{
    while (text != NULL && *text != '\0') {
        size_t n = strcspn(text, "\n");
        printf("    | %.*s\n", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

/* Of the thread that crashed, the functions of Python, the innermost first. */
static void print_dossier(const pit_value *d)
{
    const pit_value *fault = pit_value_get(d, "fault"), *threads = pit_value_get(d, "python");
    const pit_value *frames = pit_value_get(pit_value_at(threads, 0), "frames"), *frame;
    if (d == NULL)
        return;
    printf("  dossier      %s at %s\n", pit_value_str_or(pit_value_get(fault, "code"), "no fault"),
           pit_value_str_or(pit_value_get(fault, "address"), "no address"));
    for (size_t i = 0; pit_value_next(frames, &i, NULL, &frame) && i <= 2;) {
        int64_t line = 0;
        const char *file = pit_value_str_or(pit_value_get(frame, "file"), "?"), *slash = strrchr(file, '/');
        pit_value_get_int(pit_value_get(frame, "line"), &line);
        printf("    %s, line %" PRId64 " of %s\n", pit_value_str_or(pit_value_get(frame, "function"), "?"), line,
               slash != NULL ? slash + 1 : file);
    }
}

static void print_error(const pit_error *e)
{
    const pit_value *key, *item;
    printf("  code         %d, %s/%s, %s\n", pit_error_code(e), pit_error_category(e), pit_error_name(e),
           pit_error_retriable(e) ? "may succeed when it is tried again" : "will fail again");
    print_text("message", pit_error_message(e));
    print_text("pool", pit_error_pool(e));
    print_text("worker", pit_error_worker(e));
    print_text("correlation", pit_error_correlation_id(e));
    print_text("python", pit_error_python_type(e));
    print_traceback(pit_error_traceback(e));
    for (size_t i = 0; pit_value_next(pit_error_notes(e), &i, NULL, &item);)
        print_value("note", item);
    for (size_t i = 0; pit_value_next(pit_error_details(e), &i, &key, &item);)
        print_value(pit_value_str_or(key, "?"), item);
    for (size_t i = 0; pit_value_next(pit_error_suggestions(e), &i, NULL, &item);)
        print_value("try", item);
    print_dossier(pit_error_dossier(e));
    if (pit_error_cause(e) != NULL) {
        puts("  caused by");
        print_error(pit_error_cause(e));
    }
}

/* What a program does with it. */
static const char *decision(const pit_error *e)
{
    switch (pit_error_code(e)) {
    case PIT_E_VALUE_ERROR:
        return "tell the user";
    case PIT_E_DEADLINE_EXCEEDED:
        return "serve what is in the cache";
    default:
        return pit_error_retriable(e) ? "try again later" : "mend the program";
    }
}

/* Prints the error of a failed call, and frees it. false: it did not fail. */
static bool tell(const char *what, int rc, pit_error *e)
{
    printf("%s: %s\n", what, rc == 0 ? "has not failed" : decision(e));
    if (rc != 0)
        print_error(e);
    char *json = rc != 0 ? pit_error_json(e) : NULL;
    bool whole = json != NULL && json[0] == '{';
    pit_free(json);
    pit_error_free(e);
    return whole;
}

int main(void)
{
    pit *p = NULL;
    pit_error *e = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    pit_call_options soon = PIT_CALL_OPTIONS_INIT, elsewhere = PIT_CALL_OPTIONS_INIT;
    o.adapter = "failing.py";
    o.workers = 1;
    soon.timeout_ms = 100;
    elsewhere.pool = "defalt";
    if (pit_open(&o, &p, &e) != 0) {
        fprintf(stderr, "%s\n", pit_error_string(e));
        pit_error_free(e);
        return 1;
    }
    int rc = pit_callf(p, "lookup", NULL, NULL, &e, "{s:s}", "name", "kiwi");
    bool good = tell("a price that is not there", rc, e);
    rc = pit_callf(p, "lokup", NULL, NULL, &e, "{s:s}", "name", "pear");
    good = tell("a command that is misspelt", rc, e) && good;
    rc = pit_callf(p, "lookup", &elsewhere, NULL, &e, "{s:s}", "name", "pear");
    good = tell("a pool that is misspelt", rc, e) && good;
    rc = pit_callf(p, "think", &soon, NULL, &e, "{s:i}", "seconds", 60);
    good = tell("a thought that takes too long", rc, e) && good;
    rc = pit_callf(p, "write", NULL, NULL, &e, "{s:i}", "address", 4096);
    good = tell("a bad pointer", rc, e) && good;
    pit_close(p);
    return good ? 0 : 1;
}
