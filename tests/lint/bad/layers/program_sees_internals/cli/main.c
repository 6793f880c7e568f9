#include <snakepit/snakepit.h>
#include "wire/codec.h"
