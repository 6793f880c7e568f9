#include "wire/value.h"
