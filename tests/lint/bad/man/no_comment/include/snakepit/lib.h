/* A header. Since 0.1. */
PIT_API int pit_thing(int n);
