/* Metadata, of calls and of tools: a map of texts to scalars, of limited size. */
#ifndef PIT_API_METADATA_H
#define PIT_API_METADATA_H

#include "wire/error.h"

enum { METADATA_ENTRIES = 32, METADATA_BYTES = 4096 };

pit_error *metadata_bad(const char *of, const char *reason,
                        const char *text); /* the error (owned) of metadata of a call, or of a tool */
/* Its kind and entries; what it takes when it is encoded is not looked at. NULL, or an error (owned). */
pit_error *metadata_check(const char *of, const pit_value *m);

#endif
