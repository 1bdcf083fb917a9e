/* Attachment: a VM's console on our own terminal. */
#include "cli/vm-attach.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"
#include "cli/vm-pulse.h"
#include "cli/vm-request.h"
#include "cli/vm-state.h"

#define ESCAPE '\x1d' /* Ctrl-] */
#define CHUNK 4096
#define RETRY_MS 200 /* between attempts to connect */

struct attachment {
        const struct vm *vm;
        struct terminal terminal;
        int console; /* -1 while there is none */
        int signals;
        sigset_t mask_before;
        bool interactive; /* standard input is a terminal */
        bool input_ended;
        bool told; /* that the vmhost is gone */
        struct vm_pulse pulse;
        bool silent; /* it has been told that the vmhost does not answer */
        char typed[CHUNK]; /* what the console did not take yet */
        size_t n_typed;
        int output; /* of output_open */
        char printed[OUTPUT_BLOCK]; /* what our own output did not take yet */
        size_t n_printed;
};

static void attachment_deinit(struct attachment *a) {
        terminal_leave(&a->terminal);
        vm_pulse_end(&a->pulse);
        fd_close(a->console);
        fd_close(a->output);
        if (a->signals >= 0) {
                fd_close(a->signals);
                sigprocmask(SIG_SETMASK, &a->mask_before, NULL);
        }
}

/* Signals that end us, or stop us for a while, find the terminal in order. */
static int take_signals(struct attachment *a, struct error *error) {
        static const int wanted[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };

        a->signals = signals_watch(wanted, ARRAY_SIZE(wanted), &a->mask_before, error);
        return a->signals < 0 ? a->signals : 0;
}

static void tell(struct attachment *a, const char *text) {
        const char *end = a->interactive ? "\r\n" : "\n";

        fprintf(stderr, "%s[berth: %s]%s", end, text, end);
}

/* 1 when there is a console to read, 0 when it is to be tried again, -EPIPE when nothing runs. */
static int find_console(struct attachment *a) {
        enum vm_presence presence = vm_presence(a->vm->directory);

        if (presence == VM_PRESENCE_NONE)
                return -EPIPE;
        if (presence == VM_PRESENCE_ORPHAN && !a->told) {
                tell(a, "the VM runs on without its vmhost; `berth vm start` gives it a new one");
                a->told = true;
        }
        a->console = vm_connect(a->vm->directory, VM_CONSOLE_SOCKET);
        if (a->console < 0)
                return 0;
        a->told = false;
        return 1;
}

/* A console that says nothing looks like a guest that has nothing to say. It stays: a vmhost that is frozen
 * is replaced like one that was killed. */
static void look_at_vmhost(struct attachment *a) {
        bool silent = vm_pulse_look(&a->pulse);
        _cleanup_free_ char *text = NULL;
        char line[VM_VIEW_LINE_SIZE];

        if (silent == a->silent)
                return;
        a->silent = silent;
        if (silent) {
                text = text_format(
                        "%s; killed, it leaves the VM running, and `berth vm start %s` starts another",
                        vm_describe_silence(a->vm->name, a->vm->directory, a->pulse.since_ms, line),
                        a->vm->name);
                tell(a, text ? text : line);
        } else if (vm_presence(a->vm->directory) == VM_PRESENCE_HOSTED) {
                tell(a, "its vmhost answers again");
        }
}

/* What the VM printed, when nothing from before is left. */
static void take_output(struct attachment *a) {
        ssize_t n = recv(a->console, a->printed, sizeof(a->printed), MSG_DONTWAIT);

        if (n > 0) {
                a->n_printed = (size_t)n;
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                a->console = fd_close(a->console);
                a->n_typed = 0;
        }
}

/* Writes of it what our own output takes. 0 or -errno. */
static int flush_printed(struct attachment *a) {
        ssize_t n = write(a->output, a->printed, a->n_printed);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        a->n_printed -= (size_t)n;
        memmove(a->printed, a->printed + n, a->n_printed);
        return 0;
}

/* Sends what was typed, as far as the console takes it. */
static void flush_typed(struct attachment *a) {
        ssize_t n = send(a->console, a->typed, a->n_typed, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
                a->n_typed -= (size_t)n;
                memmove(a->typed, a->typed + n, a->n_typed);
        }
}

/* True: the escape was typed; what came before it has been sent. */
static bool take_input(struct attachment *a) {
        char *escape;
        ssize_t n = read(STDIN_FILENO, a->typed, sizeof(a->typed));

        if (n <= 0) {
                a->input_ended = n == 0 || (errno != EINTR && errno != EAGAIN);
                return false;
        }
        a->n_typed = (size_t)n;
        escape = a->interactive ? memchr(a->typed, ESCAPE, a->n_typed) : NULL;
        if (escape)
                a->n_typed = (size_t)(escape - a->typed);
        /* Without a console it is typed into the void. */
        if (a->console >= 0)
                flush_typed(a);
        else
                a->n_typed = 0;
        return escape;
}

/* The signal that asks us to end, 0 for none, or -errno. */
static int take_signal(struct attachment *a, struct error *error) {
        int number = signals_take(a->signals);

        if (number != SIGTSTP)
                return number;
        terminal_leave(&a->terminal);
        raise(SIGSTOP);
        return a->interactive ? terminal_enter(&a->terminal, STDIN_FILENO, error) : 0;
}

static int attach(struct attachment *a, int *ret_signal, struct error *error) {
        for (;;) {
                bool listen = !a->input_ended && a->n_typed == 0;
                struct pollfd pollfds[] = {
                        { .fd = a->signals, .events = POLLIN },
                        { .fd = listen ? STDIN_FILENO : -1, .events = POLLIN },
                        { .fd = -1, .events = (short)(POLLIN | (a->n_typed > 0 ? POLLOUT : 0)) },
                        { .fd = a->n_printed > 0 ? a->output : -1, .events = POLLOUT },
                };
                int r = 0;

                /* The console waits while our own output does. */
                if (a->console < 0 && a->n_printed == 0)
                        r = find_console(a);
                if (r == -EPIPE)
                        return VM_ATTACH_ENDED;
                pollfds[2].fd = a->n_printed == 0 ? a->console : -1;
                int left = vm_clock_left_ms(a->pulse.next);
                if (poll(pollfds, ARRAY_SIZE(pollfds), a->console < 0 && left > RETRY_MS ? RETRY_MS : left) <
                            0 &&
                    errno != EINTR)
                        return error_errno(error, -errno, "cannot wait for the console");
                look_at_vmhost(a);

                if (pollfds[0].revents) {
                        r = take_signal(a, error);
                        if (r < 0)
                                return r;
                        if (r > 0) {
                                *ret_signal = r;
                                return VM_ATTACH_SIGNALLED;
                        }
                }
                if (pollfds[2].revents & POLLOUT)
                        flush_typed(a);
                if (pollfds[2].revents & ~POLLOUT)
                        take_output(a);
                if (pollfds[3].revents) {
                        r = flush_printed(a);
                        if (r < 0)
                                return error_errno(error, r, "cannot write the console's output");
                }
                if (pollfds[1].revents && take_input(a))
                        return VM_ATTACH_DETACHED;
        }
}

int vm_attach(const struct vm *vm, int *ret_signal, struct error *error) {
        _cleanup_(attachment_deinit) struct attachment a = {
                .vm = vm,
                .terminal = TERMINAL_INIT,
                .console = -1,
                .signals = -1,
                .output = -1,
                .interactive = isatty(STDIN_FILENO),
        };
        int r;

        vm_pulse_begin(&a.pulse, vm->directory);
        r = take_signals(&a, error);
        if (r < 0)
                return r;
        if (a.interactive) {
                r = terminal_enter(&a.terminal, STDIN_FILENO, error);
                if (r < 0)
                        return r;
        }
        a.output = output_open();
        if (a.output < 0)
                return error_errno(error, a.output, "cannot write the console's output");
        return attach(&a, ret_signal, error);
}
