/* A conversation with one worker: each line of standard input is run in Python, and the answer printed. Its state lives as long as the stream. */
#include <snakepit/snakepit.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Prints what a line has said; *ret_more: it is the beginning of something that goes on in the next one. */
static int answer(pit_stream *s, bool *ret_more, pit_error **err)
{
    pit_value *v = NULL;
    const void *said = NULL;
    size_t n = 0;
    int rc = pit_stream_next(s, PIT_INFINITE, &v, err);
    if (rc == 0)
        rc = pit_unpack(v, err, "{s:y,s:b}", "said", &said, &n, "more", ret_more);
    if (rc == 0)
        (void)fwrite(said, 1, n, stdout);
    pit_value_free(v);
    return rc;
}

static int converse(pit_stream *s, pit_error **err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    bool on_terminal = isatty(0), more = false;
    int rc = 0;
    while (rc == 0) {
        fputs(on_terminal ? more ? "... " : ">>> " : "", stdout);
        (void)fflush(stdout);
        if ((n = getline(&line, &room, stdin)) < 0)
            break;
        pit_value *v = pit_strn(line, (size_t)n - (line[n - 1] == '\n'));
        rc = pit_stream_send(s, v, PIT_INFINITE, err);
        if (rc == 0)
            rc = answer(s, &more, err);
        pit_value_free(v);
    }
    free(line);
    return rc == PIT_E_END ? 0 : rc; /* exit() */
}

int main(void)
{
    pit *p = NULL;
    pit_stream *s = NULL;
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    pit_call_options call = PIT_CALL_OPTIONS_INIT;
    o.adapter = "repl.py";
    o.workers = 1;
    call.timeout_ms = PIT_INFINITE; /* people think */

    int rc = pit_open(&o, &p, &err);
    if (rc == 0)
        rc = pit_stream_open(p, "session", NULL, &call, PIT_STREAM_BIDI, &s, &err);
    if (rc == 0)
        rc = converse(s, &err);
    if (rc != 0)
        fprintf(stderr, "%s\n", err != NULL ? pit_error_string(err) : pit_strerror(rc));
    pit_error_free(err);
    pit_stream_close(s);
    pit_close(p);
    return rc != 0;
}
