#include <stddef.h>
#define PIT_API
#define PIT_LEAST 1
typedef struct pit pit;
typedef struct pit_options {
    size_t size;
    const char *name;
    int first;
    int workers;
} pit_options;
typedef struct pit_item {
    int rc;
    void *value;
} pit_item;
enum { PIT_ONE = 1, PIT_TWO };
typedef int (*pit_fn)(int n, void *user);
PIT_API int pit_open(const pit_options *o, pit **ret);
PIT_API int pit_count(pit *p);
