/* libsnakepit: call Python (or any) workers in supervised child processes as if they were local functions.
 *
 * Rules that hold everywhere: a function that can fail returns 0 or a negative PIT_E_*; results come through ret_* arguments, which are
 * untouched on failure; arguments are borrowed for the length of the call; in an options struct zero means "not set"; any thread may
 * call anything unless the comment says otherwise; durations are milliseconds. */
#ifndef SNAKEPIT_SNAKEPIT_H
#define SNAKEPIT_SNAKEPIT_H

#include <snakepit/base.h>
#include <snakepit/call.h>
#include <snakepit/codes.h>
#include <snakepit/error.h>
#include <snakepit/event.h>
#include <snakepit/plugin.h>
#include <snakepit/pool.h>
#include <snakepit/runtime.h>
#include <snakepit/stream.h>
#include <snakepit/tensor.h>
#include <snakepit/tool.h>
#include <snakepit/value.h>

#endif
