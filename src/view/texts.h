/*
 * Texts of the host that need not be read anew for every reader: the CPUs' descriptions, and files
 * of which only the lines and their order matter.
 */
#pragma once

#include "procview/host.h"

/* A text, shared by those who show it. */
typedef struct PvText PvText;

const char *pv_text_str(const PvText *text);
void pv_text_unref(PvText *text);

typedef struct PvTexts PvTexts;

PvTexts *pv_texts_new(PvHost *host);
void pv_texts_free(PvTexts *texts);

/*
 * A file's text, not older than max_age_nsec. Any thread may ask; the lock is not held while the
 * file is read.
 * Returns 0 and a reference, or a negative errno.
 */
int pv_texts_get(PvTexts *texts, PvHostFile file, guint64 max_age_nsec, PvText **ret_text);
