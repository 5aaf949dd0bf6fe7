/*
 * proc/cpuinfo: the host's text without the CPUs that are not in the set.
 *
 * Every architecture prints paragraphs, and blank lines between them. A paragraph that has a line
 * "processor : N" (x86, arm, riscv, ppc, loongarch) or "cpu number : N" (s390x) describes CPU N.
 * The others are about the machine (ppc64's and arm's last one, s390x's first one) and stay, but
 * for the lines in them that list or count the CPUs.
 * arch/(any)/kernel/{cpu/proc,setup,processor}.c.
 */
#include "packages.h"
#include "render.h"
#include "text.h"

#include <string.h>

/* A line "KEY   : VALUE". */
typedef struct {
    PvSpan text;  /* the whole line */
    PvSpan key;   /* blanks at its end removed */
    PvSpan value; /* the same at its beginning */
} Line;

static gboolean is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* FALSE when there is no colon. */
static gboolean parse_line(PvSpan text, Line *ret_line)
{
    const char *colon = memchr(text.start, ':', text.length);
    if (colon == NULL)
        return FALSE;

    const char *end = text.start + text.length;
    const char *key_end = colon;
    const char *value = colon + 1;
    while (key_end > text.start && is_blank(key_end[-1]))
        key_end--;
    while (value < end && is_blank(*value))
        value++;
    ret_line->text = text;
    ret_line->key = (PvSpan){text.start, (gsize)(key_end - text.start)};
    ret_line->value = (PvSpan){value, (gsize)(end - value)};
    return TRUE;
}

static gboolean parse_cpu(PvSpan number, guint *ret_cpu)
{
    guint64 cpu;
    if (!pv_span_parse_u64(number, &cpu) || cpu >= PV_CPU_MAX)
        return FALSE;
    *ret_cpu = (guint)cpu;
    return TRUE;
}

/* "processor : 3": the line from which a CPU's own lines begin. */
static gboolean is_cpu_line(const Line *line, guint *ret_cpu)
{
    return (pv_span_equal(line->key, "processor") || pv_span_equal(line->key, "cpu number")) &&
           parse_cpu(line->value, ret_cpu);
}

/* s390x's "processor 3: version = …". */
static gboolean is_listed_cpu(const Line *line, guint *ret_cpu)
{
    PvSpan rest = line->key, word;
    return pv_span_next_word(&rest, &word) && pv_span_equal(word, "processor") &&
           pv_span_next_word(&rest, &word) && rest.length == 0 && parse_cpu(word, ret_cpu);
}

/* The number under which a CPU is shown, or -1. */
static int shown_id(const PvSnapshot *snapshot, guint cpu)
{
    int rank = pv_cpu_set_rank(&snapshot->cpus, cpu);
    return rank < 0 ? -1 : pv_cpu_set_nth(&snapshot->shown_cpus, (guint)rank);
}

/* ---- first walk: which CPUs share a package ---- */

/* Where the shown CPUs are, so that siblings and cores can be counted. */
static void collect_packages(const PvSnapshot *snapshot, PvPackages *packages)
{
    PvSpan text;
    Line line;
    guint cpu;
    gboolean in_shown_cpu = FALSE;

    for (const char *cursor = snapshot->host_cpuinfo; pv_span_next_line(&cursor, &text);) {
        if (text.length == 0)
            in_shown_cpu = FALSE;
        if (!parse_line(text, &line))
            continue;
        guint64 value;
        if (is_cpu_line(&line, &cpu)) {
            in_shown_cpu = shown_id(snapshot, cpu) >= 0;
            if (in_shown_cpu)
                pv_packages_add_cpu(packages);
        } else if (in_shown_cpu && pv_span_parse_u64(line.value, &value)) {
            if (pv_span_equal(line.key, "physical id"))
                pv_packages_set_package(packages, value);
            else if (pv_span_equal(line.key, "core id"))
                pv_packages_set_core(packages, value);
        }
    }
    pv_packages_count(packages);
}

/* ---- second walk: print ---- */

typedef struct {
    const PvSnapshot *snapshot;
    const PvPackages *packages;
    GString *out;
    gsize start;       /* of our text in out */
    guint n_blank;     /* blank lines read and not yet printed */
    gboolean in_cpu;   /* below a CPU's line, in its paragraph */
    gboolean is_shown; /* that CPU is */
    guint cpu_index;   /* of it, among the shown ones */
    guint next_index;
} Printer;

/* The line, with other digits in place of `old`, which is a part of it. */
static void print_with(Printer *printer, const Line *line, PvSpan old, guint number)
{
    gsize before = (gsize)(old.start - line->text.start);
    gsize after = before + old.length;

    g_string_append_len(printer->out, line->text.start, (gssize)before);
    g_string_append_printf(printer->out, "%u", number);
    g_string_append_len(printer->out, line->text.start + after,
                        (gssize)(line->text.length - after));
    g_string_append_c(printer->out, '\n');
}

static void print_as_is(Printer *printer, PvSpan text)
{
    g_string_append_len(printer->out, text.start, (gssize)text.length);
    g_string_append_c(printer->out, '\n');
}

/* The blank lines before something that is shown; none at the beginning of the file. */
static void flush_blank(Printer *printer)
{
    for (; printer->n_blank > 0; printer->n_blank--) {
        if (printer->out->len > printer->start)
            g_string_append_c(printer->out, '\n');
    }
}

/* Lines of a CPU that is shown: its counts of neighbours are those that are shown. */
static void print_cpu_line(Printer *printer, const Line *line)
{
    guint n_siblings, n_cores;
    guint64 value;

    if (pv_span_parse_u64(line->value, &value) &&
        pv_packages_get(printer->packages, printer->cpu_index, &n_siblings, &n_cores)) {
        if (pv_span_equal(line->key, "siblings")) {
            print_with(printer, line, line->value, (guint)MIN(value, n_siblings));
            return;
        }
        if (pv_span_equal(line->key, "cpu cores")) {
            print_with(printer, line, line->value, (guint)MIN(value, n_cores));
            return;
        }
    }
    print_as_is(printer, line->text);
}

/* Lines about the machine. */
static void print_machine_line(Printer *printer, const Line *line)
{
    guint cpu;

    if (is_listed_cpu(line, &cpu)) {
        int id = shown_id(printer->snapshot, cpu);
        PvSpan rest = line->key, word;
        pv_span_next_word(&rest, &word);
        pv_span_next_word(&rest, &word);
        if (id >= 0)
            print_with(printer, line, word, (guint)id);
    } else if (pv_span_equal(line->key, "# processors")) {
        print_with(printer, line, line->value, printer->snapshot->n_cpus);
    } else {
        print_as_is(printer, line->text);
    }
}

/* A CPU's first line: says whether what follows is shown. */
static void begin_cpu(Printer *printer, const Line *line, guint cpu)
{
    int id = shown_id(printer->snapshot, cpu);

    printer->in_cpu = TRUE;
    printer->is_shown = id >= 0;
    if (id < 0) {
        printer->n_blank = 0; /* a paragraph goes with the blank line before it */
        return;
    }
    printer->cpu_index = printer->next_index++;
    flush_blank(printer);
    print_with(printer, line, line->value, (guint)id);
}

static void print_text(Printer *printer, PvSpan text)
{
    Line line;
    guint cpu;
    gboolean has_key = parse_line(text, &line);

    if (has_key && is_cpu_line(&line, &cpu)) {
        begin_cpu(printer, &line, cpu);
        return;
    }
    if (printer->in_cpu && !printer->is_shown)
        return;
    flush_blank(printer);
    if (!has_key)
        print_as_is(printer, text);
    else if (printer->in_cpu)
        print_cpu_line(printer, &line);
    else
        print_machine_line(printer, &line);
}

void pv_render_cpuinfo(const PvSnapshot *snapshot, GString *out)
{
    g_autoptr(PvPackages) packages = pv_packages_new();
    Printer printer = {.snapshot = snapshot, .packages = packages, .out = out, .start = out->len};
    PvSpan text;

    collect_packages(snapshot, packages);
    for (const char *cursor = snapshot->host_cpuinfo; pv_span_next_line(&cursor, &text);) {
        if (text.length > 0) {
            print_text(&printer, text);
        } else {
            printer.n_blank++;
            printer.in_cpu = FALSE;
        }
    }
    flush_blank(&printer);
}
