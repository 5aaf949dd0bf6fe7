/*
 * Who asks, and how this thread becomes that one for a system call.
 *
 * The caller waits in the kernel for our answer, and cannot go away before it: its number is its
 * own for as long as a request lasts.
 *
 * Only the effective user id is changed. The real and the saved one stay root's, so that nobody who
 * has the same id as a caller may send signals to this process or look into it.
 *
 * credentials(7), capabilities(7), user_namespaces(7); capable_wrt_inode_uidgid() in the kernel.
 */
#include "internal.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/log.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_BYTES_MAX (512 * 1024) /* 65536 groups are the most */
#define MAP_BYTES_MAX    16384        /* 340 lines are the most */
#define RANGES_MAX       340
#define GROUPS_MAX       65536

#define MASK(cap) (G_GUINT64_CONSTANT(1) << (cap))

/* Those that decide about inodes. In a user namespace they reach the inodes whose owner and group
 * have an id in it; all others are of no use outside of it. */
#define INODE_CAPS                                                                                 \
    (MASK(CAP_CHOWN) | MASK(CAP_DAC_OVERRIDE) | MASK(CAP_DAC_READ_SEARCH) | MASK(CAP_FOWNER) |     \
     MASK(CAP_FSETID))

/* ---- reading ---- */

static int read_whole(PvCgroupTree *tree, pid_t tid, const char *name, gsize max_bytes,
                      GString *out)
{
    char path[64];

    snprintf(path, sizeof path, "%d/%s", (int)tid, name);
    g_string_truncate(out, 0);
    return pv_read_all_at(tree->procfs, path, out, max_bytes);
}

static guint64 ns_ino(PvCgroupTree *tree, pid_t tid, const char *name)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof path, "%d/ns/%s", (int)tid, name);
    return fstatat(tree->procfs, path, &st, 0) == 0 ? st.st_ino : 0;
}

/* What follows "KEY:\t" at the beginning of a line. */
static const char *line_of(const char *text, const char *key)
{
    gsize length = strlen(key);

    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0 && line[length] == ':')
            return line + length + 1;
    }
    return NULL;
}

/* The second (effective) and fourth (file system) of a line of four ids. */
static gboolean parse_ids(const char *line, guint32 *ret_effective, guint32 *ret_fs)
{
    return line != NULL && sscanf(line, "%*u %u %*u %u", ret_effective, ret_fs) == 2;
}

static gboolean parse_groups(const char *line, PvTreeCreds *creds)
{
    g_autoptr(GArray) groups = g_array_new(FALSE, FALSE, sizeof(gid_t));

    if (line == NULL)
        return FALSE;
    while (*line != '\n' && *line != '\0') {
        char *end;
        gid_t group = (gid_t)g_ascii_strtoull(line, &end, 10);

        if (end == line) {
            line++;
            continue;
        }
        if (groups->len >= GROUPS_MAX)
            return FALSE;
        g_array_append_val(groups, group);
        line = end;
    }
    creds->n_groups = groups->len;
    creds->groups = (gid_t *)(gpointer)g_array_free(g_steal_pointer(&groups), FALSE);
    return TRUE;
}

static gboolean parse_status(const char *text, const PvCgroupRequest *request, PvTreeCreds *creds)
{
    const char *effective = line_of(text, "CapEff"), *permitted = line_of(text, "CapPrm");
    guint32 fsuid, fsgid;

    if (!parse_ids(line_of(text, "Uid"), &creds->euid, &fsuid) ||
        !parse_ids(line_of(text, "Gid"), &creds->egid, &fsgid) ||
        !parse_groups(line_of(text, "Groups"), creds) || effective == NULL || permitted == NULL)
        return FALSE;
    creds->fsuid = request->fsuid;
    creds->fsgid = request->fsgid;
    creds->caps = g_ascii_strtoull(effective, NULL, 16);
    /* access(2) asks for the real ids: no capabilities but root's. */
    if (request->fsuid != fsuid) {
        creds->euid = request->fsuid;
        creds->caps = request->fsuid == 0 ? g_ascii_strtoull(permitted, NULL, 16) : 0;
    }
    return TRUE;
}

static GArray *parse_ranges(const char *text)
{
    GArray *ranges = g_array_new(FALSE, FALSE, sizeof(PvTreeIdRange));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (guint i = 0; lines[i] != NULL && i < RANGES_MAX; i++) {
        PvTreeIdRange range;

        if (sscanf(lines[i], "%u %u %u", &range.inside, &range.outside, &range.n) == 3)
            g_array_append_val(ranges, range);
    }
    return ranges;
}

/* A caller of another user namespace keeps no capability in ours. */
static int load_user_namespace(PvCgroupTree *tree, PvTreeCaller *caller, GString *buffer)
{
    guint64 userns = ns_ino(tree, caller->tid, "user");
    int r;

    if (userns == 0)
        return -ESRCH;
    caller->raw_caps = caller->creds.caps;
    caller->is_foreign = userns != tree->own_userns;
    if (!caller->is_foreign)
        return 0;
    caller->foreign_caps = caller->creds.caps & INODE_CAPS;
    caller->creds.caps = 0;
    r = read_whole(tree, caller->tid, "uid_map", MAP_BYTES_MAX, buffer);
    if (r < 0)
        return r;
    caller->uid_ranges = parse_ranges(buffer->str);
    r = read_whole(tree, caller->tid, "gid_map", MAP_BYTES_MAX, buffer);
    if (r < 0)
        return r;
    caller->gid_ranges = parse_ranges(buffer->str);
    return 0;
}

static int load(PvCgroupTree *tree, const PvCgroupRequest *request, PvTreeCaller *caller)
{
    g_autoptr(GString) buffer = g_string_new(NULL);
    int r;

    caller->tid = request->tid;
    if (request->tid <= 0)
        return -EACCES;
    caller->container = pv_containers_find(tree->containers, request->tid, NULL);
    if (caller->container == NULL)
        return -EACCES;
    caller->pidns = ns_ino(tree, request->tid, "pid");
    r = read_whole(tree, request->tid, "cgroup", PV_CONTROL_FILE_MAX * 4, buffer);
    if (r < 0 || caller->pidns == 0)
        return r < 0 ? r : -ESRCH;
    caller->own_text = g_strdup(buffer->str);
    caller->root_text = pv_container_root_text(caller->container, &caller->init_start_ticks);
    r = read_whole(tree, request->tid, "status", STATUS_BYTES_MAX, buffer);
    if (r < 0)
        return r;
    if (!parse_status(buffer->str, request, &caller->creds))
        return -EIO;
    r = load_user_namespace(tree, caller, buffer);
    caller->is_operator = r == 0 && !caller->is_foreign && caller->creds.fsuid == 0 &&
                          caller->pidns == tree->own_pidns &&
                          (caller->creds.caps & MASK(CAP_SYS_ADMIN)) != 0;
    return r;
}

int pv_tree_caller_load(PvCgroupTree *tree, const PvCgroupRequest *request,
                        PvTreeCaller *ret_caller)
{
    int r = load(tree, request, ret_caller);

    if (r < 0)
        pv_log_debug("cgroup tree: caller %d: %s", (int)request->tid, g_strerror(-r));
    return r == -ENOENT || r == -ESRCH ? -EACCES : r;
}

void pv_tree_caller_clear(PvTreeCaller *caller)
{
    g_clear_pointer(&caller->container, pv_container_unref);
    g_clear_pointer(&caller->own_text, g_free);
    g_clear_pointer(&caller->root_text, g_free);
    g_clear_pointer(&caller->creds.groups, g_free);
    g_clear_pointer(&caller->uid_ranges, g_array_unref);
    g_clear_pointer(&caller->gid_ranges, g_array_unref);
}

/* ---- what it may ---- */

static gboolean is_mapped(const GArray *ranges, guint32 id)
{
    for (guint i = 0; ranges != NULL && i < ranges->len; i++) {
        const PvTreeIdRange *range = &g_array_index(ranges, PvTreeIdRange, i);

        if (id >= range->outside && id - range->outside < range->n)
            return TRUE;
    }
    return FALSE;
}

gboolean pv_tree_caller_maps(const PvTreeCaller *caller, const struct stat *st)
{
    return is_mapped(caller->uid_ranges, st->st_uid) && is_mapped(caller->gid_ranges, st->st_gid);
}

PvTreeCreds pv_tree_creds_over(const PvTreeCaller *caller, const struct stat *st)
{
    PvTreeCreds creds = caller->creds;

    if (caller->is_foreign && pv_tree_caller_maps(caller, st))
        creds.caps = caller->foreign_caps;
    return creds;
}

/* ---- becoming the caller ---- */

/* A thread that is neither the caller nor itself must not go on. */
static void must(int r, const char *what)
{
    if (r >= 0)
        return;
    pv_log_error("cgroup tree: %s: %s", what, g_strerror(-r));
    abort();
}

void pv_tree_assume(const PvTreeCreds *creds)
{
    guint64 effective, permitted;

    must(pv_sys_get_caps(&effective, &permitted), "capget");
    must(pv_sys_set_groups(creds->groups, creds->n_groups), "setgroups");
    must(pv_sys_set_egid(creds->egid), "setresgid");
    must(pv_sys_set_fsgid(creds->fsgid), "setfsgid");
    must(pv_sys_set_euid(creds->euid), "setresuid");
    must(pv_sys_set_fsuid(creds->fsuid), "setfsuid");
    must(pv_sys_set_caps(creds->caps & permitted, permitted), "capset");
}

void pv_tree_resume(const PvCgroupTree *tree)
{
    int saved_errno = errno;

    must(pv_sys_set_caps(tree->permitted, tree->permitted), "capset");
    must(pv_sys_set_euid(0), "setresuid");
    must(pv_sys_set_egid(0), "setresgid");
    must(pv_sys_set_groups(NULL, 0), "setgroups");
    errno = saved_errno;
}
