/* pit_tool_call() of a tool of the host: it runs here, and the options of the call hold as they hold for a call of a worker. */
#ifndef PIT_API_TOOL_HERE_H
#define PIT_API_TOOL_HERE_H

#include "api/api.h"
#include "pool/tool_run.h"

/* Runs it on this thread, for the session (NULL: none). Of the options (checked by nobody yet) those that are about queues, workers and encoding say
 * nothing here. *ret is owned; as pit_tool_call(). */
int tool_here(pit *p, struct tool *t, const char *session, const pit_value *args, const pit_call_options *o, pit_value **ret,
              pit_error **reterr);
/* Has the canceller of that call been fired? c: a tool that no worker calls. Its thread. */
bool tool_here_cut(const struct pit_tool_ctx *c);

/* A tool's name without the blanks around it; *ret_n: its length. NULL is "". */
const char *tool_name_trim(const char *name, size_t *ret_n);

#endif
