/* pit_tool_call(): of a tool of the host, which runs here, and to which the options of the call apply as to a call of a worker; and of a worker's. */
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

/* pit_call() of a worker's tool: told of as a tool is, too. o has the pool; it is changed. */
int tool_there(pit *p, const char *name, const pit_value *args, pit_call_options *o, pit_value **ret, pit_error **reterr);

/* A tool's name without the blanks around it; *ret_n: its length. NULL is "". */
const char *tool_name_trim(const char *name, size_t *ret_n);

#endif
