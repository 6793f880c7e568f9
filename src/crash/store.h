/* Dossiers on disk: a file for each death, ID.json in a folder, for whoever looks later (`snakepit crash list`).
 *
 * Invariants
 *  1. One thread writes, and exists only while there is something to write. Nobody waits for it but crash_store_close, and that not for ever: a disk
 *     that does not answer has the rest of the store to itself, and what is lost by that is told before.
 *  2. A file is there whole or not at all: it is written under another name. It belongs to this user alone, as does its folder.
 *  3. A folder holds at most the bytes that it may, and STORE_FILES files: the oldest go first, looked for among all that have the name of a dossier,
 *     whoever wrote them; nothing else in the folder is touched. Several hosts that share it may pass the limit together, each by a sixteenth.
 *  4. Files survive the host, not the machine: nothing is synced.
 *
 * Failure: a dossier that cannot be written is lost; the first one of a folder is told at once, those after it with the next one that
 * can be written, or at the end. No half a file stays; what a host leaves that is killed while it writes goes a minute later.
 *
 * Threads: put, write and close are the loop's, or who ends the host. `lost` runs on the writing thread, or on the closing one. */
#ifndef PIT_CRASH_STORE_H
#define PIT_CRASH_STORE_H

#include <snakepit/value.h>

#include "os/os.h"

enum { STORE_FILES = 16384, STORE_QUEUE = 64 };

struct crash_store;

struct crash_place { /* where dossiers go; borrowed until the store is closed */
    const char *dir; /* absolute; NULL: nowhere */
    uint64_t max_bytes;
};

struct crash_loss {
    const char *dir, *id, *reason; /* id: of the last one */
    uint64_t count;                /* since the last time that this was told */
};

struct crash_store_events {
    void (*waits)(void *user); /* something waits to be written: soon, crash_store_write. Inside put and amend */
    void (*lost)(void *user, const struct crash_loss *l);
};

/* NULL: out of memory. */
struct crash_store *crash_store_create(const struct os_ops *os, const struct crash_store_events *events, void *user);
/* Once for each folder, before anything is put there: makes the folder and sees whether a file can be written, so that crash_store_works is a fact. What fails is told with
 * the first dossier that is lost. run_id: whose try it is. Any thread; blocks. s may be NULL. */
void crash_store_try(struct crash_store *s, struct crash_place place, const char *run_id);
/* Takes a reference to a frozen dossier, whose `id` names the file; lost where STORE_QUEUE others wait. s may be NULL. */
void crash_store_put(struct crash_store *s, struct crash_place place, const pit_value *dossier);
/* Another word on the same death (the same `id`): in the place of the one that waits, else in the place of its file. s may be NULL. */
void crash_store_amend(struct crash_store *s, struct crash_place place, const pit_value *dossier);
/* Has what waits written, by another thread. */
void crash_store_write(struct crash_store *s);
/* Is what is put there kept, as the last file or crash_store_try has shown? s may be NULL. Any thread. */
bool crash_store_works(const struct crash_store *s, struct crash_place place);
/* Writes what waits, until the deadline, and a second longer what was begun before; frees, or leaves that to a thread that hangs. Blocks. s may be NULL. */
void crash_store_close(struct crash_store *s, uint64_t deadline_ns);

#endif
