/* See path.h. */
#include "wire/path.h"

#include <stdio.h>
#include <string.h>

#include "wire/value.h"

#define KEY_SHOWN 40u /* bytes of a key */

void path_begin(char *path)
{
    path[0] = '\0';
}

static void add(char *path, size_t cap, const char *text)
{
    size_t used = strlen(path), n = strlen(text);
    if (used >= 3 && strcmp(path + used - 3, "...") == 0)
        return;
    if (used + n + sizeof "..." > cap)
        text = "...", n = 3;
    memcpy(path + used, text, n + 1);
}

void path_add_path(char *path, size_t cap, const char *more)
{
    add(path, cap, more);
}

void path_add_index(char *path, size_t cap, size_t index)
{
    char text[32];
    snprintf(text, sizeof text, "[%zu]", index);
    add(path, cap, text);
}

void path_add_text(char *path, size_t cap, const char *key, size_t n)
{
    char text[KEY_SHOWN * 4 + 16];
    size_t out = 0, shown = n < KEY_SHOWN ? n : KEY_SHOWN;
    while (shown < n && shown > 0 && ((unsigned char)key[shown] & 0xc0) == 0x80)
        shown--; /* not in the middle of a character */
    out += (size_t)sprintf(text + out, "[\"");
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)key[i];
        if (c < 0x20 || c == 0x7f)
            out += (size_t)sprintf(text + out, "\\x%02x", c);
        else if (c == '"' || c == '\\')
            out += (size_t)sprintf(text + out, "\\%c", c);
        else
            text[out++] = (char)c;
    }
    sprintf(text + out, "%s\"]", shown < n ? "..." : "");
    add(path, cap, text);
}

void path_add_key(char *path, size_t cap, const pit_value *key)
{
    int64_t i;
    char text[48];
    switch (pit_value_kind(key)) {
    case PIT_KIND_STR:
        path_add_text(path, cap, pit_value_str(key), pit_value_len(key));
        return;
    case PIT_KIND_INT:
        if (!pit_value_get_int(key, &i))
            break;
        snprintf(text, sizeof text, "[%lld]", (long long)i);
        add(path, cap, text);
        return;
    default:
        break;
    }
    snprintf(text, sizeof text, "[<%s>]", pit_value_kind_name(key));
    add(path, cap, text);
}

void path_add_item(char *path, size_t cap, const pit_value *container, uint32_t at)
{
    if (container->kind == PIT_KIND_MAP)
        path_add_key(path, cap, value_item(container, at - at % 2));
    else if (container->kind == PIT_KIND_EXCEPTION)
        path_add_text(path, cap, value_exception_fields[at], strlen(value_exception_fields[at]));
    else if (container->kind != PIT_KIND_ARGS)
        path_add_index(path, cap, at);
}
