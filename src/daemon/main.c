/*
 * procviewd: the supervisor, its workers and its helper are this one program; who it is to be is
 * told by its first argument. Everything else is in the libraries.
 */
#include "lxcfs_options.h"
#include "procview/config.h"
#include "serve.h"

#include "procview/fd.h"
#include "procview/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define EXIT_USAGE 2

static gboolean wants_auto_attach(const PvConfig *config)
{
    return strcmp(config->auto_attach, "none") != 0;
}

static int supervise(const PvConfig *config, char **argv)
{
    const PvSuperviseOptions options = {
        .mountpoint = config->mountpoint,
        .state_dir = config->state_dir,
        .argv = argv,
        .is_cgroup_tree = config->is_cgroup_tree,
        .has_companion = !config->is_cgroup_tree && config->cgroup_tree == PV_CGROUP_TREE_YES,
        .pid_file = config->is_cgroup_tree ? NULL : config->pid_file,
        .watchdog_sec = config->watchdog_sec,
        .has_helper = !config->is_cgroup_tree && wants_auto_attach(config)};

    return pv_supervise(&options);
}

int main(int argc, char **argv)
{
    g_auto(PvConfig) config = {0};
    g_auto(GStrv) lxcfs_argv = NULL;
    g_autoptr(GError) error = NULL;
    const char *role = argc > 1 ? argv[1] : "";
    gboolean is_safe = strcmp(role, PV_WORKER_SAFE_ARGUMENT) == 0;
    gboolean is_worker = is_safe || strcmp(role, PV_WORKER_ARGUMENT) == 0;
    gboolean is_helper = strcmp(role, PV_HELPER_ARGUMENT) == 0;
    g_auto(GStrv) own_argv = g_strdupv(argv);
    gboolean is_cgroup_tree = FALSE;
    PvConfigCommand command;

    if (pv_fd_open_standard() < 0)
        return EXIT_FAILURE;
    if (strcmp(role, PV_DETACH_ARGUMENT) == 0 && argc == 3)
        return pv_detach_everywhere(argv[2]);
    if (is_worker || is_helper) { /* the rest is the supervisor's command line */
        argv[1] = argv[0];
        argv++;
        argc--;
    }
    if (argc > 1 && strcmp(argv[1], PV_ONLY_CGROUP_TREE_ARGUMENT) == 0) {
        is_cgroup_tree = TRUE; /* and the rest is the command line of whom it belongs to */
        argv[1] = argv[0];
        argv++;
        argc--;
    }
    pv_config_init(&config);
    if (!pv_lxcfs_options_take(&config, &argc, &argv, &lxcfs_argv, &error)) {
        fprintf(stderr, "lxcfs: %s\n", error->message);
        return EXIT_USAGE;
    }
    if (!pv_config_load(&config, argc, argv, &command, &error)) {
        fprintf(stderr, "procviewd: %s\n", error->message);
        return EXIT_USAGE;
    }
    switch (command) {
    case PV_COMMAND_HELP:
        pv_config_print_help(stdout);
        return EXIT_SUCCESS;
    case PV_COMMAND_VERSION:
        printf("procviewd %s\n", PV_VERSION);
        return EXIT_SUCCESS;
    case PV_COMMAND_DOCUMENT:
        pv_config_print_document(stdout);
        return EXIT_SUCCESS;
    default:
        break;
    }
    config.is_cgroup_tree |= is_cgroup_tree;
    if (config.is_cgroup_tree)
        pv_config_become_cgroup_tree(&config);
    pv_log_set_level(config.log_level);
    umask(config.is_cgroup_tree && (is_worker || config.is_standalone)
              ? 0
              : 022); /* callers have theirs */
    if (is_worker)
        return pv_serve_as_worker(&config, is_safe);
    if (is_helper)
        return pv_attach_by_itself(&config);
    if (config.is_standalone && wants_auto_attach(&config)) {
        fprintf(stderr,
                "procviewd: auto-attach needs the supervisor, which --standalone is without\n");
        return EXIT_USAGE;
    }
    return config.is_standalone ? pv_serve_standalone(&config) : supervise(&config, own_argv);
}
