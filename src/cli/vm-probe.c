/* Probe: how far a VM is, seen through the forward to its port of ssh. */
#include "cli/vm-probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "cli/vm-clock.h"
#include "loop/loop.h"

#define GREETING "SSH-" /* RFC 4253, section 4.2 */
#define PATIENCE_MS 5000 /* more than the kernel's with ARP, so that probes do not overlap */
#define AT_ONCE_US 700000 /* for a guest's own refusal; some emulate their processors */

int vm_probe_begin(struct vm_probe *probe, uint16_t port) {
        const struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };

        vm_probe_end(probe);
        *probe = (struct vm_probe){
                .refused = probe->refused,
                .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                .begun = loop_now(),
                .deadline = vm_clock_in_ms(PATIENCE_MS),
        };
        if (probe->fd < 0)
                return -errno;
        if (connect(probe->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 &&
            errno != EINPROGRESS) {
                int r = -errno;

                vm_probe_end(probe);
                return r;
        }
        return 0;
}

static enum vm_probe_result finish(struct vm_probe *probe, enum vm_probe_result result) {
        vm_probe_end(probe);
        return result;
}

/* Nothing was heard of the VM. */
static enum vm_probe_result forget(struct vm_probe *probe) {
        probe->refused = false;
        return finish(probe, VM_PROBE_NOTHING);
}

static enum vm_probe_result take_refusal(struct vm_probe *probe) {
        bool again = probe->refused && loop_now() - probe->begun < AT_ONCE_US;

        probe->refused = true;
        return finish(probe, again ? VM_PROBE_ADDRESS : VM_PROBE_NOTHING);
}

enum vm_probe_result vm_probe_step(struct vm_probe *probe) {
        if (probe->fd < 0)
                return VM_PROBE_NOTHING;
        while (probe->used < strlen(GREETING)) {
                ssize_t n = recv(probe->fd, probe->greeting + probe->used, strlen(GREETING) - probe->used, 0);

                if (n > 0) {
                        probe->used += (unsigned)n;
                        continue;
                }
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
                        return vm_clock_left_ms(probe->deadline) > 0 ? VM_PROBE_PENDING : forget(probe);
                /* Refused by the host itself: there is no forward. */
                if (n < 0 && errno == ECONNREFUSED)
                        return forget(probe);
                return take_refusal(probe);
        }
        return finish(probe,
                      memcmp(probe->greeting, GREETING, probe->used) == 0 ? VM_PROBE_SSH : VM_PROBE_ADDRESS);
}

void vm_probe_end(struct vm_probe *probe) {
        probe->fd = fd_close(probe->fd);
}
