/*
 * The table of served files: what is listed, looked up, rendered and documented comes from here.
 */
#include "procview/view.h"
#include "render/render.h"

#include <stdlib.h>
#include <string.h>

#define MASK(controller) (1u << PV_CONTROLLER_##controller)

/* What makes the CPU set. */
#define CPU_SET_CONTROLLERS (MASK(CPU) | MASK(CPUSET))

/*
 * In the order of the paths (strcmp). Inode numbers are made from the numbers, and a program may
 * hold a file open over an upgrade: a new row takes a number that none has had.
 */
static const PvRow ROWS[] = {
    {
        .path = "proc/cpuinfo",
        .number = 1,
        .mode = 0444,
        .sections = PV_SECTION_CPUS | PV_SECTION_HOST_CPUINFO,
        .controllers = CPU_SET_CONTROLLERS,
        .is_of_lxcfs = TRUE,
        .render = pv_render_cpuinfo,
        .host_path = "proc/cpuinfo",
        .help = "the CPUs that the container may use",
    },
    {
        .path = "proc/diskstats",
        .number = 2,
        .mode = 0444,
        .sections = PV_SECTION_IO | PV_SECTION_HOST_DISKSTATS,
        .is_of_lxcfs = TRUE,
        .render = pv_render_diskstats,
        .host_path = "proc/diskstats",
        .help = "the container's own I/O on each block device that it used",
    },
    {
        .path = "proc/interrupts",
        .number = 15,
        .mode = 0444,
        .sections = PV_SECTION_CPUS | PV_SECTION_HOST_INTERRUPTS,
        .is_optional = TRUE,
        .render = pv_render_interrupts,
        .host_path = "proc/interrupts",
        .help = "a column for each of the container's CPUs; counts are 0",
    },
    {
        .path = "proc/loadavg",
        .number = 3,
        .mode = 0444,
        .sections = PV_SECTION_LOAD,
        .controllers = MASK(TASKS),
        .is_of_lxcfs = TRUE,
        .render = pv_render_loadavg,
        .host_path = "proc/loadavg",
        .help = "load averages and threads of the container, its newest pid",
    },
    {
        .path = "proc/meminfo",
        .number = 4,
        .mode = 0444,
        .sections = PV_SECTION_MEMORY | PV_SECTION_HUGETLB,
        .controllers = MASK(MEMORY),
        .is_of_lxcfs = TRUE,
        .render = pv_render_meminfo,
        .host_path = "proc/meminfo",
        .help = "memory and swap: the limits, and what the container uses",
    },
    {
        .path = "proc/partitions",
        .number = 16,
        .mode = 0444,
        .sections = PV_SECTION_IO | PV_SECTION_HOST_PARTITIONS,
        .is_optional = TRUE,
        .render = pv_render_partitions,
        .host_path = "proc/partitions",
        .help = "the block devices that the container used",
    },
    {
        .path = "proc/pressure/cpu",
        .number = 5,
        .mode = 0666,
        .sections = PV_SECTION_PRESSURE_CPU,
        .render = pv_render_pressure_cpu,
        .host_path = "proc/pressure/cpu",
        .help = "time that the container's tasks waited for a CPU",
    },
    {
        .path = "proc/pressure/io",
        .number = 6,
        .mode = 0666,
        .sections = PV_SECTION_PRESSURE_IO,
        .render = pv_render_pressure_io,
        .host_path = "proc/pressure/io",
        .help = "time that the container's tasks waited for I/O",
    },
    {
        .path = "proc/pressure/irq",
        .number = 17,
        .mode = 0666,
        .sections = PV_SECTION_PRESSURE_IRQ,
        .is_optional = TRUE,
        .render = pv_render_pressure_irq,
        .host_path = "proc/pressure/irq",
        .help = "time that the container's tasks lost to interrupts",
    },
    {
        .path = "proc/pressure/memory",
        .number = 7,
        .mode = 0666,
        .sections = PV_SECTION_PRESSURE_MEMORY,
        .render = pv_render_pressure_memory,
        .host_path = "proc/pressure/memory",
        .help = "time that the container's tasks waited for memory",
    },
    {
        .path = "proc/schedstat",
        .number = 18,
        .mode = 0444,
        .sections = PV_SECTION_CPUS | PV_SECTION_HOST_SCHEDSTAT,
        .is_optional = TRUE,
        .render = pv_render_schedstat,
        .host_path = "proc/schedstat",
        .help = "a row for each of the container's CPUs; counts are 0",
    },
    {
        .path = "proc/slabinfo",
        .number = 19,
        .mode = 0400,
        .sections = PV_SECTION_HOST_SLABINFO,
        .is_optional = TRUE,
        .is_of_lxcfs = TRUE,
        .render = pv_render_slabinfo,
        .host_path = "proc/slabinfo",
        .help = "only its heading",
    },
    {
        .path = "proc/softirqs",
        .number = 20,
        .mode = 0444,
        .sections = PV_SECTION_CPUS | PV_SECTION_HOST_SOFTIRQS,
        .is_optional = TRUE,
        .render = pv_render_softirqs,
        .host_path = "proc/softirqs",
        .help = "a column for each of the container's CPUs; counts are 0",
    },
    {
        .path = "proc/stat",
        .number = 8,
        .mode = 0444,
        .sections = PV_SECTION_CPUS | PV_SECTION_CPU_TICKS | PV_SECTION_UPTIME | PV_SECTION_LOAD |
                    PV_SECTION_HOST_STAT,
        .is_of_lxcfs = TRUE,
        .render = pv_render_stat,
        .host_path = "proc/stat",
        .help = "CPU time used by the container, and stolen from it by its quota",
    },
    {
        .path = "proc/swaps",
        .number = 9,
        .mode = 0444,
        .sections = PV_SECTION_MEMORY,
        .controllers = MASK(MEMORY),
        .is_of_lxcfs = TRUE,
        .render = pv_render_swaps,
        .host_path = "proc/swaps",
        .help = "the swap space of meminfo, as one line",
    },
    {
        .path = "proc/sys/kernel/pid_max",
        .number = 21,
        .mode = 0644,
        .sections = PV_SECTION_PIDS | PV_SECTION_HOST_PID_MAX,
        .controllers = MASK(PIDS),
        .is_optional = TRUE,
        .render = pv_render_pid_max,
        .host_path = "proc/sys/kernel/pid_max",
        .help = "the container's limit of tasks, where that is lower",
    },
    {
        .path = "proc/sys/kernel/threads-max",
        .number = 22,
        .mode = 0644,
        .sections = PV_SECTION_PIDS | PV_SECTION_HOST_THREADS_MAX,
        .controllers = MASK(PIDS),
        .is_optional = TRUE,
        .render = pv_render_threads_max,
        .host_path = "proc/sys/kernel/threads-max",
        .help = "the container's limit of tasks, where that is lower",
    },
    {
        .path = "proc/uptime",
        .number = 10,
        .mode = 0444,
        .sections = PV_SECTION_UPTIME | PV_SECTION_IDLE,
        .is_of_lxcfs = TRUE,
        .render = pv_render_uptime,
        .host_path = "proc/uptime",
        .help = "time since the container started, and the idle time of its CPUs",
    },
    {
        .path = "proc/vmstat",
        .number = 11,
        .mode = 0444,
        .sections = PV_SECTION_MEMORY | PV_SECTION_IO | PV_SECTION_HOST_VMSTAT,
        .controllers = MASK(MEMORY),
        .render = pv_render_vmstat,
        .host_path = "proc/vmstat",
        .help = "memory, paging and swapping of the container in pages and events",
    },
    {
        .path = "sys/devices/system/cpu/online",
        .number = 12,
        .mode = 0444,
        .sections = PV_SECTION_CPUS,
        .controllers = CPU_SET_CONTROLLERS,
        .render = pv_render_cpu_online,
        .host_path = "sys/devices/system/cpu/online",
        .help = "the CPUs that the container may use, as a list",
    },
    {
        .path = "sys/devices/system/cpu/possible",
        .number = 13,
        .mode = 0444,
        .sections = PV_SECTION_HOST_CPUS,
        .controllers = CPU_SET_CONTROLLERS,
        .render = pv_render_cpu_possible,
        .host_path = "sys/devices/system/cpu/possible",
        .help = "the host's: they bound the ids that the container may see",
    },
    {
        .path = "sys/devices/system/cpu/present",
        .number = 14,
        .mode = 0444,
        .sections = PV_SECTION_CPUS,
        .controllers = CPU_SET_CONTROLLERS,
        .render = pv_render_cpu_online,
        .host_path = "sys/devices/system/cpu/present",
        .help = "the same as online",
    },
    {.path = NULL},
};

#define N_ROWS (G_N_ELEMENTS(ROWS) - 1)

const PvRow *pv_rows(void)
{
    return ROWS;
}

static int compare_path(const void *path, const void *row)
{
    return strcmp(path, ((const PvRow *)row)->path);
}

const PvRow *pv_row_find(const char *path)
{
    return bsearch(path, ROWS, N_ROWS, sizeof ROWS[0], compare_path);
}

const PvRow *pv_row_by_number(guint number)
{
    for (const PvRow *row = ROWS; row->path != NULL; row++) {
        if (row->number == number)
            return row;
    }
    return NULL;
}
