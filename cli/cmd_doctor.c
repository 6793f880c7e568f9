/* snakepit doctor: checks whether a pool would work here, by starting one. */
#include "doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct doctor_options {
    const char *python, *adapter;
};

static const struct option_def doctor_option_defs[] = {
    {"adapter", 'a', OPTION_TEXT, "X", "also start a worker with this adapter", offsetof(struct doctor_options, adapter)},
    {"python", 0, OPTION_TEXT, "PATH", "the interpreter", offsetof(struct doctor_options, python)},
};

static const char *const status_names[] = {"ok", "warn", "fail"};

void doctor_row(struct doctor *d, enum status status, const char *name, const char *remedy, const char *format, ...)
{
    static const char *const colors[] = {"\033[32m", "\033[33m", "\033[31m"};
    char message[2048];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    d->counts[status]++;
    if (d->cli->json) {
        (void)pit_list_append_take(d->rows, pit_pack("{s:s,s:s,s:s,s:s}", "status", status_names[status], "name", name,
                                                     "message", message, "remedy", remedy));
        return;
    }
    printf("%s%-4s%s [%s] %s\n", d->color ? colors[status] : "", status_names[status], d->color ? "\033[0m" : "", name,
           message);
    if (remedy != NULL)
        printf("     %s: %s\n", status != STATUS_OK ? "remedy" : "hint", remedy);
    streams_flush(); /* the next check may take a while */
}

static int finish(struct doctor *d)
{
    unsigned warned = d->counts[STATUS_WARN], failed = d->counts[STATUS_FAIL];
    int code = failed > 0 ? EXIT_ERROR : EXIT_OK;

    if (d->in->signal != 0) {
        code = EXIT_SIGNAL + d->in->signal;
    } else if (d->cli->json) {
        pit_value *v = pit_pack("{s:b,s:u,s:u,s:v}", "ok", failed == 0, "warned", warned, "failed", failed, "checks", d->rows);
        int printed = print_value(d->cli, v);
        pit_value_free(v);
        if (printed != EXIT_OK)
            code = printed;
    } else if (failed > 0) {
        printf("%u of %u checks failed\n", failed, failed + warned + d->counts[STATUS_OK]);
    } else {
        printf("all is well%s\n", warned > 0 ? ", but see the warnings" : "");
    }
    return code;
}

static int doctor(struct cli *cli, int argc, char **argv)
{
    struct doctor_options o = {NULL, NULL};
    struct arguments args = {argv, 0, 0};
    struct interrupt in;
    int code = 0;

    if (!options_parse_command(cli, &o, argc, argv, &args, &code))
        return code;
    if (args.n > 0)
        return report_usage(cli, "it takes no argument: '%s'", args.items[0]);
    if (interrupt_open(&in) != 0)
        return report(cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "signals cannot be watched: %s", strerror(errno));
    struct doctor d = {.cli = cli, .in = &in, .python_option = o.python, .adapter = o.adapter};
    d.color = stream_has_color(cli, stdout);
    d.rows = pit_list();
    doctor_row(&d, STATUS_OK, "version", NULL, "snakepit %s", pit_version());
    doctor_host(&d);
    doctor_crashes(&d);
    if (doctor_python(&d))
        doctor_worker(&d);
    code = finish(&d);
    pit_value_free(d.rows);
    interrupt_close(&in);
    return code;
}

const struct command cmd_doctor = {
    "doctor",
    "",
    "check whether workers can run here",
    "Each line is 'ok', 'warn' or 'fail', the name of the check, and what was found; then what to do about it.\n"
    "exit status: 0 when nothing failed, else 1\n",
    doctor_option_defs,
    sizeof doctor_option_defs / sizeof doctor_option_defs[0],
    false,
    doctor,
};
