#include "guard/guard_client.h"
