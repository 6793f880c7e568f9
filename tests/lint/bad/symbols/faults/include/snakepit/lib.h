#define PIT_API __attribute__((visibility("default")))
PIT_API int pit_good(void);
