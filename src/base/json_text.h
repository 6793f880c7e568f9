/* Texts and numbers as JSON, for the layers that cannot see wire's writer. Pure; thread: any. */
#ifndef PIT_BASE_JSON_TEXT_H
#define PIT_BASE_JSON_TEXT_H

#include "base/buf.h"

/* Appends s as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD, one for each. */
void json_put_string(struct buf *b, const char *s);
/* Appends v so that reading it gives v again; whole numbers without a point, what is not finite as null. Knows no locale. */
void json_put_number(struct buf *b, double v);

#endif
