/* The command line of lxcfs in procviewd's words, see lxcfs_options.h. */
#include "lxcfs_options.h"

#include "lxcfs_profile.h"
#include "procview/error.h"

#include <stdlib.h>
#include <string.h>

/* What an option is for procviewd. */
typedef enum {
    MEANS_NOTHING,     /* procviewd does it anyway, or it has no meaning here */
    MEANS_WORD,        /* the words of the row */
    MEANS_PID_FILE,    /* takes a value, as the next two */
    MEANS_RUNTIME_DIR, /* where the state and, unless named, the file of the process id are */
    MEANS_IGNORED_VALUE,
} Meaning;

typedef struct {
    char letter; /* 0: none */
    const char *name;
    Meaning meaning;
    const char *word;
    const char *help; /* NULL: not in --help */
} Row;

static const Row rows[] = {
    {'f', "foreground", MEANS_NOTHING, NULL, "always so"},
    {'l', "enable-loadavg", MEANS_NOTHING, NULL, "always so"},
    {'u', "disable-swap", MEANS_WORD, "--swap-total=none", "show no swap"},
    {'p', "pidfile", MEANS_PID_FILE, NULL, "where the process id goes (default: DIR/lxcfs.pid)"},
    {'o', NULL, MEANS_IGNORED_VALUE, NULL, "options for FUSE: no effect, allow_other is always on"},
    {0, "enable-cfs", MEANS_NOTHING, NULL, "always so"},
    {0, "enable-pidfd", MEANS_NOTHING, NULL, "always so"},
    {0, "enable-cgroup", MEANS_NOTHING, NULL, "no effect"},
    {0, "enable-psi-poll", MEANS_NOTHING, NULL, "no effect"},
    {0, "runtime-dir", MEANS_RUNTIME_DIR, NULL, "where state is kept (default: /run)"},
    {'s', NULL, MEANS_WORD, "--threads=1", "one thread answers reads"},
    {'d', "debug", MEANS_WORD, "--log-level=debug", "log more"},
    {'v', "version", MEANS_WORD, "--version", "print the version"},
    {'h', "help", MEANS_WORD, "--help", "print this"},
    {'n', NULL, MEANS_WORD, "--help", NULL},
};

typedef struct {
    GPtrArray *words;
    const char *folder, *pid_file, *runtime_dir;
} Translation;

static gboolean takes_value(const Row *row)
{
    return row->meaning >= MEANS_PID_FILE;
}

static const Row *find_letter(char letter)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].letter == letter)
            return &rows[i];
    }
    return NULL;
}

static const Row *find_name(const char *name, gsize length)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].name != NULL && strlen(rows[i].name) == length &&
            strncmp(rows[i].name, name, length) == 0)
            return &rows[i];
    }
    return NULL;
}

static void take(Translation *self, const Row *row, const char *value)
{
    switch (row->meaning) {
    case MEANS_WORD:
        g_ptr_array_add(self->words, g_strdup(row->word));
        break;
    case MEANS_PID_FILE:
        self->pid_file = value;
        break;
    case MEANS_RUNTIME_DIR:
        self->runtime_dir = value;
        break;
    default:
        break;
    }
}

/* "--name", "--name=value", "--name value". *index moves to the last word taken. */
static gboolean take_long(Translation *self, int argc, char **argv, int *index, GError **error)
{
    const char *name = argv[*index] + 2;
    const char *value = strchr(name, '=');
    const Row *row = find_name(name, strcspn(name, "="));

    if (row == NULL || (value != NULL && !takes_value(row)))
        return pv_error_set(error, PV_ERROR_INVALID, "unknown option \"%s\"; see lxcfs --help",
                            argv[*index]);
    if (value != NULL)
        value++;
    else if (takes_value(row) && *index + 1 < argc)
        value = argv[++*index];
    if (takes_value(row) && (value == NULL || *value == '\0'))
        return pv_error_set(error, PV_ERROR_INVALID, "--%s needs a value", row->name);
    take(self, row, value);
    return TRUE;
}

/* "-l", "-lu", "-pVALUE", "-p VALUE". *index moves to the last word taken. */
static gboolean take_letters(Translation *self, int argc, char **argv, int *index, GError **error)
{
    for (const char *letter = argv[*index] + 1; *letter != '\0'; letter++) {
        const Row *row = find_letter(*letter);
        const char *value = NULL;

        if (row == NULL)
            return pv_error_set(error, PV_ERROR_INVALID, "unknown option \"-%c\"; see lxcfs --help",
                                *letter);
        if (!takes_value(row)) {
            take(self, row, NULL);
            continue;
        }
        if (letter[1] != '\0')
            value = letter + 1;
        else if (*index + 1 < argc)
            value = argv[++*index];
        if (value == NULL || *value == '\0')
            return pv_error_set(error, PV_ERROR_INVALID, "-%c needs a value", row->letter);
        take(self, row, value);
        return TRUE;
    }
    return TRUE;
}

/* Options and the folder may stand in any order, as for lxcfs. */
static gboolean take_all(Translation *self, int argc, char **argv, GError **error)
{
    gboolean only_arguments = FALSE;

    for (int i = 1; i < argc; i++) {
        if (only_arguments || argv[i][0] != '-' || argv[i][1] == '\0') {
            if (self->folder != NULL)
                return pv_error_set(error, PV_ERROR_INVALID,
                                    "\"%s\": one folder is enough; see lxcfs --help", argv[i]);
            self->folder = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            only_arguments = TRUE;
        } else if (argv[i][1] == '-') {
            if (!take_long(self, argc, argv, &i, error))
                return FALSE;
        } else if (!take_letters(self, argc, argv, &i, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean asks_for(const GPtrArray *words, const char *word)
{
    return g_ptr_array_find_with_equal_func((GPtrArray *)words, word, g_str_equal, NULL);
}

char **pv_lxcfs_translate(int argc, char **argv, const char *profile_path, GError **error)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    Translation self = {.words = words, .runtime_dir = "/run"};

    g_ptr_array_add(words, g_strdup("lxcfs"));
    if (!take_all(&self, argc, argv, error))
        return NULL;
    if (self.folder == NULL && !asks_for(words, "--help") && !asks_for(words, "--version")) {
        pv_error_set(error, PV_ERROR_INVALID, "name the folder to mount on; see lxcfs --help");
        return NULL;
    }
    if (g_file_test(profile_path, G_FILE_TEST_EXISTS))
        g_ptr_array_add(words, g_strconcat("--config=", profile_path, NULL));
    /* Not procviewd's own: both may run, and each keeps accounts. */
    g_ptr_array_add(words, g_strconcat("--state-dir=", self.runtime_dir, "/lxcfs", NULL));
    if (self.pid_file != NULL)
        g_ptr_array_add(words, g_strconcat("--pid-file=", self.pid_file, NULL));
    else
        g_ptr_array_add(words, g_strconcat("--pid-file=", self.runtime_dir, "/lxcfs.pid", NULL));
    if (self.folder != NULL) {
        g_ptr_array_add(words, g_strdup("--"));
        g_ptr_array_add(words, g_strdup(self.folder));
    }
    g_ptr_array_add(words, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&words), FALSE);
}

static void print_help(void)
{
    puts(
        "Usage: lxcfs [OPTION…] DIR\n"
        "\n"
        "This is procviewd, which takes lxcfs's options under this name: it serves /proc and /sys\n"
        "files that show each container its own limits and use, with lxcfs's paths and rules.\n");
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        const Row *row = &rows[i];
        char letter[8] = "    ";

        if (row->help == NULL)
            continue;
        if (row->letter != 0)
            g_snprintf(letter, sizeof letter, "-%c%s ", row->letter, row->name != NULL ? "," : "");
        g_autofree char *option =
            g_strconcat(letter, row->name != NULL ? "--" : "", row->name != NULL ? row->name : "",
                        takes_value(row) ? (row->name != NULL ? "=…" : "…") : "", NULL);
        printf("  %s%*s  %s\n", option, (int)(22 - g_utf8_strlen(option, -1)), "", row->help);
    }
    puts("\nSee procviewd(8) and procview.conf(5).");
}

gboolean pv_lxcfs_options_take(PvConfig *config, int *argc, char ***argv, char ***ret_argv,
                               GError **error)
{
    g_autofree char *name = *argc > 0 ? g_path_get_basename((*argv)[0]) : NULL;

    if (name == NULL || strcmp(name, "lxcfs") != 0)
        return TRUE;
    if (!pv_config_parse(config, "lxcfs-compat.conf", PV_LXCFS_PROFILE, error))
        return FALSE;
    *ret_argv = pv_lxcfs_translate(*argc, *argv, PV_LXCFS_PROFILE_PATH, error);
    if (*ret_argv == NULL)
        return FALSE;
    if (g_strv_contains((const char *const *)*ret_argv, "--help")) {
        print_help();
        exit(EXIT_SUCCESS);
    }
    *argv = *ret_argv;
    *argc = (int)g_strv_length(*ret_argv);
    return TRUE;
}
