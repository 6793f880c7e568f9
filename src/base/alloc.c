/* See alloc.h. The one piece of process-wide state of the library is the allocator table below. */
#include "base/alloc.h"

#include <snakepit/runtime.h>
#include <stdlib.h>
#include <string.h>

static void *libc_alloc(size_t n, void *user)
{
    (void)user;
    return malloc(n);
}

static void *libc_realloc(void *block, size_t n, void *user)
{
    (void)user;
    return realloc(block, n);
}

static void libc_free(void *block, void *user)
{
    (void)user;
    free(block);
}

static const pit_allocator libc_allocator = {sizeof(pit_allocator), libc_alloc, libc_realloc, libc_free, NULL};
static pit_allocator current = {sizeof(pit_allocator), libc_alloc, libc_realloc, libc_free, NULL};

int mem_set_allocator(const pit_allocator *a)
{
    if (a != NULL && (a->size < sizeof *a || a->alloc == NULL || a->realloc == NULL || a->free == NULL))
        return PIT_E_INVALID_PARAMETER;
    current = a != NULL ? *a : libc_allocator;
    return 0;
}

void *mem_alloc(size_t n)
{
    return current.alloc(n != 0 ? n : 1, current.user);
}

void *mem_zalloc(size_t n)
{
    void *p = mem_alloc(n);
    if (p != NULL)
        memset(p, 0, n);
    return p;
}

void *mem_array(size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n))
        return NULL;
    return mem_zalloc(n);
}

void *mem_realloc(void *block, size_t n)
{
    if (block == NULL)
        return mem_alloc(n);
    return current.realloc(block, n != 0 ? n : 1, current.user);
}

void mem_free(void *block)
{
    if (block != NULL)
        current.free(block, current.user);
}

char *mem_strndup(const char *s, size_t n)
{
    char *copy = mem_alloc(n + 1);
    if (copy != NULL) {
        memcpy(copy, s, n);
        copy[n] = '\0';
    }
    return copy;
}

char *mem_strdup(const char *s)
{
    return s != NULL ? mem_strndup(s, strlen(s)) : NULL;
}

char *mem_put_str(char **to, const char *text)
{
    if (text == NULL)
        return NULL;
    size_t n = strlen(text) + 1;
    char *at = *to;
    memcpy(at, text, n);
    *to += n;
    return at;
}

char **mem_strv_dup(const char *const *v, int *ok)
{
    *ok = 1;
    if (v == NULL)
        return NULL;
    size_t n = 0;
    while (v[n] != NULL)
        n++;
    char **copy = mem_array(n + 1, sizeof *copy);
    *ok = 0;
    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        copy[i] = mem_strdup(v[i]);
        if (copy[i] == NULL) {
            mem_free_strv(copy);
            return NULL;
        }
    }
    *ok = 1;
    return copy;
}

void mem_free_strv(char **v)
{
    if (v == NULL)
        return;
    for (size_t i = 0; v[i] != NULL; i++)
        mem_free(v[i]);
    mem_free(v);
}
