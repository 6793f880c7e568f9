/* snakepit doctor: what its checks share. */
#ifndef SNAKEPIT_CLI_DOCTOR_H
#define SNAKEPIT_CLI_DOCTOR_H

#include "cli.h"

enum status { STATUS_OK, STATUS_WARN, STATUS_FAIL };

struct doctor {
    const struct cli *cli;
    struct interrupt *in;
    const char *python_option, *adapter; /* may be NULL */
    struct python_choice python;         /* filled by doctor_python() */
    bool color;
    unsigned counts[3]; /* rows by status */
    pit_value *rows;    /* for -o json */
};

/* One row: printed at once as text, kept for JSON. remedy may be NULL. */
void doctor_row(struct doctor *d, enum status status, const char *name, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

void doctor_host(struct doctor *d);   /* kernel, cpus, limits */
bool doctor_python(struct doctor *d); /* python, venv; false: nothing to start a worker with, or interrupted */
void doctor_worker(struct doctor *d); /* guard, package, extension, call; and the adapter given by --adapter */

#endif
