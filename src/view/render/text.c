/*
 * Lines, words and columns. The texts come from the host's kernel, but not always from one that is
 * known here: what is not understood is refused, so that the renderer leaves it out.
 */
#include "text.h"

#include <string.h>

/* The field widths of fs/proc/meminfo.c and drivers/base/node.c: of sizes, and of counts. */
#define SIZE_WIDTH  8
#define COUNT_WIDTH 5

static const char UNIT[] = " kB";

gboolean pv_span_next_line(const char **cursor, PvSpan *ret_line)
{
    if (*cursor == NULL || **cursor == '\0')
        return FALSE;
    ret_line->start = *cursor;
    ret_line->length = strcspn(*cursor, "\n");
    *cursor += ret_line->length;
    if (**cursor == '\n')
        (*cursor)++;
    return TRUE;
}

static gboolean is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static PvSpan skip(PvSpan span, gsize n)
{
    return (PvSpan){span.start + n, span.length - n};
}

gboolean pv_span_next_word(PvSpan *line, PvSpan *ret_word)
{
    PvSpan rest = *line;
    while (rest.length > 0 && is_blank(*rest.start))
        rest = skip(rest, 1);
    if (rest.length == 0)
        return FALSE;

    gsize length = 0;
    while (length < rest.length && !is_blank(rest.start[length]))
        length++;
    *ret_word = (PvSpan){rest.start, length};
    *line = skip(rest, length);
    return TRUE;
}

gboolean pv_span_parse_u64(PvSpan word, guint64 *ret_value)
{
    guint64 value = 0;

    for (gsize i = 0; i < word.length; i++) {
        if (!g_ascii_isdigit(word.start[i]) || !g_uint64_checked_mul(&value, value, 10) ||
            !g_uint64_checked_add(&value, value, (guint64)(word.start[i] - '0')))
            return FALSE;
    }
    if (word.length == 0)
        return FALSE;
    *ret_value = value;
    return TRUE;
}

gboolean pv_span_equal(PvSpan span, const char *text)
{
    return strncmp(span.start, text, span.length) == 0 && text[span.length] == '\0';
}

static int compare_span(PvSpan span, const char *text)
{
    int order = strncmp(span.start, text, span.length);
    return order == 0 && text[span.length] != '\0' ? -1 : order;
}

const void *pv_span_find_row(PvSpan key, const void *rows, gsize n_rows, gsize row_size)
{
    gsize low = 0, high = n_rows;

    while (low < high) {
        gsize middle = low + (high - low) / 2;
        const char *row = (const char *)rows + middle * row_size;
        const char *row_key;
        memcpy(&row_key, row, sizeof row_key);
        int order = compare_span(key, row_key);
        if (order == 0)
            return row;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

guint64 pv_share(guint64 a, guint64 part, guint64 whole)
{
    guint64 product;

    if (part >= whole)
        return a;
    if (!g_uint64_checked_mul(&product, a, part))
        return a / whole * part;
    return product / whole;
}

/* Cut "Node N " off. */
static PvSpan skip_node(PvSpan key)
{
    PvSpan rest = key, word;
    guint64 node;

    if (!pv_span_next_word(&rest, &word) || !pv_span_equal(word, "Node") ||
        !pv_span_next_word(&rest, &word) || !pv_span_parse_u64(word, &node) || rest.length == 0)
        return key;
    return skip(rest, 1);
}

/* Where the kernel's format puts the value, told from a value of `digits` digits that begins at
 * column `start`: one that fills its field begins with it, a shorter one ends with it. */
static void find_columns(PvMeminfoLine *line, int start, int digits)
{
    int width = line->has_unit ? SIZE_WIDTH : COUNT_WIDTH;
    int end = start + digits;

    line->value_column = digits >= width ? start : MAX(end - width, (int)line->prefix.length + 1);
    line->value_width = digits >= width ? width : end - line->value_column;
}

gboolean pv_meminfo_line_parse(PvSpan line, PvMeminfoLine *ret_line)
{
    PvMeminfoLine result = {0};
    const char *colon = memchr(line.start, ':', line.length);
    if (colon == NULL || colon == line.start)
        return FALSE;
    result.prefix = (PvSpan){line.start, (gsize)(colon - line.start) + 1};
    result.key = skip_node((PvSpan){line.start, result.prefix.length - 1});

    if (memchr(result.key.start, ' ', result.key.length) != NULL)
        return FALSE;

    PvSpan rest = skip(line, result.prefix.length), value;
    if (!pv_span_next_word(&rest, &value) || !pv_span_parse_u64(value, &result.value) ||
        value.start == colon + 1)
        return FALSE;
    result.has_unit = pv_span_equal(rest, UNIT);
    if (!result.has_unit && rest.length > 0)
        return FALSE;

    find_columns(&result, (int)(value.start - line.start), (int)value.length);
    *ret_line = result;
    return TRUE;
}

void pv_meminfo_line_print(const PvMeminfoLine *line, guint64 value, GString *out)
{
    g_string_append_len(out, line->prefix.start, (gssize)line->prefix.length);
    g_string_append_printf(out, "%*s%*" G_GUINT64_FORMAT "%s\n",
                           line->value_column - (int)line->prefix.length, "", line->value_width,
                           value, line->has_unit ? UNIT : "");
}
