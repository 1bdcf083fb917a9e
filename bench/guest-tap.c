#include "guest-tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"

#define VNET_HEADER_SIZE 12 /* of struct virtio_net_hdr_mrg_rxbuf, as berth-protocol(7) has it */

static struct ifreq request(const struct guest_tap *tap) {
        struct ifreq ifr = {};

        strncpy(ifr.ifr_name, tap->device, sizeof(ifr.ifr_name) - 1);
        return ifr;
}

/* In the tap's namespace. */
static int make(const struct guest_tap *tap, struct error *error) {
        struct ifreq ifr = request(tap);
        int header = VNET_HEADER_SIZE;

        _cleanup_fd_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return error_errno(error, -errno, "opening /dev/net/tun");
        ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
        if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 ||
            ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) < 0)
                return error_errno(error, -errno, "making the tap %s", tap->device);
        return steal_fd(&fd);
}

static int set_address(int socket, const struct guest_tap *tap, unsigned long what, uint32_t value) {
        struct ifreq ifr = request(tap);
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(value) };

        memcpy(&ifr.ifr_addr, &address, sizeof(address));
        return ioctl(socket, what, &ifr) < 0 ? -errno : 0;
}

static int set_port(int socket, const struct guest_tap *tap) {
        struct ifreq ifr = {};

        strncpy(ifr.ifr_name, tap->bridge, sizeof(ifr.ifr_name) - 1);
        ifr.ifr_ifindex = (int)if_nametoindex(tap->device);
        return ioctl(socket, SIOCBRADDIF, &ifr) < 0 ? -errno : 0;
}

static int set_mac(int socket, const struct guest_tap *tap) {
        struct ifreq ifr = request(tap);

        ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        memcpy(ifr.ifr_hwaddr.sa_data, tap->mac.octets, sizeof(tap->mac.octets));
        return ioctl(socket, SIOCSIFHWADDR, &ifr) < 0 ? -errno : 0;
}

static int set_up(const struct guest_tap *tap, struct error *error) {
        struct ifreq mtu = request(tap), flags = request(tap);
        _cleanup_fd_ int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        int r = control < 0 ? -errno : 0;

        mtu.ifr_mtu = (int)tap->mtu;
        if (r >= 0 && ioctl(control, SIOCSIFMTU, &mtu) < 0)
                r = -errno;
        if (r >= 0)
                r = tap->bridge ? set_port(control, tap) : set_mac(control, tap);
        if (r >= 0 && tap->address)
                r = set_address(control, tap, SIOCSIFADDR, tap->address);
        if (r >= 0 && tap->address)
                r = set_address(control, tap, SIOCSIFNETMASK, tap->mask);
        flags.ifr_flags = IFF_UP;
        if (r >= 0 && ioctl(control, SIOCSIFFLAGS, &flags) < 0)
                r = -errno;
        return r < 0 ? error_errno(error, r, "setting up the tap %s", tap->device) : 0;
}

int guest_tap_open(const struct guest_tap *tap, struct error *error) {
        _cleanup_fd_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        _cleanup_fd_ int namespace = open(tap->namespace, O_RDONLY | O_CLOEXEC);

        if (own < 0 || namespace < 0 || setns(namespace, CLONE_NEWNET) < 0)
                return error_errno(error, -errno, "entering %s", tap->namespace);
        _cleanup_fd_ int fd = make(tap, error);
        int r = fd < 0 ? fd : set_up(tap, error);
        if (setns(own, CLONE_NEWNET) < 0)
                return error_errno(error, -errno, "returning from %s", tap->namespace);
        return r < 0 ? r : steal_fd(&fd);
}
