/* sys/devices/system/node, see sys_numa.h. */
#include "sys_numa.h"

#include "../view/render/render.h"

#include "procview/fd.h"
#include "procview/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define NODE_DIRECTORY "devices/system/node"
#define NODES_MAX      1024
#define FILE_BYTES_MAX (64 * 1024)
#define ITEM_BITS      8

typedef enum {
    ITEM_COPY,
    ITEM_HAS_CPU,
    ITEM_CPULIST,
    ITEM_CPUMAP,
    ITEM_MEMINFO,
    ITEM_NUMASTAT,
} ItemKind;

typedef struct {
    const char *name;
    ItemKind kind;
} Item;

/* An item's place is in inode numbers: append only. */
static const Item top_items[] = {
    {"possible", ITEM_COPY},          {"online", ITEM_COPY},
    {"has_cpu", ITEM_HAS_CPU},        {"has_memory", ITEM_COPY},
    {"has_normal_memory", ITEM_COPY},
};
static const Item node_items[] = {
    {"cpulist", ITEM_CPULIST}, {"cpumap", ITEM_CPUMAP},     {"meminfo", ITEM_MEMINFO},
    {"distance", ITEM_COPY},   {"numastat", ITEM_NUMASTAT},
};

struct PvSysNuma {
    int dirfd;        /* of the host's directory */
    guint n_cpu_bits; /* of a mask */
    GArray *nodes;    /* of guint: the ids of the nodes, at start */
};

PvSysNuma *pv_sys_numa_new(PvHost *host)
{
    pv_autofd int fd =
        openat(pv_host_sysfs(host), NODE_DIRECTORY, O_PATH | O_DIRECTORY | O_CLOEXEC);
    PvSysNuma *sys;
    PvCpuSet possible;
    char text[PV_CONTROL_FILE_MAX];

    if (fd < 0)
        return NULL;
    sys = g_new0(PvSysNuma, 1);
    sys->dirfd = pv_steal_fd(&fd);
    sys->nodes = g_array_new(FALSE, FALSE, sizeof(guint));
    for (guint node = 0; node < NODES_MAX; node++) {
        char name[16];
        snprintf(name, sizeof name, "node%u", node);
        if (faccessat(sys->dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            g_array_append_val(sys->nodes, node);
    }
    if (pv_read_text_at(pv_host_sysfs(host), "devices/system/cpu/possible", text, sizeof text) >=
            0 &&
        pv_cpu_set_parse_list(text, &possible)) {
        PV_CPU_SET_FOREACH (cpu, &possible)
            sys->n_cpu_bits = (guint)cpu + 1;
    }
    return sys;
}

void pv_sys_numa_free(PvSysNuma *sys)
{
    if (sys == NULL)
        return;
    g_array_unref(sys->nodes);
    pv_clear_fd(&sys->dirfd);
    g_free(sys);
}

/* ---- nodes and numbers ---- */

typedef struct {
    const Item *item; /* NULL: a nodeN directory */
    int numa;         /* the node; -1 for a file beside the nodeN */
} Place;

static gboolean has_numa(const PvSysNuma *sys, guint numa)
{
    for (guint i = 0; i < sys->nodes->len; i++) {
        if (g_array_index(sys->nodes, guint, i) == numa)
            return TRUE;
    }
    return FALSE;
}

static guint32 value_of(int numa, guint item)
{
    return (guint32)(numa + 1) << ITEM_BITS | item;
}

/* What a PV_NODE_NUMA stands for. */
static int place_of(const PvSysNuma *sys, const PvNode *node, Place *ret_place)
{
    guint item = node->value & ((1 << ITEM_BITS) - 1);
    int numa = (int)(node->value >> ITEM_BITS) - 1;
    Place place = {.numa = numa};

    if (numa < 0) {
        if (item == 0 || item > G_N_ELEMENTS(top_items))
            return -ESTALE;
        place.item = &top_items[item - 1];
    } else {
        if (!has_numa(sys, (guint)numa) || item > G_N_ELEMENTS(node_items))
            return -ESTALE;
        place.item = item > 0 ? &node_items[item - 1] : NULL;
    }
    *ret_place = place;
    return 0;
}

gboolean pv_sys_numa_differs(const PvNode *node)
{
    return node->kind == PV_NODE_NUMA_CPU;
}

/* The host's name of a place: "node0/meminfo". */
static void host_path(const Place *place, char path[64])
{
    if (place->numa < 0)
        g_snprintf(path, 64, "%s", place->item->name);
    else if (place->item == NULL)
        g_snprintf(path, 64, "node%d", place->numa);
    else
        g_snprintf(path, 64, "node%d/%s", place->numa, place->item->name);
}

/* The real ids of a node's CPUs. */
static int numa_cpus(const PvSysNuma *sys, guint numa, PvCpuSet *ret_set)
{
    char path[64], text[PV_CONTROL_FILE_MAX];
    ssize_t n;

    g_snprintf(path, sizeof path, "node%u/cpulist", numa);
    n = pv_read_text_at(sys->dirfd, path, text, sizeof text);
    if (n < 0)
        return (int)n;
    return pv_cpu_set_parse_list(text, ret_set) ? 0 : -EBADMSG;
}

/* The ids, as they are shown, of the CPUs of a node that are in the view. */
static int shown_numa_cpus(const PvSysNuma *sys, const PvCpuView *view, guint numa,
                           PvCpuSet *ret_shown)
{
    PvCpuSet cpus;
    int r = numa_cpus(sys, numa, &cpus);

    if (r < 0)
        return r;
    if (view->is_host) {
        *ret_shown = cpus;
        return 0;
    }
    pv_cpu_set_clear(ret_shown);
    pv_cpu_set_intersect(&cpus, &view->real);
    PV_CPU_SET_FOREACH (cpu, &cpus) {
        int rank = pv_cpu_set_rank(&view->real, (guint)cpu);
        int shown = rank >= 0 ? pv_cpu_set_nth(&view->shown, (guint)rank) : -1;
        if (shown >= 0)
            pv_cpu_set_add(ret_shown, (guint)shown);
    }
    return 0;
}

/* ---- operations ---- */

int pv_sys_numa_stat(PvSysNuma *sys, const PvCpuView *view, const PvNode *node,
                     struct stat *ret_stat)
{
    char path[64];
    PvCpuSet cpus;
    Place place;
    int r;

    if (node->kind == PV_NODE_NUMA_CPU) {
        if (!has_numa(sys, node->value))
            return -ESTALE;
        r = shown_numa_cpus(sys, view, node->value, &cpus);
        if (r < 0)
            return r;
        if (!pv_cpu_set_has(&cpus, node->cpu))
            return -ENOENT;
        memset(ret_stat, 0, sizeof *ret_stat);
        ret_stat->st_mode = S_IFLNK | 0777;
        return 0;
    }
    r = place_of(sys, node, &place);
    if (r < 0)
        return r;
    host_path(&place, path);
    if (fstatat(sys->dirfd, path, ret_stat, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    ret_stat->st_mode &= S_IFMT | 0555;
    return 0;
}

/* A name in a directory to its node. */
static int find_node(const PvSysNuma *sys, const PvNode *parent, const char *name, PvNode *ret_node)
{
    const Item *items = parent == NULL ? top_items : node_items;
    guint n_items = parent == NULL ? G_N_ELEMENTS(top_items) : G_N_ELEMENTS(node_items);
    int numa = -1, number;
    Place place;

    if (parent != NULL) {
        if (parent->kind != PV_NODE_NUMA || place_of(sys, parent, &place) < 0 || place.item != NULL)
            return -ENOTDIR;
        numa = place.numa;
    }
    number = pv_sys_numbered_name(name, parent == NULL ? "node" : "cpu");
    if (parent == NULL && number >= 0) {
        if (!has_numa(sys, (guint)number))
            return -ENOENT;
        *ret_node = (PvNode){.kind = PV_NODE_NUMA, .value = value_of(number, 0)};
        return 0;
    }
    if (parent != NULL && number >= 0) {
        if (number >= PV_CPU_MAX)
            return -ENOENT;
        *ret_node =
            (PvNode){.kind = PV_NODE_NUMA_CPU, .cpu = (guint32)number, .value = (guint32)numa};
        return 0;
    }
    for (guint i = 0; i < n_items; i++) {
        if (strcmp(items[i].name, name) == 0) {
            *ret_node = (PvNode){.kind = PV_NODE_NUMA, .value = value_of(numa, i + 1)};
            return 0;
        }
    }
    return -ENOENT;
}

int pv_sys_numa_lookup(PvSysNuma *sys, const PvCpuView *view, const PvNode *parent,
                       const char *name, PvNode *ret_node, struct stat *ret_stat)
{
    PvNode node;
    int r = find_node(sys, parent, name, &node);

    if (r < 0)
        return r;
    r = pv_sys_numa_stat(sys, view, &node, ret_stat);
    if (r < 0)
        return r;
    if (parent != NULL)
        node.container_id = parent->container_id;
    *ret_node = node;
    return 0;
}

int pv_sys_numa_readlink(PvSysNuma *sys, const PvCpuView *view, const PvNode *node, GString *out)
{
    struct stat st;
    int r;

    if (node->kind != PV_NODE_NUMA_CPU)
        return -EINVAL;
    r = pv_sys_numa_stat(sys, view, node, &st);
    if (r < 0)
        return r;
    g_string_append_printf(out, "../../cpu/cpu%u", node->cpu);
    return 0;
}

int pv_sys_numa_list(PvSysNuma *sys, const PvCpuView *view, const PvNode *directory,
                     PvSysCpuEntryFunc func, gpointer data)
{
    const Item *items = directory == NULL ? top_items : node_items;
    guint n_items = directory == NULL ? G_N_ELEMENTS(top_items) : G_N_ELEMENTS(node_items);
    char name[16];
    PvCpuSet cpus;
    PvNode node;
    Place place = {.numa = -1};

    if (directory != NULL) {
        int r = directory->kind == PV_NODE_NUMA ? place_of(sys, directory, &place) : -ENOTDIR;
        if (r < 0 || place.item != NULL)
            return r < 0 ? r : -ENOTDIR;
    }
    for (guint i = 0; i < n_items; i++) {
        struct stat st;
        if (find_node(sys, directory, items[i].name, &node) == 0 &&
            pv_sys_numa_stat(sys, view, &node, &st) == 0)
            func(items[i].name, &node, S_IFREG, data);
    }
    if (directory == NULL) {
        for (guint i = 0; i < sys->nodes->len; i++) {
            snprintf(name, sizeof name, "node%u", g_array_index(sys->nodes, guint, i));
            if (find_node(sys, NULL, name, &node) == 0)
                func(name, &node, S_IFDIR, data);
        }
        return 0;
    }
    if (shown_numa_cpus(sys, view, (guint)place.numa, &cpus) < 0)
        return 0;
    PV_CPU_SET_FOREACH (cpu, &cpus) {
        snprintf(name, sizeof name, "cpu%d", cpu);
        if (find_node(sys, directory, name, &node) == 0)
            func(name, &node, S_IFLNK, data);
    }
    return 0;
}

/* The nodes that have CPUs of the view, as a list. */
static void render_has_cpu(const PvSysNuma *sys, const PvCpuView *view, GString *out)
{
    PvCpuSet with_cpus, cpus;

    pv_cpu_set_clear(&with_cpus); /* a set of nodes, in the same format */
    for (guint i = 0; i < sys->nodes->len; i++) {
        guint numa = g_array_index(sys->nodes, guint, i);
        if (shown_numa_cpus(sys, view, numa, &cpus) == 0 && pv_cpu_set_count(&cpus) > 0)
            pv_cpu_set_add(&with_cpus, numa);
    }
    pv_cpu_set_format_list(&with_cpus, out);
    g_string_append_c(out, '\n');
}

/* The lines of the host's numastat with 0 in each. */
static void render_zeros(const char *text, GString *out)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", 64);

    for (guint i = 0; lines[i] != NULL; i++) {
        if (lines[i][0] != '\0')
            g_string_append_printf(out, "%.*s 0\n", (int)strcspn(lines[i], " "), lines[i]);
    }
}

static guint64 all_nodes_kb(const PvSysNuma *sys)
{
    guint64 sum = 0;

    for (guint i = 0; i < sys->nodes->len; i++) {
        char path[64], text[PV_CONTROL_FILE_MAX];
        g_snprintf(path, sizeof path, "node%u/meminfo", g_array_index(sys->nodes, guint, i));
        if (pv_read_text_at(sys->dirfd, path, text, sizeof text) > 0)
            sum = pv_sat_add(sum, pv_node_meminfo_total_kb(text));
    }
    return sum;
}

static int render_meminfo(const PvSysNuma *sys, PvViews *views, PvContainer *container,
                          const char *host_text, GString *out)
{
    PvSnapshot *snapshot;
    int r = container != NULL ? pv_views_snapshot(views, container,
                                                  PV_SECTION_MEMORY | PV_SECTION_HUGETLB, &snapshot)
                              : -ENODATA;

    if (r < 0)
        return r;
    pv_render_node_meminfo(snapshot, host_text, all_nodes_kb(sys), out);
    pv_snapshot_free(snapshot);
    return 0;
}

int pv_sys_numa_read(PvSysNuma *sys, PvViews *views, const PvCpuView *view, PvContainer *container,
                     const PvNode *node, GString *out)
{
    PvSnapshot snapshot = {.valid = PV_SECTION_CPUS};
    g_autoptr(GString) text = g_string_new(NULL);
    char path[64];
    PvCpuSet cpus;
    Place place;
    int r = node->kind == PV_NODE_NUMA ? place_of(sys, node, &place) : -EINVAL;

    if (r < 0)
        return r;
    if (place.item == NULL)
        return -EISDIR;
    host_path(&place, path);
    r = pv_read_all_at(sys->dirfd, path, text, FILE_BYTES_MAX);
    if (r < 0)
        return r;
    if (view->is_host || place.item->kind == ITEM_COPY) {
        g_string_append_len(out, text->str, (gssize)text->len);
        return 0;
    }
    snapshot.cpus = view->real;
    snapshot.shown_cpus = view->shown;
    snapshot.n_cpus = pv_cpu_set_count(&view->real);

    switch (place.item->kind) {
    case ITEM_CPULIST:
    case ITEM_CPUMAP:
        r = numa_cpus(sys, (guint)place.numa, &cpus);
        if (r < 0)
            return r;
        if (place.item->kind == ITEM_CPULIST)
            pv_render_node_cpulist(&snapshot, &cpus, out);
        else
            pv_render_node_cpumap(&snapshot, &cpus, sys->n_cpu_bits, out);
        return 0;
    case ITEM_HAS_CPU:
        render_has_cpu(sys, view, out);
        return 0;
    case ITEM_NUMASTAT:
        render_zeros(text->str, out);
        return 0;
    default:
        /* Without figures of its own: the kernel's file, as with every other view. */
        if (render_meminfo(sys, views, container, text->str, out) < 0)
            g_string_append_len(out, text->str, (gssize)text->len);
        return 0;
    }
}
