/*
 * What people call a container: every manager leaves the name or id that it gave in the path of the
 * container's cgroup. One table row a convention. A container may make cgroups of its own below, so
 * names are cleaned of everything that could fool a terminal or a path.
 */
#include "internal.h"

#include <string.h>

#define NAME_BYTES_MAX  64
#define ID_DIGITS       64
#define ID_SHORT_DIGITS 12
/* Deeper paths than this are named by what stands above. */
#define COMPONENTS_MAX 256

typedef enum {
    KIND_ID,   /* exactly 64 hexadecimal digits, shown by the first 12 */
    KIND_NAME, /* any text */
    KIND_UNIT, /* text in which systemd escaped some bytes as \xNN */
} Kind;

typedef struct {
    const char *parent; /* prefix of the component before, or exactly it without a '*' at the end;
                           NULL: any */
    const char *prefix, *suffix;
    Kind kind;
    const char *manager;
} Convention;

static const Convention conventions[] = {
    {NULL, "docker-", ".scope", KIND_ID, "docker"},
    {"docker", "", "", KIND_ID, "docker"},
    {NULL, "libpod-", ".scope", KIND_ID, "podman"},
    {NULL, "libpod-", "", KIND_ID, "podman"},
    {NULL, "cri-containerd-", ".scope", KIND_ID, "kubernetes"},
    {NULL, "crio-", ".scope", KIND_ID, "kubernetes"},
    {"pod*", "", "", KIND_ID, "kubernetes"},
    {NULL, "lxc.payload.", "", KIND_NAME, "lxc"},
    {"lxc.payload", "", "", KIND_NAME, "lxc"},
    {"lxc", "", "", KIND_NAME, "lxc"},
    {NULL, "machine-", ".scope", KIND_UNIT, "systemd"},
    {NULL, "systemd-nspawn@", ".service", KIND_UNIT, "systemd"},
    {NULL, "procview-", ".scope", KIND_UNIT, "procview"},
    {"procview", "", "", KIND_NAME, "procview"},
};

void pv_name_clear(PvName *name)
{
    g_clear_pointer(&name->name, g_free);
    g_clear_pointer(&name->full_id, g_free);
    name->manager = "";
}

static gboolean is_id(const char *text)
{
    return strlen(text) == ID_DIGITS && strspn(text, "0123456789abcdef") == ID_DIGITS;
}

/* Undo systemd's "\x2d". */
static char *unit_unescape(const char *text)
{
    GString *out = g_string_new(NULL);

    while (*text != '\0') {
        int high, low;

        if (text[0] == '\\' && text[1] == 'x' && (high = g_ascii_xdigit_value(text[2])) >= 0 &&
            (low = g_ascii_xdigit_value(text[3])) >= 0 && high + low > 0) {
            g_string_append_c(out, (char)(high * 16 + low));
            text += 4;
        } else {
            g_string_append_c(out, *text++);
        }
    }
    return g_string_free(out, FALSE);
}

/* What cannot be printed, is no UTF-8, or separates paths becomes '_'; NULL when nothing useful is
 * left. */
static char *clean(const char *text)
{
    g_autoptr(GString) out = g_string_new(NULL);

    while (*text != '\0') {
        gunichar c = g_utf8_get_char_validated(text, -1);
        gboolean is_valid = c != (gunichar)-1 && c != (gunichar)-2;
        char bytes[6] = "_";
        int n_bytes = 1;

        if (is_valid && g_unichar_isprint(c) && c != '/' && !(c == '-' && out->len == 0))
            n_bytes = g_unichar_to_utf8(c, bytes);
        if (out->len + (gsize)n_bytes > NAME_BYTES_MAX)
            break;
        g_string_append_len(out, bytes, n_bytes);
        text = is_valid ? g_utf8_next_char(text) : text + 1;
    }
    if (out->len == 0 || g_str_equal(out->str, ".") || g_str_equal(out->str, ".."))
        return NULL;
    return g_string_free(g_steal_pointer(&out), FALSE);
}

/* Fill name from the text that a convention found. */
static gboolean take(PvName *name, const char *text, Kind kind, const char *manager)
{
    g_autofree char *unescaped = kind == KIND_UNIT ? unit_unescape(text) : NULL;
    char *cleaned;

    if (kind == KIND_ID) {
        if (!is_id(text))
            return FALSE;
        name->full_id = g_strdup(text);
        name->name = g_strndup(text, ID_SHORT_DIGITS);
    } else {
        cleaned = clean(unescaped != NULL ? unescaped : text);
        if (cleaned == NULL)
            return FALSE;
        name->name = cleaned;
    }
    name->manager = manager;
    return TRUE;
}

static gboolean parent_matches(const char *pattern, const char *parent)
{
    size_t length;

    if (pattern == NULL)
        return TRUE;
    if (parent == NULL)
        return FALSE;
    length = strlen(pattern);
    if (pattern[length - 1] == '*')
        return strncmp(pattern, parent, length - 1) == 0;
    return g_str_equal(pattern, parent);
}

static gboolean match_component(const char *parent, const char *component, PvName *ret_name)
{
    const char *colon = strrchr(component, ':');

    for (guint i = 0; i < G_N_ELEMENTS(conventions); i++) {
        const Convention *row = &conventions[i];
        g_autofree char *text = NULL;

        if (!g_str_has_prefix(component, row->prefix) ||
            !g_str_has_suffix(component, row->suffix) ||
            strlen(component) < strlen(row->prefix) + strlen(row->suffix) ||
            !parent_matches(row->parent, parent))
            continue;
        text = g_strndup(component + strlen(row->prefix),
                         strlen(component) - strlen(row->prefix) - strlen(row->suffix));
        if (take(ret_name, text, row->kind, row->manager))
            return TRUE;
    }
    /* containerd told to use systemd's syntax without its driver: "SLICE:cri-containerd:ID" */
    return colon != NULL && strstr(component, "kubepods") != NULL &&
           take(ret_name, colon + 1, KIND_ID, "kubernetes");
}

/* The container that a manager made. */
static gboolean match_container(char *const *components, guint n, PvNameWhich which,
                                PvName *ret_name)
{
    for (guint i = 0; i < n; i++) {
        guint at = which == PV_NAME_OUTERMOST ? i : n - 1 - i;

        if (match_component(at > 0 ? components[at - 1] : NULL, components[at], ret_name))
            return TRUE;
    }
    return FALSE;
}

/* The innermost service of systemd. */
static gboolean match_service(char *const *components, guint n, PvName *ret_name)
{
    for (guint i = n; i-- > 0;) {
        g_autofree char *text = NULL;

        if (!g_str_has_suffix(components[i], ".service"))
            continue;
        text = g_strndup(components[i], strlen(components[i]) - strlen(".service"));
        if (take(ret_name, text, KIND_UNIT, "systemd"))
            return TRUE;
    }
    return FALSE;
}

gboolean pv_name_parse(const char *cgroup_path, PvNameWhich which, PvName *ret_name)
{
    g_auto(GStrv) components = g_strsplit(cgroup_path, "/", COMPONENTS_MAX);
    guint n = 0;

    *ret_name = (PvName){.manager = ""};
    for (guint i = 0; components[i] != NULL; i++) {
        if (components[i][0] == '\0')
            g_free(components[i]);
        else
            components[n++] = components[i];
    }
    components[n] = NULL;

    if (match_container(components, n, which, ret_name)) {
        if (g_str_equal(ret_name->manager, "docker") && strstr(cgroup_path, "/kubepods") != NULL)
            ret_name->manager = "kubernetes";
        return TRUE;
    }
    return match_service(components, n, ret_name) ||
           (n > 0 && take(ret_name, components[n - 1], KIND_NAME, ""));
}

char *pv_container_name(const char *cgroup_path, pid_t init_pid, const char **ret_manager)
{
    g_auto(PvName) name = {.manager = ""};

    if (!pv_name_parse(cgroup_path, PV_NAME_INNERMOST, &name)) {
        *ret_manager = "";
        return g_strdup_printf("pid-%d", (int)init_pid);
    }
    *ret_manager = name.manager;
    return g_steal_pointer(&name.name);
}
