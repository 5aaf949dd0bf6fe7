/*
 * Parsers of numbers and of "key value" lines, for texts that a container may have shaped:
 * nothing wraps, nothing is matched by prefix, and a malformed line is skipped, not guessed at.
 */
#pragma once

#include <glib.h>

/* "no limit": cgroup's "max", or a number from 2^62 on (v1 prints 2^63 less one page). */
#define PV_UNLIMITED G_MAXUINT64

/* a - b, or 0 when b is larger. */
static inline guint64 pv_sat_sub(guint64 a, guint64 b)
{
    return a > b ? a - b : 0;
}

/* a + b, or G_MAXUINT64 when that does not fit. */
static inline guint64 pv_sat_add(guint64 a, guint64 b)
{
    return a > G_MAXUINT64 - b ? G_MAXUINT64 : a + b;
}

/*
 * Parse an unsigned decimal at *cursor and move the cursor behind it. Leading blanks are skipped.
 * Returns FALSE (cursor unmoved) when there is no digit; a value past 2^64-1 saturates.
 */
gboolean pv_parse_u64(const char **cursor, guint64 *ret_value);

/* The same for a whole control file of one number: "max" is PV_UNLIMITED, -1 too (v1 quotas), and
 * so is every number from 2^62 on; trailing white space is allowed, anything else is refused. */
gboolean pv_parse_limit(const char *text, guint64 *ret_value);

/*
 * An exact-key table: values of the lines "KEY VALUE" (separator: blanks, or a colon and blanks;
 * a unit behind the value is ignored) of a file such as memory.stat.
 *
 * keys, n_keys   the keys wanted, in the order in which the kernel prints them (only speed
 *                depends on the order)
 * values         n_keys numbers; those of keys that the text has not are left alone
 * valid          one bit per key, n_keys/64 rounded up words; the bits of keys found are set,
 *                the others are left alone
 */
void pv_keys_parse(const char *text, const char *const *keys, guint n_keys, guint64 *values,
                   guint64 *valid);

static inline gboolean pv_bit(const guint64 *words, guint bit)
{
    return (words[bit / 64] >> (bit % 64)) & 1;
}
