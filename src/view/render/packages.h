/*
 * How many of the shown CPUs share a package, for cpuinfo's "siblings" and "cpu cores".
 */
#pragma once

#include <glib.h>

typedef struct PvPackages PvPackages;

PvPackages *pv_packages_new(void);
void pv_packages_free(PvPackages *packages);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvPackages, pv_packages_free)

/* Add a CPU; the next two calls are about it. One without a package is alone in none. */
void pv_packages_add_cpu(PvPackages *packages);
void pv_packages_set_package(PvPackages *packages, guint64 package);
void pv_packages_set_core(PvPackages *packages, guint64 core);

/* When all are added. */
void pv_packages_count(PvPackages *packages);

/*
 * index  of the CPU, in the order in which they were added
 * FALSE when its package is not known.
 */
gboolean pv_packages_get(const PvPackages *packages, guint index, guint *ret_n_siblings,
                         guint *ret_n_cores);
