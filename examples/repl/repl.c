/* A conversation with one worker: each line of standard input is run in Python, and the answer printed. Its state lives as long as the stream. */
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int converse(pit_stream *s, pit_error **err)
{
    char line[4096];
    const char *prompt = isatty(0) ? ">>> " : "";
    int rc = 0;
    while (rc == 0 && fputs(prompt, stdout) >= 0 && fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        pit_value *v = pit_str(line), *answer = NULL;
        rc = pit_stream_send(s, v, PIT_INFINITE, err);
        if (rc == 0)
            rc = pit_stream_next(s, PIT_INFINITE, &answer, err);
        if (rc == 0)
            fputs(pit_value_str_or(answer, ""), stdout);
        pit_value_free(answer);
        pit_value_free(v);
    }
    return rc;
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
