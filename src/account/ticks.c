/*
 * How CPU time is distributed and shown.
 *
 * First by totals: the time of all CPUs of the set since the last look is use, then steal, then
 * iowait, as far as there is room for each, and the rest is idle. The kernel's counters are read
 * one after the other, so use may exceed the time that has gone by; then it waits, and is caught up
 * with as soon as there is room. What has been divided lies in a pool.
 *
 * Then by CPUs: the pool is emptied into the CPUs of the set. Use goes to the CPU on which it was
 * used, and what was used on other CPUs to those with room; the rest of each CPU's time is filled
 * with the pool's steal, iowait and idle. The time that the CPUs have room for is what the pool
 * holds, to the nanosecond, so everything finds its place and the totals stay what they were.
 *
 * Then in ticks: each CPU gets as many new ticks as its uptime has, divided so that each column
 * comes as close as can be to its time; a column that is ahead waits. So nothing ever decreases, no
 * rounding error grows, and the sum is exact.
 */
#include "ticks.h"

#define NSEC_PER_SEC G_GUINT64_CONSTANT(1000000000)

/* Throttled time is counted when a throttled CPU runs again, at most a period of the quota later
 * (100 ms by default): so much of it, for each CPU, may come too late for its own time. More than
 * that was counted on CPUs that are not shown. */
#define LATE_STEAL_NSEC (NSEC_PER_SEC / 10)

/* A counter that is lower by more than this (and by half) has started again; less is the work of
 * two readers who overtook each other. */
#define RESET_NSEC NSEC_PER_SEC

/* Sums over CPUs can pass 2^64 ns, and so can products. */
__extension__ typedef unsigned __int128 Wide;

static guint64 wide_to_u64(Wide value)
{
    return value > G_MAXUINT64 ? G_MAXUINT64 : (guint64)value;
}

/* ---- totals ---- */

static gboolean has_restarted(guint64 last, guint64 now)
{
    return now < last / 2 && last - now > RESET_NSEC;
}

/* What was added to a counter since the last look at it. */
static guint64 counter_delta(guint64 *last, guint64 now)
{
    guint64 delta;

    if (now >= *last)
        delta = now - *last;
    else if (has_restarted(*last, now))
        delta = now;
    else
        return 0;
    *last = now;
    return delta;
}

/* Move as much of *amount as there is room for. */
static guint64 take(guint64 *amount, guint64 *room)
{
    guint64 taken = MIN(*amount, *room);
    *amount -= taken;
    *room -= taken;
    return taken;
}

/* Throttled time since the last look at it. */
static guint64 throttled_delta(PvAccountState *state, const PvCpuUsage *usage)
{
    /* Another cgroup's counter says nothing about the time since then. */
    if (state->is_started && state->throttled_level != usage->throttled_level)
        state->throttled_nsec = usage->throttled_nsec;
    state->throttled_level = usage->throttled_level;
    return counter_delta(&state->throttled_nsec, usage->throttled_nsec);
}

/*
 * Remember steal and iowait that found no room and may have some later: what belongs into idle time
 * that was given without looking, and of steal what the kernel counts late. The rest is dropped.
 * new_unchecked_nsec  idle time given just now without looking
 */
static void keep_late_waits(PvAccountState *state, guint64 steal, guint64 iowait,
                            guint64 new_unchecked_nsec)
{
    guint64 unchecked = pv_sat_add(state->unchecked_idle_nsec, new_unchecked_nsec);
    guint64 always = pv_cpu_set_count(&state->cpus) * LATE_STEAL_NSEC;
    guint64 unchecked_steal = MIN(pv_sat_sub(steal, always), unchecked);

    if (!state->is_started)
        steal = iowait = unchecked = unchecked_steal = 0;
    state->late_steal_nsec = MIN(steal, always) + unchecked_steal;
    state->late_iowait_nsec = MIN(iowait, unchecked - unchecked_steal);
    state->unchecked_idle_nsec =
        new_unchecked_nsec > 0 ? unchecked : unchecked_steal + state->late_iowait_nsec;
}

/* Divide the time of the set's CPUs since the last call into the pool's shares. */
static void fill_pool(PvAccountState *state, guint64 uptime_nsec, const PvAccountInput *input)
{
    /* Within a tick the counters are left alone: steal that finds no room would be lost. */
    if (uptime_nsec <= state->uptime_nsec)
        return;
    guint n_cpus = pv_cpu_set_count(&state->cpus);
    guint64 room = wide_to_u64((Wide)(uptime_nsec - state->uptime_nsec) * n_cpus);

    guint64 use = pv_sat_add(state->late_use_nsec,
                             counter_delta(&state->total_nsec, input->usage->total_nsec));
    guint64 steal = state->late_steal_nsec;
    guint64 iowait = state->late_iowait_nsec;
    if (input->has_waits) {
        steal = pv_sat_add(steal, throttled_delta(state, input->usage));
        iowait = pv_sat_add(iowait, counter_delta(&state->iowait_nsec, input->iowait_nsec));
    }

    state->pool_nsec[PV_SHARE_USE] += take(&use, &room);
    state->pool_nsec[PV_SHARE_STEAL] += take(&steal, &room);
    state->pool_nsec[PV_SHARE_IOWAIT] += take(&iowait, &room);
    state->pool_nsec[PV_SHARE_IDLE] += room;

    /* What does not fit into the container's whole life is not its own. */
    state->late_use_nsec = state->is_started ? use : 0;
    keep_late_waits(state, steal, iowait, input->has_waits ? 0 : room);
    state->uptime_nsec = uptime_nsec;
    state->is_started = TRUE;
}

/* ---- CPUs ---- */

static guint64 cpu_given_nsec(const PvCpuState *cpu)
{
    guint64 sum = 0;
    for (guint i = 0; i < PV_SHARE_COUNT; i++)
        sum += cpu->nsec[i];
    return sum;
}

static guint64 cpu_room_nsec(const PvAccountState *state, guint cpu)
{
    return pv_sat_sub(state->uptime_nsec, cpu_given_nsec(&state->cpu[cpu]));
}

/* amount * part / whole, where part <= whole: exact, and the last part takes what is left. */
static guint64 portion(guint64 amount, guint64 part, Wide whole)
{
    return whole == 0 ? 0 : wide_to_u64((Wide)amount * part / whole);
}

/* Give an amount to the CPUs of the set, in proportion to their room. Returns what did not fit. */
static guint64 spread_by_room(PvAccountState *state, PvShare share, guint64 amount)
{
    Wide room = 0;
    PV_CPU_SET_FOREACH (cpu, &state->cpus)
        room += cpu_room_nsec(state, (guint)cpu);
    guint64 left = MIN(amount, wide_to_u64(room));
    guint64 too_much = amount - left;

    PV_CPU_SET_FOREACH (cpu, &state->cpus) {
        guint64 cpu_room = cpu_room_nsec(state, (guint)cpu);
        guint64 given = portion(left, cpu_room, room);
        state->cpu[cpu].nsec[share] += given;
        left -= given;
        room -= cpu_room;
    }
    return too_much;
}

/* What the kernel has counted on each CPU and we have not given to one yet. */
static gboolean weigh_by_usage(PvAccountState *state, guint n_cpus, const PvCpuUsage *usage)
{
    gboolean any = FALSE;

    n_cpus = MIN(n_cpus, usage->n_cpus);
    for (guint i = 0; i < n_cpus; i++) {
        PvCpuState *cpu = &state->cpu[i];
        if (has_restarted(cpu->source_nsec, usage->cpu[i].total_nsec))
            cpu->source_nsec = 0;
        any |= usage->cpu[i].total_nsec > cpu->source_nsec;
    }
    for (guint i = 0; any && i < n_cpus; i++)
        state->cpu[i].weight = pv_sat_sub(usage->cpu[i].total_nsec, state->cpu[i].source_nsec);
    return any;
}

/* What samples saw of the threads since the last time; when they saw nothing, what they saw last
 * stays the best guess. */
static void weigh_by_samples(PvAccountState *state, guint n_cpus)
{
    gboolean any = FALSE;

    for (guint i = 0; i < n_cpus; i++)
        any |= state->cpu[i].seen_ticks > 0;
    for (guint i = 0; any && i < n_cpus; i++) {
        state->cpu[i].weight = state->cpu[i].seen_ticks;
        state->cpu[i].seen_ticks = 0;
    }
}

/* Give the pool's use to the CPUs, each by its weight. */
static void settle_use(PvAccountState *state, guint n_cpus)
{
    Wide weights = 0;
    guint64 left = state->pool_nsec[PV_SHARE_USE];
    guint64 elsewhere = 0;

    for (guint i = 0; i < n_cpus; i++)
        weights += state->cpu[i].weight;
    for (guint i = 0; i < n_cpus && weights > 0; i++) {
        PvCpuState *cpu = &state->cpu[i];
        guint64 used = portion(left, cpu->weight, weights);
        guint64 room = pv_cpu_set_has(&state->cpus, i) ? cpu_room_nsec(state, i) : 0;
        guint64 own = MIN(used, room);

        cpu->source_nsec = pv_sat_add(cpu->source_nsec, used);
        cpu->own_nsec += own;
        cpu->nsec[PV_SHARE_USE] += own;
        elsewhere += used - own;
        left -= used;
        weights -= cpu->weight;
    }
    guint64 too_much = spread_by_room(state, PV_SHARE_USE, elsewhere + left);
    state->late_use_nsec = pv_sat_add(state->late_use_nsec, too_much);
}

/* Empty the pool into the CPUs of the set. */
static void settle(PvAccountState *state, guint n_cpus, const PvCpuUsage *usage)
{
    guint64 nsec = 0;
    for (guint i = 0; i < PV_SHARE_COUNT; i++)
        nsec |= state->pool_nsec[i];
    if (nsec == 0)
        return;

    if (usage->n_cpus == 0)
        weigh_by_samples(state, n_cpus);
    else
        weigh_by_usage(state, n_cpus, usage);

    settle_use(state, n_cpus);
    spread_by_room(state, PV_SHARE_STEAL, state->pool_nsec[PV_SHARE_STEAL]);
    spread_by_room(state, PV_SHARE_IOWAIT, state->pool_nsec[PV_SHARE_IOWAIT]);
    PV_CPU_SET_FOREACH (cpu, &state->cpus)
        state->cpu[cpu].nsec[PV_SHARE_IDLE] += cpu_room_nsec(state, (guint)cpu);
    for (guint i = 0; i < PV_SHARE_COUNT; i++)
        state->pool_nsec[i] = 0;

    /* The first look at the kernel's figures for each CPU: what was left out of the totals then is
     * not to be waited for. */
    for (guint i = 0; !state->has_cpu_usage && i < MIN(n_cpus, usage->n_cpus); i++)
        state->cpu[i].source_nsec = usage->cpu[i].total_nsec;
    state->has_cpu_usage |= usage->n_cpus > 0;
}

/* ---- ticks ---- */

/* Use by columns: their ratio counts. */
typedef struct {
    guint64 user, nice, system;
} Columns;

enum { N_COLUMNS = 3, N_GROUPS = PV_SHARE_COUNT, N_MAX = 4 };

/* Add an amount of use to what each column should show. FALSE when the ratio is not known. */
static gboolean divide_use(guint64 use_nsec, const Columns *ratio, guint64 want_nsec[N_COLUMNS])
{
    Wide whole = (Wide)ratio->user + ratio->nice + ratio->system;
    if (whole == 0)
        return use_nsec == 0;
    guint64 system = portion(use_nsec, ratio->system, whole);
    guint64 nice = portion(use_nsec, ratio->nice, whole);
    want_nsec[0] += use_nsec - system - nice;
    want_nsec[1] += nice;
    want_nsec[2] += system;
    return TRUE;
}

/*
 * Give n new ticks to columns so that each comes as close as can be to what it should show.
 * Those that are behind get them in proportion; the few that rounding leaves over go one by one to
 * the column that is furthest behind. So no column gets ahead by a whole tick.
 */
static void give_ticks(guint64 n, const guint64 *want_nsec, guint64 *ticks, guint n_columns,
                       guint64 tick_nsec)
{
    gint64 behind_nsec[N_MAX];
    Wide whole = 0;
    guint64 left = n;

    for (guint i = 0; i < n_columns; i++) {
        behind_nsec[i] = (gint64)(want_nsec[i] - ticks[i] * tick_nsec);
        whole += (guint64)MAX(behind_nsec[i], 0);
    }
    Wide to_give = MIN((Wide)n * tick_nsec, whole);
    for (guint i = 0; i < n_columns && whole > 0; i++) {
        Wide behind = (Wide)MAX(behind_nsec[i], 0);
        guint64 given = wide_to_u64(behind * to_give / whole / tick_nsec);
        ticks[i] += given;
        behind_nsec[i] -= (gint64)(given * tick_nsec);
        left -= given;
    }
    while (left > 0) {
        guint furthest = 0;
        for (guint i = 1; i < n_columns; i++) {
            if (behind_nsec[i] > behind_nsec[furthest])
                furthest = i;
        }
        /* Never more than a few, unless a state file lied. */
        guint64 given = left > 4 * N_MAX ? left : 1;
        ticks[furthest] += given;
        behind_nsec[furthest] -= (gint64)(given * tick_nsec);
        left -= given;
    }
}

static void show_use(const PvCpuState *cpu, const Columns *own, const Columns *folded, guint64 n,
                     PvCpuTicks *ticks, guint64 tick_nsec)
{
    guint64 want_nsec[N_COLUMNS] = {0};
    guint64 columns[N_COLUMNS] = {ticks->user, ticks->nice, ticks->system};
    const Columns shown = {ticks->user, ticks->nice, ticks->system};
    guint64 folded_nsec = pv_sat_sub(cpu->nsec[PV_SHARE_USE], cpu->own_nsec);

    if (!divide_use(cpu->own_nsec, own, want_nsec) && !divide_use(cpu->own_nsec, folded, want_nsec))
        folded_nsec = cpu->nsec[PV_SHARE_USE];
    if (!divide_use(folded_nsec, folded, want_nsec) && !divide_use(folded_nsec, &shown, want_nsec))
        want_nsec[0] += folded_nsec;

    give_ticks(n, want_nsec, columns, N_COLUMNS, tick_nsec);
    *ticks = (PvCpuTicks){
        .user = columns[0],
        .nice = columns[1],
        .system = columns[2],
        .idle = ticks->idle,
        .iowait = ticks->iowait,
        .steal = ticks->steal,
    };
}

/* Bring a CPU's ticks up to its uptime. */
static void show_cpu(PvAccountState *state, guint index, const Columns *own, const Columns *folded,
                     guint64 tick_nsec)
{
    PvCpuState *cpu = &state->cpu[index];
    PvCpuTicks *ticks = &cpu->ticks;
    guint64 used = ticks->user + ticks->nice + ticks->system;
    guint64 groups[N_GROUPS] = {
        [PV_SHARE_USE] = used,
        [PV_SHARE_STEAL] = ticks->steal,
        [PV_SHARE_IOWAIT] = ticks->iowait,
        [PV_SHARE_IDLE] = ticks->idle,
    };
    guint64 shown = used + ticks->steal + ticks->iowait + ticks->idle;

    give_ticks(pv_sat_sub(state->uptime_nsec / tick_nsec, shown), cpu->nsec, groups, N_GROUPS,
               tick_nsec);
    ticks->steal = groups[PV_SHARE_STEAL];
    ticks->iowait = groups[PV_SHARE_IOWAIT];
    ticks->idle = groups[PV_SHARE_IDLE];
    show_use(cpu, own, folded, groups[PV_SHARE_USE] - used, ticks, tick_nsec);
}

/* The ratio of what is folded into the set's CPUs: that of the CPUs outside, else of all. Nothing
 * where the figures for each CPU, and with them the ratio, were not read this time. */
static Columns folded_columns(const PvAccountState *state, const PvCpuUsage *usage)
{
    Columns columns = {0};

    if (state->has_cpu_usage && usage->n_cpus == 0)
        return columns;
    for (guint i = 0; i < usage->n_cpus; i++) {
        if (!pv_cpu_set_has(&state->cpus, i)) {
            columns.user = pv_sat_add(columns.user, usage->cpu[i].user_nsec);
            columns.system = pv_sat_add(columns.system, usage->cpu[i].system_nsec);
        }
    }
    if (columns.user == 0 && columns.system == 0)
        columns = (Columns){usage->user_nsec, usage->nice_nsec, usage->system_nsec};
    return columns;
}

static void show(PvAccountState *state, const PvTickUnits *units, const PvCpuUsage *usage)
{
    Columns folded = folded_columns(state, usage);

    PV_CPU_SET_FOREACH (cpu, &state->cpus) {
        Columns own = {0};
        if ((guint)cpu < usage->n_cpus)
            own = (Columns){usage->cpu[cpu].user_nsec, 0, usage->cpu[cpu].system_nsec};
        show_cpu(state, (guint)cpu, &own, &folded, units->tick_nsec);
    }
}

/* ---- all together ---- */

/* Another set: what has been so far belongs to the old one; those that come in were idle. */
static void change_set(PvAccountState *state, const PvTickUnits *units, const PvCpuSet *cpus,
                       const PvCpuUsage *usage)
{
    settle(state, units->n_cpus, usage);
    show(state, units, usage);
    state->cpus = *cpus;
    PV_CPU_SET_FOREACH (cpu, &state->cpus)
        state->cpu[cpu].nsec[PV_SHARE_IDLE] += cpu_room_nsec(state, (guint)cpu);
}

void pv_ticks_advance(PvAccountState *state, const PvTickUnits *units, const PvAccountInput *input,
                      gboolean give_to_cpus)
{
    guint64 uptime_nsec = input->uptime_nsec / units->tick_nsec * units->tick_nsec;

    if (input->cpus != NULL) {
        PvCpuSet cpus = *input->cpus;
        for (int cpu; (cpu = pv_cpu_set_next(&cpus, units->n_cpus)) >= 0;)
            pv_cpu_set_remove(&cpus, (guint)cpu);
        if (!pv_cpu_set_equal(&cpus, &state->cpus))
            change_set(state, units, &cpus, input->usage);
        state->cpus_uptime_nsec = MAX(state->cpus_uptime_nsec, uptime_nsec);
    }
    fill_pool(state, uptime_nsec, input);
    if (give_to_cpus) {
        settle(state, units->n_cpus, input->usage);
        show(state, units, input->usage);
    }
}

void pv_ticks_total(const PvAccountState *state, const PvTickUnits *units, PvCpuTicks *ret_total)
{
    PvCpuTicks total = {0};

    for (guint i = 0; i < units->n_cpus; i++) {
        const PvCpuTicks *ticks = &state->cpu[i].ticks;
        total.user += ticks->user;
        total.nice += ticks->nice;
        total.system += ticks->system;
        total.idle += ticks->idle;
        total.iowait += ticks->iowait;
        total.steal += ticks->steal;
    }
    *ret_total = total;
}

guint64 pv_ticks_idle(const PvAccountState *state, const PvTickUnits *units)
{
    Wide nsec = state->pool_nsec[PV_SHARE_IDLE];

    for (guint i = 0; i < units->n_cpus; i++)
        nsec += state->cpu[i].nsec[PV_SHARE_IDLE];
    return wide_to_u64(nsec / units->tick_nsec);
}
