/* What has died here lately: whoever is called at night asks that first. */
#include "doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crash.h"

enum { LATELY_S = 3600, WHERE_COLUMNS = 120 };

struct kept {
    size_t all, lately;
    const char *newest; /* its id */
};

static struct kept count(const struct crash_files *files)
{
    struct kept k = {0, 0, NULL};
    time_t now = time(NULL);

    for (size_t i = 0; i < files->n; i++) {
        if (!crash_id_is_usual(files->items[i].id))
            continue; /* no host's */
        if (k.all++ == 0)
            k.newest = files->items[i].id;
        k.lately += (time_t)(files->items[i].changed_ns / 1000000000) + LATELY_S > now;
    }
    return k;
}

/* "worker default/0.1, segfault, f.py, line 3, in g": whatever the file says, one short line. Owned; NULL: it says nothing, or no memory. */
static char *describe(const struct crash_files *files, const char *id)
{
    static const char *const keys[] = {"worker_id", "exit_class", "python_at"};
    char wrong[256], *text = NULL;
    size_t n = 0;
    pit_value *d = crash_file_read(files, id, wrong);
    FILE *to = d != NULL ? open_memstream(&text, &n) : NULL;

    for (size_t i = 0; to != NULL && i < sizeof keys / sizeof keys[0]; i++) {
        const char *said = pit_value_str(pit_value_get(d, keys[i]));
        if (said == NULL)
            continue;
        fputs(", ", to);
        (void)crash_put(to, said, WHERE_COLUMNS);
    }
    if (to != NULL && fclose(to) != 0) {
        free(text);
        text = NULL;
    }
    pit_value_free(d);
    return text;
}

static void tell(struct doctor *d, const char *dir, const struct crash_files *files)
{
    struct kept k = count(files);
    char remedy[200];

    if (k.all == 0) {
        doctor_row(d, STATUS_OK, "crashes", NULL, "no worker's death is kept in %s", dir);
        return;
    }
    char *newest = describe(files, k.newest);
    (void)snprintf(remedy, sizeof remedy, "snakepit crash show %.128s; snakepit crash list has all", k.newest);
    doctor_row(d, k.lately != 0 ? STATUS_WARN : STATUS_OK, "crashes", remedy,
               "%zu worker%s died within the last hour, %zu dossier%s kept in %s; the newest: %.128s%s", k.lately,
               k.lately == 1 ? "" : "s", k.all, k.all == 1 ? " is" : "s are", dir, k.newest, newest != NULL ? newest : "");
    free(newest);
}

void doctor_crashes(struct doctor *d)
{
    char *data = pit_data_dir(), dir[1024];
    struct crash_files files;

    (void)snprintf(dir, sizeof dir, "%.1000s/crashes", data != NULL ? data : "");
    int error = data != NULL ? crash_files_open(dir, &files) : 0;
    if (data == NULL) {
        doctor_row(d, STATUS_WARN, "crashes", "set SNAKEPIT_DATA_DIR",
                   "of a worker that dies nothing is kept: no folder is known");
    } else if (error == 0) {
        tell(d, dir, &files);
        crash_files_close(&files);
    } else if (error == ENOENT) {
        doctor_row(d, STATUS_OK, "crashes", NULL, "no worker has died yet whose dossier would be kept in %s", dir);
    } else {
        doctor_row(d, STATUS_WARN, "crashes", "the folder must belong to this user, who may read and write it",
                   "%s cannot be read: %s", dir, strerror(error));
    }
    pit_free(data);
}
