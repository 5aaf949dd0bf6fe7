/*
 * One row per subcommand of procview: main.c finds it, lists it in --help, and hands it its
 * arguments. A command parses its own options with GOptionContext.
 */
#pragma once

#include <glib.h>

/* Exit statuses, as docker and util-linux use them. */
enum {
    PV_EXIT_OK = 0,
    PV_EXIT_FAILED = 1,
    PV_EXIT_USAGE = 2,        /* unknown option, missing argument */
    PV_EXIT_RUN_FAILED = 125, /* procview run: the container could not be started */
    PV_EXIT_RUN_CANNOT_EXEC = 126,
    PV_EXIT_RUN_NOT_FOUND = 127,
};

typedef struct {
    const char *name;
    const char *summary;               /* one line for procview --help */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns an exit status */
} PvCommand;

int pv_cmd_attach(int argc, char **argv);
int pv_cmd_detach(int argc, char **argv);
int pv_cmd_cgroup(int argc, char **argv);
int pv_cmd_ps(int argc, char **argv);
int pv_cmd_show(int argc, char **argv);
int pv_cmd_run(int argc, char **argv);
int pv_cmd_doctor(int argc, char **argv);
int pv_cmd_cdi(int argc, char **argv);
int pv_cmd_status(int argc, char **argv);
int pv_cmd_upgrade(int argc, char **argv);
int pv_cmd_watch(int argc, char **argv);
