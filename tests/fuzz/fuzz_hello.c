/* What a worker says of itself before it is trusted with anything: the payload of HELLO, READY and FAILED, read as the handshake reads
 * it: field by field, each of a kind that may be wrong. */
#include <snakepit/snakepit.h>
#include <stdlib.h>
#include <string.h>

#include "wire/codec.h"
#include "wire/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t read_hello(const pit_value *map)
{
    int64_t number = 0;
    const void *secret = NULL;
    size_t secret_n = 0, sum = 0;
    const pit_value *item, *channels = pit_value_get(map, "channels"), *runtime = pit_value_get(map, "runtime");
    static const char *const numbers[] = {"protocol_min", "protocol_max", "pid"};
    static const char *const texts[] = {"language", "version", "implementation", "platform", "extension_error"};
    for (size_t i = 0; i < 3; i++)
        if (pit_value_get_int(pit_value_get(map, numbers[i]), &number))
            sum += (size_t)number;
    if (pit_value_get_bytes(pit_value_get(map, "secret"), &secret, &secret_n))
        for (size_t i = 0; i < secret_n; i++)
            sum += ((const uint8_t *)secret)[i];
    for (size_t i = 0; pit_value_next(channels, &i, NULL, &item);)
        sum += strlen(pit_value_str_or(item, ""));
    for (size_t i = 0; i < 5; i++)
        sum += strlen(pit_value_str_or(pit_value_get(runtime, texts[i]), ""));
    return sum;
}

static size_t read_ready(const pit_value *map)
{
    size_t sum = 0;
    const pit_value *tool, *parameter, *tools = pit_value_get(map, "tools");
    for (size_t i = 0; pit_value_next(tools, &i, NULL, &tool);) {
        const char *name = NULL;
        if (pit_unpack(tool, NULL, "{s:s,*}", "name", &name) == 0)
            sum += strlen(name);
        for (size_t k = 0; pit_value_next(pit_value_get(tool, "parameters"), &k, NULL, &parameter);)
            sum += strlen(pit_value_str_or(pit_value_get(parameter, "name"), ""));
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t sum = 0; /* every byte of every text is read */
    const struct codec_limits limits = {.max_bytes = 1 << 20};
    pit_value *map = NULL;
    pit_error *e = error_from_worker(data, n, PIT_E_ADAPTER_INIT_FAILED);
    char *json = pit_error_json(e);
    pit_value *again = NULL;
    if (pit_error_code(e) == 0 || json == NULL || pit_value_parse_json(json, strlen(json), &again, NULL) != 0)
        abort();
    sum += strlen(pit_error_string(e));
    pit_value_free(again);
    pit_free(json);
    pit_error_free(e);
    if (codec_decode(data, n, &limits, &map, NULL, NULL) != 0)
        return 0;
    sum += read_hello(map) + read_ready(map);
    pit_value_free(map);
    return sum == SIZE_MAX ? -1 : 0;
}
