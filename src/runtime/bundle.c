/* The changes of a config.json, see bundle.h. */
#include "bundle.h"

#include "json.h"
#include "procview/error.h"

#include <stdlib.h>
#include <string.h>

#define HOOK_NAME "procview-hook"

/* A hook that takes longer (seconds) aborts the container: the hook itself gives up much earlier.
 */
#define HOOK_TAIL "],\"timeout\":30}"

#define TIME_NAMESPACE "{\"type\":\"time\"}"
#define TIME_HEAD      "{\"boottime\":{\"nanosecs\":"
#define TIME_SECS      ",\"secs\":-"
#define TIME_TAIL      "}}"

#define DIGITS "0123456789"

/* Read-only, nosuid, nodev and noexec as the views' own mount is, whose flags a bind has: to name
 * them again would cost the runtime a second mount(2) for each. */
#define MOUNT_OPTIONS "[\"bind\"]"

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
    gboolean proc_leaks, sys_leaks; /* a mount in it would appear on the host as well */
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

/* TRUE for a value that we wrote: its text begins and ends so. */
static gboolean is_framed(const Bundle *bundle, const PvJsonValue *value, const char *head,
                          const char *tail)
{
    const char *text = bundle->json->text + value->start;
    gsize length = value->end - value->start, n_head = strlen(head), n_tail = strlen(tail);

    return length >= n_head + n_tail && memcmp(text, head, n_head) == 0 &&
           memcmp(text + length - n_tail, tail, n_tail) == 0;
}

/* ---- what is there ---- */

static gboolean has_option(const Bundle *bundle, const PvJsonValue *options, const char *name)
{
    for (const PvJsonValue *v = options != NULL ? pv_json_first(bundle->json, options) : NULL;
         v != NULL; v = pv_json_after(bundle->json, options, v)) {
        if (pv_json_equals(bundle->json, v, name))
            return TRUE;
    }
    return FALSE;
}

/*
 * TRUE when the runtime cuts the container's mounts off from the host's, all of them, before it
 * makes any: runc makes them rslave and crun rprivate unless linux.rootfsPropagation says what
 * else. "slave" and "private" are for the root alone.
 */
static gboolean is_cut_off(const Bundle *bundle)
{
    g_autofree char *said = string_member(bundle, bundle->linux_section, "rootfsPropagation");

    return said == NULL || said[0] == '\0' || strcmp(said, "rslave") == 0 ||
           strcmp(said, "rprivate") == 0;
}

/* TRUE when mounts inside a mount could reach the host: it is asked to be shared, or is a bind that
 * may stay in the peer group of its source. A new proc or sysfs has no peers. */
static gboolean leaks(const Bundle *bundle, const PvJsonValue *mount, const char *type)
{
    const PvJsonValue *options;
    g_autoptr(GError) unclear = NULL;

    if (!typed_member(bundle, mount, "options", PV_JSON_ARRAY, &options, NULL, &unclear) ||
        has_option(bundle, options, "shared") || has_option(bundle, options, "rshared"))
        return TRUE;
    gboolean is_new = g_strcmp0(type, "proc") == 0 || g_strcmp0(type, "sysfs") == 0;
    if (is_new && !has_option(bundle, options, "bind") && !has_option(bundle, options, "rbind"))
        return FALSE;
    return !is_cut_off(bundle) && !has_option(bundle, options, "rprivate") &&
           !has_option(bundle, options, "rslave");
}

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
    gboolean is_root = strcmp(target, "/") == 0;
    if (is_root || strcmp(target, "/proc") == 0)
        bundle->proc_leaks = bundle->proc_leaks || leaks(bundle, mount, type);
    if (is_root || strcmp(target, "/sys") == 0)
        bundle->sys_leaks = bundle->sys_leaks || leaks(bundle, mount, type);
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

/* The namespace of a type; NULL without one. *ret_is_new when it is made for the container. */
static const PvJsonValue *find_namespace(const Bundle *bundle, const char *type,
                                         gboolean *ret_is_new)
{
    const PvJsonValue *list = bundle->namespaces;

    for (const PvJsonValue *v = pv_json_first(bundle->json, list); v != NULL;
         v = pv_json_after(bundle->json, list, v)) {
        g_autofree char *name = string_member(bundle, v, "type");
        g_autofree char *path = string_member(bundle, v, "path");
        if (g_strcmp0(name, type) != 0)
            continue;
        *ret_is_new = path == NULL || path[0] == '\0';
        return v;
    }
    return NULL;
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
    if (bundle->namespaces == NULL || find_namespace(bundle, "mount", &is_new) == NULL || !is_new)
        return pv_error_set(error, PV_ERROR_UNSUPPORTED,
                            "it gives the container no mount namespace of its own");
    bundle->has_user_namespace = find_namespace(bundle, "user", &is_new) != NULL;
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

/* TRUE where the configuration may mount. What it may not is left to the hook, which sees the real
 * mounts and refuses shared ones. */
static gboolean has_place(const Bundle *bundle, const char *path)
{
    gboolean is_sys = is_inside(path, "/sys");

    return !is_taken(bundle, path) && !(is_sys ? bundle->sys_leaks : bundle->proc_leaks) &&
           (!is_sys || bundle->has_sys);
}

static void add_mounts(Bundle *bundle)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (const char *const *path = bundle->plan->paths; *path != NULL; path++) {
        g_autofree char *target = g_strconcat("/", *path, NULL);
        g_autofree char *source = g_build_filename(bundle->plan->views, *path, NULL);
        if (!has_place(bundle, target))
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
 * bundle there. As the kernel resolves it: ".." behind a symbolic link is where that leads. NULL
 * when it cannot be told. */
static char *root_path(const Bundle *bundle)
{
    const PvJsonValue *root = pv_json_member(bundle->json, bundle->root, "root", NULL, NULL);
    g_autofree char *path = string_member(bundle, root, "path");

    if (path == NULL || path[0] == '\0')
        return NULL;
    g_autofree char *joined =
        path[0] == '/' ? g_strdup(path) : g_build_filename(bundle->plan->bundle, path, NULL);
    char *real = realpath(joined, NULL);
    char *result = real != NULL && g_utf8_validate(real, -1, NULL) ? g_strdup(real) : NULL;
    free(real);
    return result;
}

static void write_argument(GString *text, const char *name, const char *value)
{
    if (value == NULL || !g_utf8_validate(value, -1, NULL))
        return;
    g_string_append_printf(text, ",\"%s\",", name);
    pv_json_write_string(text, value);
}

/* How the text of a hook of ours begins, whatever its other arguments. */
static GString *hook_head(const Bundle *bundle)
{
    GString *text = g_string_new("{\"path\":");

    pv_json_write_string(text, bundle->plan->hook);
    g_string_append(text, ",\"args\":[\"" HOOK_NAME "\",\"createContainer\"");
    return text;
}

static GString *hook_text(const Bundle *bundle)
{
    const PvBundlePlan *plan = bundle->plan;
    GString *text = hook_head(bundle);
    g_autofree char *rootfs = root_path(bundle);

    write_argument(text, "--views", plan->views);
    write_argument(text, "--rootfs", rootfs);
    write_argument(text, "--log", plan->log);
    write_argument(text, "--log-format", plan->log != NULL && plan->log_is_json ? "json" : NULL);
    g_string_append(text, plan->strict ? ",\"--strict\"" : "");
    g_string_append(text, HOOK_TAIL);
    return text;
}

static const PvJsonValue *find_hook(const Bundle *bundle, const PvJsonValue *list)
{
    for (const PvJsonValue *v = pv_json_first(bundle->json, list); v != NULL;
         v = pv_json_after(bundle->json, list, v)) {
        g_autofree char *path = string_member(bundle, v, "path");
        g_autofree char *name = path != NULL ? g_path_get_basename(path) : NULL;
        if (g_strcmp0(name, HOOK_NAME) == 0)
            return v;
    }
    return NULL;
}

/* The hook of an earlier start, whose arguments may be others now. */
static void renew_hook(Bundle *bundle, const PvJsonValue *hook)
{
    g_autoptr(GString) head = hook_head(bundle);

    if (is_framed(bundle, hook, head->str, HOOK_TAIL))
        change(bundle, hook->start, hook->end - hook->start, hook_text(bundle));
}

static gboolean add_hook(Bundle *bundle, GError **error)
{
    const PvJsonValue *hooks, *hooks_null, *list = NULL, *list_null = NULL;

    if (!typed_member(bundle, bundle->root, "hooks", PV_JSON_OBJECT, &hooks, &hooks_null, error) ||
        !typed_member(bundle, hooks, "createContainer", PV_JSON_ARRAY, &list, &list_null, error))
        return FALSE;
    const PvJsonValue *present = list != NULL ? find_hook(bundle, list) : NULL;
    if (present != NULL) {
        renew_hook(bundle, present);
        return TRUE;
    }

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

/* The offset is a whole number of seconds, downwards, and nanoseconds, upwards. They stand in the
 * order that runtimes and managers do not write them in: an earlier one of ours is known by that.
 */
static char *time_offsets(guint64 boottime_nsec)
{
    const guint64 sec_nsec = 1000000000;
    guint64 secs = (boottime_nsec + sec_nsec - 1) / sec_nsec;

    return g_strdup_printf(TIME_HEAD "%" G_GUINT64_FORMAT TIME_SECS "%" G_GUINT64_FORMAT TIME_TAIL,
                           secs * sec_nsec - boottime_nsec, secs);
}

static gboolean is_our_time(const Bundle *bundle, const PvJsonValue *name_space,
                            const PvJsonValue *offsets)
{
    if (!is_framed(bundle, name_space, TIME_NAMESPACE, "") ||
        !is_framed(bundle, offsets, TIME_HEAD, TIME_TAIL))
        return FALSE;
    const char *at = bundle->json->text + offsets->start + strlen(TIME_HEAD);
    at += strspn(at, DIGITS);
    if (!g_str_has_prefix(at, TIME_SECS))
        return FALSE;
    at += strlen(TIME_SECS);
    at += strspn(at, DIGITS);
    return at + strlen(TIME_TAIL) == bundle->json->text + offsets->end;
}

/*
 * A time namespace in which the container's start is the boot; the user's own is left. That of an
 * earlier start is renewed: the container's time would go on from there, and after the host's next
 * boot the kernel refuses an offset that is before it.
 */
static gboolean add_time_namespace(Bundle *bundle, GError **error)
{
    guint64 nsec = bundle->plan->boottime_nsec;
    const PvJsonValue *offsets, *null;
    gboolean is_new;

    if (!typed_member(bundle, bundle->linux_section, "timeOffsets", PV_JSON_OBJECT, &offsets, &null,
                      error))
        return FALSE;
    const PvJsonValue *present = find_namespace(bundle, "time", &is_new);
    if (nsec != 0 && present != NULL && offsets != NULL && is_our_time(bundle, present, offsets)) {
        g_autofree char *renewed = time_offsets(nsec);
        change(bundle, offsets->start, offsets->end - offsets->start, g_string_new(renewed));
        return TRUE;
    }
    if (!bundle->plan->time_namespace || nsec == 0 || present != NULL || offsets != NULL ||
        null != NULL)
        return TRUE;
    g_autofree char *value = time_offsets(nsec);
    g_autofree char *member = g_strconcat("\"timeOffsets\":", value, NULL);
    append_inside(bundle, bundle->namespaces, TIME_NAMESPACE);
    append_inside(bundle, bundle->linux_section, member);
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

    /* None overlap: each goes into a container of its own, or takes the place of a value. */
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
