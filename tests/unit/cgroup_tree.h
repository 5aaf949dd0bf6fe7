/*
 * Cgroups of a captured tree: FIXTURES/cgroup-NAME, or a scratch folder of the same shape
 * ("proc/self/mountinfo", "proc/PID/cgroup", "sys/fs/cgroup/…").
 */
#pragma once

#include "procview/cgroup.h"
#include "procview/fd.h"
#include "procview/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MIB(n) ((guint64)(n) << 20)

static inline PvHierarchies *tree_hierarchies(int root_fd, GError **error)
{
    pv_autofd int proc = openat(root_fd, "proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(proc >= 0);
    return pv_hierarchies_load(proc, root_fd, error);
}

/* The cgroup of a text such as /proc/PID/cgroup has. */
static inline PvCgroup *tree_cgroup_of_text(int root_fd, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PvHierarchies) hierarchies = tree_hierarchies(root_fd, &error);
    assert_null(error);
    g_auto(PvCgroupPaths) paths = {0};
    assert_true(pv_cgroup_paths_parse(hierarchies, text, &paths, &error));
    PvCgroup *cgroup = pv_cgroup_open(hierarchies, &paths, &error);
    assert_null(error);
    assert_non_null(cgroup);
    return cgroup;
}

static inline int fixture_open(const char *name)
{
    g_autofree char *path = g_build_filename(FIXTURES, name, NULL);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static inline PvHierarchies *fixture_hierarchies(const char *name)
{
    pv_autofd int root = fixture_open(name);
    g_autoptr(GError) error = NULL;
    PvHierarchies *hierarchies = tree_hierarchies(root, &error);
    assert_null(error);
    return hierarchies;
}

/* The cgroup of a process of a fixture. */
static inline PvCgroup *fixture_cgroup(const char *name, int pid)
{
    pv_autofd int root = fixture_open(name);
    char text[4096], path[64];
    g_snprintf(path, sizeof path, "proc/%d/cgroup", pid);
    assert_true(pv_read_text_at(root, path, text, sizeof text) > 0);
    return tree_cgroup_of_text(root, text);
}

#define assert_u64(actual, expected) assert_true((guint64)(actual) == (guint64)(expected))

static inline void assert_cpus(const PvCpuSet *set, const char *expected)
{
    g_autoptr(GString) out = g_string_new(NULL);
    pv_cpu_set_format_list(set, out);
    assert_string_equal(out->str, expected);
}
