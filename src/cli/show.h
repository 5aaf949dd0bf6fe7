/*
 * Pieces of procview show that are tested on their own.
 */
#pragma once

#include "procview/view.h"

/* "meminfo", "proc/meminfo", "/proc/meminfo", "online" to a row, or NULL. */
const PvRow *pv_show_find_row(const char *name);

/* Append the lines "KEY: N …" and "KEY N" of a text as a JSON object; other lines are left out. */
void pv_show_append_values(GString *json, const char *text);
