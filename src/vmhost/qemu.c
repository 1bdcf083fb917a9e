#include "vmhost/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/arguments.h"
#include "vmhost/confine.h"
#include "vmhost/host.h"
#include "vmhost/qemu-confine.h"
#include "vmhost/scope.h"
#include "vmhost/seed.h"
#include "vmhost/spawn.h"
#include "vmhost/virtiofs.h"

#define VHOST_PATH "/dev/vhost-net"
#define VHOSTS_MAX (CONFIGURATION_NETWORKS_MAX * CONFIGURATION_QUEUES_MAX)
#define CHANNELS 3 /* the sockets that QEMU listens at */

/* All that is made for a QEMU before it starts; what it inherits is closed on our side behind that. */
struct preparation {
        const struct configuration *c;
        const char *directory, *name;
        struct host host;
        int log, ruleset;
        int channels[CHANNELS]; /* as channel_names */
        const struct session_interface *interfaces[CONFIGURATION_NETWORKS_MAX];
        size_t n_interfaces;
        int vhosts[VHOSTS_MAX];
        size_t n_vhosts;
        int shares[CONFIGURATION_SHARES_MAX]; /* of virtiofs; -1 for 9p */
        qemu_commit_fn commit;
        void *data; /* of commit */
};

static const char *const channel_names[CHANNELS] = { QEMU_QMP_SOCKET, QEMU_CONSOLE_SOCKET,
                                                     QEMU_AGENT_SOCKET };

static void preparation_deinit(struct preparation *p) {
        fd_close(p->log);
        fd_close(p->ruleset);
        for (size_t i = 0; i < CHANNELS; i++)
                fd_close(p->channels[i]);
        for (size_t i = 0; i < p->n_vhosts; i++)
                fd_close(p->vhosts[i]);
        for (size_t i = 0; i < ARRAY_SIZE(p->shares); i++)
                fd_close(p->shares[i]);
        host_deinit(&p->host);
}

/* An empty file in the VM's directory, for what a program says: its file descriptor or -errno. */
static int open_log(const struct preparation *p, const char *name, struct error *error) {
        _cleanup_free_ char *path = text_format("%s/%s", p->directory, name);

        if (!path)
                return error_set(error, -ENOMEM, "out of memory");
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd < 0 ? error_errno(error, -errno, "cannot open %s", path) : fd;
}

/* Sockets of a QEMU that has ended are in the way, and nobody else's: the caller holds the VM's lock. */
static int open_channels(struct preparation *p, struct error *error) {
        for (size_t i = 0; i < CHANNELS; i++) {
                _cleanup_free_ char *path = text_format("%s/%s", p->directory, channel_names[i]);

                if (!path)
                        return error_set(error, -ENOMEM, "out of memory");
                unlink(path);
                p->channels[i] = fd_listen_unix(path, 0600);
                if (p->channels[i] < 0)
                        return error_errno(error, p->channels[i], "cannot listen at %s", path);
        }
        return 0;
}

/* One for each queue of each interface, as far as the machine has vhost at all. */
static int open_vhosts(struct preparation *p, struct error *error) {
        for (size_t i = 0; i < p->n_interfaces && p->host.vhost; i++)
                for (unsigned queue = 0; queue < p->interfaces[i]->queues; queue++) {
                        int fd = open(VHOST_PATH, O_RDWR | O_CLOEXEC);

                        if (fd < 0)
                                return error_errno(error, -errno, "cannot open " VHOST_PATH);
                        p->vhosts[p->n_vhosts++] = fd;
                }
        return 0;
}

static int start_virtiofs(struct preparation *p, struct error *error) {
        for (size_t i = 0; i < p->c->n_shares; i++) {
                const struct configuration_share *share = &p->c->shares[i];

                if (share->type != SHARE_VIRTIOFS)
                        continue;
                if (!p->host.virtiofsd)
                        return error_set(error, -ENOENT,
                                         "the share %s needs virtiofsd, which is not installed; \"9p\" works "
                                         "without it",
                                         share->tag);
                _cleanup_free_ char *name = text_format(VIRTIOFS_LOG, share->tag);
                _cleanup_fd_ int log = name ? open_log(p, name, error) : -ENOMEM;
                if (log < 0)
                        return log;
                p->shares[i] = virtiofs_start(p->host.virtiofsd, p->directory, share, log, error);
                if (p->shares[i] < 0)
                        return p->shares[i];
        }
        return 0;
}

static int make_seed(const struct preparation *p, struct error *error) {
        const char *macs[CONFIGURATION_NETWORKS_MAX];
        _cleanup_free_ char *path = text_format("%s/" QEMU_SEED, p->directory);

        if (!path)
                return error_set(error, -ENOMEM, "out of memory");
        if (!seed_is_wanted(p->c))
                return unlink(path) < 0 && errno != ENOENT ? error_errno(error, -errno, "%s", path) : 0;
        for (size_t i = 0; i < p->n_interfaces; i++)
                macs[i] = p->interfaces[i]->mac;
        return seed_write(p->c, p->name, macs, p->n_interfaces, path, error);
}

/* A kernel without Landlock is no reason not to run: what is missing is said instead. */
static int prepare_confinement(struct preparation *p, struct error *error) {
        struct error reason = ERROR_INIT;

        if (!p->c->confine)
                return 0;
        if (!p->host.seccomp)
                log_warning("QEMU runs without its seccomp filter: it was built without");
        p->ruleset = qemu_confine(p->c, &p->host, p->directory, &reason);
        if (p->ruleset == -EOPNOTSUPP) {
                log_warning("QEMU can open any file that we can: %s", reason.text);
                return 0;
        }
        return p->ruleset < 0 ? error_set(error, p->ruleset, "%s", error_text(&reason, p->ruleset)) : 0;
}

static int prepare(struct preparation *p, struct error *error) {
        int r = host_look(&p->host, error);

        if (r == 0)
                r = p->log = open_log(p, QEMU_LOG, error);
        if (r >= 0)
                r = make_seed(p, error);
        if (r == 0)
                r = open_channels(p, error);
        if (r == 0)
                r = open_vhosts(p, error);
        if (r == 0)
                r = prepare_confinement(p, error);
        if (r == 0)
                r = start_virtiofs(p, error);
        return r;
}

static bool is_block_device(const char *path) {
        struct stat status;

        return path && stat(path, &status) == 0 && S_ISBLK(status.st_mode);
}

static int place(pid_t pid, void *data, struct error *error) {
        const struct preparation *p = data;
        int r = scope_is_wanted(p->c) ? scope_enter(pid, p->c, p->name, error) : 0;

        if (r == 0 && p->commit && !p->commit(p->data))
                return error_set(error, -ECANCELED, "QEMU is not wanted any more");
        return r;
}

static int start(struct preparation *p, const struct session *session, pid_t *ret_pid, struct error *error) {
        const char *accelerator = qemu_accelerator(p->c, error);
        const struct arguments_context context = {
                .name = p->name,
                .directory = p->directory,
                .host = &p->host,
                .kvm = text_equal(accelerator, "kvm"),
                .disk_is_device = is_block_device(p->c->disk),
                .confined = p->c->confine && p->host.seccomp,
                .seed = seed_is_wanted(p->c),
                .qmp = p->channels[0],
                .console = p->channels[1],
                .agent = p->channels[2],
                .interfaces = p->interfaces,
                .n_interfaces = p->n_interfaces,
                .vhosts = p->n_vhosts > 0 ? p->vhosts : NULL,
                .shares = p->shares,
        };
        _cleanup_(arguments_freep) char **arguments = NULL;
        _cleanup_free_ int *fds = NULL;
        size_t n = 0;

        if (!accelerator)
                return -ENODEV;
        int r = arguments_compose(&arguments, p->c, &context);
        if (r == 0 && session)
                r = session_fds(session, &fds, &n);
        int *all = r == 0 ? reallocarray(fds, n + CHANNELS + VHOSTS_MAX + CONFIGURATION_SHARES_MAX,
                                         sizeof(*all))
                          : NULL;
        if (!all)
                return error_set(error, -ENOMEM, "out of memory");
        fds = all;
        for (size_t i = 0; i < CHANNELS; i++)
                fds[n++] = p->channels[i];
        for (size_t i = 0; i < p->n_vhosts; i++)
                fds[n++] = p->vhosts[i];
        for (size_t i = 0; i < p->c->n_shares; i++)
                if (p->shares[i] >= 0)
                        fds[n++] = p->shares[i];

        const struct spawn spawn = { .arguments = arguments,
                                     .fds = fds,
                                     .n_fds = n,
                                     .log = p->log,
                                     .confined = p->c->confine,
                                     .ruleset = p->ruleset,
                                     .place = place,
                                     .data = p };
        return spawn_run(&spawn, ret_pid, error);
}

int qemu_spawn(const struct configuration *configuration, const struct session *session,
               const char *directory, const char *name, qemu_commit_fn commit, void *data, pid_t *ret_pid,
               struct error *error) {
        _cleanup_(preparation_deinit) struct preparation p = { .c = configuration,
                                                               .directory = directory,
                                                               .name = name,
                                                               .log = -1,
                                                               .ruleset = -1,
                                                               .commit = commit,
                                                               .data = data };
        pid_t pid = 0;

        for (size_t i = 0; i < CHANNELS; i++)
                p.channels[i] = -1;
        for (size_t i = 0; i < ARRAY_SIZE(p.shares); i++)
                p.shares[i] = -1;
        p.n_interfaces = session ? session_n_interfaces(session) : 0;
        for (size_t i = 0; i < p.n_interfaces; i++)
                p.interfaces[i] = session_get_interface(session, i);

        int r = prepare(&p, error);
        if (r == 0)
                r = start(&p, session, &pid, error);
        if (r < 0)
                return r;
        int pidfd = process_open(pid);
        if (pidfd < 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                return error_errno(error, pidfd, "cannot hold on to QEMU");
        }
        *ret_pid = pid;
        return pidfd;
}

/* What these words of QEMU's come to in the configuration, or NULL. */
static const char *translate(const char *words) {
        static const char *const known[][2] = {
                { "phys-bits too low", "\"memory_mib\" is more than the VM's processor can address" },
                { "cannot set up guest memory", "\"memory_mib\" is more than this host gives" },
                { "another process using the image", "another program writes to a disk, or to the image below it" },
                { "invalid kernel header", "\"kernel\" is no kernel of Linux for this processor" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (strstr(words, known[i][0]))
                        return known[i][1];
        return NULL;
}

void qemu_last_words(const char *directory, char *buffer, size_t size) {
        _cleanup_free_ char *path = text_format("%s/" QEMU_LOG, directory);
        _cleanup_fd_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

        *buffer = '\0';
        if (fd >= 0)
                file_last_line(fd, buffer, size);
        const char *meaning = translate(buffer);
        _cleanup_free_ char *whole = meaning ? text_format("%s (%s)", meaning, buffer) : NULL;
        if (whole) {
                snprintf(buffer, size, "%s", whole);
                text_make_utf8(buffer);
        }
}

void qemu_describe_confinement(const struct configuration *configuration, char *buffer, size_t size) {
        struct host host;
        int abi = confine_abi();

        if (!configuration->confine) {
                snprintf(buffer, size, "none: switched off by \"confine\": false");
                return;
        }
        bool seccomp = false;
        if (host_look(&host, NULL) == 0) {
                seccomp = host.seccomp;
                host_deinit(&host);
        }
        if (abi > 0)
                snprintf(buffer, size, "no new privileges, %s, Landlock (version %d)",
                         seccomp ? "seccomp" : "no seccomp (QEMU was built without)", abi);
        else
                snprintf(buffer, size, "no new privileges, %s, no Landlock (not in this kernel)",
                         seccomp ? "seccomp" : "no seccomp (QEMU was built without)");
}

const char *qemu_accelerator(const struct configuration *configuration, struct error *error) {
        const char *why;

        if (configuration->accelerator == ACCELERATOR_TCG)
                return "tcg";
        if (host_has_kvm(&why))
                return "kvm";
        if (configuration->accelerator == ACCELERATOR_AUTO)
                return "tcg";
        error_set(error, -ENODEV, "the configuration demands KVM, and %s", why);
        return NULL;
}
