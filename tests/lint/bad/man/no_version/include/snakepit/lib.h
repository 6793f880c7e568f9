/* A header. */

/* Counts the things that are there. */
PIT_API int pit_thing_count(void);
