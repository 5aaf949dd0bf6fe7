/*
 * When to look again at something that nobody tells about: after growing pauses, and not for ever.
 */
#pragma once

#include <glib.h>

#define PV_PATIENCE_FIRST_MSEC 4
#define PV_PATIENCE_LAST_MSEC  8000
#define PV_PATIENCE_USEC       (60 * G_USEC_PER_SEC)

typedef struct {
    guint pause_msec;  /* the next */
    gint64 until_usec; /* of the monotonic clock */
} PvPatience;

/* Something has happened: it is looked at now, soon again, and for PV_PATIENCE_USEC. */
static inline void pv_patience_begin(PvPatience *patience, gint64 now_usec)
{
    *patience = (PvPatience){PV_PATIENCE_FIRST_MSEC, now_usec + PV_PATIENCE_USEC};
}

/* Something has come nearer: it is looked at soon again, but for no longer than before. */
static inline void pv_patience_hurry(PvPatience *patience)
{
    patience->pause_msec = PV_PATIENCE_FIRST_MSEC;
}

/* The milliseconds until the next look; 0 when there is to be none. Pauses are doubled: what takes
 * a while is seen before it has taken twice as long. */
static inline guint pv_patience_next(PvPatience *patience, gint64 now_usec)
{
    guint pause = patience->pause_msec;

    if (now_usec >= patience->until_usec)
        return 0;
    patience->pause_msec = MIN(pause * 2, (guint)PV_PATIENCE_LAST_MSEC);
    return pause;
}
