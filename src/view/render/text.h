/*
 * Walking over the lines of the kernel's own texts, and numbers in its columns: what several
 * renderers share.
 */
#pragma once

#include <glib.h>

/* A piece of a text that belongs to somebody else. */
typedef struct {
    const char *start;
    gsize length;
} PvSpan;

/* The next line of *cursor, without its newline. FALSE at the end. A NULL text has no lines. */
gboolean pv_span_next_line(const char **cursor, PvSpan *ret_line);

/* The next word of a line, blanks around it removed; the line is cut to what follows. FALSE when
 * there is none. */
gboolean pv_span_next_word(PvSpan *line, PvSpan *ret_word);

/* A word that is an unsigned decimal and nothing else. */
gboolean pv_span_parse_u64(PvSpan word, guint64 *ret_value);

gboolean pv_span_equal(PvSpan span, const char *text);

/*
 * Find a key in a table: an array of structs of row_size bytes whose first member is a
 * `const char *` key, in the order of strcmp. Returns the row or NULL.
 */
const void *pv_span_find_row(PvSpan key, const void *rows, gsize n_rows, gsize row_size);

/* a * part / whole, rounded down, without overflow; a when there is no whole or no smaller part. */
guint64 pv_share(guint64 a, guint64 part, guint64 whole);

/*
 * A line of meminfo, "KEY:    VALUE kB" or "KEY:   VALUE", and the columns in which the kernel
 * prints its value.
 */
typedef struct {
    PvSpan prefix; /* all that stands before the blanks: "MemTotal:", "Node 0 MemTotal:" */
    PvSpan key;    /* without the colon and without "Node 0 " */
    guint64 value;
    int value_column; /* where the value's field begins */
    int value_width;  /* how wide it is at least */
    gboolean has_unit;
} PvMeminfoLine;

/* FALSE when the line is not of that form. */
gboolean pv_meminfo_line_parse(PvSpan line, PvMeminfoLine *ret_line);

/* Append the line with another value. */
void pv_meminfo_line_print(const PvMeminfoLine *line, guint64 value, GString *out);
