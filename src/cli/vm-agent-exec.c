/* Agent exec: a command in a VM by its guest agent, from its start to its exit status. */
#include "cli/vm-agent-exec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/memory.h"
#include "cli/view.h"
#include "cli/vm-agent.h"
#include "cli/vm-clock.h"
#include "cli/vm-request.h"
#include "cli/vm-state.h"

#define ANSWER_MS 10000 /* for an agent that lives, to begin an answer */
#define SYNC_MS 2000 /* for one that may not be there */
#define END_MS 5000 /* for QEMU's process to end when it has hung up */
#define PAUSE_MIN_MS 10 /* between two looks whether it has ended; doubled each time */
#define PAUSE_MAX_MS 500

static void pause_ms(unsigned ms) {
        nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

/* ---- The agent ---- */

static int ask(const struct vm *vm, const char *command, json_t *consume_arguments, unsigned ms, json_t **ret,
               struct error *error) {
        return vm_agent_ask(vm->directory, command, consume_arguments, vm_clock_in_ms(ms), ret, error);
}

/* What answers is QEMU, whatever the guest does: one that hangs up, or is not there, is on its end. */
static bool is_hangup(int code) {
        return code == -ECONNRESET || code == -EPIPE || code == -ECONNREFUSED || code == -ENOENT;
}

/* Whether the run that `state` tells of is over. Its vmhost may still be there, to write the record or for
 * the next run. */
static bool has_ended(const struct vm *vm, const json_t *state, int code) {
        uint64_t deadline = vm_clock_in_ms(END_MS);

        if (!json_is_object(json_object_get(state, "run")))
                return vm_presence(vm->directory) == VM_PRESENCE_NONE;
        while (vm_state_runs(state)) {
                if (!is_hangup(code) || vm_clock_left_ms(deadline) == 0)
                        return false;
                pause_ms(PAUSE_MIN_MS);
        }
        return true;
}

static int fail_ended(struct session *session, const struct vm *vm, const char *when) {
        return error_set(&session->error, -EHOSTDOWN,
                         "VM %s ended %s\n"
                         "`berth vm show %s` tells how",
                         vm->name, when, vm->name);
}

/* A guest that boots has none yet; one without the package never will. */
static int await_agent(struct session *session, const struct vm *vm, unsigned timeout_s) {
        uint64_t deadline = vm_clock_in_ms((uint64_t)timeout_s * 1000);

        for (;;) {
                json_auto_t *nothing = NULL;
                struct error error = ERROR_INIT;
                int left = vm_clock_left_ms(deadline);
                int r = ask(vm, "guest-ping", NULL, left < SYNC_MS ? (unsigned)left : SYNC_MS, &nothing,
                            &error);

                if (r == 0)
                        return 0;
                if (r == -EREMOTEIO || r == -EPROTO)
                        return error_set(&session->error, r, "%s: the guest agent refuses: %s", vm->name,
                                         error.text);
                if (r != -ETIMEDOUT && vm_presence(vm->directory) == VM_PRESENCE_NONE)
                        return vm_not_running(session, vm);
                if (vm_clock_left_ms(deadline) == 0)
                        return error_set(&session->error, -ETIMEDOUT,
                                         "no guest agent answered in %s within %u s\n"
                                         "in the guest, the package qemu-guest-agent brings one",
                                         vm->name, timeout_s);
                pause_ms(r == -ETIMEDOUT ? 0 : PAUSE_MAX_MS);
        }
}

/* ---- What it is told ---- */

static int read_input(char **ret, size_t *ret_size, struct error *error) {
        _cleanup_free_ char *data = malloc(VM_AGENT_INPUT_MAX + 1);
        size_t size = 0;

        if (!data)
                return error_set(error, -ENOMEM, "out of memory");
        while (size <= VM_AGENT_INPUT_MAX) {
                ssize_t n = read(STDIN_FILENO, data + size, VM_AGENT_INPUT_MAX + 1 - size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(error, -errno, "cannot read standard input");
                if (n == 0) {
                        *ret = steal_ptr(data);
                        *ret_size = size;
                        return 0;
                }
                size += (size_t)n;
        }
        return error_set(error, -EFBIG,
                         "standard input is longer than the %d MiB that the guest agent is given\n"
                         "by ssh (without --agent) it may have any length",
                         VM_AGENT_INPUT_MAX >> 20);
}

static int make_request(const struct vm_agent_exec *exec, json_t **ret, struct error *error) {
        json_auto_t *request = json_pack("{s:s, s:[], s:b}", "path", exec->words[0], "arg", "capture-output",
                                         true);
        _cleanup_free_ char *input = NULL, *text = NULL;
        size_t size = 0;

        if (!request)
                return error_set(error, -EINVAL, "the guest agent takes only words in UTF-8");
        for (size_t i = 1; i < exec->n_words; i++) {
                json_t *word = json_string(exec->words[i]);

                if (!word)
                        return error_set(error, -EINVAL, "the guest agent takes only words in UTF-8");
                json_array_append_new(json_object_get(request, "arg"), word);
        }
        if (exec->input) {
                int r = read_input(&input, &size, error);
                if (r < 0)
                        return r;
                text = base64_encode(input, size);
                if (!text || json_object_set_new(request, "input-data", json_string(text)) < 0)
                        return error_set(error, -ENOMEM, "out of memory");
        }
        *ret = json_incref(request);
        return 0;
}

/* ---- What became of it ---- */

static int print(const json_t *status, const char *key, FILE *file) {
        const char *text = view_string(status, key);
        _cleanup_free_ char *data = NULL;
        size_t size;

        int r = base64_decode(text, &data, &size);
        if (r < 0)
                return r;
        return fwrite(data, 1, size, file) == size && fflush(file) == 0 ? 0 : -EIO;
}

/* A process that has ended: its exit status. */
static int conclude(struct session *session, const struct vm *vm, const json_t *status) {
        int64_t code = view_integer(status, "exitcode"), signal = view_integer(status, "signal");

        int r = print(status, "out-data", stdout);
        if (r == 0)
                r = print(status, "err-data", stderr);
        if (r < 0)
                return error_errno(&session->error, r, "%s: cannot pass on what the command printed",
                                   vm->name);
        if (json_is_true(json_object_get(status, "out-truncated")) ||
            json_is_true(json_object_get(status, "err-truncated")))
                return error_set(
                        &session->error, -EFBIG,
                        "%s: the command printed more than the guest agent keeps, and the rest is lost\n"
                        "by ssh (without --agent) all of it comes",
                        vm->name);
        return signal > 0 ? 128 + (int)(signal & 127) : (int)(code & 255);
}

static int await_end(struct session *session, const struct vm *vm, const json_t *state, json_int_t pid) {
        unsigned ms = PAUSE_MIN_MS;

        for (;;) {
                json_auto_t *status = NULL;
                struct error error = ERROR_INIT;
                int r = ask(vm, "guest-exec-status", json_pack("{s:I}", "pid", pid), ANSWER_MS, &status,
                            &error);

                if (r == 0 && json_is_true(json_object_get(status, "exited")))
                        return conclude(session, vm, status);
                if (r < 0 && has_ended(vm, state, r))
                        return fail_ended(session, vm, "while the command ran");
                if (r < 0)
                        return error_set(&session->error, r,
                                         "%s: the guest agent lost the command, which may still run (process "
                                         "%" JSON_INTEGER_FORMAT "): %s",
                                         vm->name, pid, error_text(&error, r));
                pause_ms(ms);
                ms = ms * 2 < PAUSE_MAX_MS ? ms * 2 : PAUSE_MAX_MS;
        }
}

int vm_agent_exec(struct session *session, const struct vm *vm, const struct vm_agent_exec *exec) {
        json_auto_t *request = NULL, *begun = NULL, *state = NULL;
        struct error error = ERROR_INIT;

        /* Before our input is read, which can be done once only. */
        if (vm_presence(vm->directory) == VM_PRESENCE_NONE)
                return vm_not_running(session, vm);
        int r = await_agent(session, vm, exec->timeout_s);
        if (r == 0)
                r = make_request(exec, &request, &session->error);
        if (r < 0)
                return r;
        vm_state_load(vm->directory, &state, NULL); /* which run it is */
        r = ask(vm, "guest-exec", json_incref(request), ANSWER_MS, &begun, &error);
        if (r == -EREMOTEIO)
                return error_set(&session->error, r, "%s: the guest agent does not run %s: %s", vm->name,
                                 exec->words[0], error.text);
        if (r < 0 && has_ended(vm, state, r))
                return fail_ended(session, vm, "when the command was to begin");
        if (r < 0)
                return error_set(&session->error, r, "%s: %s", vm->name, error_text(&error, r));
        if (view_integer(begun, "pid") <= 0)
                return error_set(&session->error, -EPROTO, "%s: the guest agent named no process", vm->name);
        return await_end(session, vm, state, view_integer(begun, "pid"));
}
