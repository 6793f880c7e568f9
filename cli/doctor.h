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
    char registry[512]; /* what the library has said of it */
    pit_value *rows;    /* for -o json */
};

/* One row: printed at once as text, kept for JSON. remedy: what to do about it, or, where all is well,
 * what would be better still; may be NULL. */
void doctor_row(struct doctor *d, enum status status, const char *name, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Runs a program and puts what it prints into buffer, NUL-terminated. 0 when it ended by itself (however), ETIMEDOUT when it was too
 * slow, said too much or a signal came (d->in->signal), else why it did not start. */
int doctor_run(struct doctor *d, const char *const *argv, char *buffer, size_t room);

struct cgroup {
    double cpus, memory, processes; /* limits; -1: none */
    bool delegated;                 /* the workers may have one beside it */
    char name[256];
};

bool cgroup_look(struct cgroup *ret); /* false: there is none to be seen; *ret has no limits then */

void doctor_host(struct doctor *d); /* kernel, privileges, cpus, limits, cgroup */
void doctor_crashes(struct doctor *d);
bool doctor_python(struct doctor *d); /* python, venv; false: nothing to start a worker with, or interrupted */
void doctor_worker(struct doctor *d); /* guard, package, extension, call; the adapter given by --adapter; zygote */

#endif
