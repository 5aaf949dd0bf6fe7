/*
 * How what is limited is shared by owners who do not know of each other: one may take more only
 * while what it then holds is no more than what was still free (the dynamic thresholds of Choudhury
 * and Hahn). Of k owners that take all they can get each has a (k+1)th, and as much stays free for
 * whoever wants little; one that is alone has half.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

static inline bool pv_share_allows(uint64_t held, uint64_t wanted, uint64_t available)
{
    return wanted <= available && held <= available - wanted;
}
