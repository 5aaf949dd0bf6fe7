/*
 * procview cdi: the views as a device of the Container Device Interface, which podman, docker and
 * containerd read. The one edit is the hook, so that what the user mounts himself is left, and a
 * container starts without views when there is no daemon.
 */
#include "../runtime/json.h"
#include "../runtime/settings.h"
#include "command.h"
#include "common.h"
#include "procview/error.h"

#include <string.h>

#define CDI_FILE "/etc/cdi/procview.json"

/* The oldest version that has all that is used here. */
#define CDI_VERSION "0.3.0"

static char *cdi_text(const char *hook, const char *views)
{
    GString *text = g_string_new("{\n"
                                 "  \"cdiVersion\": \"" CDI_VERSION "\",\n"
                                 "  \"kind\": \"procview.dev/views\",\n"
                                 "  \"devices\": [\n"
                                 "    {\n"
                                 "      \"name\": \"all\",\n"
                                 "      \"containerEdits\": {\n"
                                 "        \"hooks\": [\n"
                                 "          {\n"
                                 "            \"hookName\": \"createContainer\",\n"
                                 "            \"path\": ");

    pv_json_write_string(text, hook);
    g_string_append(text, ",\n            \"args\": [\"procview-hook\", \"createContainer\"");
    if (views != NULL) {
        g_string_append(text, ", \"--views\", ");
        pv_json_write_string(text, views);
    }
    g_string_append(text, "],\n"
                          "            \"timeout\": 30\n"
                          "          }\n"
                          "        ]\n"
                          "      }\n"
                          "    }\n"
                          "  ]\n"
                          "}\n");
    return g_string_free(text, FALSE);
}

static gboolean write_file(const char *path, const char *text, GError **error)
{
    g_autofree char *directory = g_path_get_dirname(path);

    if (g_mkdir_with_parents(directory, 0755) < 0)
        return pv_error_set_errno(error, errno, "cannot make %s", directory);
    return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, error);
}

int pv_cmd_cdi(int argc, char **argv)
{
    g_autofree char *output = NULL, *views = NULL, *wanted = NULL;
    g_auto(GStrv) rest = NULL;
    g_autoptr(GError) error = NULL;
    const GOptionEntry entries[] = {
        {"output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "write to FILE instead of stdout",
         "FILE"},
        {"views", 0, 0, G_OPTION_ARG_FILENAME, &views,
         "the mount point of procviewd (" PV_VIEWS_DIR ")", "DIR"},
        {"hook", 0, 0, G_OPTION_ARG_FILENAME, &wanted, "the procview-hook to be called", "FILE"},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &rest, NULL, NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };

    if (!pv_cli_parse("cdi", NULL, "Write the views as a device that container managers know (CDI)",
                      "  procview cdi --output " CDI_FILE "\n"
                      "  podman run --device procview.dev/views=all IMAGE free",
                      entries, argc, argv))
        return PV_EXIT_USAGE;
    if (rest != NULL)
        return pv_cli_usage_error("cdi", "unexpected argument '%s'; did you mean --output '%s'?",
                                  rest[0], rest[0]);
    if ((views != NULL && views[0] != '/') || (wanted != NULL && wanted[0] != '/'))
        return pv_cli_usage_error("cdi", "--views and --hook take absolute paths");

    g_autofree char *hook = pv_runtime_find_hook(wanted, &error);
    g_autofree char *text = hook != NULL ? cdi_text(hook, views) : NULL;
    if (text != NULL && output == NULL)
        fputs(text, stdout);
    if (text == NULL || (output != NULL && !write_file(output, text, &error))) {
        pv_cli_error("cdi", "%s", error->message);
        return PV_EXIT_FAILED;
    }
    return PV_EXIT_OK;
}
