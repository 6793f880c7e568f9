/* What a worker's death leaves behind: the reader of its crash page, and the words for it.
 *
 * Everything here takes a copy that the worker cannot change any more, believes none of it, and does a bounded amount of work: texts become valid
 * UTF-8, counts and places are checked. Pure. Failure: what cannot be allocated is a failed value, as everywhere. Thread: any. */
#ifndef PIT_CRASH_CRASH_H
#define PIT_CRASH_CRASH_H

#include <snakepit/value.h>

#include "ring/crash_page.h"

struct crash_printed { /* the end of its standard error; borrowed */
    const char *text;
    size_t n;
};

/* Adds to a dossier (a map) what the page tells: `fault`, `python`, `native`, `usage`; and to `missing` (a list) what it should tell and
 * does not. signal: the one that the process died of, 0: none; a page that tells of another one is not believed. page may be NULL for
 * a signal that is not told. */
enum { CRASH_SIGNAL_LOST = -1 /* how it died is not known: then the page's word counts */ };
void crash_read_page(const struct crash_page *page, int signal, struct crash_printed printed, pit_value *dossier,
                     pit_value *missing);
/* Was this signal (not CRASH_SIGNAL_LOST), of which the page tells, sent by another process? Only of kill() and tgkill() is the sender's number the
 * kernel's word: whatever else a process can send does not prove that the worker has done it itself. *ret_sender: 0, none that is known. */
bool crash_sent_by_another(const struct crash_page *page, int signal, uint32_t *ret_sender);
/* Python's stacks, as faulthandler writes them: a list of maps of threads. */
pit_value *crash_read_stacks(const char *text, size_t n);
/* A frame as a map: what the frames of a page refer to is taken of `places`. */
struct crash_places {
    const struct crash_module *modules; /* CRASH_MODULES of them */
    uint32_t modules_n;
    const char *names;
    size_t names_room;
};
pit_value *crash_read_frame(const struct crash_places *places, const struct crash_frame *f);
/* Do workers tell of this signal? */
bool crash_is_told(int signal);
/* What a process printed, as text: bytes that are no UTF-8 become U+FFFD. nil: no memory. */
pit_value *crash_words(const char *text, size_t n);
/* Does this file belong to Python's own library, or to what is installed beside it, and not to the program? */
bool crash_is_library(const char *file);
/* "SIGSEGV"; NULL: a signal without a name. */
const char *crash_signal_name(int signal);

#endif
