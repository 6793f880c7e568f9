/* Units of time. */
#ifndef PIT_BASE_UNITS_H
#define PIT_BASE_UNITS_H

#include <stdint.h>

#define MS UINT64_C(1000000) /* in nanoseconds */

#endif
