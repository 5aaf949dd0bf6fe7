/*
 * What the tests of the renderers share: the host's texts, snapshots of made-up containers, and the
 * comparison with golden files.
 */
#pragma once

#include "procview/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define KIB ((guint64)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* A text of fixtures/render-host. The caller frees it. */
static inline char *host_text(const char *name)
{
    g_autofree char *path = g_build_filename(FIXTURES, "render-host", name, NULL);
    char *text;
    g_autoptr(GError) error = NULL;
    if (!g_file_get_contents(path, &text, NULL, &error))
        fail_msg("%s", error->message);
    return text;
}

/* Render, and compare the text with fixtures/render-golden/NAME. */
static inline void assert_golden(PvRenderFunc render, const PvSnapshot *snapshot, const char *name)
{
    g_autofree char *path = g_build_filename(FIXTURES, "render-golden", name, NULL);
    g_autofree char *expected = NULL;
    g_autoptr(GString) out = g_string_new(NULL);

    render(snapshot, out);
    g_file_get_contents(path, &expected, NULL, NULL);
    if (g_strcmp0(out->str, expected) != 0)
        print_error("%s: rendered:\n%s", name, out->str);
    assert_string_equal(out->str, expected != NULL ? expected : "(no golden file)");
}

static inline void assert_renders(PvRenderFunc render, const PvSnapshot *snapshot,
                                  const char *expected)
{
    g_autoptr(GString) out = g_string_new(NULL);
    render(snapshot, out);
    assert_string_equal(out->str, expected);
}

/* The first line that begins with a key; the caller frees it. */
static inline char *rendered_line(PvRenderFunc render, const PvSnapshot *snapshot, const char *key)
{
    g_autoptr(GString) out = g_string_new("\n");
    render(snapshot, out);
    g_autofree char *pattern = g_strconcat("\n", key, NULL);
    const char *line = strstr(out->str, pattern);
    return line != NULL ? g_strndup(line + 1, strcspn(line + 1, "\n")) : g_strdup("(none)");
}

static inline void assert_line(PvRenderFunc render, const PvSnapshot *snapshot, const char *key,
                               const char *expected)
{
    g_autofree char *line = rendered_line(render, snapshot, key);
    assert_string_equal(line, expected);
}

static inline void set_stat(PvMemory *memory, PvMemoryStat stat, guint64 value)
{
    memory->stat[stat] = value;
    memory->stat_valid[stat / 64] |= G_GUINT64_CONSTANT(1) << (stat % 64);
}

/* The set of a snapshot, from a list of real ids. */
static inline void set_cpus(PvSnapshot *snapshot, const char *list, gboolean dense)
{
    assert_true(pv_cpu_set_parse_list(list, &snapshot->cpus));
    snapshot->n_cpus = pv_cpu_set_count(&snapshot->cpus);
    snapshot->shown_cpus = snapshot->cpus;
    if (dense) {
        pv_cpu_set_clear(&snapshot->shown_cpus);
        for (guint cpu = 0; cpu < snapshot->n_cpus; cpu++)
            pv_cpu_set_add(&snapshot->shown_cpus, cpu);
    }
    snapshot->valid |= PV_SECTION_CPUS;
}
