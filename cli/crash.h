/* What the parts of `snakepit crash` share.
 *
 * Invariant: a file in the folder may be anybody's work. It is read as far as it may be large, believed nothing, and what it says reaches the output
 * without control characters. */
#ifndef SNAKEPIT_CLI_CRASH_H
#define SNAKEPIT_CLI_CRASH_H

#include "cli.h"

/* ---- crash_files.c: the folder ---- */

struct crash_file {
    char *id; /* its name without .json */
    uint64_t changed_ns;
};

struct crash_files {
    int fd; /* of the folder; -1: it is not there */
    struct crash_file *items;
    size_t n;
};

/* All that are named *.json, the newest first. 0, or errno: of the folder, or ENOMEM. */
int crash_files_open(const char *dir, struct crash_files *ret);
void crash_files_close(struct crash_files *files);
/* Is the id made as a host makes them (RUN-POOL-SLOT.GENERATION)? Another one is no advice. */
bool crash_id_is_usual(const char *id);
/* The map that it holds (owned), or NULL and why not. */
pit_value *crash_file_read(const struct crash_files *files, const char *id, char wrong[256]);

/* ---- crash_print.c ---- */

/* A text of any origin, in one line, without what a terminal would obey or show in another order. columns: at most so many, 0: all; returns how
 * many it took. */
size_t crash_put(FILE *to, const char *text, size_t columns);
/* A dossier for a person. */
void crash_print(const pit_value *dossier);

#endif
