/* snakepit worker-check: does a worker program, in whatever language, keep to docs/wire.md?
 *
 * The program plays the host on a socket by itself, byte by byte (check_*.c), for it says what the library would never say, and shows what came
 * instead of what should. At last the worker runs in a pool of the library.
 *
 * With --adapter the worker is the one of snakepit_bridge: its command line and environment are taken from a worker that a pool has started.
 *
 * Exit codes: 0 no check has failed, 1 one has, 128 + n ended by signal n. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

enum { WAIT_MS = 10000, SHOWN = 48 };

extern char **environ;

struct check_options {
    const char *adapter, *python;
    int64_t timeout_ms;
};

static const struct option_def check_option_defs[] = {
    {"adapter", 'a', OPTION_TEXT, "X", "the Python worker with X (file.py, file.py:Class or module:Class), over its socket",
     offsetof(struct check_options, adapter)},
    {"python", 0, OPTION_TEXT, "PATH", "the interpreter for it", offsetof(struct check_options, python)},
    {"timeout", 't', OPTION_DURATION, "TIME", "for each answer (10s)", offsetof(struct check_options, timeout_ms)},
};

/* ---- rows ---- */

static const char *const verdicts[] = {"ok", "FAILED", "skipped"};

static void hex_line(char *to, size_t room, const struct bytes *b)
{
    size_t n = 0, shown = b->n < SHOWN ? b->n : SHOWN;

    to[0] = '\0';
    for (size_t i = 0; i < shown && n + 4 < room; i++)
        n += (size_t)snprintf(to + n, room - n, "%s%02x", i == 0 ? "" : " ", b->data[i]);
    if (shown < b->n)
        (void)snprintf(to + n, room - n, " ... (%zu bytes)", b->n);
}

static const char *heard_text(const struct checker *c, char *hex, size_t room)
{
    static const char *const instead[] = {
        [HEARD_NOTHING] = "nothing", [HEARD_END] = "the end of its socket", [HEARD_UNASKED] = ""};

    hex_line(hex, room, &c->received);
    if (c->received.n != 0)
        return hex;
    return c->heard.how == HEARD_FRAME || c->heard.how == HEARD_RUBBISH ? "" : instead[c->heard.how];
}

/* What came was an ERROR, or a FAILED: what it says, without what a terminal would obey. */
static void print_error_of(const struct checker *c)
{
    struct span code, message;
    char text[1024];
    bool is_error = c->heard.kind == KIND_ERROR || c->heard.kind == KIND_FAILED;

    if (c->heard.how != HEARD_FRAME || !is_error || !map_get(c->heard.payload, "code", &code) || !read_text(code, &code) ||
        !map_get(c->heard.payload, "message", &message) || !read_text(message, &message))
        return;
    (void)snprintf(text, sizeof text, "%.*s: %.*s", (int)(code.n < 64 ? code.n : 64), (const char *)code.p,
                   (int)(message.n < 900 ? message.n : 900), (const char *)message.p);
    fputs("        it says   ", stdout);
    print_text(stdout, text);
    fputc('\n', stdout);
}

static void row(struct checker *c, enum verdict verdict, const char *name, const char *text)
{
    char sent[4 * SHOWN + 64], received[4 * SHOWN + 64];
    bool failed = verdict == CHECK_FAILED;

    if (was_interrupted(c))
        return;
    c->counts[verdict]++;
    hex_line(sent, sizeof sent, &c->sent);
    const char *heard = heard_text(c, received, sizeof received);
    if (c->rows != NULL) {
        pit_value *map = pit_pack("{s:s,s:s}", "check", name, "verdict", verdicts[verdict]);
        if (text != NULL)
            (void)pit_map_set_take(map, failed ? "expected" : "reason", pit_str(text));
        if (failed)
            (void)pit_map_set_take(map, "sent", pit_str(sent));
        if (failed)
            (void)pit_map_set_take(map, "received", pit_str(heard));
        (void)pit_list_append_take(c->rows, map);
        return;
    }
    printf("%-8s%s%s%s\n", verdicts[verdict], name,
           text == NULL ? ""
           : failed     ? ": expected "
                        : ": ",
           text != NULL ? text : "");
    if (failed && sent[0] != '\0')
        printf("        sent      %s\n", sent);
    if (failed && heard[0] != '\0')
        printf("        received  %s\n", heard);
    if (failed)
        print_error_of(c);
    (void)fflush(stdout);
}

void check_ok(struct checker *c, const char *name)
{
    row(c, CHECK_OK, name, NULL);
}

void check_skipped(struct checker *c, const char *name, const char *why)
{
    row(c, CHECK_SKIPPED, name, why);
}

bool check_failed(struct checker *c, const char *name, const char *expected, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, expected);
    (void)vsnprintf(text, sizeof text, expected, ap);
    va_end(ap);
    row(c, CHECK_FAILED, name, text);
    if (c->heard.how == HEARD_FRAME) /* what still comes would be taken for the next answer */
        c->heard.how = HEARD_RUBBISH;
    return false;
}

/* ---- in a pool ---- */

static int open_pool(struct checker *c, const struct check_options *o, const struct python_choice *python,
                     struct own_pool *pool, pit_error **reterr)
{
    const struct own_pool_options po = {.name = "check",
                                        .adapter = o->adapter,
                                        .command = o->adapter == NULL ? (const char *const *)c->argv : NULL,
                                        .python = python->path[0] != '\0' ? python->path : NULL};
    int rc = own_pool_open(pool, &po, c->in, reterr);

    return rc == 0 ? own_pool_await(pool, pit_now_ns() + (uint64_t)c->wait_ms * 1000000, reterr) : rc;
}

/* What has really happened. */
static const char *innermost(int rc, const pit_error *err)
{
    while (pit_error_cause(err) != NULL)
        err = pit_error_cause(err);
    return err != NULL ? pit_error_message(err) : pit_strerror(rc);
}

/* The library starts it, calls it and ends it. */
static void check_in_pool(struct checker *c, const struct check_options *o, const struct python_choice *python)
{
    static const char name[] = "pool: the library starts it, calls it and ends it";
    pit_call_options co = PIT_CALL_OPTIONS_INIT;
    struct own_pool pool = {0};
    pit_error *err = NULL;
    pit_value *result = NULL, *args = NULL;
    int64_t sum = 0;

    if (was_interrupted(c))
        return;
    args = pit_pack("[i,i]", 1, 2);
    c->sent.n = c->received.n = 0;
    c->heard.how = HEARD_UNASKED;
    int rc = open_pool(c, o, python, &pool, &err);
    co.timeout_ms = c->wait_ms;
    if (rc == 0)
        rc = own_pool_call(&pool, "add", args, &co, &result, &err);
    bool good = rc == PIT_E_TOOL_NOT_FOUND || (rc == 0 && pit_value_get_int(result, &sum) && sum == 3);
    int closed = own_pool_close(&pool);
    if (good && closed == 0)
        check_ok(c, name);
    else
        (void)check_failed(c, name, "1 + 2 = 3, or tool_not_found, not: %s", rc != 0 ? innermost(rc, err) : "another result");
    pit_error_free(err);
    pit_value_free(result);
    pit_value_free(args);
}

/* ---- the Python worker's command line ---- */

/* A file of /proc as strings; the last pointer is NULL. Both are freed by the caller. NULL: it cannot be read. */
static char **read_strings(long pid, const char *file, char **ret_text)
{
    enum { MOST = 4 << 20 };
    char path[64], **strings = NULL;
    size_t n = 0, count = 0;

    (void)snprintf(path, sizeof path, "/proc/%ld/%s", pid, file);
    char *text = malloc(MOST + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t got = 1; text != NULL && fd >= 0 && got > 0 && n<MOST; n += got> 0 ? (size_t)got : 0)
        got = read(fd, text + n, MOST - n);
    if (fd >= 0)
        (void)close(fd);
    for (size_t i = 0; i < n; i++)
        count += text[i] == '\0';
    if (n != 0)
        strings = calloc(count + 2, sizeof *strings);
    for (size_t i = 0, k = 0; strings != NULL && i < n; i += strlen(text + i) + 1) {
        text[n] = '\0';
        if (strncmp(text + i, "SNAKEPIT_FDS=", 13) != 0 && strncmp(text + i, "SNAKEPIT_WORKER_ID=", 19) != 0)
            strings[k++] = text + i;
    }
    *ret_text = text;
    return strings;
}

struct command_line {
    char **argv, **env, *argv_text, *env_text;
};

static void command_line_free(struct command_line *l)
{
    free(l->argv);
    free(l->env);
    free(l->argv_text);
    free(l->env_text);
}

/* As a pool starts it. 0 or an exit code, told. */
static int take_command_line(struct checker *c, const struct check_options *o, const struct python_choice *python,
                             struct command_line *ret)
{
    struct own_pool pool = {0};
    pit_worker_list *list = NULL;
    pit_error *err = NULL;
    int rc = open_pool(c, o, python, &pool, &err);

    if (rc == 0)
        rc = pit_list_workers(pool.p, NULL, &list, &err);
    const pit_worker_info *info = pit_worker_list_at(list, 0);
    if (info != NULL) {
        ret->argv = read_strings((long)info->pid, "cmdline", &ret->argv_text);
        ret->env = read_strings((long)info->pid, "environ", &ret->env_text);
    }
    pit_worker_list_free(list);
    (void)own_pool_close(&pool);
    if (rc != 0 && !was_interrupted(c))
        return report_error(c->cli, rc, err);
    pit_error_free(err);
    if (ret->argv == NULL || ret->env == NULL || ret->argv[0] == NULL)
        return report(c->cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "the command line of its worker cannot be read in /proc");
    return 0;
}

/* ---- the command ---- */

static char **with_descriptors(char *const *env)
{
    static char fds[] = "SNAKEPIT_FDS=3,-1", id[] = "SNAKEPIT_WORKER_ID=check/0.1";
    size_t n = 0, k = 0;

    while (env[n] != NULL)
        n++;
    char **all = calloc(n + 3, sizeof *all);
    for (size_t i = 0; all != NULL && i < n; i++)
        if (strncmp(env[i], "SNAKEPIT_FDS=", 13) != 0 && strncmp(env[i], "SNAKEPIT_WORKER_ID=", 19) != 0)
            all[k++] = env[i];
    if (all == NULL)
        return NULL;
    all[k++] = fds;
    all[k] = id;
    return all;
}

static int tell_sum(struct checker *c)
{
    int code = c->counts[CHECK_FAILED] == 0 ? EXIT_OK : EXIT_ERROR;

    if (was_interrupted(c))
        return EXIT_SIGNAL + c->in->signal;
    if (c->rows == NULL) {
        printf("%u ok, %u failed, %u skipped\n", c->counts[CHECK_OK], c->counts[CHECK_FAILED], c->counts[CHECK_SKIPPED]);
        return code;
    }
    pit_value *sum = pit_pack("{s:u,s:u,s:u,s:v}", "ok", c->counts[CHECK_OK], "failed", c->counts[CHECK_FAILED], "skipped",
                              c->counts[CHECK_SKIPPED], "checks", c->rows);
    int printed = print_value(c->cli, sum);
    pit_value_free(sum);
    return printed != EXIT_OK ? printed : code;
}

static int run_checks(struct checker *c, const struct check_options *o)
{
    struct python_choice python = {"", NULL};
    struct command_line line = {0};
    char *const *env = environ;
    int code = 0;

    if (o->adapter != NULL) {
        (void)python_find(o->python, &python);
        code = take_command_line(c, o, &python, &line);
        c->argv = line.argv;
        env = line.env;
    }
    char **all = code == 0 ? with_descriptors(env) : NULL;
    if (code == 0 && all == NULL)
        code = report(c->cli, EXIT_ERROR, PIT_E_ALLOCATION_FAILED, NULL, "out of memory");
    c->env = all;
    if (code == 0 && peer_start(c) && check_handshake(c, "handshake: HELLO, WELCOME, READY")) {
        check_calls(c);
        check_inner(c);
        check_ends(c);
    }
    (void)peer_end(c);
    if (code == 0) {
        check_in_pool(c, o, &python);
        code = tell_sum(c);
    }
    free(all);
    command_line_free(&line);
    return code;
}

static int worker_check(struct cli *cli, int argc, char **argv)
{
    struct check_options o = {NULL, NULL, 0};
    struct arguments args = {argv, 0, 0};
    struct interrupt in;
    int code = 0;

    char **command = calloc((size_t)argc + 1, sizeof *command);
    if (command == NULL)
        return report(cli, EXIT_ERROR, PIT_E_ALLOCATION_FAILED, NULL, "out of memory");
    args.items = command;
    if (!options_parse_command(cli, &o, argc, argv, &args, &code))
        goto done;
    if ((args.n == 0) == (o.adapter == NULL)) {
        code = report_usage(cli, args.n == 0 ? "the worker's command is missing (-- COMMAND ...), or --adapter"
                                             : "--adapter or a command, not both");
        goto done;
    }
    if (interrupt_open(&in) != 0) {
        code = report(cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "signals cannot be watched: %s", strerror(errno));
        goto done;
    }
    struct checker c = {
        .cli = cli, .in = &in, .argv = command, .fd = -1, .wait_ms = o.timeout_ms != 0 ? o.timeout_ms : WAIT_MS};
    c.rows = cli->json ? pit_list() : NULL;
    code = run_checks(&c, &o);
    pit_value_free(c.rows);
    bytes_free(&c.sent);
    bytes_free(&c.received);
    bytes_free(&c.ready);
    interrupt_close(&in);
done:
    free(command);
    return code;
}

const struct command cmd_worker_check = {
    "worker-check",
    "-- COMMAND ... | --adapter X",
    "does a worker in any language keep to the protocol",
    "Starts COMMAND as a pool would and plays its host: the handshake, values, errors, streams, tools of the host, "
    "cancellation,\n"
    "and its end; then runs it in a pool. A line for each check, with the bytes of those that fail. Of the tools echo, add, "
    "fail,\n"
    "sleep, count, talk, ask and tools those are called that the worker names; what needs another is skipped. What the worker\n"
    "prints goes to stderr. docs/guide-other-languages.md\n"
    "\n"
    "exit status: 0 no check has failed, 1 one has, 2 bad usage, 128 + n ended by signal n\n"
    "\n"
    "  snakepit worker-check -- node worker.js\n",
    check_option_defs,
    sizeof check_option_defs / sizeof check_option_defs[0],
    false,
    worker_check,
};
