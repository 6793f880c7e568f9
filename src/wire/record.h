/* Refs and markers, inside of wire: values with named fields. Thread: any; no state. */
#ifndef PIT_WIRE_RECORD_H
#define PIT_WIRE_RECORD_H

#include "wire/value.h"

enum { REF_ID, REF_TYPE, REF_WORKER, REF_SESSION, REF_GENERATION, REF_FIELDS };
enum { MARKER_TYPE, MARKER_REPR, MARKER_FIELDS };

/* A REF or MARKER from its fields (borrowed; NULL and nil: absent), whose contents are copied. Failed with invalid_parameter when one is missing
 * or of another kind. */
pit_value *record_new(int kind, const pit_value *const *fields);
/* Is it a map that is exactly what a marker looks like in JSON? */
bool record_is_marker_map(const pit_value *v);
#define MARKER_JSON_FLAG "__ffi_unserializable__"
#define MARKER_JSON_TYPE "__type__"
#define MARKER_JSON_REPR "__repr__"

#endif
