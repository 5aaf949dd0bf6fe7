/*
 * Packages and cores are numbered as the firmware likes, so they are sorted and counted. A
 * quadratic count would be slow on the machines that have most of them.
 */
#include "packages.h"

typedef struct {
    gboolean has_package;
    guint64 package, core;
    guint n_siblings, n_cores; /* in its package */
} Cpu;

struct PvPackages {
    GArray *cpus; /* of Cpu */
};

PvPackages *pv_packages_new(void)
{
    PvPackages *packages = g_new(PvPackages, 1);
    packages->cpus = g_array_new(FALSE, FALSE, sizeof(Cpu));
    return packages;
}

void pv_packages_free(PvPackages *packages)
{
    if (packages == NULL)
        return;
    g_array_unref(packages->cpus);
    g_free(packages);
}

static Cpu *last_cpu(PvPackages *packages)
{
    return &g_array_index(packages->cpus, Cpu, packages->cpus->len - 1);
}

void pv_packages_add_cpu(PvPackages *packages)
{
    /* Until it is said otherwise, a core of its own. */
    Cpu cpu = {.core = G_MAXUINT64 - packages->cpus->len};
    g_array_append_val(packages->cpus, cpu);
}

void pv_packages_set_package(PvPackages *packages, guint64 package)
{
    last_cpu(packages)->has_package = TRUE;
    last_cpu(packages)->package = package;
}

void pv_packages_set_core(PvPackages *packages, guint64 core)
{
    last_cpu(packages)->core = core;
}

/* Pointers to Cpu: those without a package first, then by package, then by core. */
static gint compare(gconstpointer a, gconstpointer b)
{
    const Cpu *x = *(const Cpu *const *)a;
    const Cpu *y = *(const Cpu *const *)b;

    if (x->has_package != y->has_package)
        return x->has_package ? 1 : -1;
    if (x->package != y->package)
        return x->package < y->package ? -1 : 1;
    if (x->core != y->core)
        return x->core < y->core ? -1 : 1;
    return 0;
}

/* The CPUs of one package begin at `first`. Returns where the next one begins. */
static guint count_package(GPtrArray *sorted, guint first)
{
    const Cpu *head = g_ptr_array_index(sorted, first);
    guint end = first, n_cores = 0;

    for (; end < sorted->len; end++) {
        const Cpu *cpu = g_ptr_array_index(sorted, end);
        if (cpu->has_package != head->has_package || cpu->package != head->package)
            break;
        const Cpu *before = end > first ? g_ptr_array_index(sorted, end - 1) : NULL;
        if (before == NULL || before->core != cpu->core)
            n_cores++;
    }
    for (guint i = first; i < end; i++) {
        Cpu *cpu = g_ptr_array_index(sorted, i);
        cpu->n_siblings = end - first;
        cpu->n_cores = n_cores;
    }
    return end;
}

void pv_packages_count(PvPackages *packages)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_sized_new(packages->cpus->len);

    for (guint i = 0; i < packages->cpus->len; i++)
        g_ptr_array_add(sorted, &g_array_index(packages->cpus, Cpu, i));
    g_ptr_array_sort(sorted, compare);
    for (guint i = 0; i < sorted->len;)
        i = count_package(sorted, i);
}

gboolean pv_packages_get(const PvPackages *packages, guint index, guint *ret_n_siblings,
                         guint *ret_n_cores)
{
    if (index >= packages->cpus->len)
        return FALSE;
    const Cpu *cpu = &g_array_index(packages->cpus, Cpu, index);
    if (!cpu->has_package)
        return FALSE;
    *ret_n_siblings = cpu->n_siblings;
    *ret_n_cores = cpu->n_cores;
    return TRUE;
}
