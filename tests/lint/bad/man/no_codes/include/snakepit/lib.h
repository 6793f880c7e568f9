/* A header. Since 0.1. */

/* Looks for the thing. It may fail. */
PIT_API int pit_thing_find(int n, pit_error **reterr);
