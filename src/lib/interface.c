/* An interface: its facts and the file descriptors of its tap. */
#include "lib/interface.h"

#include <errno.h>

#include "base/fd.h"
#include "base/memory.h"
#include "lib/facts.h"

struct berth_interface {
        json_t *object; /* holds the strings of facts */
        struct berth_interface_facts facts;
        int fds[WIRE_FDS_MAX]; /* facts.queues of them, each ours or -1 */
};

static void interface_freep(struct berth_interface **interface) {
        berth_interface_free(*interface);
}

int interface_new(struct berth_interface **ret, struct wire_message *reply, struct error *error) {
        _cleanup_(interface_freep) struct berth_interface *interface = calloc(1, sizeof(*interface));
        int r;

        if (!interface)
                return error_set(error, -ENOMEM, "out of memory");
        for (size_t i = 0; i < ARRAY_SIZE(interface->fds); i++)
                interface->fds[i] = -1;

        interface->object = json_incref(json_object_get(reply->body, "interface"));
        r = facts_parse_interface(interface->object, &interface->facts, error);
        if (r < 0)
                return r;
        if (reply->n_fds != interface->facts.queues)
                return error_set(error, -EPROTO, "the reply has %zu file descriptors for %u queues",
                                 reply->n_fds, (unsigned)interface->facts.queues);
        for (size_t i = 0; i < reply->n_fds; i++) {
                interface->fds[i] = wire_message_take_fd(reply, i);
                r = fd_set_nonblock(interface->fds[i], true);
                if (r < 0)
                        return error_errno(error, r, "cannot use the tap");
        }
        *ret = steal_ptr(interface);
        return 0;
}

const struct berth_interface_facts *berth_interface_get_facts(const struct berth_interface *interface) {
        return &interface->facts;
}

int berth_interface_get_fd(const struct berth_interface *interface, unsigned int queue) {
        if (queue >= interface->facts.queues)
                return -EINVAL;
        return interface->fds[queue] >= 0 ? interface->fds[queue] : -EBADF;
}

int berth_interface_steal_fd(struct berth_interface *interface, unsigned int queue) {
        int fd = berth_interface_get_fd(interface, queue);

        if (fd >= 0)
                interface->fds[queue] = -1;
        return fd;
}

int berth_interface_set_inheritable(struct berth_interface *interface, bool inheritable) {
        for (size_t i = 0; i < interface->facts.queues; i++) {
                int r = interface->fds[i] >= 0 ? fd_set_cloexec(interface->fds[i], !inheritable) : 0;

                if (r < 0)
                        return r;
        }
        return 0;
}

struct berth_interface *berth_interface_free(struct berth_interface *interface) {
        if (!interface)
                return NULL;
        for (size_t i = 0; i < ARRAY_SIZE(interface->fds); i++)
                fd_close(interface->fds[i]);
        json_decref(interface->object);
        free(interface);
        return NULL;
}
