/*
 * The helper beside the worker that attaches to containers as they come. Nobody depends on it: when
 * it dies it is started again, each time a little later.
 */
#include "internal.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define PAUSE_MSEC     1000
#define PAUSE_MAX_MSEC 60000
#define CALM_MSEC      60000 /* it has lived for so long: the next pause is a short one */
#define END_WAIT_MSEC  5000

void pv_helper_start(Supervisor *self)
{
    int r;

    self->helper_at_msec = 0;
    if (!self->options->has_helper || self->helper.pid != 0 || self->is_stopping)
        return;
    self->helper_start_msec = pv_now_msec();
    r = pv_worker_spawn(self, PV_HELPER_ARGUMENT, &self->helper);
    if (r < 0) {
        say_warning("auto-attach: cannot start its process: %s", strerror(-r));
        self->helper_at_msec = pv_now_msec() + PAUSE_MAX_MSEC;
    }
}

void pv_helper_on_end(Supervisor *self)
{
    uint64_t now = pv_now_msec();
    uint64_t pause = self->helper_pause_msec * 2;

    waitpid(self->helper.pid, NULL, 0);
    pv_worker_clear(&self->helper);
    if (pause == 0 || now - self->helper_start_msec > CALM_MSEC)
        pause = PAUSE_MSEC;
    self->helper_pause_msec = pause > PAUSE_MAX_MSEC ? PAUSE_MAX_MSEC : pause;
    self->helper_at_msec = now + self->helper_pause_msec;
    say_warning("auto-attach: its process has ended; it is started again in %u s",
                (unsigned)(self->helper_pause_msec / 1000));
}

void pv_helper_stop(Supervisor *self)
{
    uint64_t until = pv_now_msec() + END_WAIT_MSEC;

    self->helper_at_msec = 0;
    if (self->helper.pid == 0)
        return;
    pv_worker_signal(&self->helper, SIGTERM);
    while (waitpid(self->helper.pid, NULL, WNOHANG) == 0) {
        if (pv_now_msec() > until) {
            pv_worker_drop(&self->helper);
            return;
        }
        poll(NULL, 0, 2);
    }
    pv_worker_clear(&self->helper);
}
