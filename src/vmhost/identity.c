#include "vmhost/identity.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"

int identity_of(pid_t pid, struct identity *ret) {
        struct identity identity = { .pid = pid };
        int r;

        r = process_start_time(pid, &identity.start_time);
        if (r < 0)
                return r;
        r = process_boot_id(identity.boot_id);
        if (r < 0)
                return r;
        *ret = identity;
        return 0;
}

int identity_open(const struct identity *identity) {
        char boot_id[37];
        uint64_t start_time;
        int r;

        r = process_boot_id(boot_id);
        if (r < 0)
                return r;
        if (identity->pid <= 0 || !text_equal(boot_id, identity->boot_id))
                return -ESRCH;
        _cleanup_fd_ int pidfd = process_open(identity->pid);
        if (pidfd < 0)
                return pidfd;
        r = process_start_time(identity->pid, &start_time);
        if (r < 0)
                return r;
        if (start_time != identity->start_time)
                return -ESRCH;
        /* A zombie still has its start time; its pidfd is readable (pidfd_open(2)). */
        struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };
        r = poll(&poll_fd, 1, 0);
        if (r != 0)
                return r < 0 ? -errno : -ESRCH;
        return steal_fd(&pidfd);
}

int identity_write(const struct identity *identity, json_t *object) {
        if (json_object_set_new(object, "pid", json_integer(identity->pid)) < 0 ||
            json_object_set_new(object, "start_time", json_integer((json_int_t)identity->start_time)) < 0 ||
            json_object_set_new(object, "boot_id", json_string(identity->boot_id)) < 0)
                return -ENOMEM;
        return 0;
}

int identity_read(json_t *object, struct identity *ret) {
        json_t *pid = json_object_get(object, "pid"), *start_time = json_object_get(object, "start_time");
        const char *boot_id = json_string_value(json_object_get(object, "boot_id"));
        struct identity identity = {};

        if (!json_is_integer(pid) || !json_is_integer(start_time) || !boot_id || !text_is_uuid(boot_id) ||
            json_integer_value(pid) <= 0 || json_integer_value(pid) > INT32_MAX)
                return -EINVAL;
        identity.pid = (pid_t)json_integer_value(pid);
        identity.start_time = (uint64_t)json_integer_value(start_time);
        memcpy(identity.boot_id, boot_id, sizeof(identity.boot_id));
        *ret = identity;
        return 0;
}
