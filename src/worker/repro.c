/* See repro.h. */
#include "worker/repro.h"

#include <string.h>

#include "base/redact.h"
#include "base/shell.h"
#include "wire/json.h"

/* The arguments as the frame has them (owned): nil for none. false: they are too long, or no memory. */
static bool read_arguments(const struct call *c, pit_value **ret)
{
    const struct codec_limits limits = {.max_bytes = REPRO_PAYLOAD * 64};
    pit_value *command = NULL;
    struct frame f;
    size_t used = 0;
    if (c->frame.len < FRAME_HEADER || frame_parse(c->frame.data, c->frame.len, &f) != 0 || f.payload_n > REPRO_PAYLOAD ||
        codec_decode(f.payload, f.payload_n, &limits, &command, &used, NULL) != 0)
        return false;
    pit_value_free(command);
    return codec_decode(f.payload + used, f.payload_n - used, &limits, ret, NULL, NULL) == 0;
}

static void put_arguments(struct buf *line, const struct call *c)
{
    struct buf json = {0}, clean = {0};
    pit_value *args = NULL;
    bool known = read_arguments(c, &args), none = known && pit_value_kind(args) == PIT_KIND_NIL;
    known = known && (none || json_write(&json, args, 0, NULL) == 0);
    redact(&clean, (const char *)json.data, json.len);
    if (known && !none && !json.failed && !clean.failed && clean.len <= REPRO_JSON) {
        buf_putc(line, ' ');
        shell_quote(line, (const char *)clean.data, clean.len);
    } else if (!none) {
        buf_puts(line, " - < arguments.json");
    }
    buf_finish(&clean);
    buf_finish(&json);
    pit_value_free(args);
}

static void put_option(struct buf *line, const char *option, const char *value)
{
    if (value == NULL)
        return;
    buf_puts(line, option);
    shell_quote(line, value, strlen(value));
}

void repro_put(const struct repro_rules *r, const struct call *c, pit_error *e)
{
    enum { COMMAND_MOST = 256 };
    size_t n = strlen(c->command);
    struct buf line = {0};
    if (!r->enabled || r->adapter == NULL || n > COMMAND_MOST)
        return;
    buf_puts(&line, "snakepit call ");
    shell_quote(&line, c->command, n);
    put_option(&line, " --adapter ", r->adapter);
    put_option(&line, " --python ", r->python);
    if (c->stream != NULL)
        buf_puts(&line, " --stream");
    put_arguments(&line, c);
    if (!line.failed)
        error_detail_take(e, "repro", pit_strn((const char *)line.data, line.len));
    buf_finish(&line);
}
