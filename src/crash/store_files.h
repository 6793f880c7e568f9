/* The files of a store (store.h): one is written, the oldest are removed. By the writing thread.
 *
 * Invariants: those of store.h on files and folders. A folder is opened anew for each file, so that one that has vanished comes back. */
#ifndef PIT_CRASH_STORE_FILES_H
#define PIT_CRASH_STORE_FILES_H

#include <snakepit/value.h>

#include "base/list.h"
#include "os/os.h"

enum { STORE_NAME = 128 /* bytes of a file's name, with its NUL */ };

struct store_folder {
    struct list node;
    const char *dir;
    bool known;       /* it has been looked through, */
    uint64_t written; /* and this is new since then */
    /* the store's: */
    bool failing; /* atomic */
    bool told;    /* that it is */
    int error;    /* the last one */
    uint64_t lost;
    char last[STORE_NAME]; /* of those that are lost, the last one's id */
};

/* Has the file of a dossier a name like this? suffix: ".json", ".tmp". */
bool store_name_is(const char *name, const char *suffix);
/* Writes it, having made room for it. 0 or -errno: -EFBIG: it has more bytes than the folder may have. */
int store_write(const struct os_ops *os, struct store_folder *f, uint64_t max_bytes, const char *id, const pit_value *dossier);
/* Makes the folder, and a file in it that does not stay: 0, or why no dossier can be kept there, -errno. */
int store_try(const struct os_ops *os, const char *dir, const char *run_id);
/* For -errno: static, or strerror's. */
const char *store_reason(int rc);

#endif
