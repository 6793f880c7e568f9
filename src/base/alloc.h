/* Memory: every allocation of the library goes through here, so that a host can replace the allocator and a test can fail the
 * k-th allocation.
 *
 * Failure: NULL; the caller reports PIT_E_ALLOCATION_FAILED. Thread: any. */
#ifndef PIT_BASE_ALLOC_H
#define PIT_BASE_ALLOC_H

#include <stddef.h>

struct pit_allocator;

void *mem_alloc(size_t n);
void *mem_zalloc(size_t n);                 /* zeroed */
void *mem_array(size_t count, size_t size); /* zeroed; NULL on overflow */
void *mem_realloc(void *block, size_t n);
void mem_free(void *block); /* NULL ok */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n); /* NUL-terminated copy of n bytes */
/* Copies text to *to, which is moved behind its NUL; NULL stays NULL. Its copy. */
char *mem_put_str(char **to, const char *text);
/* Copies a NULL-terminated array of strings; NULL stays NULL with *ok true. Freed with mem_free_strv. */
char **mem_strv_dup(const char *const *v, int *ok);
void mem_free_strv(char **v);
/* NULL: libc's. Before first use. */
int mem_set_allocator(const struct pit_allocator *a);

#endif
