/* The set-up, see settings.h. */
#include "settings.h"

#include "procview/error.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define SECTION "runtime"

#define HOOK_NAME "procview-hook"

typedef enum { TYPE_PROGRAM, TYPE_PATH, TYPE_BOOLEAN } Type;

static const struct {
    const char *name;
    Type type;
    gsize offset;
} keys[] = {
    {"path", TYPE_PROGRAM, offsetof(PvRuntimeSettings, path)},
    {"hook", TYPE_PATH, offsetof(PvRuntimeSettings, hook)},
    {"views", TYPE_PATH, offsetof(PvRuntimeSettings, views)},
    {"strict", TYPE_BOOLEAN, offsetof(PvRuntimeSettings, strict)},
    {"time-namespace", TYPE_BOOLEAN, offsetof(PvRuntimeSettings, time_namespace)},
};

void pv_runtime_settings_init(PvRuntimeSettings *settings)
{
    *settings = (PvRuntimeSettings){.time_namespace = TRUE};
    settings->views = g_strdup("/var/lib/procview");
}

void pv_runtime_settings_clear(PvRuntimeSettings *settings)
{
    g_clear_pointer(&settings->path, g_free);
    g_clear_pointer(&settings->hook, g_free);
    g_clear_pointer(&settings->views, g_free);
}

static gboolean store(PvRuntimeSettings *settings, guint i, const char *value)
{
    gpointer field = G_STRUCT_MEMBER_P(settings, keys[i].offset);

    if (keys[i].type == TYPE_BOOLEAN) {
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return FALSE;
        *(gboolean *)field = strcmp(value, "true") == 0;
        return TRUE;
    }
    if (value[0] == '\0' || (keys[i].type == TYPE_PATH && value[0] != '/'))
        return FALSE;
    g_free(*(char **)field);
    *(char **)field = g_strdup(value);
    return TRUE;
}

static gboolean take_key(PvRuntimeSettings *settings, GKeyFile *file, const char *path,
                         const char *name, GError **error)
{
    static const char *const allowed[] = {[TYPE_PROGRAM] = "a program",
                                          [TYPE_PATH] = "an absolute path",
                                          [TYPE_BOOLEAN] = "true or false"};
    g_autofree char *value = g_key_file_get_string(file, SECTION, name, NULL);

    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (strcmp(keys[i].name, name) != 0)
            continue;
        return (value != NULL && store(settings, i, value)) ||
               pv_error_set(error, PV_ERROR_INVALID, "%s: %s: '%s' is not allowed, but %s", path,
                            name, value != NULL ? value : "", allowed[keys[i].type]);
    }
    return pv_error_set(error, PV_ERROR_INVALID,
                        "%s: there is no key '%s', but path, hook, views, strict, time-namespace",
                        path, name);
}

static gboolean load_file(PvRuntimeSettings *settings, const char *path, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) problem = NULL;

    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &problem))
        return pv_error_set(error, PV_ERROR_INVALID, "%s: %s", path, problem->message);
    g_auto(GStrv) sections = g_key_file_get_groups(file, NULL);
    for (char **section = sections; *section != NULL; section++) {
        if (strcmp(*section, SECTION) != 0)
            return pv_error_set(error, PV_ERROR_INVALID,
                                "%s: there is no section [%s], but [" SECTION "]", path, *section);
    }
    g_auto(GStrv) names = g_key_file_get_keys(file, SECTION, NULL, NULL);
    gboolean ok = TRUE;
    for (char **name = names; name != NULL && *name != NULL; name++) /* the rest counts anyway */
        ok = take_key(settings, file, path, *name, ok ? error : NULL) && ok;
    return ok;
}

gboolean pv_runtime_settings_load(PvRuntimeSettings *settings, GError **error)
{
    const char *named = g_getenv("PROCVIEW_RUNTIME_CONF");
    const char *path = named != NULL && named[0] != '\0' ? named : PV_RUNTIME_CONF;
    const char *runtime = g_getenv("PROCVIEW_RUNTIME");
    gboolean ok = TRUE;

    if (path == named || g_file_test(path, G_FILE_TEST_EXISTS))
        ok = load_file(settings, path, error);
    if (runtime != NULL && runtime[0] != '\0') {
        g_free(settings->path);
        settings->path = g_strdup(runtime);
    }
    return ok;
}

char *pv_runtime_find_hook(const char *configured, GError **error)
{
    static const char *const places[] = {".", "../hook", "../libexec/procview", "../libexec"};
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *directory = self != NULL ? g_path_get_dirname(self) : g_strdup("/usr/bin");

    if (configured != NULL) {
        if (access(configured, X_OK) == 0)
            return g_strdup(configured);
        pv_error_set(error, PV_ERROR_NOT_FOUND, "the hook %s cannot be executed", configured);
        return NULL;
    }
    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *place = g_build_filename(directory, places[i], HOOK_NAME, NULL);
        if (g_file_test(place, G_FILE_TEST_IS_REGULAR) && access(place, X_OK) == 0)
            return g_canonicalize_filename(place, "/");
    }
    if (access(PV_HOOK_PATH, X_OK) == 0)
        return g_strdup(PV_HOOK_PATH);
    pv_error_set(error, PV_ERROR_NOT_FOUND, HOOK_NAME " is neither beside %s nor at " PV_HOOK_PATH,
                 self != NULL ? self : "this program");
    return NULL;
}
