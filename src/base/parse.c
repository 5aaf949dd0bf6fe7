/*
 * Numbers and "key value" lines. The texts may have been shaped by a container, so every parser
 * says no to what it does not know.
 */
#include "procview/parse.h"

#include <string.h>

/* v1 prints LONG_MAX rounded down to a page for "no limit", older kernels 2^63 - 1 or 2^64 - 1. No
 * machine has the half of it, so everything from there on means the same. */
#define UNLIMITED_FROM (G_GUINT64_CONSTANT(1) << 62)

static gboolean is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static const char *skip_blanks(const char *text)
{
    while (is_blank(*text))
        text++;
    return text;
}

gboolean pv_parse_u64(const char **cursor, guint64 *ret_value)
{
    const char *p = skip_blanks(*cursor);
    if (!g_ascii_isdigit(*p))
        return FALSE;

    guint64 value = 0;
    for (; g_ascii_isdigit(*p); p++) {
        guint64 digit = (guint64)(*p - '0');
        value = value > (G_MAXUINT64 - digit) / 10 ? G_MAXUINT64 : value * 10 + digit;
    }
    *cursor = p;
    *ret_value = value;
    return TRUE;
}

static gboolean only_space(const char *text)
{
    while (g_ascii_isspace(*text))
        text++;
    return *text == '\0';
}

gboolean pv_parse_limit(const char *text, guint64 *ret_value)
{
    const char *p = skip_blanks(text);
    guint64 value;

    if (g_str_has_prefix(p, "max") && only_space(p + 3))
        value = PV_UNLIMITED;
    else if (g_str_has_prefix(p, "-1") && only_space(p + 2))
        value = PV_UNLIMITED;
    else if (!pv_parse_u64(&p, &value) || !only_space(p))
        return FALSE;

    *ret_value = value >= UNLIMITED_FROM ? PV_UNLIMITED : value;
    return TRUE;
}

/* The index of the key that is exactly the `length` bytes at `name`, looked for from `hint` on and
 * around; n_keys without one. */
static guint find_key(const char *name, size_t length, const char *const *keys, guint n_keys,
                      guint hint)
{
    for (guint i = 0; i < n_keys; i++) {
        guint k = hint + i < n_keys ? hint + i : hint + i - n_keys;
        if (keys[k][0] == name[0] && strncmp(keys[k], name, length) == 0 && keys[k][length] == '\0')
            return k;
    }
    return n_keys;
}

/* The number of a line's rest: separator, value, and nothing or a blank and a unit behind it. */
static gboolean parse_line_value(const char *rest, guint64 *ret_value)
{
    const char *p = skip_blanks(rest);
    if (*p == ':')
        p++;
    guint64 value;
    if (!pv_parse_u64(&p, &value) || (*p != '\0' && *p != '\n' && !is_blank(*p)))
        return FALSE;
    *ret_value = value;
    return TRUE;
}

void pv_keys_parse(const char *text, const char *const *keys, guint n_keys, guint64 *values,
                   guint64 *valid)
{
    guint hint = 0;

    while (*text != '\0' && n_keys > 0) {
        size_t key_length = strcspn(text, " \t:\n");
        if (key_length > 0) {
            guint k = find_key(text, key_length, keys, n_keys, hint);
            guint64 value;
            if (k < n_keys && parse_line_value(text + key_length, &value)) {
                values[k] = value;
                valid[k / 64] |= G_GUINT64_CONSTANT(1) << (k % 64);
                hint = k + 1 < n_keys ? k + 1 : 0;
            }
        }
        const char *end = strchr(text, '\n');
        if (end == NULL)
            break;
        text = end + 1;
    }
}
