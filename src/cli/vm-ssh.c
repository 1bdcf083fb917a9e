/* Ssh: reaching a VM by it. */
#include "cli/vm-ssh.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/view.h"
#include "cli/vm-clock.h"
#include "cli/vm-file.h"
#include "cli/vm-probe.h"
#include "cli/vm-request.h"

#define PAUSE_MS 200 /* between attempts */
#define FILE_MAX (256 * 1024)

/* Whether a server greets by then. */
static bool greets(uint16_t port) {
        struct vm_probe probe = VM_PROBE_INIT;
        enum vm_probe_result result = VM_PROBE_NOTHING;

        if (vm_probe_begin(&probe, port) < 0)
                return false;
        while ((result = vm_probe_step(&probe)) == VM_PROBE_PENDING)
                poll(&(struct pollfd){ .fd = probe.fd, .events = POLLIN }, 1,
                     vm_clock_left_ms(probe.deadline));
        return result == VM_PROBE_SSH;
}

/* The port as the VM's vmhost tells it. -EAGAIN while there is no VM yet. */
static int ask_port(struct session *session, const struct vm *vm, uint16_t *ret) {
        json_auto_t *info = NULL;
        int64_t port;
        int r;

        r = vm_request(session, vm, "info", NULL, &info);
        if (r < 0)
                return r;
        port = view_integer(info, "ssh_port");
        if (port <= 0 || port > 65535)
                return error_set(&session->error, -ENOTSUP,
                                 "VM %s has no port for ssh\n"
                                 "it has no network, or \"ssh\": false, in %s/" VM_CONFIGURATION
                                 "; `berth vm exec --agent` needs neither",
                                 vm->name, vm->directory);
        *ret = (uint16_t)port;
        return 0;
}

int vm_ssh_find(char **ret, struct error *error) {
        *ret = process_find_program("ssh", NULL);
        return *ret ? 0
                    : error_set(error, -ENOENT,
                                "ssh is not installed: there is no such program in PATH\n"
                                "it is in the package openssh-client or openssh; `berth vm exec --agent` "
                                "needs none");
}

int vm_ssh_wait(struct session *session, const struct vm *vm, unsigned timeout_s, uint16_t *ret_port) {
        uint64_t deadline = vm_clock_in_ms((uint64_t)timeout_s * 1000);
        const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
        uint16_t port = 0;
        int r;

        for (;;) {
                /* Each time anew: a VM that restarts may have another. */
                r = ask_port(session, vm, &port);
                if (r < 0 && r != -EAGAIN)
                        return r;
                if (r == 0 && greets(port))
                        break;
                if (vm_clock_left_ms(deadline) == 0)
                        return error_set(&session->error, -ETIMEDOUT,
                                         "ssh of %s did not answer within %u s\n"
                                         "`berth vm console %s` shows what the VM is doing",
                                         vm->name, timeout_s, vm->name);
                nanosleep(&pause, NULL);
        }
        *ret_port = port;
        return 0;
}

/* -i and each private key that create found beside a public one, and that is still there. */
static int add_identities(const struct vm *vm, struct words *words) {
        _cleanup_free_ char *path = vm_path(vm, VM_IDENTITIES), *text = NULL;
        size_t size;
        char *rest;

        if (!path)
                return -ENOMEM;
        if (file_read(path, FILE_MAX, &text, &size, NULL) < 0)
                return 0;
        /* Only these: a server hangs up on one who offers many before, as agents do. */
        if (words_append(words, "-oIdentitiesOnly=yes") < 0)
                return -ENOMEM;
        rest = text;
        for (char *line; (line = strsep(&rest, "\n"));) {
                if (line[0] != '/')
                        continue;
                if (words_append(words, "-i") < 0 || words_append(words, "%s", line) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* A path as ssh's configuration takes it: it reads %, and parts words at blanks. */
static char *quote_path(const char *path) {
        char *quoted = malloc(strlen(path) * 2 + 3), *out = quoted;

        if (!quoted)
                return NULL;
        *out++ = '"';
        for (; *path; path++) {
                if (*path == '%')
                        *out++ = '%';
                if (*path == '"' || *path == '\\')
                        *out++ = '\\';
                *out++ = *path;
        }
        *out++ = '"';
        *out = '\0';
        return quoted;
}

int vm_ssh_command(const struct vm *vm, uint16_t port, const char *user, struct words *ret,
                   struct error *error) {
        _cleanup_(words_deinit) struct words words = { 0 };
        _cleanup_free_ char *known_hosts = vm_path(vm, VM_KNOWN_HOSTS);
        _cleanup_free_ char *quoted = known_hosts ? quote_path(known_hosts) : NULL;
        _cleanup_free_ char *option = quoted ? text_format("-oUserKnownHostsFile=%s", quoted) : NULL;
        /* By the VM's name: its port changes from run to run, and was another VM's before. */
        _cleanup_free_ char *alias = text_format("-oHostKeyAlias=%s", vm->name),
                            *number = text_format("%u", port);
        json_auto_t *file = NULL;
        const char *const first[] = {
                "ssh",
                "-p",
                number,
                option,
                alias,
                "-oStrictHostKeyChecking=accept-new",
                "-oGlobalKnownHostsFile=/dev/null",
                "-oCheckHostIP=no",
                "-oLogLevel=ERROR",
        };
        /* ssh reads options behind the host too; what follows is the guest's. */
        const char *last[] = { "-l", user, "127.0.0.1", "--" };
        size_t skip;
        int r = -ENOMEM;

        /* Who has no file that can be read logs in as ssh thinks best. */
        if (!user && vm_file_load(vm, &file, NULL) == 0)
                last[1] = json_string_value(json_object_get(file, "ssh_user"));
        skip = last[1] ? 0 : 2;
        if (option && alias && number)
                r = words_insert(&words, 0, first, ARRAY_SIZE(first));
        if (r == 0)
                r = add_identities(vm, &words);
        if (r == 0)
                r = words_insert(&words, words.n_words, last + skip, ARRAY_SIZE(last) - skip);
        if (r < 0)
                return error_set(error, r, "out of memory");
        *ret = words;
        words = (struct words){ 0 };
        return 0;
}
