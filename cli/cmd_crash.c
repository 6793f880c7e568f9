/* snakepit crash list|show: the dossiers that hosts have left in their data folder (docs/guide-crashes.md).
 *
 * Failure modes: a file that is no dossier has a line of its own in the list, which goes on; a folder that is not there has no dossiers. */
#include "crash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { USUAL_COUNT = 50 };

struct crash_options {
    const char *dir, *pool;
    int count;
};

static const struct option_def crash_option_defs[] = {
    {"dir", 'd', OPTION_TEXT, "DIR", "the folder (crashes/ in SNAKEPIT_DATA_DIR, else in the user's state folder)",
     offsetof(struct crash_options, dir)},
    {"pool", 'p', OPTION_TEXT, "NAME", "list: of this pool alone", offsetof(struct crash_options, pool)},
    {"count", 'n', OPTION_COUNT, "N", "list: at most so many, the newest (50)", offsetof(struct crash_options, count)},
};

/* ---- the folder ---- */

/* "" and *ret_code when there is none. */
static bool find_dir(const struct cli *cli, const struct crash_options *o, char dir[4096], int *ret_code)
{
    char *data = o->dir == NULL ? pit_data_dir() : NULL;

    if (o->dir == NULL && data == NULL) {
        *ret_code = report(cli, EXIT_UNREACHABLE, PIT_E_NOT_FOUND, "--dir DIR, or SNAKEPIT_DATA_DIR",
                           "no place for dossiers is known: neither HOME nor SNAKEPIT_DATA_DIR names one");
        return false;
    }
    (void)snprintf(dir, 4096, o->dir != NULL ? "%s" : "%s/crashes", o->dir != NULL ? o->dir : data);
    pit_free(data);
    return true;
}

static bool open_files(const struct cli *cli, const struct crash_options *o, struct crash_files *ret, char dir[4096],
                       int *ret_code)
{
    if (!find_dir(cli, o, dir, ret_code))
        return false;
    int error = crash_files_open(dir, ret);
    if (error == 0 || (error == ENOENT && o->dir == NULL)) /* nothing has crashed yet */
        return true;
    *ret_code = report(cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "%s cannot be read: %s", dir, strerror(error));
    return false;
}

/* ---- list ---- */

struct row {
    const char *cells[5];
};

enum { ROW_CELLS = 5 };

static const char *const row_heads[ROW_CELLS] = {"ID", "WHEN", "WORKER", "CLASS", "WHERE"};

static const char *where(const pit_value *d)
{
    const char *python = pit_value_str(pit_value_get(d, "python_at"));

    return python != NULL ? python : pit_value_str_or(pit_value_get(d, "native_at"), "-");
}

static struct row row_of(const pit_value *d)
{
    const char *wrong = pit_value_str(pit_value_get(d, "error"));

    if (wrong != NULL)
        return (struct row){{pit_value_str_or(pit_value_get(d, "id"), "?"), "-", "-", "-", wrong}};
    return (struct row){{pit_value_str_or(pit_value_get(d, "id"), "?"), pit_value_str_or(pit_value_get(d, "time"), "-"),
                         pit_value_str_or(pit_value_get(d, "worker_id"), "-"),
                         pit_value_str_or(pit_value_get(d, "exit_class"), "-"), where(d)}};
}

/* The columns of a cell, the last of which is as long as it is. */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_row(const struct row *row, const size_t *widths)
{
    for (int c = 0; c < ROW_CELLS; c++) {
        bool last = c == ROW_CELLS - 1;
        size_t n = crash_put(stdout, row->cells[c], last ? 0 : widths[c]);
        for (; !last && n < widths[c] + 2; n++)
            putchar(' ');
    }
    putchar('\n');
}

static void print_table(const pit_value *rows)
{
    enum { WIDEST = 64 };
    size_t widths[ROW_CELLS];
    const pit_value *d;
    struct row head;

    for (int c = 0; c < ROW_CELLS; c++) {
        head.cells[c] = row_heads[c];
        widths[c] = strlen(row_heads[c]);
    }
    for (size_t i = 0; pit_value_next(rows, &i, NULL, &d);) {
        struct row row = row_of(d);
        for (int c = 0; c < ROW_CELLS; c++) {
            size_t n = width_of(row.cells[c]);
            widths[c] = n <= widths[c] ? widths[c] : n < WIDEST ? n : WIDEST;
        }
    }
    print_row(&head, widths);
    for (size_t i = 0; pit_value_next(rows, &i, NULL, &d);) {
        struct row row = row_of(d);
        print_row(&row, widths);
    }
}

/* What a list says of a dossier. */
static pit_value *summary_of(const pit_value *d)
{
    static const char *const keys[] = {"id",     "time",      "worker_id", "pool",    "exit_class", "exit_code",
                                       "signal", "python_at", "native_at", "partial", NULL};
    pit_value *row = pit_map(), *commands = pit_list();
    const pit_value *call;

    for (size_t i = 0; keys[i] != NULL; i++) {
        const pit_value *v = pit_value_get(d, keys[i]);
        if (v != NULL)
            (void)pit_map_set_take(row, keys[i], pit_value_ref(v));
    }
    for (size_t i = 0; pit_value_next(pit_value_get(d, "calls"), &i, NULL, &call);)
        (void)pit_list_append_take(commands, pit_str(pit_value_str_or(pit_value_get(call, "command"), "?")));
    (void)pit_map_set_take(row, "commands", commands);
    return row;
}

/* NULL: it is of another pool. */
static pit_value *look_at(const struct crash_files *files, const char *id, const char *pool)
{
    char wrong[256];
    pit_value *d = crash_file_read(files, id, wrong), *row = NULL;

    if (d == NULL)
        return pool == NULL ? pit_pack("{s:s,s:s}", "id", id, "error", wrong) : NULL;
    if (pool == NULL || strcmp(pit_value_str_or(pit_value_get(d, "pool"), ""), pool) == 0) {
        row = summary_of(d);
        (void)pit_map_set_take(row, "id", pit_str(id)); /* by which it is shown */
    }
    pit_value_free(d);
    return row;
}

static int list(const struct cli *cli, const struct crash_options *o)
{
    char dir[4096];
    struct crash_files files;
    int code = EXIT_OK;
    size_t most = o->count != 0 ? (size_t)o->count : USUAL_COUNT, at = 0;

    if (!open_files(cli, o, &files, dir, &code))
        return code;
    pit_value *rows = pit_list();
    for (; at < files.n && pit_value_len(rows) < most; at++) {
        pit_value *row = look_at(&files, files.items[at].id, o->pool);
        if (row != NULL)
            (void)pit_list_append_take(rows, row);
    }
    if (cli->json) {
        code = print_value(cli, rows);
    } else if (pit_value_len(rows) != 0) {
        print_table(rows);
        if (at < files.n)
            fprintf(stderr, "%zu older ones were not looked at (--count)\n", files.n - at);
    } else {
        fprintf(stderr, "no dossiers%s in %s\n", o->pool != NULL ? " of that pool" : "", dir);
    }
    pit_value_free(rows);
    crash_files_close(&files);
    return code;
}

/* ---- show ---- */

static int unknown(const struct cli *cli, const struct crash_files *files, const char *id, const char *dir)
{
    const char **names = files->n != 0 ? malloc(files->n * sizeof *names) : NULL;
    const char *near = NULL;
    char hint[200] = "snakepit crash list";

    size_t n = 0;
    for (size_t i = 0; names != NULL && i < files->n; i++)
        if (crash_id_is_usual(files->items[i].id))
            names[n++] = files->items[i].id;
    if (n != 0)
        near = nearest_name(id, names, n);
    if (near != NULL)
        (void)snprintf(hint, sizeof hint, "snakepit crash show %s", near);
    free(names);
    return report(cli, EXIT_ERROR, PIT_E_NOT_FOUND, hint, "there is no dossier '%.128s' in %s%s%.128s%s", id, dir,
                  near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
}

/* The one of that name, or the only one that begins so; NULL and *ret_code. */
static const char *find_id(const struct cli *cli, const struct crash_files *files, const char *id, const char *dir,
                           int *ret_code)
{
    const char *found = NULL;
    size_t n = 0;

    for (size_t i = 0; i < files->n; i++) {
        if (strcmp(files->items[i].id, id) == 0)
            return files->items[i].id;
        if (strncmp(files->items[i].id, id, strlen(id)) == 0 && n++ == 0)
            found = files->items[i].id;
    }
    if (n == 1)
        return found;
    bool told = n != 0 && crash_id_is_usual(found);
    *ret_code = n == 0 ? unknown(cli, files, id, dir)
                       : report(cli, EXIT_ERROR, PIT_E_NOT_FOUND, "more of it; snakepit crash list has them",
                                "%zu dossiers begin with '%.128s'%s%.128s%s", n, id, told ? "; the newest is '" : "",
                                told ? found : "", told ? "'" : "");
    return NULL;
}

static int show(const struct cli *cli, const struct crash_options *o, const char *id)
{
    char dir[4096], wrong[256];
    struct crash_files files;
    int code = EXIT_OK;

    if (!open_files(cli, o, &files, dir, &code))
        return code;
    const char *found = find_id(cli, &files, id, dir, &code);
    pit_value *d = found != NULL ? crash_file_read(&files, found, wrong) : NULL;
    if (found != NULL && d == NULL)
        code =
            report(cli, EXIT_ERROR, PIT_E_DESERIALIZATION_FAILED, NULL, "%s/%.128s.json is no dossier: %s", dir, found, wrong);
    else if (d != NULL && cli->json)
        code = print_value(cli, d);
    else if (d != NULL)
        crash_print(d);
    pit_value_free(d);
    crash_files_close(&files);
    return code;
}

static int unknown_action(const struct cli *cli, const char *name)
{
    static const char *const actions[] = {"list", "show"};
    const char *near = nearest_name(name, actions, sizeof actions / sizeof actions[0]);

    if (near != NULL)
        return report_usage(cli, "'%s' is neither list nor show; did you mean '%s'?", name, near);
    return report_usage(cli, "'%s' is neither list nor show", name);
}

static int crash(struct cli *cli, int argc, char **argv)
{
    struct crash_options o = {NULL, NULL, 0};
    struct arguments args = {argv, 0, 0};
    int code = 0;

    if (!options_parse_command(cli, &o, argc, argv, &args, &code))
        return code;
    if (args.n == 0)
        return report_usage(cli, "list or show is missing");
    if (strcmp(args.items[0], "list") == 0)
        return args.n == 1 ? list(cli, &o) : report_usage(cli, "list takes no argument: '%s'", args.items[1]);
    if (strcmp(args.items[0], "show") != 0)
        return unknown_action(cli, args.items[0]);
    if (args.n != 2)
        return report_usage(cli, args.n < 2 ? "the id of a dossier is missing" : "one dossier at a time");
    if (args.items[1][0] == '\0' || strchr(args.items[1], '/') != NULL)
        return report_usage(cli, "'%s' is no id of a dossier", args.items[1]);
    return show(cli, &o, args.items[1]);
}

const struct command cmd_crash = {
    "crash",
    "list | crash show ID",
    "why workers have died: the dossiers that hosts have left",
    "list    the newest first: id, time, worker, class of the end, and where it was in Python\n"
    "show    all that is known of one: the beginning of its id is enough, as long as no other begins so\n",
    crash_option_defs,
    sizeof crash_option_defs / sizeof crash_option_defs[0],
    false,
    crash,
};
