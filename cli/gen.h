/* snakepit gen: the files that it writes. */
#ifndef SNAKEPIT_GEN_H
#define SNAKEPIT_GEN_H

#include <stddef.h>

enum { GEN_FILES = 5 };

/* A path begins with @NAME@, for the adapter's name; in a text @CLASS@ stands for its class, too. */
struct gen_file {
    const char *path, *text;
};

extern const struct gen_file gen_adapter_files[GEN_FILES];
/* For several lanes. */
extern const struct gen_file gen_threaded_files[GEN_FILES];

#endif
