/* What the files of src/api share: the handle, entering and leaving it, and the reading of options structs. */
#ifndef PIT_API_API_H
#define PIT_API_API_H

#include <snakepit/snakepit.h>
#include <string.h>

#include "pool/host.h"

struct pit {
    struct host *host;
    const struct os_ops *os;
    const volatile unsigned char *canary; /* 0 in a forked child */
    uint32_t users;                       /* atomic: threads inside the library with this handle, and PIT_CLOSING */
};
#define PIT_CLOSING (UINT32_C(1) << 31)

/* Enters: 0, or PIT_E_FORKED, PIT_E_SHUTTING_DOWN, PIT_E_INVALID_REQUEST (NULL). Every success is followed by api_leave. */
int api_enter(pit *p);
void api_leave(pit *p);
void api_hold(pit *p); /* enters, while another thread is known to be inside: followed by api_leave, too */
/* The same for a function that blocks: PIT_E_WRONG_THREAD in a callback. */
int api_enter_blocking(pit *p);
pit_error *api_refusal(int rc);              /* the error of a refused entry (owned) */
int api_refused(pit_error **reterr, int rc); /* writes the error of a refused entry, returns rc */

/* The same for a caller that was made for another version of the library. */
int options_copy_other(void *to, size_t known, const void *from);
/* Copies the part of an options struct that the caller's header knew. 0, or PIT_E_UNSUPPORTED_OPTION when it sets something that
 * this library does not know; PIT_E_INVALID_PARAMETER without a size. */
static inline int options_copy(void *to, size_t known, const void *from)
{
    size_t size;
    memcpy(&size, from, sizeof size);
    if (size != known)
        return options_copy_other(to, known, from);
    memcpy(to, from, known); /* each call comes here: with a size that is known it is a few moves */
    return 0;
}
/* The error of a refusal by options_copy: what they are the options of, and the macro that a caller begins with. */
pit_error *options_refused(int rc, const char *of, const char *init);
/* A duration in an options struct: 0 = fallback, PIT_NOW = 0, PIT_INFINITE stays; other negatives: false. */
bool duration_read(int64_t given, int64_t fallback, int64_t *ret);
/* What else than a positive number a duration may be. */
enum { DURATION_ZERO = 1 /* PIT_NOW */, DURATION_ENDLESS = 2 /* PIT_INFINITE */ };
struct duration_option {
    const char *name; /* the key */
    int64_t given, fallback, *to;
    unsigned may;    /* DURATION_* */
    bool interval;   /* invalid_interval refuses it, not invalid_timeout */
    int64_t most_ms; /* 0: no limit */
};
/* durations.c: all of them; pool: whose they are, NULL: the host's. NULL, or an error (owned) that names the key. */
pit_error *durations_read(const char *pool, const struct duration_option *rows, size_t n);

/* For tests: pit_open over another table of system calls. */
int api_open_os(const struct os_ops *os, const pit_options *o, pit **ret, pit_error **reterr);

/* settings.c: public options to settings with every default filled in. NULL or an error (owned). */
pit_error *host_settings_read(const struct os_ops *os, const pit_options *o, struct host_settings *ret);
/* settings_recorder.c */
pit_error *recorder_settings_read(const pit_recorder_options *given, struct recorder_rules *ret);
pit_error *pool_settings_read(const struct os_ops *os, const pit_pool_options *o, struct pool_settings *ret);
/* settings_adapter.c: an adapter in C, before the other options; and at the end what a pool of one is without. NULL or an error (owned). */
pit_error *adapter_settings_read(const pit_pool_options *o, struct pool_settings *s);
void adapter_settings_force(struct pool_settings *s);
/* settings_heartbeat.c: into *s. NULL or an error (owned). */
pit_error *heartbeat_settings_read(const pit_heartbeat_options *given, const char *pool, struct pool_settings *s);
/* Sets what `given` (may be NULL) says in *ret; of: whose they are. NULL or an error (owned). */
pit_error *limits_read(const pit_limits *given, const char *of, struct limits *ret);
pit_error *dossier_settings_read(const struct os_ops *os, const pit_dossier_options *given, const char *pool,
                                 struct dossier_rules *ret);
/* data_dir.c: where a host keeps what outlives it, and what named that place (NULL: nothing did). *ret is owned; NULL: there is no place. false: no
 * memory. */
bool data_dir_find(const struct os_ops *os, const char *option, char **ret, const char **ret_from);
/* A path (owned) that is relative is meant from where the program runs now. NULL: no memory. */
char *settings_absolute(const struct os_ops *os, const char *named);
/* settings_profile.c: of the worker profile. */
pit_error *profile_settings_read(const pit_pool_options *o, struct pool_settings *s);
/* Limits of calls that the pool's profile cannot measure are refused. */
pit_error *profile_check_limits(const struct pool_settings *s, const struct limits *l, const char *of);
/* settings_fault.c: crash_barrier. */
pit_error *fault_settings_read(const pit_pool_options *o, struct pool_settings *s);
pit_error *health_settings_read(const pit_pool_options *o, struct pool_settings *s);
/* locate.c: a path (owned), or NULL. */
char *locate_guard(const struct os_ops *os, const char *option);
char *locate_package(const struct os_ops *os, const char *option);
/* cpus.c: CPUs that this process may use: affinity mask and cgroup quota, at least 1. */
int usable_cpus(const struct os_ops *os);

#endif
