/* See error.h. The object, its builders and readers; error_text.c has its forms for people and programs, error_decode.c what a worker
 * sends.
 *
 * Invariants
 *  1. While it is being built an error has one owner; after error_give() nothing changes but the text that is made on demand.
 *  2. There is a static error for each code: a shortage of memory never loses the code.
 *
 * Failure: what cannot be allocated is left out. Thread: builders one at a time, readers any. */
#include "wire/error.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "wire/error_object.h"
#include "wire/mp.h"
#include "wire/value.h"

static const pit_error static_errors[] = {
#define STATIC_ERROR(constant, name, category, number, retriable, text) {.code = number},
    PIT_CODE_LIST(STATIC_ERROR)
#undef STATIC_ERROR
};

/* Static errors have no reference count and are never written to. */
static pit_error *static_error(int code)
{
    size_t n = sizeof static_errors / sizeof static_errors[0];
    const pit_error *found = NULL;
    for (size_t i = 0; i < n; i++)
        if (static_errors[i].code == code || (found == NULL && static_errors[i].code == PIT_E_INTERNAL))
            found = &static_errors[i];
    return (pit_error *)(uintptr_t)found;
}

static bool is_static(const pit_error *e)
{
    return __atomic_load_n(&e->refs, __ATOMIC_RELAXED) == 0;
}

/* ---- making ---- */

/* Texts of errors are UTF-8 whatever went into them: a bad byte becomes U+FFFD. */
char *error_clean_text(const char *s, size_t n)
{
    struct buf b = {0};
    size_t bad = 0;
    while (!mp_utf8_valid((const uint8_t *)s, n, &bad)) {
        buf_append(&b, s, bad);
        buf_puts(&b, "\xef\xbf\xbd");
        s += bad + 1;
        n -= bad + 1;
    }
    buf_append(&b, s, n);
    return buf_take_str(&b);
}

static void set_text(char **field, const char *text)
{
    mem_free(*field);
    *field = text != NULL ? error_clean_text(text, strlen(text)) : NULL;
}

pit_error *error_newv(int code, const char *format, va_list ap)
{
    pit_error *e = mem_zalloc(sizeof *e);
    if (e == NULL)
        return static_error(code);
    e->refs = 1;
    e->code = code;
    struct buf b = {0};
    buf_vprintf(&b, format, ap);
    char *text = buf_take_str(&b);
    set_text(&e->message, text);
    mem_free(text);
    return e;
}

pit_error *error_new(int code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    pit_error *e = error_newv(code, format, ap);
    va_end(ap);
    return e;
}

int error_give(pit_error **reterr, pit_error *e)
{
    int code = pit_error_code(e);
    if (e != NULL && !is_static(e)) {
        value_freeze(e->details);
        value_freeze(e->suggestions);
    }
    if (reterr != NULL)
        *reterr = e;
    else
        pit_error_free(e);
    return code;
}

int error_set(pit_error **reterr, int code, const char *format, ...)
{
    if (reterr == NULL)
        return code;
    va_list ap;
    va_start(ap, format);
    error_give(reterr, error_newv(code, format, ap));
    va_end(ap);
    return code;
}

pit_error *error_ref(const pit_error *e)
{
    pit_error *mine = (pit_error *)(uintptr_t)e;
    if (e != NULL && !is_static(e))
        __atomic_add_fetch(&mine->refs, 1, __ATOMIC_RELAXED);
    return mine;
}

static pit_error *destroy(pit_error *e)
{
    pit_error *cause = e->cause;
    char *texts[] = {e->message, e->worker, e->pool, e->correlation, e->type, e->python_message, e->traceback, e->string};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        mem_free(texts[i]);
    pit_value_free(e->details);
    pit_value_free(e->suggestions);
    pit_value_free(e->notes);
    pit_value_free(e->dossier);
    mem_free(e);
    return cause;
}

void pit_error_free(pit_error *e)
{
    /* A chain of causes is freed in a loop: it may be of any length. */
    while (e != NULL && !is_static(e) && __atomic_sub_fetch(&e->refs, 1, __ATOMIC_ACQ_REL) == 0)
        e = destroy(e);
}

/* ---- builders ---- */

pit_error *error_worker(pit_error *e, const char *worker_id)
{
    if (!is_static(e))
        set_text(&e->worker, worker_id);
    return e;
}

pit_error *error_pool(pit_error *e, const char *pool)
{
    if (!is_static(e))
        set_text(&e->pool, pool);
    return e;
}

pit_error *error_correlation(pit_error *e, const char *id)
{
    if (!is_static(e))
        set_text(&e->correlation, id);
    return e;
}

pit_error *error_cause_take(pit_error *e, pit_error *cause)
{
    if (is_static(e) || cause == e) {
        pit_error_free(cause);
        return e;
    }
    pit_error_free(e->cause);
    e->cause = cause;
    return e;
}

/* The container in *field, made when there is none and copied when it has been frozen; NULL when that failed. */
static pit_value *open_container(pit_value **field, pit_value *(*make)(void))
{
    pit_value *old = *field, *fresh;
    if (old != NULL && !pit_value_is_immutable(old))
        return old;
    fresh = make();
    const pit_value *key, *item;
    for (size_t i = 0; old != NULL && pit_value_next(old, &i, &key, &item);) {
        if (key != NULL)
            pit_map_put_take(fresh, pit_value_ref(key), pit_value_ref(item));
        else
            pit_list_append_take(fresh, pit_value_ref(item));
    }
    if (pit_value_error(fresh) != 0) {
        pit_value_free(fresh);
        return NULL;
    }
    pit_value_free(old);
    *field = fresh;
    return fresh;
}

pit_error *error_detail_take(pit_error *e, const char *key, pit_value *v)
{
    pit_value *map = is_static(e) || pit_value_error(v) != 0 ? NULL : open_container(&e->details, pit_map);
    pit_value *name = map != NULL ? pit_str(key) : NULL;
    if (map == NULL || pit_value_error(name) != 0) {
        pit_value_free(name);
        pit_value_free(v);
        return e;
    }
    pit_map_put_take(map, name, v);
    return e;
}

pit_error *error_suggest(pit_error *e, const char *format, ...)
{
    pit_value *list = is_static(e) ? NULL : open_container(&e->suggestions, pit_list);
    if (list == NULL)
        return e;
    struct buf b = {0};
    va_list ap;
    va_start(ap, format);
    buf_vprintf(&b, format, ap);
    va_end(ap);
    char *text = buf_take_str(&b);
    char *clean = text != NULL ? error_clean_text(text, strlen(text)) : NULL;
    mem_free(text);
    pit_value *v = clean != NULL ? pit_str(clean) : NULL;
    mem_free(clean);
    if (v != NULL && pit_value_error(v) == 0)
        pit_list_append_take(list, v);
    return e;
}

pit_error *error_dossier(pit_error *e, const pit_value *dossier)
{
    if (is_static(e))
        return e;
    pit_value_free(e->dossier);
    e->dossier = dossier != NULL ? pit_value_ref(dossier) : NULL;
    return e;
}

pit_error *error_python(pit_error *e, const char *type, const char *message, const char *traceback, const pit_value *notes)
{
    if (is_static(e))
        return e;
    set_text(&e->type, type);
    set_text(&e->python_message, message);
    set_text(&e->traceback, traceback);
    pit_value_free(e->notes);
    e->notes = pit_value_kind(notes) == PIT_KIND_LIST ? pit_value_ref(notes) : NULL;
    return e;
}

/* ---- readers ---- */

int pit_error_code(const pit_error *e)
{
    return e != NULL ? e->code : 0;
}

const char *pit_error_name(const pit_error *e)
{
    return pit_error_code_name(pit_error_code(e));
}

const char *pit_error_category(const pit_error *e)
{
    return e != NULL ? error_code_category(e->code) : "";
}

const char *pit_error_message(const pit_error *e)
{
    if (e == NULL)
        return "";
    return e->message != NULL && e->message[0] != '\0' ? e->message : pit_strerror(e->code);
}

const char *pit_error_worker(const pit_error *e)
{
    return e != NULL ? e->worker : NULL;
}

const char *pit_error_pool(const pit_error *e)
{
    return e != NULL ? e->pool : NULL;
}

const char *pit_error_correlation_id(const pit_error *e)
{
    return e != NULL ? e->correlation : NULL;
}

const char *pit_error_python_type(const pit_error *e)
{
    return e != NULL ? e->type : NULL;
}

const char *pit_error_traceback(const pit_error *e)
{
    return e != NULL ? e->traceback : NULL;
}

const pit_value *pit_error_dossier(const pit_error *e)
{
    return e != NULL ? e->dossier : NULL;
}

const pit_value *pit_error_notes(const pit_error *e)
{
    return e != NULL ? e->notes : NULL;
}

bool pit_error_retriable(const pit_error *e)
{
    return e != NULL && error_code_retriable(e->code);
}

const pit_value *pit_error_details(const pit_error *e)
{
    return e != NULL ? e->details : NULL;
}

const pit_value *pit_error_suggestions(const pit_error *e)
{
    return e != NULL ? e->suggestions : NULL;
}

const pit_error *pit_error_cause(const pit_error *e)
{
    return e != NULL ? e->cause : NULL;
}
