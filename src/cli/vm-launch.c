/* Launch: starting a VM's vmhost. */
#include "cli/vm-launch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/vm-clock.h"
#include "cli/vm-state.h"
#include "config.h"

/* Exit statuses of vmhost(8): the VM has one already; with --adopt, it does not run. */
#define VMHOST_ANOTHER_RUNS 3
#define VMHOST_NOTHING_RUNS 4

#define ADOPTION_MS 20000 /* for a vmhost to have taken a VM over; QEMU may hang */
#define CHECK_MS 5000 /* for one to have looked at a file */
#define LOOK_MS 50

/* A new string, or NULL with a text. */
static char *find_vmhost(struct error *error) {
        const char *chosen = getenv("BERTH_VMHOST");
        _cleanup_free_ char *own = process_own_directory();
        _cleanup_free_ char *in_build = own ? text_format("%s/../vmhost", own) : NULL;
        char *found;

        if (chosen && chosen[0]) {
                found = process_find_program(chosen, NULL);
                if (!found)
                        error_set(error, -ENOENT,
                                  "BERTH_VMHOST=%s: there is no such program\n"
                                  "without that variable the vmhost that belongs to berth is started",
                                  chosen);
                return found;
        }
        found = own ? process_find_program("vmhost", own) : NULL;
        if (!found && in_build)
                found = process_find_program("vmhost", in_build);
        if (!found)
                found = process_find_program("vmhost", BERTH_BINDIR);
        if (!found)
                found = process_find_program("vmhost", NULL);
        if (!found)
                error_set(error, -ENOENT,
                          "vmhost, which runs VMs, is not installed\n"
                          "it belongs beside berth, or in " BERTH_BINDIR "; BERTH_VMHOST names another");
        return found;
}

/* What vmhost said last, which may have a second line, without who speaks: a new string, "" for nothing, or
 * NULL. */
static char *find_reason(const struct program *program) {
        static const char speaker[] = "vmhost: ";
        _cleanup_free_ char *text = program_complaints(program);
        const char *last = NULL;

        if (!text)
                return NULL;
        for (size_t n = strlen(text); n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ');)
                text[--n] = '\0';
        for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
                if (text_starts_with(line, speaker))
                        last = line + strlen(speaker);
        /* Whatever spoke in its place. */
        if (!last)
                last = strrchr(text, '\n') ? strrchr(text, '\n') + 1 : text;
        return strdup(last);
}

/* `option` is one more, or NULL. */
static int launch(struct session *session, const struct vm *vm, const char *option, struct program *ret) {
        _cleanup_free_ char *vmhost = find_vmhost(&session->error);
        const char *argv[] = { vmhost,         "--name",   vm->name, "--backend", "qemu",
                               "--config-dir", vm->config, option,   NULL };

        if (!vmhost)
                return -ENOENT;
        return program_start_apart(ret, argv, &session->error);
}

int vm_launch(struct session *session, const struct vm *vm, struct program *ret) {
        return launch(session, vm, NULL, ret);
}

int vm_launch_finish(struct session *session, const struct vm *vm, struct program *program) {
        int status = program_wait(program);
        _cleanup_free_ char *reason = find_reason(program);

        if (status < 0)
                return error_errno(&session->error, status, "cannot wait for vmhost");
        if (status == 0)
                return 0;
        /* It told the reason before its own end; the next command is not to find it there still. */
        if (status != VMHOST_ANOTHER_RUNS)
                vm_wait_gone(vm, NULL);
        if (status == VMHOST_NOTHING_RUNS)
                return error_set(&session->error, -ESRCH, "VM %s does not run", vm->name);
        if (status == VMHOST_ANOTHER_RUNS)
                return error_set(&session->error, -EALREADY, "VM %s did not start: %s", vm->name,
                                 reason && reason[0] ? reason : "it has a vmhost already");
        if (reason && reason[0])
                return error_set(&session->error, -EIO, "VM %s did not start: %s", vm->name, reason);
        return error_set(&session->error, -EIO,
                         "VM %s did not start: its vmhost ended without a word\n"
                         "%s/" VM_LOG " may say more",
                         vm->name, vm->directory);
}

int vm_adopt(struct session *session, const struct vm *vm) {
        return vm_adopt_until(session, vm, vm_clock_in_ms(ADOPTION_MS));
}

int vm_adopt_until(struct session *session, const struct vm *vm, uint64_t deadline) {
        while (vm_presence(vm->directory) == VM_PRESENCE_ORPHAN) {
                _cleanup_(program_deinit) struct program program = PROGRAM_INIT;
                int r;

                session->error = ERROR_INIT;
                /* It may end in this moment, and who wants it to end does not want it started again. */
                r = launch(session, vm, "--adopt", &program);
                if (r == 0)
                        r = program_await(&program, deadline);
                if (r == -ETIMEDOUT)
                        return error_set(&session->error, r,
                                         "the new vmhost of %s does not say whether it has taken it over\n"
                                         "%s/" VM_LOG " may say why",
                                         vm->name, vm->directory);
                if (r == 0)
                        r = vm_launch_finish(session, vm, &program);
                /* Somebody else's vmhost has it, and its socket in a moment. */
                if (r != -EALREADY || vm_clock_left_ms(deadline) == 0) {
                        if (r == -ESRCH)
                                break;
                        return r;
                }
                poll(NULL, 0, LOOK_MS);
        }
        session->error = ERROR_INIT;
        return 0;
}

/* vmhost --check, as the option is given. */
static int check(const struct vm *vm, const char *option, json_t **ret, struct error *error) {
        _cleanup_(program_deinit) struct program program = PROGRAM_INIT;
        _cleanup_free_ char *vmhost = find_vmhost(error), *output = NULL, *reason = NULL;
        const char *argv[] = { vmhost, option,         "--name",   vm->name, "--backend",
                               "qemu", "--config-dir", vm->config, NULL };

        if (!vmhost)
                return -ENOENT;
        int r = program_start(&program, argv, error);
        if (r < 0)
                return r;
        r = program_await(&program, vm_clock_in_ms(CHECK_MS));
        if (r == 0)
                r = program_wait(&program);
        if (r == -ETIMEDOUT)
                return error_set(error, r, "%s does not say what it makes of the configuration", vmhost);
        if (r < 0)
                return error_errno(error, r, "cannot wait for vmhost");
        output = program_output(&program);
        reason = find_reason(&program);
        if (!output || !reason)
                return error_set(error, -ENOMEM, "out of memory");
        if (r != 0)
                return error_set(error, -EINVAL, "%s", reason[0] ? reason : "vmhost ended without a word");
        *ret = json_loads(output, 0, NULL);
        return *ret ? 0 : error_set(error, -EIO, "%s printed no configuration", vmhost);
}

int vm_configured(const struct vm *vm, json_t **ret, struct error *error) {
        return check(vm, "--check", ret, error);
}

int vm_check(const struct vm *vm, const char *path, struct error *error) {
        _cleanup_free_ char *option = text_format("--check=%s", path);
        json_auto_t *configuration = NULL;
        struct error problem = ERROR_INIT;
        const char *reason = problem.text;
        int r;

        if (!option)
                return error_set(error, -ENOMEM, "out of memory");
        r = check(vm, option, &configuration, &problem);
        if (r < 0 && text_starts_with(reason, path)) {
                reason += strlen(path);
                reason += strspn(reason, ":0123456789");
                reason += *reason == ' ';
        }
        return r < 0 ? error_set(error, r == -EINVAL ? -EBADMSG : r, "%s", reason) : 0;
}
