/*
 * The load averages. A step that was missed (the machine slept, or nobody looked) is made up for by
 * raising the decay to the number of steps, not by a loop that a long sleep would make long.
 */
#include "load.h"

/* exp(-5 s / 1, 5, 15 minutes), as the kernel rounds it: PV_LOAD_ONE is 1. */
static const guint64 DECAY[3] = {1884, 2014, 2037};

/* More threads than any kernel can number: keeps the arithmetic within 64 bits. */
#define ACTIVE_MAX (G_GUINT64_CONSTANT(1) << 32)

static guint64 fixed_multiply(guint64 a, guint64 b)
{
    return (a * b + PV_LOAD_ONE / 2) >> PV_LOAD_SHIFT;
}

/* base^exponent by squaring; base at most 1. */
static guint64 fixed_power(guint64 base, guint64 exponent)
{
    guint64 result = PV_LOAD_ONE;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1)
            result = fixed_multiply(result, base);
        base = fixed_multiply(base, base);
    }
    return result;
}

void pv_load_advance(guint64 average[3], guint64 n_active, guint64 n_steps)
{
    guint64 active = MIN(n_active, ACTIVE_MAX) << PV_LOAD_SHIFT;

    if (n_steps == 0)
        return;
    for (guint i = 0; i < 3; i++) {
        guint64 decay = fixed_power(DECAY[i], n_steps);
        guint64 sum = average[i] * decay + active * (PV_LOAD_ONE - decay);
        /* Rounded up while it rises, so that it reaches the number of threads, and down while it
         * falls, so that it reaches 0. */
        if (active >= average[i])
            sum += PV_LOAD_ONE - 1;
        average[i] = sum >> PV_LOAD_SHIFT;
    }
}
