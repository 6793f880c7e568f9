/* What a test and its C workers share: a page of a file that both map. The test forces events through it, the workers count in it. */
#ifndef TESTS_STAGE_H
#define TESTS_STAGE_H

#include <stdatomic.h>
#include <stdint.h>

enum { STAGE_RUNS = 16384 };

struct stage {
    atomic_uint arrived; /* calls that have begun to wait at the gate */
    atomic_uint go;      /* futex word: gates are open while it is not 0 */
    atomic_uint refuse;  /* workers that start now report that they cannot */
    atomic_uint mute;    /* workers that start now never say READY */
    atomic_uint late;    /* workers that start now wait at the gate before they say READY */
    atomic_uint fat;     /* workers that start now say READY at a length that nobody needs */
    atomic_uint chatty;  /* workers that start now write so many log lines in one go with what they say of their start */
    atomic_uint early;   /* the next large call is answered before it has been read */
    atomic_uint
        heart; /* workers that start now claim: 1 a heart, which is silent; 2 one that answers what nobody asked; 3 one that writes the
                        * host's word; 4 a health() */
    atomic_uint starts;
    atomic_uint runs[STAGE_RUNS]; /* how often the call with this id was run */
};

#endif
