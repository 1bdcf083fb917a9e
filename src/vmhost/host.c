#include "vmhost/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/linkage.h"

#define QEMU "qemu-system-x86_64"
#define CPUINFO_MAX (16 * 1024 * 1024)

static bool opens(const char *path) {
        _cleanup_fd_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

        return fd >= 0;
}

bool host_has_kvm(const char **ret_why) {
#if defined(__x86_64__) || defined(__i386__)
        _cleanup_free_ char *cpus = NULL;
        size_t size;

        if (file_read("/proc/cpuinfo", CPUINFO_MAX, &cpus, &size, NULL) == 0 && !strstr(cpus, " vmx") &&
            !strstr(cpus, " svm")) {
                *ret_why = "the processor offers no virtualization";
                return false;
        }
#endif
        if (!opens("/dev/kvm")) {
                *ret_why = errno == EACCES ? "/dev/kvm may not be opened (the group kvm may, usually)"
                                           : "there is no /dev/kvm";
                return false;
        }
        return true;
}

/* Sandboxes and kernel.io_uring_disabled forbid it on many a machine: only making one tells. */
static bool kernel_has_io_uring(void) {
        char parameters[120] = { 0 }; /* struct io_uring_params */
        _cleanup_fd_ int fd = (int)syscall(SYS_io_uring_setup, 1, parameters);

        return fd >= 0;
}

/* The data of the QEMU that is installed below the same prefix, through links. */
static char *find_data(const char *qemu) {
        _cleanup_free_ char *real = realpath(qemu, NULL);
        const char *bin = real ? strstr(real, "/bin/") : NULL;
        char *data = bin ? text_format("%.*s/share/qemu", (int)(bin - real), real) : NULL;

        if (data && access(data, R_OK | X_OK) < 0) {
                free(data);
                data = NULL;
        }
        return data;
}

static char *find_virtiofsd(void) {
        char *found = process_find_program("virtiofsd", NULL);

        /* Distributions keep it out of the way: it is no program for people. */
        if (!found)
                found = process_find_program("virtiofsd", "/usr/libexec");
        return found ? found : process_find_program("virtiofsd", "/usr/lib/qemu");
}

int host_look(struct host *ret, struct error *error) {
        struct host host = { .qemu = process_find_program(QEMU, NULL) };

        if (!host.qemu)
                return error_set(error, -ENOENT,
                                 QEMU
                                 " is not installed (Debian: qemu-system-x86; Fedora: qemu-system-x86-core)");
        host.data = find_data(host.qemu);
        _cleanup_free_ char *qboot = host.data ? text_format("%s/qboot.rom", host.data) : NULL;
        host.qboot = qboot && access(qboot, R_OK) == 0;
        host.seccomp = linkage_needs(host.qemu, "libseccomp.so");
        host.io_uring = kernel_has_io_uring() && linkage_needs(host.qemu, "liburing.so");
        host.vhost = opens("/dev/vhost-net");
        host.virtiofsd = find_virtiofsd();
        *ret = host;
        return 0;
}

void host_deinit(struct host *host) {
        free(host->qemu);
        free(host->data);
        free(host->virtiofsd);
        *host = (struct host){ 0 };
}
