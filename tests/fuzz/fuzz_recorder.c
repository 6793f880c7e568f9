/* A flight recorder that its worker has filled with anything: the events are bounded, and can be written as JSON and read again. */
#include <snakepit/snakepit.h>
#include <stdlib.h>
#include <string.h>

#include "crash/recorder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { CAP = 16, LANES = 2, BYTES = RECORDER_LANES_AT + LANES * RECORDER_LANE_MIN * 32 };

static bool read_bytes(void *user, size_t at, void *to, size_t n)
{
    if (at > BYTES || n > BYTES - at)
        abort(); /* a place that depends on what was read */
    memcpy(to, (const uint8_t *)user + at, n);
    return true;
}

/* The input is spread over what is looked at. */
static void fill(uint8_t *area, const uint8_t *data, size_t n)
{
    static const struct {
        size_t at, n;
    } parts[] = {
        {0, 64}, {RECORDER_LANES_AT, BYTES - RECORDER_LANES_AT}, {RECORDER_HOST_AT, 1024}, {RECORDER_PAST_AT, 512}, {64, 256}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && n > 0; i++) {
        size_t take = parts[i].n < n ? parts[i].n : n;
        memcpy(area + parts[i].at, data, take);
        data += take;
        n -= take;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct recorder_event events[2 * CAP], room[CAP], past[RECORDER_PAST];
    uint8_t *area = calloc(1, BYTES);
    pit_value *again = NULL;
    if (area == NULL)
        return 0;
    fill(area, data, n);
    struct recorder_header h;
    memcpy(&h, area, sizeof h);
    (void)recorder_is_sound(&h, BYTES);
    const struct recorder_source s = {.read = read_bytes,
                                      .user = area,
                                      .lanes = LANES,
                                      .lane_records = RECORDER_LANE_MIN,
                                      .clock = h.clock & 1,
                                      .base_at = h.base_at,
                                      .base_ns = h.base_ns,
                                      .now_at = h.base_at + 1000,
                                      .now_ns = h.base_ns + 3000};
    size_t found = recorder_read(&s, events, room, CAP);
    if (found > CAP)
        abort();
    pit_value *list = recorder_values(events, found, h.base_ns, h.prefix);
    size_t before = recorder_past_read((const struct recorder_past *)(const void *)(area + RECORDER_PAST_AT), past);
    pit_list_append_take(list, recorder_values(past, before, 0, 1));
    char *json = pit_value_to_json(list, 0);
    if (json == NULL || pit_value_parse_json(json, strlen(json), &again, NULL) != 0)
        abort();
    pit_value_free(again);
    pit_free(json);
    pit_value_free(list);
    free(area);
    return 0;
}
