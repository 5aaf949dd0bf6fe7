/*
 * CPU sets, up to the largest NR_CPUS there is, in the kernel's two text formats.
 */
#include "procview/cpuset.h"

#include "procview/parse.h"

#include <string.h>

#define WORD_BITS       64
#define N_WORDS         (PV_CPU_MAX / WORD_BITS)
#define MASK_WORD_BITS  32
#define MASK_DIGITS_MAX 8

void pv_cpu_set_clear(PvCpuSet *set)
{
    memset(set, 0, sizeof *set);
}

void pv_cpu_set_add(PvCpuSet *set, guint cpu)
{
    if (cpu < PV_CPU_MAX)
        set->bits[cpu / WORD_BITS] |= G_GUINT64_CONSTANT(1) << (cpu % WORD_BITS);
}

void pv_cpu_set_remove(PvCpuSet *set, guint cpu)
{
    if (cpu < PV_CPU_MAX)
        set->bits[cpu / WORD_BITS] &= ~(G_GUINT64_CONSTANT(1) << (cpu % WORD_BITS));
}

gboolean pv_cpu_set_has(const PvCpuSet *set, guint cpu)
{
    return cpu < PV_CPU_MAX && ((set->bits[cpu / WORD_BITS] >> (cpu % WORD_BITS)) & 1);
}

guint pv_cpu_set_count(const PvCpuSet *set)
{
    guint count = 0;
    for (guint i = 0; i < N_WORDS; i++)
        count += (guint)__builtin_popcountll(set->bits[i]);
    return count;
}

gboolean pv_cpu_set_equal(const PvCpuSet *a, const PvCpuSet *b)
{
    return memcmp(a->bits, b->bits, sizeof a->bits) == 0;
}

int pv_cpu_set_next(const PvCpuSet *set, guint from)
{
    if (from >= PV_CPU_MAX)
        return -1;

    guint i = from / WORD_BITS;
    guint64 word = set->bits[i] & (G_MAXUINT64 << (from % WORD_BITS));
    while (word == 0) {
        if (++i == N_WORDS)
            return -1;
        word = set->bits[i];
    }
    return (int)(i * WORD_BITS) + __builtin_ctzll(word);
}

void pv_cpu_set_intersect(PvCpuSet *set, const PvCpuSet *other)
{
    for (guint i = 0; i < N_WORDS; i++)
        set->bits[i] &= other->bits[i];
}

void pv_cpu_set_keep_first(PvCpuSet *set, guint n)
{
    for (guint i = 0; i < N_WORDS; i++) {
        guint count = (guint)__builtin_popcountll(set->bits[i]);
        while (count > n) {
            set->bits[i] &= ~(G_GUINT64_CONSTANT(1) << (63 - __builtin_clzll(set->bits[i])));
            count--;
        }
        n -= count;
    }
}

int pv_cpu_set_rank(const PvCpuSet *set, guint cpu)
{
    if (!pv_cpu_set_has(set, cpu))
        return -1;

    int rank = 0;
    for (guint i = 0; i < cpu / WORD_BITS; i++)
        rank += __builtin_popcountll(set->bits[i]);
    guint64 below = (G_GUINT64_CONSTANT(1) << (cpu % WORD_BITS)) - 1;
    return rank + __builtin_popcountll(set->bits[cpu / WORD_BITS] & below);
}

int pv_cpu_set_nth(const PvCpuSet *set, guint rank)
{
    PV_CPU_SET_FOREACH (cpu, set) {
        if (rank-- == 0)
            return cpu;
    }
    return -1;
}

static gboolean only_space(const char *text)
{
    while (g_ascii_isspace(*text))
        text++;
    return *text == '\0';
}

/* One "N" or "N-M" at *cursor. */
static gboolean parse_range(const char **cursor, PvCpuSet *set)
{
    const char *p = *cursor;
    guint64 first, last;
    if (!g_ascii_isdigit(*p) || !pv_parse_u64(&p, &first))
        return FALSE;
    last = first;
    if (*p == '-') {
        p++;
        if (!g_ascii_isdigit(*p) || !pv_parse_u64(&p, &last))
            return FALSE;
    }
    if (first > last || last >= PV_CPU_MAX)
        return FALSE;

    for (guint cpu = (guint)first; cpu <= last; cpu++)
        pv_cpu_set_add(set, cpu);
    *cursor = p;
    return TRUE;
}

gboolean pv_cpu_set_parse_list(const char *text, PvCpuSet *ret_set)
{
    PvCpuSet set = {0};
    const char *p = text;

    if (!only_space(p)) {
        for (;;) {
            if (!parse_range(&p, &set))
                return FALSE;
            if (*p != ',')
                break;
            p++;
        }
        if (!only_space(p))
            return FALSE;
    }
    *ret_set = set;
    return TRUE;
}

/* One word of up to 8 hex digits at *cursor. */
static gboolean parse_mask_word(const char **cursor, guint32 *ret_word)
{
    guint32 word = 0;
    guint digits = 0;
    for (; g_ascii_isxdigit(**cursor); (*cursor)++) {
        if (++digits > MASK_DIGITS_MAX)
            return FALSE;
        word = word << 4 | (guint32)g_ascii_xdigit_value(**cursor);
    }
    *ret_word = word;
    return digits > 0;
}

gboolean pv_cpu_set_parse_mask(const char *text, PvCpuSet *ret_set)
{
    PvCpuSet set = {0};
    guint n_words = 1;
    for (const char *p = text; *p != '\0'; p++)
        n_words += *p == ',';
    if (n_words > PV_CPU_MAX / MASK_WORD_BITS)
        return FALSE;

    const char *p = text;
    if (!only_space(p)) {
        for (guint i = n_words; i-- > 0;) {
            guint32 word;
            if (!parse_mask_word(&p, &word))
                return FALSE;
            set.bits[i / 2] |= (guint64)word << (i % 2 * MASK_WORD_BITS);
            if (i > 0 && *p++ != ',')
                return FALSE;
        }
        if (!only_space(p))
            return FALSE;
    }
    *ret_set = set;
    return TRUE;
}

/* The last member of the run of neighbours that starts at `first`. */
static guint run_end(const PvCpuSet *set, guint first)
{
    while (pv_cpu_set_has(set, first + 1))
        first++;
    return first;
}

void pv_cpu_set_format_list(const PvCpuSet *set, GString *out)
{
    const char *separator = "";
    for (int cpu = pv_cpu_set_next(set, 0); cpu >= 0;) {
        guint last = run_end(set, (guint)cpu);
        g_string_append_printf(out, "%s%d", separator, cpu);
        if (last > (guint)cpu)
            g_string_append_printf(out, "-%u", last);
        separator = ",";
        cpu = pv_cpu_set_next(set, last + 1);
    }
}

void pv_cpu_set_format_mask(const PvCpuSet *set, guint n_bits, GString *out)
{
    n_bits = MIN(n_bits, PV_CPU_MAX);
    guint n_words = (n_bits + MASK_WORD_BITS - 1) / MASK_WORD_BITS;
    guint width = (n_bits - 1) % MASK_WORD_BITS + 1;

    for (guint i = n_words; i-- > 0; width = MASK_WORD_BITS) {
        guint32 word = (guint32)(set->bits[i / 2] >> (i % 2 * MASK_WORD_BITS));
        if (width < MASK_WORD_BITS)
            word &= (G_GUINT64_CONSTANT(1) << width) - 1;
        g_string_append_printf(out, "%0*x%s", (int)(width + 3) / 4, word, i > 0 ? "," : "");
    }
}
