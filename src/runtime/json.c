/* The reader of JSON, see json.h. */
#include "json.h"

#include "procview/error.h"

#include <string.h>

typedef struct {
    const char *text;
    gsize length, at;
    GArray *values;
    const char *problem; /* what is wrong at `at` */
} Parser;

static gboolean parse_value(Parser *p, guint depth);

static gboolean fail(Parser *p, const char *problem)
{
    p->problem = problem;
    return FALSE;
}

/* The byte here; NUL at the end, which no valid text has. */
static char peek(const Parser *p)
{
    return p->at < p->length ? p->text[p->at] : '\0';
}

static void skip_space(Parser *p)
{
    while (p->at < p->length && strchr(" \t\r\n", p->text[p->at]) != NULL && p->text[p->at] != '\0')
        p->at++;
}

static gboolean begin(Parser *p, PvJsonType type, guint *ret_index)
{
    PvJsonValue value = {.type = type, .start = (guint32)p->at};

    if (p->values->len >= PV_JSON_VALUES_MAX)
        return fail(p, "too many values");
    *ret_index = p->values->len;
    g_array_append_val(p->values, value);
    return TRUE;
}

static gboolean finish(Parser *p, guint index)
{
    PvJsonValue *value = &g_array_index(p->values, PvJsonValue, index);

    value->end = (guint32)p->at;
    value->next = p->values->len;
    return TRUE;
}

/* The escape after a backslash. */
static gboolean skip_escape(Parser *p)
{
    char c = peek(p);

    if (c == '\0' || strchr("\"\\/bfnrtu", c) == NULL)
        return fail(p, "an unknown escape");
    p->at++;
    for (int i = 0; c == 'u' && i < 4; i++, p->at++) {
        if (!g_ascii_isxdigit(peek(p)))
            return fail(p, "a broken \\u escape");
    }
    return TRUE;
}

static gboolean parse_string(Parser *p)
{
    guint index;

    if (peek(p) != '"')
        return fail(p, "a string is expected");
    if (!begin(p, PV_JSON_STRING, &index))
        return FALSE;
    for (p->at++; p->at < p->length; p->at++) {
        unsigned char c = (unsigned char)p->text[p->at];
        if (c == '"') {
            p->at++;
            return finish(p, index);
        }
        if (c < 0x20)
            return fail(p, "a control character in a string");
        if (c == '\\') {
            p->at++;
            if (!skip_escape(p))
                return FALSE;
            p->at--;
        }
    }
    return fail(p, "it ends inside a string");
}

static gboolean skip_digits(Parser *p)
{
    gsize start = p->at;

    while (g_ascii_isdigit(peek(p)))
        p->at++;
    return p->at > start ? TRUE : fail(p, "a broken number");
}

static gboolean parse_number(Parser *p)
{
    guint index;

    if (!begin(p, PV_JSON_NUMBER, &index))
        return FALSE;
    if (peek(p) == '-')
        p->at++;
    if (peek(p) == '0')
        p->at++;
    else if (!skip_digits(p))
        return FALSE;
    if (peek(p) == '.') {
        p->at++;
        if (!skip_digits(p))
            return FALSE;
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        p->at++;
        if (peek(p) == '+' || peek(p) == '-')
            p->at++;
        if (!skip_digits(p))
            return FALSE;
    }
    return finish(p, index);
}

static gboolean parse_word(Parser *p)
{
    static const struct {
        const char *text;
        PvJsonType type;
    } words[] = {{"true", PV_JSON_BOOLEAN}, {"false", PV_JSON_BOOLEAN}, {"null", PV_JSON_NULL}};
    guint index;

    for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
        gsize length = strlen(words[i].text);
        if (p->length - p->at < length || memcmp(p->text + p->at, words[i].text, length) != 0)
            continue;
        if (!begin(p, words[i].type, &index))
            return FALSE;
        p->at += length;
        return finish(p, index);
    }
    return fail(p, p->at < p->length ? "no value" : "it ends too early");
}

/* What an object has before each member: a key and a colon. */
static gboolean parse_key(Parser *p)
{
    if (!parse_string(p))
        return FALSE;
    skip_space(p);
    if (peek(p) != ':')
        return fail(p, "a colon is expected");
    p->at++;
    return TRUE;
}

static gboolean parse_container(Parser *p, PvJsonType type, char closing, guint depth)
{
    guint index;

    if (depth >= PV_JSON_DEPTH_MAX)
        return fail(p, "nested too deeply");
    if (!begin(p, type, &index))
        return FALSE;
    p->at++;
    skip_space(p);
    gboolean is_empty = peek(p) == closing;
    while (!is_empty) {
        skip_space(p);
        if ((type == PV_JSON_OBJECT && !parse_key(p)) || !parse_value(p, depth + 1))
            return FALSE;
        skip_space(p);
        if (peek(p) == closing)
            break;
        if (peek(p) != ',')
            return fail(p, p->at < p->length ? "a comma is expected" : "it ends too early");
        p->at++;
    }
    p->at++;
    return finish(p, index);
}

static gboolean parse_value(Parser *p, guint depth)
{
    skip_space(p);
    char c = peek(p);
    if (c == '{')
        return parse_container(p, PV_JSON_OBJECT, '}', depth);
    if (c == '[')
        return parse_container(p, PV_JSON_ARRAY, ']', depth);
    if (c == '"')
        return parse_string(p);
    return c == '-' || g_ascii_isdigit(c) ? parse_number(p) : parse_word(p);
}

static void set_problem(const Parser *p, GError **error)
{
    gsize line = 1, line_start = 0;

    for (gsize i = 0; i < p->at && i < p->length; i++) {
        if (p->text[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    }
    pv_error_set(error, PV_ERROR_INVALID,
                 "no valid JSON: %s (line %" G_GSIZE_FORMAT ", column %" G_GSIZE_FORMAT ")",
                 p->problem, line, p->at - line_start + 1);
}

PvJson *pv_json_parse(const char *text, gsize length, GError **error)
{
    g_autoptr(PvJson) json = g_new0(PvJson, 1);

    json->text = text;
    json->length = length;
    json->values = g_array_new(FALSE, FALSE, sizeof(PvJsonValue));
    Parser p = {.text = text, .length = length, .values = json->values};
    if (length > PV_JSON_BYTES_MAX) {
        pv_error_set(error, PV_ERROR_INVALID, "longer than %" G_GSIZE_FORMAT " bytes",
                     PV_JSON_BYTES_MAX);
        return NULL;
    }
    gboolean ok = parse_value(&p, 0);
    if (ok) {
        skip_space(&p);
        ok = p.at == length || fail(&p, "something follows the end");
    }
    if (!ok) {
        set_problem(&p, error);
        return NULL;
    }
    return g_steal_pointer(&json);
}

void pv_json_free(PvJson *json)
{
    if (json == NULL)
        return;
    g_array_unref(json->values);
    g_free(json);
}

static const PvJsonValue *value_at(const PvJson *json, guint index)
{
    return &g_array_index(json->values, PvJsonValue, index);
}

const PvJsonValue *pv_json_root(const PvJson *json)
{
    return value_at(json, 0);
}

const PvJsonValue *pv_json_first(const PvJson *json, const PvJsonValue *container)
{
    guint index = (guint)(container - value_at(json, 0));
    gboolean is_container = container->type == PV_JSON_OBJECT || container->type == PV_JSON_ARRAY;

    return is_container && index + 1 < container->next ? value_at(json, index + 1) : NULL;
}

const PvJsonValue *pv_json_after(const PvJson *json, const PvJsonValue *container,
                                 const PvJsonValue *value)
{
    return value->next < container->next ? value_at(json, value->next) : NULL;
}

const PvJsonValue *pv_json_member(const PvJson *json, const PvJsonValue *object, const char *name,
                                  const PvJsonValue **ret_null, GError **error)
{
    const PvJsonValue *found = NULL;

    if (ret_null != NULL)
        *ret_null = NULL;
    if (object == NULL || object->type != PV_JSON_OBJECT)
        return NULL;
    for (const PvJsonValue *key = pv_json_first(json, object), *member; key != NULL;
         key = pv_json_after(json, object, member)) {
        g_autofree char *text = pv_json_string(json, key);
        member = value_at(json, key->next);
        if (text == NULL || g_ascii_strcasecmp(text, name) != 0)
            continue;
        if (found != NULL || strcmp(text, name) != 0) {
            pv_error_set(error, PV_ERROR_INVALID, "\"%s\" is there %s", name,
                         found != NULL ? "twice" : "in other letters");
            return NULL;
        }
        found = member;
    }
    if (found == NULL || found->type != PV_JSON_NULL)
        return found;
    if (ret_null != NULL)
        *ret_null = found;
    return NULL;
}

static guint hex4(const char *digits)
{
    guint number = 0;

    for (int i = 0; i < 4; i++)
        number = number << 4 | (guint)g_ascii_xdigit_value(digits[i]);
    return number;
}

/* The character of "uXXXX", or of two of them that belong together; moves *cursor behind. */
static gunichar unescape_unicode(const char **cursor)
{
    guint first = hex4(*cursor + 1);

    *cursor += 5;
    if (first < 0xd800 || first > 0xdfff)
        return first;
    if (first < 0xdc00 && (*cursor)[0] == '\\' && (*cursor)[1] == 'u') {
        guint second = hex4(*cursor + 2);
        if (second >= 0xdc00 && second <= 0xdfff) {
            *cursor += 6;
            return 0x10000 + ((first - 0xd800) << 10 | (second - 0xdc00));
        }
    }
    return 0xfffd;
}

char *pv_json_string(const PvJson *json, const PvJsonValue *value)
{
    static const char escapes[] = "bfnrt", meanings[] = "\b\f\n\r\t";

    if (value == NULL || value->type != PV_JSON_STRING)
        return NULL;
    GString *out = g_string_sized_new(value->end - value->start);
    const char *end = json->text + value->end - 1;
    for (const char *p = json->text + value->start + 1; p < end;) {
        if (*p != '\\') {
            g_string_append_c(out, *p++);
            continue;
        }
        p++;
        const char *escape = strchr(escapes, *p);
        if (*p == 'u') {
            g_string_append_unichar(out, unescape_unicode(&p));
        } else {
            g_string_append_c(out, escape != NULL ? meanings[escape - escapes] : *p);
            p++;
        }
    }
    gboolean has_nul = strlen(out->str) != out->len;
    return g_string_free(out, has_nul);
}

gboolean pv_json_equals(const PvJson *json, const PvJsonValue *value, const char *text)
{
    g_autofree char *string = pv_json_string(json, value);

    return string != NULL && strcmp(string, text) == 0;
}

gboolean pv_json_u64(const PvJson *json, const PvJsonValue *value, guint64 *ret_number)
{
    if (value == NULL || value->type != PV_JSON_NUMBER)
        return FALSE;
    g_autofree char *text = g_strndup(json->text + value->start, value->end - value->start);
    return g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, ret_number, NULL);
}

void pv_json_write_string(GString *out, const char *text)
{
    g_string_append_c(out, '"');
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            g_string_append_printf(out, "\\%c", *p);
        else if ((unsigned char)*p < 0x20)
            g_string_append_printf(out, "\\u%04x", (guint)*p);
        else
            g_string_append_c(out, *p);
    }
    g_string_append_c(out, '"');
}
