/* Requests: asking one VM's vmhost, with texts for people when it cannot be asked. */
#include "cli/vm-request.h"

#include <errno.h>
#include <stdio.h>

#include "cli/view.h"
#include "cli/vm-channel.h"
#include "cli/vm-state.h"

#define SILENT "the vmhost of %s does not answer"
#define ADVICE                                                                                               \
        "%s/" VM_LOG " may say why; killed, it leaves the VM running, and `berth vm start %s` starts "       \
        "another"

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
                return error_set(&session->error, -ETIMEDOUT, SILENT "\n" ADVICE, vm->name, vm->directory,
                                 vm->name);
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

void vm_tell_silent(const char *name, const char *directory) {
        fflush(stdout);
        fprintf(stderr, "berth: " SILENT "\nberth: " ADVICE "\n", name, directory, name);
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
