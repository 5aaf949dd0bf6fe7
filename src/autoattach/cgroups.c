/* Watching cgroups, see cgroups.h. Whoever may make cgroups can make many: all is bounded. */
#include "cgroups.h"

#include "procview/error.h"
#include "procview/fd.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#define NODES_MAX       32768 /* cgroups that are watched */
#define NODES_BELOW_MAX 256   /* of those below a container's */
#define DEPTH_MAX       24
#define EVENTS_BYTES    65536

typedef struct {
    char *path; /* "/docker/3f5a…" */
    int wd, events_wd;
    guint answer; /* of the rules */
    gboolean is_taken;
    guint n_below;          /* nodes that are counted against it */
    GRefString *counted_by; /* the path of the node that this one is counted against, or NULL */
} Node;

struct PvCgroupWatch {
    char *mount_point;
    const PvRules *rules;
    PvCgroupWatchFuncs funcs;
    int fd;
    GHashTable *by_path; /* path -> Node */
    GHashTable *by_wd;   /* of both kinds -> Node, not owned */
    gboolean said_many, said_limit;
};

static void node_free(Node *node)
{
    g_free(node->path);
    if (node->counted_by != NULL)
        g_ref_string_release(node->counted_by);
    g_free(node);
}

void pv_cgroup_watch_free(PvCgroupWatch *watch)
{
    if (watch == NULL)
        return;
    g_hash_table_unref(watch->by_wd);
    g_hash_table_unref(watch->by_path);
    pv_clear_fd(&watch->fd);
    g_free(watch->mount_point);
    g_free(watch);
}

PvCgroupWatch *pv_cgroup_watch_new(const char *mount_point, const PvRules *rules,
                                   const PvCgroupWatchFuncs *funcs, GError **error)
{
    g_autoptr(PvCgroupWatch) watch = g_new0(PvCgroupWatch, 1);

    watch->mount_point = g_strdup(mount_point);
    watch->rules = rules;
    watch->funcs = *funcs;
    watch->by_path =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)node_free);
    watch->by_wd = g_hash_table_new(g_direct_hash, g_direct_equal);
    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->fd < 0) {
        pv_error_set_errno(error, errno, "inotify (see fs.inotify.max_user_instances)");
        return NULL;
    }
    return g_steal_pointer(&watch);
}

int pv_cgroup_watch_fd(const PvCgroupWatch *watch)
{
    return watch->fd;
}

void pv_cgroup_watch_set_taken(PvCgroupWatch *watch, const char *path, gboolean is_taken)
{
    Node *node = g_hash_table_lookup(watch->by_path, path);

    if (node != NULL)
        node->is_taken = is_taken;
}

/* ---- bounds ---- */

static void say_many(PvCgroupWatch *watch)
{
    if (!watch->said_many)
        watch->funcs.trouble("there are more cgroups than can be watched: containers in the others "
                             "get no views; use rules that fit fewer cgroups",
                             watch->funcs.data);
    watch->said_many = TRUE;
}

static void say_limit(PvCgroupWatch *watch)
{
    if (!watch->said_limit)
        watch->funcs.trouble("the limit fs.inotify.max_user_watches is reached: containers in "
                             "cgroups that are made from now on get no views; raise it with sysctl",
                             watch->funcs.data);
    watch->said_limit = TRUE;
}

/* The outermost cgroup above `path` that a container is in. */
static Node *find_owner(const PvCgroupWatch *watch, const char *path)
{
    g_autofree char *above = g_strdup(path);
    Node *owner = NULL;
    char *slash;

    while ((slash = strrchr(above, '/')) != NULL && slash != above) {
        *slash = '\0';
        Node *node = g_hash_table_lookup(watch->by_path, above);
        if (node != NULL && node->is_taken)
            owner = node;
    }
    return owner;
}

static gboolean may_add(PvCgroupWatch *watch, const char *path, const Node *owner)
{
    guint depth = 0;

    for (const char *p = path; *p != '\0'; p++)
        depth += *p == '/';
    if (depth > DEPTH_MAX || (owner != NULL && owner->n_below >= NODES_BELOW_MAX))
        return FALSE;
    if (g_hash_table_size(watch->by_path) < NODES_MAX)
        return TRUE;
    say_many(watch);
    return FALSE;
}

/* ---- nodes ---- */

static void forget_wd(PvCgroupWatch *watch, int *wd)
{
    if (*wd < 0)
        return;
    g_hash_table_remove(watch->by_wd, GINT_TO_POINTER(*wd));
    inotify_rm_watch(watch->fd, *wd); /* of a cgroup that is gone it is gone, too */
    *wd = -1;
}

static void remove_node(PvCgroupWatch *watch, Node *node)
{
    g_autofree char *path = g_strdup(node->path);
    gboolean fits = (node->answer & (PV_RULES_FITS | PV_RULES_FITS_SELF)) != 0;
    Node *owner =
        node->counted_by != NULL ? g_hash_table_lookup(watch->by_path, node->counted_by) : NULL;

    if (owner != NULL && owner->n_below > 0)
        owner->n_below--;
    forget_wd(watch, &node->wd);
    forget_wd(watch, &node->events_wd);
    g_hash_table_remove(watch->by_path, node->path);
    if (fits)
        watch->funcs.gone(path, watch->funcs.data);
}

/* Returns the watch, or a negative errno. */
static int add_wd(PvCgroupWatch *watch, const char *path, guint32 mask)
{
    int wd = inotify_add_watch(watch->fd, path, mask);

    if (wd < 0 && errno == ENOSPC)
        say_limit(watch);
    return wd < 0 ? -errno : wd;
}

static Node *add_node(PvCgroupWatch *watch, const char *path, guint answer)
{
    g_autofree char *directory = g_strconcat(watch->mount_point, path, NULL);
    g_autofree char *events = g_build_filename(directory, "cgroup.events", NULL);
    gboolean fits = (answer & (PV_RULES_FITS | PV_RULES_FITS_SELF)) != 0;
    Node *owner = find_owner(watch, path), *node;
    int wd;

    if (!may_add(watch, path, owner))
        return NULL;
    wd = add_wd(watch, directory,
                IN_ONLYDIR | IN_DONT_FOLLOW | IN_CREATE | IN_DELETE | (fits ? IN_MODIFY : 0u));
    if (wd < 0)
        return NULL;
    node = g_new0(Node, 1);
    node->path = g_strdup(path);
    node->wd = wd;
    node->answer = answer;
    node->events_wd = fits ? add_wd(watch, events, IN_MODIFY | IN_DONT_FOLLOW) : -1;
    if (owner != NULL) {
        owner->n_below++;
        node->counted_by = g_ref_string_new(owner->path);
    }
    g_hash_table_insert(watch->by_path, node->path, node);
    g_hash_table_insert(watch->by_wd, GINT_TO_POINTER(wd), node);
    if (node->events_wd >= 0)
        g_hash_table_insert(watch->by_wd, GINT_TO_POINTER(node->events_wd), node);
    return node;
}

/* TRUE when the cgroup of a node is the one of that path still. */
static gboolean is_same(const PvCgroupWatch *watch, const Node *node)
{
    g_autofree char *directory = g_strconcat(watch->mount_point, node->path, NULL);
    int wd = inotify_add_watch(watch->fd, directory,
                               IN_ONLYDIR | IN_DONT_FOLLOW | IN_MASK_ADD | IN_CREATE);

    if (wd >= 0 && wd != node->wd)
        inotify_rm_watch(watch->fd, wd);
    return wd == node->wd;
}

static void scan(PvCgroupWatch *watch, const char *path);

static void scan_below(PvCgroupWatch *watch, const char *path)
{
    g_autofree char *directory = g_strconcat(watch->mount_point, path, NULL);
    DIR *dir = opendir(directory);

    if (dir == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0)
            continue;
        g_autofree char *child = g_strconcat(path[1] != '\0' ? path : "", "/", entry->d_name, NULL);
        scan(watch, child);
    }
    closedir(dir);
}

/* Watch a cgroup that may be new, and those below it, as many as may be made meanwhile: the watch
 * comes first. */
static void scan(PvCgroupWatch *watch, const char *path)
{
    guint answer = pv_rules_ask(watch->rules, path);
    Node *node = g_hash_table_lookup(watch->by_path, path);

    if (answer == PV_RULES_NONE)
        return;
    if (node != NULL && !is_same(watch, node)) {
        remove_node(watch, node);
        node = NULL;
    }
    if (node == NULL)
        node = add_node(watch, path, answer);
    if (node == NULL)
        return;
    if (answer & (PV_RULES_FITS | PV_RULES_FITS_SELF))
        watch->funcs.changed(path, answer, watch->funcs.data);
    if (answer & PV_RULES_BELOW)
        scan_below(watch, path);
}

void pv_cgroup_watch_scan(PvCgroupWatch *watch)
{
    g_autoptr(GList) nodes = g_hash_table_get_values(watch->by_path);

    for (GList *i = nodes; i != NULL; i = i->next) {
        if (!is_same(watch, i->data))
            remove_node(watch, i->data);
    }
    scan(watch, "/");
}

/* ---- events ---- */

static void on_child(PvCgroupWatch *watch, const Node *node, const struct inotify_event *event)
{
    g_autofree char *path =
        g_strconcat(node->path[1] != '\0' ? node->path : "", "/", event->name, NULL);
    Node *child = g_hash_table_lookup(watch->by_path, path);

    if (event->mask & IN_DELETE) {
        /* It may have been made anew since. */
        if (child != NULL && !is_same(watch, child))
            remove_node(watch, child);
    } else if (event->mask & IN_CREATE) {
        scan(watch, path);
    }
}

static void on_event(PvCgroupWatch *watch, const struct inotify_event *event)
{
    Node *node = g_hash_table_lookup(watch->by_wd, GINT_TO_POINTER(event->wd));

    if (event->mask & IN_Q_OVERFLOW) {
        pv_cgroup_watch_scan(watch);
        return;
    }
    if (node == NULL)
        return;
    if ((event->mask & IN_ISDIR) && event->len > 0)
        on_child(watch, node, event);
    else if ((event->mask & IN_MODIFY) &&
             (event->wd == node->events_wd ||
              (event->len > 0 &&
               (strcmp(event->name, "cgroup.procs") == 0 || strcmp(event->name, "tasks") == 0))))
        watch->funcs.changed(node->path, node->answer, watch->funcs.data);
}

void pv_cgroup_watch_dispatch(PvCgroupWatch *watch)
{
    _Alignas(struct inotify_event) char buf[EVENTS_BYTES];
    ssize_t n = read(watch->fd, buf, sizeof buf);

    /* One buffer a call: other things must have their turn. */
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *event = (const struct inotify_event *)(buf + at);
        on_event(watch, event);
        at += (ssize_t)(sizeof *event + event->len);
    }
}
