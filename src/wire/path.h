/* The path to a part of a value, as Python writes it: ["a"][3]. For messages: too long a path ends in "...".
 *
 * `path` is a buffer of `cap` bytes (at least 16) that always holds a text. Failure: none. */
#ifndef PIT_WIRE_PATH_H
#define PIT_WIRE_PATH_H

#include <snakepit/value.h>

void path_begin(char *path);
void path_add_index(char *path, size_t cap, size_t index);
void path_add_text(char *path, size_t cap, const char *text, size_t n);
/* Another path behind this one. */
void path_add_path(char *path, size_t cap, const char *more);
void path_add_key(char *path, size_t cap, const pit_value *key);
/* The at-th item of a container; of a map the keys are the even ones, the items the odd ones. */
void path_add_item(char *path, size_t cap, const pit_value *container, uint32_t at);

#endif
