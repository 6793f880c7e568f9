/* Faults by plan (fault/inject.h) in a whole library: for tests, and for libraries built with -DPIT_FAULTS=ON, which read the plan from SNAKEPIT_FAULTS. A
 * product has none of it. One plan for the whole process. */
#ifndef PIT_API_FAULTS_H
#define PIT_API_FAULTS_H

#include <snakepit/runtime.h>

#include "fault/inject.h"
#include "os/os.h"

/* The kernel, which fails as the plan says once it is switched on. First called before there are threads. */
const struct os_ops *faults_os(void);

/* Takes the plan, off to begin with. 0, or a code of inject_parse. Nothing of the library runs meanwhile. */
int faults_plan(const char *text, struct inject_error *why);
void faults_switch(bool on);                       /* any thread */
uint64_t faults_taken(enum inject_kind kind);      /* how many there were */
void faults_allocator(const pit_allocator *under); /* memory fails, too; before the library is used first */
/* Watches the calls of a host that was opened over faults_os: kill, delay and clock are about them. 0 or the code of pit_telemetry_attach. */
int faults_watch(pit *p);
/* pit_open() over faults_os with this plan, switched on. */
int faults_open(const char *plan, const pit_options *o, pit **ret, pit_error **reterr);

#endif
