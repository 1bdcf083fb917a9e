/* Requests: asking one VM's vmhost, with texts for people when it cannot be asked. */
#include "cli/vm-request.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/view.h"
#include "cli/vm-channel.h"
#include "cli/vm-state.h"

#define ADVICE                                                                                               \
        "%s/" VM_LOG " may say why; killed, it leaves the VM running, and `berth vm start %s` starts "       \
        "another"

#define PID_MAX 32 /* bytes of its file */

int vm_not_running(struct session *session, const struct vm *vm) {
        if (vm_presence(vm->directory) == VM_PRESENCE_ORPHAN)
                return error_set(&session->error, -EHOSTDOWN,
                                 "VM %s runs, but its vmhost was killed\n"
                                 "`berth vm start %s` gives it a new one, and does not disturb it",
                                 vm->name, vm->name);
        return error_set(&session->error, -EHOSTDOWN,
                         "VM %s is not running\n"
                         "`berth vm start %s` starts it; `berth vm show %s` tells how it ended last",
                         vm->name, vm->name, vm->name);
}

int vm_request_failed(struct session *session, const struct vm *vm, int code) {
        switch (code) {
        case -ENOENT:
        case -ECONNREFUSED:
        case -EPIPE:
                return vm_not_running(session, vm);
        case -ETIMEDOUT:
        case -EAGAIN:
                return vm_silent(&session->error, vm, 0);
        case -EPROTO:
                return error_set(&session->error, code,
                                 "what answers at %s/" VM_CONTROL_SOCKET " is no vmhost", vm->directory);
        default:
                return error_errno(&session->error, code, "cannot talk to the vmhost of %s", vm->name);
        }
}

int vm_watch_failed(struct session *session, const struct vm *vm, const struct vm_channel *channel,
                    int code) {
        if (code != -EREMOTEIO || !channel)
                return vm_request_failed(session, vm, code);
        return error_set(&session->error, code, "%s: %s", vm->name, vm_channel_refusal(channel));
}

/* By its file, which goes with it; 0 where that says none. */
static uint64_t find_pid(const char *directory) {
        _cleanup_free_ char *path = text_format("%s/" VM_PID, directory), *text = NULL;
        uint64_t pid = 0;
        size_t size;

        if (path && file_read(path, PID_MAX, &text, &size, NULL) == 0)
                text_parse_u64(text, INT_MAX, &pid);
        return pid;
}

char *vm_describe_silence(const char *name, const char *directory, int64_t since_ms,
                          char buffer[static VM_VIEW_LINE_SIZE]) {
        uint64_t pid = find_pid(directory);
        char process[VIEW_TEXT_SIZE] = "", time[VIEW_TEXT_SIZE] = "";
        bool both = pid > 0 && since_ms > 0;

        if (pid > 0)
                snprintf(process, sizeof(process), "pid %" PRIu64, pid);
        if (since_ms > 0)
                vm_view_time(since_ms, time);
        snprintf(buffer, VM_VIEW_LINE_SIZE, "the vmhost of %s does not answer%s%s%s%s%s%s", name,
                 pid > 0 || since_ms > 0 ? " (" : "", process, both ? ", " : "", since_ms > 0 ? "since " : "",
                 time, pid > 0 || since_ms > 0 ? ")" : "");
        return buffer;
}

int vm_silent(struct error *error, const struct vm *vm, int64_t since_ms) {
        char line[VM_VIEW_LINE_SIZE];

        return error_set(error, -ETIMEDOUT, "%s\n" ADVICE,
                         vm_describe_silence(vm->name, vm->directory, since_ms, line), vm->directory,
                         vm->name);
}

void vm_tell_silent(const char *name, const char *directory, int64_t since_ms) {
        char line[VM_VIEW_LINE_SIZE];

        fflush(stdout);
        fprintf(stderr, "berth: %s\nberth: " ADVICE "\n",
                vm_describe_silence(name, directory, since_ms, line), directory, name);
}

int vm_check_answers(struct session *session, const struct vm *vm, unsigned timeout_ms) {
        json_auto_t *request = json_pack("{s:s}", "method", "status"), *reply = NULL;
        int r = vm_channel_ask(vm->directory, request, timeout_ms, &reply);

        return r < 0 ? vm_request_failed(session, vm, r) : 0;
}

int vm_request(struct session *session, const struct vm *vm, const char *method, json_t *consume_members,
               json_t **ret) {
        json_auto_t *request = json_pack("{s:s}", "method", method), *members = consume_members,
                    *reply = NULL;
        const char *text;
        int r;

        if (!request || (members && json_object_update(request, members) < 0))
                return error_set(&session->error, -ENOMEM, "out of memory");
        r = vm_channel_ask(vm->directory, request, VM_REQUEST_TIMEOUT_MS, &reply);
        if (r < 0)
                return vm_request_failed(session, vm, r);
        text = view_string(reply, "error");
        if (text[0]) {
                error_set(&session->error, -EAGAIN, "%s: %s", vm->name, text);
                view_clean(session->error.text);
                return -EAGAIN;
        }
        *ret = json_incref(reply);
        return 0;
}
