/* The changes of a config.json, see bundle.h. */
#include "bundle.h"

#include "json.h"
#include "procview/error.h"
#include "procview/view.h"

#include <string.h>
#include <sys/stat.h>

#define HOOK_NAME "procview-hook"

/* A hook that takes longer aborts the container: the hook itself gives up much earlier. */
#define HOOK_TIMEOUT_SEC 30

/* Read-only, nosuid, nodev and noexec as the views' own mount is, whose flags a bind has: to name
 * them again would cost the runtime a second mount(2) for each. */
#define MOUNT_OPTIONS "[\"bind\"]"

/* runc lets a configuration mount over these files of /proc, and refuses the container for any
 * other. */
static const char *const mountable_files[] = {
    "proc/cpuinfo",  "proc/diskstats", "proc/loadavg", "proc/meminfo",
    "proc/slabinfo", "proc/stat",      "proc/swaps",   "proc/uptime",
};

static const char *const directories[] = {
    "sys/devices/system/cpu",
    "sys/devices/system/node",
};

typedef struct {
    gsize offset; /* in the old text */
    gsize remove; /* bytes */
    GString *text;
} Change;

/* A configuration that is being looked at. */
typedef struct {
    const PvBundlePlan *plan;
    PvJson *json;
    const PvJsonValue *root, *linux_section, *mounts, *namespaces;
    GPtrArray *targets; /* absolute paths where something is mounted, normalized */
    GArray *changes;    /* of Change */
    gboolean has_proc, has_sys;
    gboolean has_user_namespace;
} Bundle;

static void change_clear(Change *change)
{
    g_string_free(change->text, TRUE);
}

static void bundle_clear(Bundle *bundle)
{
    pv_json_free(bundle->json);
    g_ptr_array_unref(bundle->targets);
    g_array_unref(bundle->changes);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Bundle, bundle_clear)

static void change(Bundle *bundle, gsize offset, gsize n_remove, GString *text)
{
    Change c = {.offset = offset, .remove = n_remove, .text = text};

    g_array_append_val(bundle->changes, c);
}

/* Add `text` as the last value of an array, or the last member of an object. */
static void append_inside(Bundle *bundle, const PvJsonValue *container, const char *text)
{
    const PvJsonValue *last = NULL;

    for (const PvJsonValue *v = pv_json_first(bundle->json, container); v != NULL;
         v = pv_json_after(bundle->json, container, v))
        last = v;
    GString *insert = g_string_new(last != NULL ? "," : NULL);
    g_string_append(insert, text);
    change(bundle, last != NULL ? last->end : container->start + 1, 0, insert);
}

/*
 * A member that should be of a type. FALSE when it is of another one (or is there twice); *ret is
 * NULL when it is missing, and *ret_null is its null.
 */
static gboolean typed_member(const Bundle *bundle, const PvJsonValue *object, const char *name,
                             PvJsonType type, const PvJsonValue **ret, const PvJsonValue **ret_null,
                             GError **error)
{
    g_autoptr(GError) problem = NULL;

    *ret = pv_json_member(bundle->json, object, name, ret_null, &problem);
    if (problem != NULL) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    if (*ret != NULL && (*ret)->type != type)
        return pv_error_set(error, PV_ERROR_INVALID, "\"%s\" is not what it should be", name);
    return TRUE;
}

static char *string_member(const Bundle *bundle, const PvJsonValue *object, const char *name)
{
    return pv_json_string(bundle->json, pv_json_member(bundle->json, object, name, NULL, NULL));
}

/* ---- what is there ---- */

static gboolean look_at_mount(Bundle *bundle, const PvJsonValue *mount, GError **error)
{
    g_autofree char *destination = string_member(bundle, mount, "destination");
    g_autofree char *type = string_member(bundle, mount, "type");
    g_autofree char *source = string_member(bundle, mount, "source");

    if (destination == NULL)
        return pv_error_set(error, PV_ERROR_INVALID, "a mount has no clear destination");
    /* Runtimes take a relative one from the root. Two slashes in front would be kept. */
    char *target = g_canonicalize_filename(destination + strspn(destination, "/"), "/");
    if (strcmp(target, "/proc") == 0 && g_strcmp0(type, "proc") == 0)
        bundle->has_proc = TRUE;
    if (strcmp(target, "/sys") == 0 &&
        (g_strcmp0(type, "sysfs") == 0 || g_strcmp0(source, "/sys") == 0))
        bundle->has_sys = TRUE;
    g_ptr_array_add(bundle->targets, target);
    return TRUE;
}

static gboolean look_at_mounts(Bundle *bundle, GError **error)
{
    if (!typed_member(bundle, bundle->root, "mounts", PV_JSON_ARRAY, &bundle->mounts, NULL, error))
        return FALSE;
    if (bundle->mounts == NULL)
        return pv_error_set(error, PV_ERROR_UNSUPPORTED, "it has no mounts, thus no /proc");
    for (const PvJsonValue *v = pv_json_first(bundle->json, bundle->mounts); v != NULL;
         v = pv_json_after(bundle->json, bundle->mounts, v)) {
        if (!look_at_mount(bundle, v, error))
            return FALSE;
    }
    return bundle->has_proc ||
           pv_error_set(error, PV_ERROR_UNSUPPORTED, "it mounts no /proc of its own");
}

/* TRUE when the namespaces have one of a type; *ret_is_new when it is made for the container. */
static gboolean find_namespace(const Bundle *bundle, const char *type, gboolean *ret_is_new)
{
    const PvJsonValue *list = bundle->namespaces;

    for (const PvJsonValue *v = pv_json_first(bundle->json, list); v != NULL;
         v = pv_json_after(bundle->json, list, v)) {
        g_autofree char *name = string_member(bundle, v, "type");
        g_autofree char *path = string_member(bundle, v, "path");
        if (g_strcmp0(name, type) != 0)
            continue;
        *ret_is_new = path == NULL || path[0] == '\0';
        return TRUE;
    }
    return FALSE;
}

static gboolean look_at_linux(Bundle *bundle, GError **error)
{
    gboolean is_new;

    if (!typed_member(bundle, bundle->root, "linux", PV_JSON_OBJECT, &bundle->linux_section, NULL,
                      error))
        return FALSE;
    if (bundle->linux_section == NULL)
        return pv_error_set(error, PV_ERROR_INVALID, "it has no \"linux\" section");
    if (!typed_member(bundle, bundle->linux_section, "namespaces", PV_JSON_ARRAY,
                      &bundle->namespaces, NULL, error))
        return FALSE;
    if (bundle->namespaces == NULL || !find_namespace(bundle, "mount", &is_new) || !is_new)
        return pv_error_set(error, PV_ERROR_UNSUPPORTED,
                            "it gives the container no mount namespace of its own");
    bundle->has_user_namespace = find_namespace(bundle, "user", &is_new);
    return TRUE;
}

/* ---- what is added ---- */

static gboolean is_inside(const char *path, const char *directory)
{
    gsize length = strlen(directory);

    return strncmp(path, directory, length) == 0 && path[length] == '/';
}

/* TRUE when the user mounts something on a path, above it (within /proc or /sys) or below it. */
static gboolean is_taken(const Bundle *bundle, const char *path)
{
    for (guint i = 0; i < bundle->targets->len; i++) {
        const char *target = bundle->targets->pdata[i];
        gboolean is_root = strcmp(target, "/proc") == 0 || strcmp(target, "/sys") == 0;
        if (strcmp(target, path) == 0 || is_inside(target, path) ||
            (!is_root && strcmp(target, "/") != 0 && is_inside(path, target)))
            return TRUE;
    }
    return FALSE;
}

static void add_mounts(Bundle *bundle)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (const char *const *path = bundle->plan->paths; *path != NULL; path++) {
        g_autofree char *target = g_strconcat("/", *path, NULL);
        g_autofree char *source = g_build_filename(bundle->plan->views, *path, NULL);
        if (is_taken(bundle, target) || (is_inside(target, "/sys") && !bundle->has_sys))
            continue;
        g_string_append(text, text->len > 0 ? "," : "");
        g_string_append(text, "{\"destination\":");
        pv_json_write_string(text, target);
        g_string_append(text, ",\"type\":\"bind\",\"source\":");
        pv_json_write_string(text, source);
        g_string_append(text, ",\"options\":" MOUNT_OPTIONS "}");
    }
    if (text->len > 0)
        append_inside(bundle, bundle->mounts, text->str);
}

/* The root file system, which the hook cannot find out in a user namespace: it may not read the
 * bundle there. NULL when it cannot be told. */
static char *root_path(const Bundle *bundle)
{
    const PvJsonValue *root = pv_json_member(bundle->json, bundle->root, "root", NULL, NULL);
    g_autofree char *path = string_member(bundle, root, "path");

    if (path == NULL || path[0] == '\0' || !g_utf8_validate(path, -1, NULL) ||
        !g_utf8_validate(bundle->plan->bundle, -1, NULL))
        return NULL;
    return g_canonicalize_filename(path, bundle->plan->bundle);
}

static GString *hook_text(const Bundle *bundle)
{
    GString *text = g_string_new("{\"path\":");
    g_autofree char *rootfs = root_path(bundle);

    pv_json_write_string(text, bundle->plan->hook);
    g_string_append(text, ",\"args\":[\"" HOOK_NAME "\",\"createContainer\",\"--views\",");
    pv_json_write_string(text, bundle->plan->views);
    if (rootfs != NULL) {
        g_string_append(text, ",\"--rootfs\",");
        pv_json_write_string(text, rootfs);
    }
    g_string_append(text, bundle->plan->strict ? ",\"--strict\"" : "");
    g_string_append_printf(text, "],\"timeout\":%d}", HOOK_TIMEOUT_SEC);
    return text;
}

static gboolean has_hook(const Bundle *bundle, const PvJsonValue *list)
{
    for (const PvJsonValue *v = pv_json_first(bundle->json, list); v != NULL;
         v = pv_json_after(bundle->json, list, v)) {
        g_autofree char *path = string_member(bundle, v, "path");
        g_autofree char *name = path != NULL ? g_path_get_basename(path) : NULL;
        if (g_strcmp0(name, HOOK_NAME) == 0)
            return TRUE;
    }
    return FALSE;
}

static gboolean add_hook(Bundle *bundle, GError **error)
{
    const PvJsonValue *hooks, *hooks_null, *list = NULL, *list_null = NULL;

    if (!typed_member(bundle, bundle->root, "hooks", PV_JSON_OBJECT, &hooks, &hooks_null, error) ||
        !typed_member(bundle, hooks, "createContainer", PV_JSON_ARRAY, &list, &list_null, error))
        return FALSE;
    if (list != NULL && has_hook(bundle, list))
        return TRUE;

    GString *text = hook_text(bundle);
    if (list != NULL) {
        append_inside(bundle, list, text->str);
        g_string_free(text, TRUE);
        return TRUE;
    }
    g_string_prepend_c(text, '[');
    g_string_append_c(text, ']');
    if (list_null != NULL) {
        change(bundle, list_null->start, list_null->end - list_null->start, text);
        return TRUE;
    }
    g_string_prepend(text, "\"createContainer\":");
    if (hooks == NULL) {
        g_string_prepend_c(text, '{');
        g_string_append_c(text, '}');
    }
    if (hooks_null != NULL) {
        change(bundle, hooks_null->start, hooks_null->end - hooks_null->start, text);
        return TRUE;
    }
    if (hooks == NULL)
        g_string_prepend(text, "\"hooks\":");
    append_inside(bundle, hooks != NULL ? hooks : bundle->root, text->str);
    g_string_free(text, TRUE);
    return TRUE;
}

/* A time namespace in which the container's start is the boot; the user's own is left. */
static gboolean add_time_namespace(Bundle *bundle, GError **error)
{
    const guint64 sec_nsec = 1000000000;
    guint64 nsec = bundle->plan->boottime_nsec;
    const PvJsonValue *offsets, *null;
    gboolean is_new;

    if (!bundle->plan->time_namespace || nsec == 0 || find_namespace(bundle, "time", &is_new))
        return TRUE;
    if (!typed_member(bundle, bundle->linux_section, "timeOffsets", PV_JSON_OBJECT, &offsets, &null,
                      error))
        return FALSE;
    if (offsets != NULL || null != NULL)
        return TRUE;
    /* The offset is a whole number of seconds, downwards, and nanoseconds, upwards. */
    guint64 secs = (nsec + sec_nsec - 1) / sec_nsec;
    g_autofree char *text =
        g_strdup_printf("\"timeOffsets\":{\"boottime\":{\"secs\":-%" G_GUINT64_FORMAT
                        ",\"nanosecs\":%" G_GUINT64_FORMAT "}}",
                        secs, secs * sec_nsec - nsec);
    append_inside(bundle, bundle->namespaces, "{\"type\":\"time\"}");
    append_inside(bundle, bundle->linux_section, text);
    return TRUE;
}

/* ---- the new text ---- */

static int compare_changes(gconstpointer a, gconstpointer b)
{
    const Change *first = a, *second = b;

    return first->offset < second->offset ? -1 : first->offset > second->offset;
}

static void apply(const Bundle *bundle, GString *out)
{
    const PvJson *json = bundle->json;
    gsize at = 0;

    /* None overlap: each goes into a container of its own, or takes the place of a null. */
    g_array_sort(bundle->changes, compare_changes);
    for (guint i = 0; i < bundle->changes->len; i++) {
        const Change *c = &g_array_index(bundle->changes, Change, i);
        g_string_append_len(out, json->text + at, (gssize)(c->offset - at));
        g_string_append_len(out, c->text->str, (gssize)c->text->len);
        at = c->offset + c->remove;
    }
    g_string_append_len(out, json->text + at, (gssize)(json->length - at));
}

gboolean pv_bundle_edit(const PvBundlePlan *plan, const char *text, gsize length, GString *out,
                        GError **error)
{
    g_auto(Bundle) bundle = {
        .plan = plan,
        .targets = g_ptr_array_new_with_free_func(g_free),
        .changes = g_array_new(FALSE, FALSE, sizeof(Change)),
    };

    g_array_set_clear_func(bundle.changes, (GDestroyNotify)change_clear);
    bundle.json = pv_json_parse(text, length, error);
    if (bundle.json == NULL)
        return FALSE;
    bundle.root = pv_json_root(bundle.json);
    if (bundle.root->type != PV_JSON_OBJECT)
        return pv_error_set(error, PV_ERROR_INVALID, "it is no JSON object");
    if (!look_at_linux(&bundle, error) || !look_at_mounts(&bundle, error))
        return FALSE;
    if (bundle.has_user_namespace &&
        !(pv_bundle_is_reachable(plan->views) && pv_bundle_is_reachable(plan->hook)))
        return pv_error_set(error, PV_ERROR_PERMISSION,
                            "the root of its user namespace may not go to %s or %s", plan->views,
                            plan->hook);
    add_mounts(&bundle);
    if (!add_hook(&bundle, error) || !add_time_namespace(&bundle, error))
        return FALSE;
    apply(&bundle, out);
    return TRUE;
}

gboolean pv_bundle_is_reachable(const char *path)
{
    g_autofree char *at = g_strdup(path);

    for (;;) {
        struct stat buf;
        if (stat(at, &buf) < 0 || (buf.st_mode & S_IXOTH) == 0)
            return FALSE;
        if (strcmp(at, "/") == 0 || strcmp(at, ".") == 0)
            return TRUE;
        char *parent = g_path_get_dirname(at);
        g_free(at);
        at = parent;
    }
}

char **pv_bundle_paths(const char *views)
{
    GPtrArray *paths = g_ptr_array_new();
    struct stat buf;

    for (guint i = 0; i < G_N_ELEMENTS(mountable_files); i++) {
        g_autofree char *file = g_build_filename(views, mountable_files[i], NULL);
        if (pv_row_find(mountable_files[i]) != NULL && lstat(file, &buf) == 0 &&
            S_ISREG(buf.st_mode))
            g_ptr_array_add(paths, g_strdup(mountable_files[i]));
    }
    for (guint i = 0; i < G_N_ELEMENTS(directories); i++) {
        g_autofree char *directory = g_build_filename(views, directories[i], NULL);
        g_autofree char *host = g_strconcat("/", directories[i], NULL);
        if (lstat(directory, &buf) == 0 && S_ISDIR(buf.st_mode) && stat(host, &buf) == 0)
            g_ptr_array_add(paths, g_strdup(directories[i]));
    }
    g_ptr_array_add(paths, NULL);
    return (char **)g_ptr_array_free(paths, FALSE);
}
