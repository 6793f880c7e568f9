/* Failing the k-th allocation or system call of an operation over the whole library. */
#ifndef TESTS_KTH_H
#define TESTS_KTH_H

#include "fault/faulty_os.h"
#include "integration/c/kit.h"

enum kind { ALLOCATION, SYSTEM_CALL };

static inline int checked(int rc, pit_error **e)
{
    assert_int_equal(pit_error_code(*e), rc);
    if (rc != 0)
        assert_true(pit_error_string(*e)[0] != '\0');
    pit_error_free(*e);
    *e = NULL;
    return rc;
}

static inline int op_call(pit *p)
{
    pit_error *e = NULL;
    pit_value *v = NULL, *args = pit_list();
    pit_list_append_take(args, pit_int(7));
    int rc = pit_call(p, "echo", args, NULL, &v, &e);
    assert_int_equal(rc == 0, v != NULL);
    pit_value_free(args);
    pit_value_free(v);
    return checked(rc, &e);
}

static inline void arm(enum kind kind, long k)
{
    if (kind == SYSTEM_CALL) {
        faulty_arm(k);
        return;
    }
    atomic_store(&kit_fail_at, 0);
    atomic_store(&kit_allocs, 0);
    atomic_store(&kit_fail_at, k);
}

/* Ends the failing; true: the k-th was reached. */
static inline bool disarm(enum kind kind, long k)
{
    bool hit = kind == SYSTEM_CALL ? faulty_hit() != NULL : atomic_load(&kit_allocs) >= k;
    atomic_store(&kit_fail_at, 0);
    atomic_store(&faulty_at, 0);
    return hit;
}

static inline const char *describe(const char *name, enum kind kind, long k)
{
    static char text[128];
    const char *hit = kind == SYSTEM_CALL ? faulty_hit() : "allocation";
    snprintf(text, sizeof text, "%s, %s %ld", name, hit != NULL ? hit : "nothing failed:", k);
    return text;
}

#endif
