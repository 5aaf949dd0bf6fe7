/*
 * procview: finds the command in the table and hands it its arguments.
 */
#include "command.h"

#include "procview/fd.h"
#include "procview/log.h"

#include <errno.h>
#include <glib.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int cmd_help(int argc, char **argv);

/* In the order in which people need them. */
static const PvCommand commands[] = {
    {"run", "run a command in a container of its own that sees itself", pv_cmd_run},
    {"attach", "put the views into a running container", pv_cmd_attach},
    {"detach", "take the views out of a running container", pv_cmd_detach},
    {"watch", "put the views into containers as they start", pv_cmd_watch},
    {"ps", "list the containers with their limits and use", pv_cmd_ps},
    {"show", "print a file as a process's container would see it", pv_cmd_show},
    {"cgroup", "print the cgroups of a process as another one sees them", pv_cmd_cgroup},
    {"status", "tell how the daemon is doing", pv_cmd_status},
    {"upgrade", "put the installed version in the place of the running daemon", pv_cmd_upgrade},
    {"doctor", "check this machine, and clean up what was left behind", pv_cmd_doctor},
    {"cdi", "write the views as a device for container managers", pv_cmd_cdi},
    {"help", "explain a command", cmd_help},
};

static void print_help(FILE *stream)
{
    fputs("Usage: procview COMMAND [OPTION…] [ARGUMENT…]\n"
          "       procview --help | --version\n"
          "\n"
          "Shows containers their own memory, CPUs, load and uptime in /proc and /sys.\n"
          "\n"
          "Commands:\n",
          stream);
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(stream, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "'procview COMMAND --help' explains a command, with examples. The daemon is procviewd.\n",
          stream);
}

static const PvCommand *find_command(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    g_printerr("procview: '%s' is not a procview command\n", name);
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++) {
        /* "att", "attatch": the first letters are mostly right. */
        gsize length = MIN(strlen(name), 3);
        if (length >= 2 && strncmp(commands[i].name, name, length) == 0)
            g_printerr("Did you mean 'procview %s'?\n", commands[i].name);
    }
    g_printerr("Try 'procview --help'.\n");
    return PV_EXIT_USAGE;
}

static int cmd_help(int argc, char **argv)
{
    char help_option[] = "--help";

    if (argc < 2) {
        print_help(stdout);
        return PV_EXIT_OK;
    }
    const PvCommand *command = find_command(argv[1]);
    if (command == NULL)
        return unknown_command(argv[1]);
    if (command->run == cmd_help) {
        print_help(stdout);
        return PV_EXIT_OK;
    }
    char *help_argv[] = {argv[1], help_option, NULL};
    return command->run(2, help_argv);
}

static int run_command(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return PV_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return PV_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("procview %s\n", PV_VERSION);
        return PV_EXIT_OK;
    }
    const PvCommand *command = find_command(argv[1]);
    return command != NULL ? command->run(argc - 1, argv + 1) : unknown_command(argv[1]);
}

/* At exit. What was printed must have arrived: on a full disk it is no success. */
static void close_output(void)
{
    gboolean had_failed = ferror(stdout) != 0;

    if (fclose(stdout) == 0 && !had_failed)
        return;
    g_printerr("procview: cannot write the output: %s\n", g_strerror(errno));
    _exit(PV_EXIT_FAILED);
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    g_set_prgname("procview");
    pv_log_set_program("procview");
    if (pv_fd_open_standard() < 0)
        return PV_EXIT_FAILED;
    atexit(close_output);
    return run_command(argc, argv);
}
