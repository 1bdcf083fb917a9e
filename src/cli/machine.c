/* The machine: whether it has what networks and VMs need, and what to do where it has not. */
#include "cli/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"

#define QEMU "qemu-system-x86_64" /* as vmhost starts it */

/* What a child found out in namespaces of its own; each 0 or an errno. */
struct probe {
        int user_namespace;
        int network_namespace;
        int nftables;
};

static void set(struct machine_check *check, const char *name, enum machine_result result, const char *text,
                const char *advice) {
        *check = (struct machine_check){ .name = name, .result = result };
        snprintf(check->text, sizeof(check->text), "%s", text);
        snprintf(check->advice, sizeof(check->advice), "%s", result == MACHINE_OK ? "" : advice);
}

const char *machine_result_text(enum machine_result result) {
        switch (result) {
        case MACHINE_OK:
                return "ok";
        case MACHINE_SLOW:
                return "slow";
        default:
                return "missing";
        }
}

/* Opens and closes: 0 or an errno. */
static int try_open(const char *path) {
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

        if (fd < 0)
                return errno;
        fd_close(fd);
        return 0;
}

/* Asks nf_tables for its generation, the least of its requests; it takes CAP_NET_ADMIN. 0 or an errno. */
static int try_nftables(void) {
        struct {
                struct nlmsghdr header;
                struct nfgenmsg message;
        } request = {
                .header = { .nlmsg_len = sizeof(request),
                            .nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN,
                            .nlmsg_flags = NLM_F_REQUEST },
                .message = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 },
        };
        union {
                struct nlmsghdr header;
                char bytes[4096];
        } reply;
        _cleanup_fd_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
        ssize_t n;

        if (fd < 0 || send(fd, &request, sizeof(request), 0) < 0)
                return errno;
        n = recv(fd, &reply, sizeof(reply), 0);
        if (n < 0)
                return errno;
        if (reply.header.nlmsg_type == NLMSG_ERROR && (size_t)n >= NLMSG_LENGTH(sizeof(struct nlmsgerr)))
                return -((const struct nlmsgerr *)NLMSG_DATA(&reply.header))->error;
        return 0;
}

/*
 * Does in a child what a network's process does first. The user namespace comes in a step of its own: where
 * AppArmor restricts them, making one succeeds, and it is the next step that is refused.
 */
static void probe_run(bool system, struct probe *probe) {
        if (!system && unshare(CLONE_NEWUSER) < 0) {
                probe->user_namespace = errno;
                return;
        }
        if (unshare(CLONE_NEWNET) < 0) {
                probe->network_namespace = errno;
                return;
        }
        probe->nftables = try_nftables();
}

static void probe_namespaces(bool system, struct probe *ret) {
        struct probe probe = { EIO, EIO, EIO };
        int fds[2];
        pid_t pid;

        *ret = probe;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return;
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
                probe = (struct probe){ 0 };
                probe_run(system, &probe);
                _exit(write(fds[1], &probe, sizeof(probe)) == sizeof(probe) ? 0 : 1);
        }
        fd_close(fds[1]);
        if (pid > 0 && read(fds[0], &probe, sizeof(probe)) == sizeof(probe))
                *ret = probe;
        fd_close(fds[0]);
        if (pid > 0)
                waitpid(pid, NULL, 0);
}

/* Whether a sysctl is there and has this value. */
static bool sysctl_is(const char *path, char value) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        return file_read(path, 64, &text, &size, NULL) == 0 && text[0] == value &&
               (text[1] == '\n' || !text[1]);
}

static void check_tun(struct machine_check *check) {
        int r = try_open("/dev/net/tun");

        if (r == 0)
                set(check, "/dev/net/tun", MACHINE_OK, "can be opened", "");
        else if (r == EACCES || r == EPERM)
                set(check, "/dev/net/tun", MACHINE_MISSING, "may not be opened",
                    "let users open it, as most distributions do: chmod 0666 /dev/net/tun (as root)");
        else
                set(check, "/dev/net/tun", MACHINE_MISSING, strerror(r),
                    "load the module: modprobe tun (as root)");
}

static void check_namespaces(struct machine_check *check, bool system, const struct probe *probe) {
        const char *name = system ? "namespaces" : "user namespaces";
        int r = probe->user_namespace ? probe->user_namespace : probe->network_namespace;

        if (r == 0)
                set(check, name, MACHINE_OK, "can be made", "");
        else if (system)
                set(check, name, MACHINE_MISSING, strerror(r),
                    "the system's networks need root with CAP_SYS_ADMIN, and a kernel with network "
                    "namespaces");
        else if (sysctl_is("/proc/sys/user/max_user_namespaces", '0'))
                set(check, name, MACHINE_MISSING, "switched off: user.max_user_namespaces is 0",
                    "sysctl user.max_user_namespaces=10000 (as root)");
        else if (sysctl_is("/proc/sys/kernel/unprivileged_userns_clone", '0'))
                set(check, name, MACHINE_MISSING, "switched off: kernel.unprivileged_userns_clone is 0",
                    "sysctl kernel.unprivileged_userns_clone=1 (as root)");
        else if (sysctl_is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1'))
                set(check, name, MACHINE_MISSING, "restricted by AppArmor",
                    "install Berth's AppArmor profile (see berthd(8)), or sysctl "
                    "kernel.apparmor_restrict_unprivileged_userns=0 (as root)");
        else
                set(check, name, MACHINE_MISSING, strerror(r),
                    "a container or a security policy forbids them: allow unshare(2) with CLONE_NEWUSER");
}

static void check_nftables(struct machine_check *check, const struct probe *probe) {
        if (probe->user_namespace || probe->network_namespace)
                set(check, "nftables", MACHINE_MISSING, "not tried without namespaces", "see the line above");
        else if (probe->nftables)
                set(check, "nftables", MACHINE_MISSING, strerror(probe->nftables),
                    "load the module: modprobe nf_tables (as root), or use a kernel that has it");
        else
                set(check, "nftables", MACHINE_OK, "the kernel has it", "");
}

static void check_program(struct machine_check *check, const char *name, const char *advice) {
        _cleanup_free_ char *path = process_find_program(name, NULL);

        set(check, name, path ? MACHINE_OK : MACHINE_MISSING, path ? path : "not found", advice);
}

/* A /dev/kvm without the processor's help exists on some nested hosts and hangs guests: look at both. */
static void check_kvm(struct machine_check *check) {
        bool able = true;
        int r;

#if defined(__x86_64__) || defined(__i386__)
        _cleanup_free_ char *cpus = NULL;
        size_t size;

        if (file_read("/proc/cpuinfo", 16 * 1024 * 1024, &cpus, &size, NULL) == 0)
                able = strstr(cpus, " vmx") || strstr(cpus, " svm");
#endif
        r = try_open("/dev/kvm");
        if (!able)
                set(check, "KVM", MACHINE_SLOW, "the processor offers no virtualization: VMs are emulated",
                    "switch it on in the firmware, or let the hypervisor below nest");
        else if (r == 0)
                set(check, "KVM", MACHINE_OK, "can be used", "");
        else if (r == EACCES)
                set(check, "KVM", MACHINE_SLOW, "/dev/kvm may not be opened: VMs are emulated",
                    "add the user to the group of /dev/kvm, usually kvm");
        else
                set(check, "KVM", MACHINE_SLOW, "no /dev/kvm: VMs are emulated",
                    "modprobe kvm_intel or kvm_amd");
}

static void check_vhost(struct machine_check *check) {
        int r = try_open("/dev/vhost-net");

        if (r == 0)
                set(check, "vhost-net", MACHINE_OK, "can be used", "");
        else if (r == EACCES)
                set(check, "vhost-net", MACHINE_SLOW,
                    "/dev/vhost-net may not be opened: QEMU moves packets itself",
                    "add the user to the group of /dev/vhost-net, usually kvm");
        else
                set(check, "vhost-net", MACHINE_SLOW, "no /dev/vhost-net: QEMU moves packets itself",
                    "load the module: modprobe vhost_net (as root)");
}

unsigned machine_look(bool system, struct machine_check ret[static MACHINE_CHECKS_MAX]) {
        struct probe probe;
        unsigned n = 0;

        probe_namespaces(system, &probe);
        check_tun(&ret[n++]);
        check_namespaces(&ret[n++], system, &probe);
        check_nftables(&ret[n++], &probe);
        check_program(&ret[n++], "dnsmasq", "install it (Debian: dnsmasq-base)");
        if (!system)
                check_program(&ret[n++], "pasta", "install it (Debian: passt)");
        check_program(&ret[n++], QEMU, "for berth vm, install it (Debian: qemu-system-x86)");
        check_program(&ret[n++], "qemu-img", "for berth vm create, install it (Debian: qemu-utils)");
        check_program(&ret[n++], "ssh", "for berth vm ssh and exec, install it (Debian: openssh-client)");
        check_kvm(&ret[n++]);
        check_vhost(&ret[n++]);
        return n;
}
