/* The command line, see arguments.h. */
#include "arguments.h"

#include <string.h>

/* Options that are followed by a value; all others are taken as switches. runc takes "-log F" for
 * "--log F". */
static const char *const global_values[] = {"log",  "log-format",     "log-level", "root",
                                            "criu", "cgroup-manager", "rootless",  NULL};
static const char *const bundle_values[] = {
    "bundle",       "b", "config", "f", "pid-file", "console-socket", "pidfd-socket",
    "preserve-fds", NULL};

typedef struct {
    int argc;
    char **argv;
    int at;
} Cursor;

static gboolean is_known(const char *const *names, const char *name, gsize length)
{
    for (; *names != NULL; names++) {
        if (strlen(*names) == length && strncmp(*names, name, length) == 0)
            return TRUE;
    }
    return FALSE;
}

/* The next option, its name without dashes and its value, if it has one. FALSE at the first word
 * that is none, where the cursor stays. */
static gboolean next_option(Cursor *cursor, const char *const *with_value, char **ret_name,
                            const char **ret_value)
{
    if (cursor->at >= cursor->argc)
        return FALSE;
    const char *word = cursor->argv[cursor->at];
    if (word[0] != '-' || word[1] == '\0')
        return FALSE;
    cursor->at++;
    gboolean is_long = word[1] == '-';
    if (is_long && word[2] == '\0')
        return FALSE;
    const char *name = word + (is_long ? 2 : 1);
    gsize length = strcspn(name, "=");
    *ret_value = name[length] == '=' ? name + length + 1 : NULL;

    /* "-bDIR" is crun's way; runc has no option that begins so. */
    if (!is_long && name[length] == '\0' && length > 1 && strchr("bf", name[0]) != NULL &&
        is_known(with_value, name, 1) && !is_known(with_value, name, length)) {
        *ret_value = name + 1;
        length = 1;
    }
    *ret_name = g_strndup(name, length);
    /* crun's --rootless has its value only behind "="; runc's is the next word: "true", "false" or
     * "auto", which no command is called. */
    if (*ret_value == NULL && is_known(with_value, name, length) && cursor->at < cursor->argc) {
        const char *next = cursor->argv[cursor->at];
        if (strcmp(*ret_name, "rootless") != 0 || strcmp(next, "true") == 0 ||
            strcmp(next, "false") == 0 || strcmp(next, "auto") == 0)
            *ret_value = cursor->argv[cursor->at++];
    }
    return TRUE;
}

void pv_runtime_arguments_parse(int argc, char **argv, PvRuntimeArguments *ret_arguments)
{
    PvRuntimeArguments arguments = {.bundle = ".", .config = "config.json"};
    Cursor cursor = {.argc = argc, .argv = argv, .at = 1};
    const char *value;
    char *next;

    while (next_option(&cursor, global_values, &next, &value)) {
        g_autofree char *name = next;
        if (value != NULL && strcmp(name, "log") == 0)
            arguments.log = value;
        else if (value != NULL && strcmp(name, "log-format") == 0)
            arguments.log_is_json = strcmp(value, "json") == 0;
        else if (strcmp(name, "help") == 0 || strcmp(name, "h") == 0 ||
                 strcmp(name, "version") == 0 || strcmp(name, "v") == 0)
            cursor.at = argc; /* the runtime prints something, whatever follows */
    }
    if (cursor.at < argc)
        arguments.command = argv[cursor.at++];
    arguments.has_bundle =
        g_strcmp0(arguments.command, "create") == 0 || g_strcmp0(arguments.command, "run") == 0;
    while (arguments.has_bundle && next_option(&cursor, bundle_values, &next, &value)) {
        g_autofree char *name = next;
        if (strcmp(name, "help") == 0 || strcmp(name, "h") == 0)
            arguments.has_bundle = FALSE;
        else if (value != NULL && (strcmp(name, "bundle") == 0 || strcmp(name, "b") == 0))
            arguments.bundle = value;
        else if (value != NULL && (strcmp(name, "config") == 0 || strcmp(name, "f") == 0))
            arguments.config = value;
    }
    *ret_arguments = arguments;
}
