/* A header. Since 0.1. */

/* Makes a thing of n parts. */
PIT_API pit_thing *pit_thing_new(int n);
