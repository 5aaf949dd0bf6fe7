/* The command line, see arguments.h. */
#include "arguments.h"

#include <stdlib.h>
#include <string.h>

typedef enum { KEY_OTHER, KEY_LOG, KEY_LOG_FORMAT, KEY_BUNDLE, KEY_CONFIG, KEY_PRINT } Key;

/* An option that is followed by a value, or (KEY_PRINT) makes the runtime print something and end.
 * All others are switches. */
typedef struct {
    const char *name;
    char letter; /* 0: has none */
    Key key;
} Option;

static const Option runc_globals[] = {
    {"log", 0, KEY_LOG},         {"log-format", 0, KEY_LOG_FORMAT},
    {"log-level", 0, KEY_OTHER}, {"root", 0, KEY_OTHER},
    {"criu", 0, KEY_OTHER},      {"rootless", 0, KEY_OTHER},
    {"help", 'h', KEY_PRINT},    {"version", 'v', KEY_PRINT},
    {NULL, 0, KEY_OTHER},
};
static const Option runc_options[] = {
    {"bundle", 'b', KEY_BUNDLE},    {"console-socket", 0, KEY_OTHER}, {"pid-file", 0, KEY_OTHER},
    {"pidfd-socket", 0, KEY_OTHER}, {"preserve-fds", 0, KEY_OTHER},   {"help", 'h', KEY_PRINT},
    {NULL, 0, KEY_OTHER},
};
/* --rootless is a switch that may have a value behind "=". */
static const Option crun_globals[] = {
    {"log", 0, KEY_LOG},     {"log-format", 0, KEY_LOG_FORMAT}, {"log-level", 0, KEY_OTHER},
    {"root", 0, KEY_OTHER},  {"cgroup-manager", 0, KEY_OTHER},  {"help", '?', KEY_PRINT},
    {"usage", 0, KEY_PRINT}, {"version", 'v', KEY_PRINT},       {"version", 'V', KEY_PRINT},
    {NULL, 0, KEY_OTHER},
};
static const Option crun_options[] = {
    {"bundle", 'b', KEY_BUNDLE}, {"config", 'f', KEY_CONFIG},    {"console-socket", 0, KEY_OTHER},
    {"pid-file", 0, KEY_OTHER},  {"preserve-fds", 0, KEY_OTHER}, {"program-name", 0, KEY_OTHER},
    {"help", '?', KEY_PRINT},    {"usage", 0, KEY_PRINT},        {NULL, 0, KEY_OTHER},
};

typedef struct {
    PvRuntimeSyntax syntax;
    int argc;
    char **argv;
    int at;
    PvRuntimeArguments *arguments;
    gboolean prints;
} Parser;

PvRuntimeSyntax pv_runtime_syntax(const char *real)
{
    char *target = realpath(real, NULL);
    g_autofree char *name = g_path_get_basename(target != NULL ? target : real);

    free(target);
    return g_str_has_prefix(name, "crun") ? PV_SYNTAX_CRUN : PV_SYNTAX_RUNC;
}

static const Option *find_letter(const Option *options, char letter)
{
    for (; options->name != NULL; options++) {
        if (options->letter == letter)
            return options;
    }
    return NULL;
}

/* crun refuses a beginning that several options have: any of them does then. */
static const Option *find_name(const Parser *parser, const Option *options, const char *name,
                               gsize length)
{
    const Option *begins = NULL;

    for (; length > 0 && options->name != NULL; options++) {
        if (strncmp(options->name, name, length) != 0)
            continue;
        if (options->name[length] == '\0')
            return options;
        if (begins == NULL && parser->syntax == PV_SYNTAX_CRUN)
            begins = options;
    }
    return begins;
}

static void take(Parser *parser, const Option *option, const char *value)
{
    PvRuntimeArguments *arguments = parser->arguments;

    if (option->key == KEY_PRINT) {
        parser->prints = TRUE;
        return;
    }
    if (value == NULL && parser->at < parser->argc)
        value = parser->argv[parser->at++];
    if (value == NULL)
        return;
    if (option->key == KEY_LOG)
        arguments->log = value;
    else if (option->key == KEY_LOG_FORMAT)
        arguments->log_is_json = strcmp(value, "json") == 0;
    else if (option->key == KEY_BUNDLE)
        arguments->bundle = value[0] != '\0' ? value : ".";
    else if (option->key == KEY_CONFIG)
        arguments->config = strcmp(value, "config.json") != 0 ? value : NULL;
}

/* "-db", "-bDIR": the value of a letter is what follows in the word, or else the next one. */
static void take_letters(Parser *parser, const Option *options, const char *letters)
{
    for (; *letters != '\0'; letters++) {
        const Option *option = find_letter(options, *letters);
        if (option == NULL)
            continue;
        take(parser, option, letters[1] != '\0' ? letters + 1 : NULL);
        return;
    }
}

static void take_option(Parser *parser, const Option *options, const char *word)
{
    gboolean is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1);
    gsize length = strcspn(name, "=");

    if (parser->syntax == PV_SYNTAX_CRUN && !is_long) {
        take_letters(parser, options, name);
        return;
    }
    const Option *option = find_name(parser, options, name, length);
    if (option == NULL && parser->syntax == PV_SYNTAX_RUNC && length == 1)
        option = find_letter(options, name[0]);
    if (option != NULL)
        take(parser, option, name[length] == '=' ? name + length + 1 : NULL);
}

/* Take options. Ends behind "--", or at a word that is no option, where it stays. */
static void take_options(Parser *parser, const Option *options)
{
    while (parser->at < parser->argc && !parser->prints) {
        const char *word = parser->argv[parser->at];
        if (word[0] != '-' || word[1] == '\0')
            return;
        parser->at++;
        if (strcmp(word, "--") == 0)
            return;
        take_option(parser, options, word);
    }
}

void pv_runtime_arguments_parse(PvRuntimeSyntax syntax, int argc, char **argv,
                                PvRuntimeArguments *ret_arguments)
{
    gboolean is_crun = syntax == PV_SYNTAX_CRUN;
    PvRuntimeArguments arguments = {.bundle = "."};
    Parser parser = {
        .syntax = syntax, .argc = argc, .argv = argv, .at = 1, .arguments = &arguments};

    take_options(&parser, is_crun ? crun_globals : runc_globals);
    if (!parser.prints && parser.at < argc)
        arguments.command = argv[parser.at++];
    if (g_strcmp0(arguments.command, "create") == 0 || g_strcmp0(arguments.command, "run") == 0) {
        take_options(&parser, is_crun ? crun_options : runc_options);
        while (!is_crun && !parser.prints && parser.at < argc &&
               strcmp(argv[parser.at - 1], "--") != 0) {
            parser.at++; /* the container's ID */
            take_options(&parser, runc_options);
        }
        arguments.has_bundle = !parser.prints;
    }
    *ret_arguments = arguments;
}
