/*
 * procview run: a container with limits that sees itself.
 */
#include "../launch/launch.h"
#include "command.h"
#include "common.h"

int pv_cmd_run(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    int status = PV_EXIT_RUN_FAILED;

    g_set_prgname("procview run"); /* --help calls the program so */
    g_autoptr(PvLaunchPlan) plan = pv_launch_plan_parse(argc, argv, &error);
    g_set_prgname("procview");
    if (plan == NULL || !pv_launch_run(plan, &status, &error))
        pv_cli_error("run", "%s", error->message);
    return status;
}
