/*
 * An exact reader of JSON: every value is known by the bytes where it stands, so that a text can
 * be changed at one place and stay byte for byte what it was everywhere else. Numbers are never
 * converted; strings only when they are asked for.
 */
#pragma once

#include <glib.h>

/* A longer text, deeper nesting or more values are refused. */
#define PV_JSON_BYTES_MAX  ((gsize)16 << 20)
#define PV_JSON_DEPTH_MAX  256
#define PV_JSON_VALUES_MAX (1u << 20)

typedef enum {
    PV_JSON_OBJECT,
    PV_JSON_ARRAY,
    PV_JSON_STRING,
    PV_JSON_NUMBER,
    PV_JSON_BOOLEAN,
    PV_JSON_NULL,
} PvJsonType;

/* One value. The keys of an object are values too, each followed by its member. */
typedef struct {
    PvJsonType type;
    guint32 start, end; /* offsets of its first byte and of the byte after its last */
    guint32 next;       /* index of the first value that is not inside of it */
} PvJsonValue;

typedef struct {
    const char *text;
    gsize length;
    GArray *values; /* of PvJsonValue, in the order of the text; the first is the whole */
} PvJson;

/*
 * Parse a text (RFC 8259), which must outlive the result.
 * Errors: INVALID, with the line and column.
 */
PvJson *pv_json_parse(const char *text, gsize length, GError **error);
void pv_json_free(PvJson *json);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvJson, pv_json_free)

const PvJsonValue *pv_json_root(const PvJson *json);

/*
 * The values inside a container, one after the other:
 * for (v = pv_json_first(json, c); v != NULL; v = pv_json_after(json, c, v))
 * Of an object, keys and members in turn.
 */
const PvJsonValue *pv_json_first(const PvJson *json, const PvJsonValue *container);
const PvJsonValue *pv_json_after(const PvJson *json, const PvJsonValue *container,
                                 const PvJsonValue *value);

/*
 * The member of an object with an exact name; NULL when there is none, or it is null and `ret_null`
 * is NULL.
 *
 * ret_null  may be NULL; the member that is there but null
 *
 * Errors: INVALID for a name that is there twice, or in other letter case: programs differ in
 * which one they take. Then *error is set, and the return value is NULL.
 */
const PvJsonValue *pv_json_member(const PvJson *json, const PvJsonValue *object, const char *name,
                                  const PvJsonValue **ret_null, GError **error);

/* A string, escapes undone; a lone surrogate is U+FFFD. NULL when the value is NULL or no string,
 * or has a NUL inside. Free with g_free. */
char *pv_json_string(const PvJson *json, const PvJsonValue *value);

/* TRUE for a string with exactly this text. */
gboolean pv_json_equals(const PvJson *json, const PvJsonValue *value, const char *text);

/* A whole number without sign, fraction or exponent. */
gboolean pv_json_u64(const PvJson *json, const PvJsonValue *value, guint64 *ret_number);

/* Append `text` as a JSON string with its quotes. Must be UTF-8. */
void pv_json_write_string(GString *out, const char *text);
