/* What serves: everything between /dev/fuse and the machine. */
#pragma once

#include "procview/config.h"

#include "procview/sampler.h"
#include "procview/server.h"
#include "procview/shared.h"

/* In the order in which it is taken apart. */
typedef struct {
    PvServer *server;
    PvSampler *sampler;
    PvViews *views;
    PvContainers *containers;
    PvHierarchies *hierarchies;
    PvHost *host;
} PvService;

/*
 * Make everything ready.
 * config
 * options  what is not in the configuration
 * fuse_fd  owned by it from now on (also when this fails)
 */
gboolean pv_service_open(PvService *service, const PvConfig *config, const PvServerOptions *options,
                         int fuse_fd, GError **error);

/* Begin to serve, and to sample. */
gboolean pv_service_start(PvService *service, const PvConfig *config, gboolean is_safe,
                          GError **error);

/* Have the threads end. FALSE when one does not: then nothing can be freed. */
gboolean pv_service_stop(PvService *service);
void pv_service_clear(PvService *service);

/* Tell procview status how it goes, and that we live. To be called every PV_SERVICE_BEAT_MSEC. */
void pv_service_beat(const PvService *service, PvStatus *status);
#define PV_SERVICE_BEAT_MSEC 1000

/* Once a process: as many descriptors as the system lets us have. */
void pv_service_raise_file_limit(void);

/* ---- the processes ---- */

/* Mount and serve in this process. Returns the exit status. */
int pv_serve_standalone(const PvConfig *config);

/* A worker of a supervisor: PV_WORKER_*_FD are open. Returns the exit status. */
int pv_serve_as_worker(const PvConfig *config, gboolean is_safe);

/* Take the views of a mount out of all containers. `device`: "MAJOR:MINOR". */
int pv_detach_everywhere(const char *device);

/* The helper of a supervisor that attaches to containers as they come. Returns the exit status. */
int pv_attach_by_itself(const PvConfig *config);
