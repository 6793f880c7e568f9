/* A tool of the program that streams: Python reads a table row by row, while the program makes the next ones, answers for each that it finds odd, and tells how
 * far it is. Who has read enough closes, and the tool hears of that. */
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 1000 };

static double amount_of(int id)
{
    return id % 300 == 299 ? 5000.0 + id : id % 97;
}

/* On a thread of its own: it waits while Python has not taken what was sent before. */
static int rows(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    const char *table;
    int rc = 0, id = 0;
    (void)user;
    if (pit_unpack(args, NULL, "{s:s}", "table", &table) != 0 || strcmp(table, "payments") != 0)
        return pit_tool_fail(c, "there is no such table");
    for (; rc == 0 && id < ROWS; id++) {
        pit_value *row = pit_pack("{s:i,s:f}", "id", id, "amount", amount_of(id));
        rc = pit_tool_send(c, row, PIT_INFINITE);
        pit_value_free(row);
    }
    if (rc != 0)
        return rc; /* PIT_E_CANCELLED: nobody reads any more */
    *ret = pit_int(id);
    return 0;
}

/* On the thread that waits in pit_call(). */
static int flag(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    int id;
    const char *why;
    (void)user;
    if (pit_unpack(args, NULL, "{s:i,s:s}", "id", &id, "why", &why) != 0)
        return pit_tool_fail(c, "id or why is missing");
    printf("row %d: %s\n", id, why);
    *ret = pit_int(1);
    return 0;
}

static int progress(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    int n;
    (void)c;
    (void)ret;
    (void)user;
    if (pit_unpack(args, NULL, "{s:i}", "rows", &n) == 0)
        printf("%d of %d rows\n", n, ROWS);
    return 0;
}

static int register_tools(pit *p, pit_error **err)
{
    pit_tool_options streams = PIT_TOOL_OPTIONS_INIT;
    streams.description = "the rows of a table";
    streams.streaming = PIT_ON;
    int rc = pit_tool_register(p, NULL, "rows", rows, NULL, &streams, err);
    if (rc == 0)
        rc = pit_tool_register(p, NULL, "flag", flag, NULL, NULL, err);
    return rc == 0 ? pit_tool_register(p, NULL, "progress", progress, NULL, NULL, err) : rc;
}

static int ask(pit *p, const char *command, pit_error **err)
{
    pit_value *answer = NULL;
    int rc = pit_callf(p, command, NULL, &answer, err, "{s:f}", "limit", 1000.0);
    char *text = rc == 0 ? pit_value_to_json(answer, 0) : NULL;
    if (rc == 0)
        printf("%s: %s\n", command, text);
    pit_free(text);
    pit_value_free(answer);
    return rc;
}

int main(void)
{
    pit *p = NULL;
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    o.adapter = "streaming_tool.py";
    o.workers = 1;
    int rc = pit_open(&o, &p, &err);
    if (rc == 0)
        rc = register_tools(p, &err);
    if (rc == 0)
        rc = ask(p, "audit", &err);
    if (rc == 0)
        rc = ask(p, "first", &err);
    if (rc != 0)
        fprintf(stderr, "%s\n", pit_error_string(err));
    pit_error_free(err);
    pit_close(p);
    return rc != 0;
}
