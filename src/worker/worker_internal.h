/* Between the files of the worker module. Loop thread. */
#ifndef PIT_WORKER_WORKER_INTERNAL_H
#define PIT_WORKER_WORKER_INTERNAL_H

#include "base/units.h"
#include "worker/worker.h"

/* handshake.c: a frame on the control socket. 0 or the PIT_E_* for which the worker is ended. */
int handshake_frame(struct worker *w, const struct frame *f);
/* The map that a frame of the handshake carries, or NULL: it is none. */
pit_value *worker_decode_map(const struct frame *f);
/* zygote.c */
struct zygote;
void zygote_init_hooks(struct zygote *z);
void zygote_close(struct zygote *z); /* its channels */
/* worker_start.c: a template was to fork it and could not: an exec is begun, with everything fresh. false: it may not be. */
bool worker_exec_instead(struct worker *w, int error, const char *call);
/* A control socket, of whose other end only bytes are taken: 0 or -errno. */
int worker_open_pair(const struct os_ops *os, int ret_fds[2]);
void worker_close_control(struct worker *w);
/* worker_log.c: a LOG frame. 0 or PIT_E_PROTOCOL_ERROR. Any thread. */
int worker_log(struct worker *w, const struct frame *f);
/* Tells telemetry of output that went no further: dropped bytes so far, of stdout, stderr or log. Any thread. */
void worker_output_dropped(struct worker *w, uint64_t dropped, const char *stream);
/* control.c: lock; loop. A short frame on the control socket: 1; 0: not now; PIT_E_PROTOCOL_ERROR: half of it is out, the socket is lost. */
int worker_send_control(struct worker *w, const uint8_t *frame, size_t n);
/* It was started: tells of that. */
void worker_runs(struct worker *w);
/* READY has come and the guard has told the pid, in either order: a quick worker is faster than the guard's word. */
void handshake_announce(struct worker *w);
/* It can serve no longer. code 0: it died by itself. failure (taken, may be NULL): why it did not become ready. */
void worker_fail(struct worker *w, int code, const char *text, pit_error *failure);
/* The process has ended and all is known that ever will be. */
void worker_finish(struct worker *w);
/* oom.c: of a worker's or a template's end, of what is known now; once for each, since it accounts for what the kernel has counted. */
enum exit_class worker_exit_class(const struct worker_env *env, struct guard_exit how, bool expected,
                                  const struct oom_counts *before);
void worker_init_hooks(struct worker *w);
void worker_init_stop(struct worker *w);             /* worker_stop.c */
enum { STATUS_WAIT_MS = 1000 };                      /* for the guard's word on an exit */
bool worker_awaits_guard(struct worker *w);          /* worker_stop.c: for some time more */
void worker_signal_group(struct worker *w, int sig); /* to its group, if it is still there */
uint64_t worker_deadline(const struct worker *w, int64_t ms);
int worker_state(struct worker *w); /* takes the lock: callers' threads move it, too */

#endif
