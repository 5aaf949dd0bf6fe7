/*
 * The command line of lxcfs, for those who call procviewd by that name: init scripts, units and
 * container hosts that start "lxcfs -l --enable-cfs /var/lib/lxcfs" keep working.
 */
#pragma once

#include "procview/config.h"

#include <glib.h>
#include <stdio.h>

/* An edited copy of the profile, taken where it exists. */
#define PV_LXCFS_PROFILE_PATH PV_SYSCONFDIR "/procview/lxcfs-compat.conf"

/*
 * What lxcfs's command line is in procviewd's own words.
 * profile_path  becomes --config when that file exists
 * Returns an argv for pv_config_load(), to be freed with g_strfreev(); "--help" and "--version" are
 * left in it as they are. NULL on errors: INVALID for an unknown option, a missing value or folder,
 * or more than one folder.
 */
char **pv_lxcfs_translate(int argc, char **argv, const char *profile_path, GError **error);

/*
 * When the program was called as "lxcfs": set the profile's values as defaults and put procviewd's
 * words in place of *argc and *argv; prints lxcfs's own help and ends the process when that is
 * asked for. Under any other name: nothing. ret_argv  holds the words; to be freed with
 * g_strfreev() Errors: those of pv_lxcfs_translate().
 */
gboolean pv_lxcfs_options_take(PvConfig *config, int *argc, char ***argv, char ***ret_argv,
                               GError **error);
