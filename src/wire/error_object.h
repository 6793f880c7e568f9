/* The inside of an error; only src/wire/error*.c look here. */
#ifndef PIT_WIRE_ERROR_OBJECT_H
#define PIT_WIRE_ERROR_OBJECT_H

#include <snakepit/error.h>

struct pit_error {
    size_t refs; /* atomic; 0: static */
    int code;
    char *message, *worker, *pool, *correlation; /* each may be NULL */
    char *type, *python_message, *traceback;
    pit_value *details, *suggestions, *notes, *dossier;
    pit_error *cause;
    char *string; /* atomic: made when it is first asked for */
};

/* An owned copy of n bytes as valid UTF-8; NULL when memory ran out. */
char *error_clean_text(const char *s, size_t n);

#endif
