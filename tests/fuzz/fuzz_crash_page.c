/* What a dying worker has written into its crash page: any bytes give a dossier that can be written as JSON and read again. */
#include <signal.h>
#include <snakepit/snakepit.h>
#include <stdlib.h>
#include <string.h>

#include "crash/crash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct crash_page *page = calloc(1, sizeof *page); /* of its own block: a read beyond it is seen */
    pit_value *dossier = pit_map(), *missing = pit_list(), *again = NULL;
    if (page == NULL)
        return 0;
    size_t text = n > 256 ? 64 : 0; /* the end of the input is Python's text, far behind in the page */
    memcpy(page, data, n - text < sizeof *page ? n - text : sizeof *page);
    memcpy(page->python, data + n - text, text);
    crash_read_page(page, page->signal % 2 == 0 ? SIGSEGV : CRASH_SIGNAL_LOST, (struct crash_printed){(const char *)data, n},
                    dossier, missing);
    pit_map_set_take(dossier, "missing", missing);
    char *json = pit_value_to_json(dossier, 0);
    if (json == NULL || pit_value_parse_json(json, strlen(json), &again, NULL) != 0)
        abort();
    pit_value_free(again);
    pit_free(json);
    pit_value_free(dossier);
    free(page);
    return 0;
}
