/*
 * Which cgroups are attached to: patterns of paths. Names of cgroups may be a container's choice:
 * matching takes no more steps than pattern times name.
 */
#include "procview/autoattach.h"

#include "procview/error.h"

#include <string.h>

/* Positions in a pattern are bits of a word. */
#define COMPONENTS_MAX 60

typedef struct {
    char **components;
    guint n_components;
    gboolean is_negative;
} Pattern;

struct PvRules {
    GArray *patterns; /* of Pattern */
    gboolean want_own_pids;
};

static void pattern_clear(Pattern *pattern)
{
    g_strfreev(pattern->components);
}

void pv_rules_free(PvRules *rules)
{
    if (rules == NULL)
        return;
    g_array_unref(rules->patterns);
    g_free(rules);
}

static gboolean pattern_parse(const char *text, Pattern *ret_pattern, GError **error)
{
    gboolean is_negative = *text == '!';
    const char *path = text + (is_negative ? 1 : 0);
    g_auto(GStrv) components = NULL;
    guint n;

    if (path[0] != '/' || path[1] == '\0')
        return pv_error_set(error, PV_ERROR_INVALID,
                            "bad rule \"%s\": a rule is the path of a cgroup, as \"/docker/*\"",
                            text);
    components = g_strsplit(path + 1, "/", -1);
    n = g_strv_length(components);
    for (guint i = 0; i < n; i++) {
        if (*components[i] == '\0')
            return pv_error_set(error, PV_ERROR_INVALID,
                                "bad rule \"%s\": there is nothing between two slashes", text);
    }
    if (n > COMPONENTS_MAX)
        return pv_error_set(error, PV_ERROR_INVALID, "bad rule \"%s\": more than %d components",
                            text, COMPONENTS_MAX);
    *ret_pattern = (Pattern){g_steal_pointer(&components), n, is_negative};
    return TRUE;
}

PvRules *pv_rules_new(const char *const *patterns, GError **error)
{
    g_autoptr(PvRules) rules = g_new0(PvRules, 1);
    Pattern pattern;

    rules->patterns = g_array_new(FALSE, FALSE, sizeof(Pattern));
    g_array_set_clear_func(rules->patterns, (GDestroyNotify)pattern_clear);
    rules->want_own_pids = TRUE;
    for (; patterns != NULL && *patterns != NULL; patterns++) {
        if (!pattern_parse(*patterns, &pattern, error))
            return NULL;
        rules->want_own_pids = rules->want_own_pids && pattern.is_negative;
        g_array_append_val(rules->patterns, pattern);
    }
    if (rules->want_own_pids) {
        pattern_parse("/**", &pattern, NULL);
        g_array_append_val(rules->patterns, pattern);
    }
    return g_steal_pointer(&rules);
}

gboolean pv_rules_want_own_pids(const PvRules *rules)
{
    return rules->want_own_pids;
}

static gboolean is_rest(const char *component)
{
    return strcmp(component, "**") == 0;
}

/* "*" and "?" in one component. After a mismatch only the last "*" can take more. */
static gboolean fits_component(const char *pattern, const char *name, gsize length)
{
    const char *end = name + length, *star = NULL, *star_name = NULL;

    while (name < end) {
        if (*pattern == '*') {
            star = pattern++;
            star_name = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star != NULL) {
            pattern = star + 1;
            name = ++star_name;
        } else {
            return FALSE;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

/* A "**" may stand for nothing. */
static guint64 skip_rests(const Pattern *pattern, guint64 positions)
{
    for (guint i = 0; i < pattern->n_components; i++) {
        if ((positions >> i & 1) && is_rest(pattern->components[i]))
            positions |= (guint64)2 << i;
    }
    return positions;
}

/* The positions in the pattern (n_components: its end) that are reached by a path. */
static guint64 positions_of(const Pattern *pattern, const char *path)
{
    guint64 positions = skip_rests(pattern, 1);

    while (*(path += strspn(path, "/")) != '\0' && positions != 0) {
        gsize length = strcspn(path, "/");
        guint64 next = 0;
        for (guint i = 0; i < pattern->n_components; i++) {
            if (!(positions >> i & 1))
                continue;
            if (is_rest(pattern->components[i]))
                next |= (guint64)1 << i;
            else if (fits_component(pattern->components[i], path, length))
                next |= (guint64)2 << i;
        }
        positions = skip_rests(pattern, next);
        path += length;
    }
    return positions;
}

guint pv_rules_ask(const PvRules *rules, const char *cgroup_path)
{
    guint answer = PV_RULES_NONE;
    gboolean is_left_out = FALSE;

    for (guint i = 0; i < rules->patterns->len; i++) {
        const Pattern *pattern = &g_array_index(rules->patterns, Pattern, i);
        guint n = pattern->n_components;
        guint64 positions = positions_of(pattern, cgroup_path);
        gboolean fits = positions >> n & 1;

        if (pattern->is_negative) {
            is_left_out = is_left_out || fits;
            continue;
        }
        if (fits)
            answer |= is_rest(pattern->components[n - 1]) ? PV_RULES_FITS_SELF : PV_RULES_FITS;
        if ((positions & (((guint64)1 << n) - 1)) != 0)
            answer |= PV_RULES_BELOW;
    }
    /* The machine's own processes are in the root. */
    if (is_left_out || strspn(cgroup_path, "/") == strlen(cgroup_path))
        answer &= PV_RULES_BELOW;
    return answer;
}
