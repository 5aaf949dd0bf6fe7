/* The daemon's configuration, see config.h. */
#include "procview/config.h"

#include "procview/autoattach.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#define SECTION "procview"

/* A longer file is something else, given by mistake. */
#define FILE_BYTES_MAX (256 * 1024)

#define CGROUP_TREE_THREADS 16

typedef enum { TYPE_PATH, TYPE_CHOICE, TYPE_NUMBER, TYPE_RULES } Type;

typedef struct {
    const char *name;
    Type type;
    gsize offset;           /* in PvConfig: char *, gboolean or PvLogLevel, guint */
    const char *choices[5]; /* of TYPE_CHOICE: the number of the one chosen is stored */
    guint min, max;         /* of TYPE_NUMBER */
    const char *value;      /* the default, as it would be written; NULL for none */
    const char *metavar;
    const char *help;
} Key;

static const Key keys[] = {
    {.name = "mountpoint",
     .type = TYPE_PATH,
     .offset = offsetof(PvConfig, mountpoint),
     .value = "/var/lib/procview",
     .metavar = "DIR",
     .help = "where the files are mounted; made when it is missing. Also the MOUNTPOINT argument."},
    {.name = "cpu-ids",
     .type = TYPE_CHOICE,
     .offset = offsetof(PvConfig, cpu_ids_dense),
     .choices = {"real", "dense"},
     .value = "real",
     .metavar = "KIND",
     .help = "CPU numbers as the kernel has them, which affinity masks and cgroups speak too, or "
             "counted from 0 in every container."},
    {.name = "swap-total",
     .type = TYPE_CHOICE,
     .offset = offsetof(PvConfig, swap_total),
     .choices = {"swap", "memsw", "none"},
     .value = "swap",
     .metavar = "RULE",
     .help = "what SwapTotal is: the swap that the container may use; on cgroup v1 the limit of "
             "memory and swap together, as lxcfs shows it; or none."},
    {.name = "files",
     .type = TYPE_CHOICE,
     .offset = offsetof(PvConfig, lxcfs_files),
     .choices = {"all", "lxcfs"},
     .value = "all",
     .metavar = "SET",
     .help = "which files are served: all that there are, or those of lxcfs: proc/cpuinfo, "
             "diskstats, loadavg, meminfo, slabinfo, stat, swaps and uptime, proc/pressure where "
             "all of the kernel's files in it are served, sys/devices/system/cpu, and "
             "containers/. Programs that bind whatever they find in proc/ over a container's, as "
             "the hook of lxcfs for LXC does, need lxcfs: a bind of all of proc/sys would hide the "
             "kernel's. With cgroup-tree=no there is no cgroup/ then."},
    {.name = "cgroup-tree",
     .type = TYPE_CHOICE,
     .offset = offsetof(PvConfig, cgroup_tree),
     .choices = {"yes", "no", "separate"},
     .value = "yes",
     .metavar = "HOW",
     .help = "whether MOUNTPOINT/cgroup shows every container its own cgroups, to be written, too; "
             "served by a process of its own, which the daemon starts, or which is started "
             "separately (procviewd --only-cgroup-tree)."},
    {.name = "threads",
     .type = TYPE_NUMBER,
     .offset = offsetof(PvConfig, threads),
     .max = 64,
     .value = "0",
     .metavar = "N",
     .help = "threads that answer reads; 0 chooses by the number of CPUs."},
    {.name = "sample-interval",
     .type = TYPE_NUMBER,
     .offset = offsetof(PvConfig, sample_interval_sec),
     .min = 1,
     .max = 60,
     .value = "5",
     .metavar = "SECONDS",
     .help = "how often the threads of the containers are looked at for load averages."},
    {.name = "watchdog",
     .type = TYPE_NUMBER,
     .offset = offsetof(PvConfig, watchdog_sec),
     .max = 3600,
     .value = "20",
     .metavar = "SECONDS",
     .help = "a worker that has been busy with one request for longer is killed and replaced; 0 "
             "never does that."},
    {.name = "auto-attach",
     .type = TYPE_RULES,
     .offset = offsetof(PvConfig, auto_attach),
     .value = "none",
     .metavar = "RULES",
     .help =
         "put the views into containers as they start, restart or lose them: those whose cgroup "
         "fits one of the patterns (\"/docker/* /lxc.payload.*\"), as procview watch does; all "
         "means every container with a pid namespace of its own."},
    {.name = "log-level",
     .type = TYPE_CHOICE,
     .offset = offsetof(PvConfig, log_level),
     .choices = {"error", "warning", "info", "debug"},
     .value = "info",
     .metavar = "LEVEL",
     .help = "what is worth a line in the log."},
    {.name = "state-dir",
     .type = TYPE_PATH,
     .offset = offsetof(PvConfig, state_dir),
     .value = "/run/procview",
     .metavar = "DIR",
     .help = "where the lock of the mount point is, and what has to be remembered of containers "
             "when the daemon restarts."},
    {.name = "pid-file",
     .type = TYPE_PATH,
     .offset = offsetof(PvConfig, pid_file),
     .metavar = "FILE",
     .help = "where the daemon's process id is written while it serves."},
};

static const Key *find_key(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

static char *allowed_values(const Key *key)
{
    switch (key->type) {
    case TYPE_CHOICE:
        return g_strjoinv(", ", (char **)key->choices);
    case TYPE_NUMBER:
        return g_strdup_printf("a number from %u to %u", key->min, key->max);
    case TYPE_RULES:
        return g_strdup("none, all, or patterns of cgroup paths with blanks between them");
    default:
        return g_strdup("an absolute path");
    }
}

static char *all_keys(void)
{
    GString *names = g_string_new(NULL);

    for (guint i = 0; i < G_N_ELEMENTS(keys); i++)
        g_string_append_printf(names, "%s%s", i > 0 ? ", " : "", keys[i].name);
    return g_string_free(names, FALSE);
}

static gboolean are_rules(const char *value)
{
    g_auto(GStrv) patterns = pv_config_split_rules(value);
    g_autoptr(PvRules) rules = pv_rules_new((const char *const *)patterns, NULL);

    return rules != NULL && *value != '\0';
}

char **pv_config_split_rules(const char *value)
{
    const char *patterns = strcmp(value, "all") == 0 || strcmp(value, "none") == 0 ? "" : value;
    g_autofree char *text = g_strdelimit(g_strdup(patterns), "\t", ' ');
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();

    for (guint i = 0; words[i] != NULL; i++) {
        if (*words[i] != '\0')
            g_ptr_array_add(kept, g_strdup(words[i]));
    }
    g_ptr_array_add(kept, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&kept), FALSE);
}

/* Store a value; FALSE when it is none that is allowed. */
static gboolean store(PvConfig *config, const Key *key, const char *value)
{
    gpointer field = G_STRUCT_MEMBER_P(config, key->offset);
    guint64 number;

    switch (key->type) {
    case TYPE_PATH:
    case TYPE_RULES:
        if (key->type == TYPE_PATH ? value[0] != '/' : !are_rules(value))
            return FALSE;
        g_free(*(char **)field);
        *(char **)field = g_strdup(value);
        return TRUE;
    case TYPE_CHOICE:
        for (guint i = 0; key->choices[i] != NULL; i++) {
            if (strcmp(key->choices[i], value) == 0) {
                *(guint *)field = i;
                return TRUE;
            }
        }
        return FALSE;
    default:
        if (!g_ascii_string_to_unsigned(value, 10, key->min, key->max, &number, NULL))
            return FALSE;
        *(guint *)field = (guint)number;
        return TRUE;
    }
}

G_STATIC_ASSERT(sizeof(gboolean) == sizeof(guint) && sizeof(PvLogLevel) == sizeof(guint) &&
                sizeof(PvSwapTotal) == sizeof(guint) && sizeof(PvCgroupTreeMode) == sizeof(guint));

void pv_config_init(PvConfig *config)
{
    memset(config, 0, sizeof *config);
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (keys[i].value != NULL)
            store(config, &keys[i], keys[i].value);
    }
}

void pv_config_become_cgroup_tree(PvConfig *config)
{
    g_autofree char *views = g_steal_pointer(&config->mountpoint);

    config->is_cgroup_tree = TRUE;
    config->mountpoint = g_build_filename(views, PV_CGROUP_TREE_NAME, NULL);
    g_clear_pointer(&config->pid_file, g_free);
    /* Some of them may wait for the kernel to do what a container wrote. */
    config->threads = MAX(config->threads, CGROUP_TREE_THREADS);
}

void pv_config_clear(PvConfig *config)
{
    g_clear_pointer(&config->mountpoint, g_free);
    g_clear_pointer(&config->state_dir, g_free);
    g_clear_pointer(&config->pid_file, g_free);
    g_clear_pointer(&config->auto_attach, g_free);
}

/* ---- the file ---- */

/* The line, counted from 1, of a section's head (key NULL) or of a key in it: GKeyFile keeps none.
 */
static guint find_line(const char *text, const char *section, const char *key)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    gboolean in_section = FALSE;

    for (guint i = 0; lines[i] != NULL; i++) {
        char *line = g_strstrip(lines[i]);
        gsize length = strlen(line);

        if (line[0] == '[' && line[length - 1] == ']') {
            line[length - 1] = '\0';
            in_section = strcmp(line + 1, section) == 0;
            if (in_section && key == NULL)
                return i + 1;
        } else if (in_section && key != NULL && line[0] != '#') {
            char *equals = strchr(line, '=');
            if (equals == NULL)
                continue;
            *equals = '\0';
            if (strcmp(g_strchomp(line), key) == 0)
                return i + 1;
        }
    }
    return 1;
}

/* The first line that is neither a comment, a section's head nor KEY=VALUE: what GKeyFile stumbled
 * on. */
static guint find_bad_line(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    gboolean in_section = FALSE;

    for (guint i = 0; lines[i] != NULL; i++) {
        const char *line = g_strstrip(lines[i]);
        gboolean is_head = line[0] == '[' && line[strlen(line) - 1] == ']';

        in_section = in_section || is_head;
        if (line[0] != '\0' && line[0] != '#' && !is_head &&
            (!in_section || strchr(line, '=') == NULL || line[0] == '='))
            return i + 1;
    }
    return 1;
}

static gboolean parse_key(PvConfig *config, const char *path, const char *text, GKeyFile *file,
                          const char *name, GError **error)
{
    const Key *key = find_key(name);
    g_autofree char *allowed = key != NULL ? allowed_values(key) : all_keys();
    g_autofree char *value = NULL;

    if (key == NULL)
        return pv_error_set(error, PV_ERROR_INVALID, "%s:%u: unknown key \"%s\"; allowed: %s", path,
                            find_line(text, SECTION, name), name, allowed);
    value = g_key_file_get_string(file, SECTION, name, NULL);
    if (value == NULL || !store(config, key, g_strstrip(value)))
        return pv_error_set(
            error, PV_ERROR_INVALID, "%s:%u: bad value \"%s\" of \"%s\"; allowed: %s", path,
            find_line(text, SECTION, name), value != NULL ? value : "", name, allowed);
    return TRUE;
}

gboolean pv_config_parse(PvConfig *config, const char *path, const char *text, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) parse_error = NULL;
    g_auto(GStrv) sections = NULL;
    g_auto(GStrv) names = NULL;

    /* Translated keys ("KEY[de]") would be passed over in silence. */
    if (!g_key_file_load_from_data(file, text, strlen(text), G_KEY_FILE_KEEP_TRANSLATIONS,
                                   &parse_error))
        return pv_error_set(error, PV_ERROR_INVALID,
                            "%s:%u: not understood; allowed: [" SECTION
                            "], KEY=VALUE, and comments after #",
                            path, find_bad_line(text));
    sections = g_key_file_get_groups(file, NULL);
    for (guint i = 0; sections[i] != NULL; i++) {
        if (strcmp(sections[i], SECTION) != 0)
            return pv_error_set(error, PV_ERROR_INVALID,
                                "%s:%u: unknown section [%s]; allowed: [" SECTION "]", path,
                                find_line(text, sections[i], NULL), sections[i]);
    }
    names = g_key_file_get_keys(file, SECTION, NULL, NULL);
    for (guint i = 0; names != NULL && names[i] != NULL; i++) {
        if (!parse_key(config, path, text, file, names[i], error))
            return FALSE;
    }
    return TRUE;
}

static gboolean load_file(PvConfig *config, const char *path, gboolean must_exist, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    /* O_NONBLOCK: a fifo without a writer must not hold up the start. */
    pv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int r = fd < 0 ? -errno : pv_pread_all(fd, text, FILE_BYTES_MAX);

    if (r == -ENOENT && !must_exist)
        return TRUE;
    if (r == -EFBIG)
        return pv_error_set(error, PV_ERROR_INVALID, "%s: too long for a configuration", path);
    if (r == -ESPIPE)
        return pv_error_set(error, PV_ERROR_INVALID, "%s: not a file", path);
    if (r < 0)
        return pv_error_set(error, PV_ERROR_INVALID, "cannot read the configuration %s: %s", path,
                            g_strerror(-r));
    if (strlen(text->str) != text->len)
        return pv_error_set(error, PV_ERROR_INVALID, "%s:1: not a text file", path);
    return pv_config_parse(config, path, text->str, error);
}

gboolean pv_config_load_file(PvConfig *config, const char *path, GError **error)
{
    return load_file(config, path != NULL ? path : PV_CONFIG_PATH, path != NULL, error);
}

/* ---- the command line ---- */

/* The value of "--NAME=VALUE" or "--NAME VALUE"; moves *index. NULL when there is none. */
static const char *option_value(int argc, char **argv, int *index)
{
    const char *equals = strchr(argv[*index], '=');

    if (equals != NULL)
        return equals + 1;
    return *index + 1 < argc ? argv[++*index] : NULL;
}

typedef struct {
    const Key *key;
    const char *value;
} Option;

static gboolean store_options(PvConfig *config, const GArray *options, GError **error)
{
    for (guint i = 0; i < options->len; i++) {
        const Option *option = &g_array_index(options, Option, i);
        g_autofree char *allowed = allowed_values(option->key);
        g_autofree char *absolute = NULL;
        const char *value = option->value;

        if (option->key->type == TYPE_PATH && value[0] != '\0')
            value = absolute = g_canonicalize_filename(value, NULL);
        if (!store(config, option->key, value))
            return pv_error_set(error, PV_ERROR_INVALID, "bad value \"%s\" of --%s; allowed: %s",
                                value, option->key->name, allowed);
    }
    return TRUE;
}

/* One argument that is an option. *index moves to its last word. */
static gboolean take_option(PvConfig *config, int argc, char **argv, int *index, GArray *options,
                            const char **config_path, PvConfigCommand *command, GError **error)
{
    g_autofree char *name = g_strndup(argv[*index] + 2, strcspn(argv[*index] + 2, "="));
    const char *argument = argv[*index];
    Option option = {.key = find_key(name)};
    gboolean is_config = strcmp(name, "config") == 0;

    if (strcmp(argument, "--standalone") == 0) {
        config->is_standalone = TRUE;
        return TRUE;
    }
    if (strcmp(argument, PV_ONLY_CGROUP_TREE_ARGUMENT) == 0) {
        config->is_cgroup_tree = TRUE;
        return TRUE;
    }
    if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)
        *command = PV_COMMAND_HELP;
    else if (strcmp(argument, "--version") == 0)
        *command = PV_COMMAND_VERSION;
    else if (strcmp(argument, "--dump-config-doc") == 0)
        *command = PV_COMMAND_DOCUMENT;
    else if (!g_str_has_prefix(argument, "--") || (option.key == NULL && !is_config))
        return pv_error_set(error, PV_ERROR_INVALID, "unknown option \"%s\"; see procviewd --help",
                            argument);
    if (option.key == NULL && !is_config)
        return TRUE;

    option.value = option_value(argc, argv, index);
    if (option.value == NULL)
        return pv_error_set(error, PV_ERROR_INVALID, "--%s needs a value", name);
    if (is_config)
        *config_path = option.value;
    else
        g_array_append_val(options, option);
    return TRUE;
}

gboolean pv_config_load(PvConfig *config, int argc, char **argv, PvConfigCommand *ret_command,
                        GError **error)
{
    g_autoptr(GArray) options = g_array_new(FALSE, FALSE, sizeof(Option));
    Option mountpoint = {.key = find_key("mountpoint")};
    const char *config_path = NULL;
    gboolean only_arguments = FALSE;

    *ret_command = PV_COMMAND_SERVE;
    for (int i = 1; i < argc; i++) {
        if (!only_arguments && strcmp(argv[i], "--") == 0) {
            only_arguments = TRUE;
        } else if (!only_arguments && argv[i][0] == '-') {
            if (!take_option(config, argc, argv, &i, options, &config_path, ret_command, error))
                return FALSE;
            if (*ret_command != PV_COMMAND_SERVE)
                return TRUE;
        } else if (mountpoint.value == NULL) {
            mountpoint.value = argv[i];
        } else {
            return pv_error_set(error, PV_ERROR_INVALID,
                                "\"%s\": one mount point is enough; see procviewd --help", argv[i]);
        }
    }
    if (mountpoint.value != NULL)
        g_array_append_val(options, mountpoint);
    return pv_config_load_file(config, config_path, error) && store_options(config, options, error);
}

/* ---- texts ---- */

/* Words of a text in lines of at most `width` columns, each after `indent` blanks. */
static void print_wrapped(FILE *out, const char *text, guint indent, guint width)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    guint column = 0;

    for (guint i = 0; words[i] != NULL; i++) {
        guint length = (guint)strlen(words[i]);

        if (column > 0 && column + 1 + length > width) {
            fputc('\n', out);
            column = 0;
        }
        if (column == 0)
            column = (guint)fprintf(out, "%*s%s", (int)indent, "", words[i]);
        else
            column += (guint)fprintf(out, " %s", words[i]);
    }
    fputc('\n', out);
}

void pv_config_print_help(FILE *out)
{
    fputs(
        "Usage: procviewd [OPTION…] [MOUNTPOINT]\n"
        "\n"
        "Serve /proc and /sys files that show each container its own limits and use. Stays in the\n"
        "foreground; ends, and unmounts, on SIGTERM and SIGINT. A worker process serves; when it "
        "dies\n"
        "another one goes on. SIGUSR1 puts a new version of the program in place, SIGQUIT ends "
        "and\n"
        "leaves the mount to the next procviewd.\n"
        "\n"
        "  --config FILE\n"
        "      the configuration to read instead of " PV_CONFIG_PATH "\n",
        out);
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_autofree char *allowed = allowed_values(&keys[i]);
        g_autofree char *text =
            g_strdup_printf("%s Allowed: %s. Default: %s.", keys[i].help, allowed,
                            keys[i].value != NULL ? keys[i].value : "none");

        fprintf(out, "  --%s %s\n", keys[i].name, keys[i].metavar);
        print_wrapped(out, text, 6, 90);
    }
    fputs("  --standalone\n"
          "      mount and serve in one process, with which the mount dies: for a single run\n"
          "  " PV_ONLY_CGROUP_TREE_ARGUMENT "\n"
          "      serve MOUNTPOINT/cgroup, for a daemon that runs with cgroup-tree=separate\n"
          "  --version\n"
          "      print the version\n"
          "  --help\n"
          "      print this\n"
          "\n"
          "Every option but the last four is also a key of the configuration's [" SECTION
          "] section:\n"
          "KEY=VALUE. Exit status: 0 after a signal, 1 for trouble, 2 for a bad option or "
          "configuration.\n",
          out);
}

/* A text for roff, in which a bare '-' is a hyphen and not what is typed. */
static char *roff_escape(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, "-", -1);

    return g_strjoinv("\\-", parts);
}

void pv_config_print_document(FILE *out)
{
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        const char *value = keys[i].value != NULL ? keys[i].value : "none";
        g_autofree char *allowed = allowed_values(&keys[i]);
        g_autofree char *name = roff_escape(keys[i].name);
        g_autofree char *help = roff_escape(keys[i].help);

        fprintf(out, ".TP\n.BR %s =\\fI%s\\fR\n", name, keys[i].metavar);
        print_wrapped(out, help, 0, 78);
        fprintf(out, "Allowed: %s.\nDefault: %s.\n", allowed, value);
    }
}
