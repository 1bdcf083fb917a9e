#include "vmhost/guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "vmhost/arguments.h"
#include "vmhost/monitor.h"
#include "vmhost/qemu.h"
#include "vmhost/space.h"

#define AGENT_CHANNEL "agent" /* the id of the chardev and of its port, as arguments.c gives it */
#define WORD_MAX 32 /* bytes; the longest of QEMU's RunState and ShutdownCause have 20 */

enum agent_state { AGENT_UNKNOWN, AGENT_ABSENT, AGENT_PRESENT };

struct guest {
        struct monitor *monitor;
        struct space *space;
        struct source *boot; /* ends the patience with a guest that has no agent */
        const struct guest_handlers *handlers;
        void *data;
        bool ready, booted, panicked, watchdog;
        bool paused; /* by a command */
        bool stuck; /* in a state that `cont` does not end */
        bool no_space; /* why it is in IO_ERROR */
        enum agent_state agent;
        char *shutdown_reason;
        uint64_t resets;
        bool shares; /* it has some that end with their virtiofsd */
        json_t *shares_lost; /* their tags */
};

static void set_phase(struct guest *guest, enum phase phase, const char *message) {
        guest->handlers->on_phase(phase, message, guest->data);
}

static void emit(struct guest *guest, const char *event, json_t *details) {
        guest->handlers->on_event(event, details ? json_incref(details) : NULL, guest->data);
}

static void set_booted(struct guest *guest, const char *how) {
        source_disarm(guest->boot);
        if (guest->booted)
                return;
        guest->booted = true;
        log_info("the guest has booted: %s", how);
        monitor_ask(guest->monitor); /* whether it runs at all */
}

static int on_boot_patience(struct source *source, void *data) {
        set_booted(data, "it had the time to");
        return 0;
}

/* ---- Disks without room ---- */

static void set_io_error(struct guest *guest) {
        char message[240];

        if (!guest->no_space) {
                set_phase(guest, PHASE_IO_ERROR,
                          "a disk failed: see to it, then `berth vm cont` lets the VM go on");
                return;
        }
        space_wait(guest->space);
        set_phase(guest, PHASE_IO_ERROR, space_describe(guest->space, message, sizeof(message)));
}

/* Each disk has an io-status: "ok", "nospace" or "failed". */
static void on_disks(json_t *disks, void *data) {
        struct guest *guest = data;
        json_t *disk;
        size_t i;

        json_array_foreach(disks, i, disk)
                if (text_equal(json_string_value(json_object_get(disk, "io-status")), "nospace"))
                        guest->no_space = true;
        set_io_error(guest);
}

static void on_space(void *data) {
        struct guest *guest = data;

        log_info("the VM goes on, for there may be room on its disk again");
        if (monitor_unresponsive_since(guest->monitor) || monitor_execute(guest->monitor, "cont") < 0)
                space_wait(guest->space);
}

/* ---- Shares ---- */

/* No event tells of the end of a virtiofsd, and QEMU never connects to another: all that is left to do is to
 * tell. */
static void set_share_lost(struct guest *guest, const char *tag) {
        json_t *known;
        size_t i;

        json_array_foreach(guest->shares_lost, i, known)
                if (text_equal(json_string_value(known), tag))
                        return;
        /* A QEMU that its guest has taken over says what it likes. */
        if (json_array_size(guest->shares_lost) == CONFIGURATION_SHARES_MAX || !text_is_name(tag))
                return;
        json_array_append_new(guest->shares_lost, json_string(tag));
        log_warning("the virtiofsd of the share %s has ended: what uses it in the guest hangs until the VM "
                    "is started anew",
                    tag);
        guest->handlers->on_event("share-lost", json_pack("{s:s}", "tag", tag), guest->data);
}

static void look_at_share(struct guest *guest, const char *tag, const json_t *channel) {
        const char *file = json_string_value(json_object_get(channel, "filename"));

        guest->shares = true;
        if (file && text_starts_with(file, "disconnected:"))
                set_share_lost(guest, tag);
}

/* ---- What the monitor says ---- */

static void on_channels(json_t *channels, void *data);

/* For logs and people, a word of QEMU's own; but one that its guest has taken over says what it likes. */
static const char *trust_word(const char *word) {
        size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyz-");

        return n > 0 && n <= WORD_MAX && word[n] == '\0' ? word : "QEMU gives a word that is none of its own";
}

static void on_status(const char *status, void *data) {
        struct guest *guest = data;

        guest->handlers->on_alive(guest->data);
        if (guest->shares)
                monitor_query(guest->monitor, "query-chardev", on_channels);
        guest->paused = text_equal(status, "paused");
        guest->stuck = text_equal(status, "internal-error") || text_equal(status, "suspended");
        if (!text_equal(status, "io-error"))
                space_stop_waiting(guest->space);

        if (text_equal(status, "running")) {
                guest->no_space = false;
                set_phase(guest, guest->booted ? PHASE_RUNNING : PHASE_BOOTING, "");
        } else if (text_equal(status, "io-error")) {
                if (guest->no_space)
                        set_io_error(guest);
                else if (monitor_query(guest->monitor, "query-block", on_disks) < 0)
                        set_io_error(guest);
        } else if (text_equal(status, "guest-panicked")) {
                set_phase(guest, PHASE_PAUSED, "the guest's kernel panicked");
        } else if (text_equal(status, "internal-error")) {
                set_phase(guest, PHASE_PAUSED, "QEMU met an internal error: the guest cannot go on");
        } else if (text_equal(status, "watchdog")) {
                set_phase(guest, PHASE_PAUSED, "the guest's watchdog paused it");
        } else if (text_equal(status, "suspended")) {
                set_phase(guest, PHASE_PAUSED, "the guest sleeps");
        } else if (!text_equal(status, "shutdown")) {
                set_phase(guest, PHASE_PAUSED, guest->paused ? "paused by a command" : trust_word(status));
        }
}

static void set_agent(struct guest *guest, bool open) {
        guest->agent = open ? AGENT_PRESENT : AGENT_ABSENT;
        if (open)
                set_booted(guest, "its agent answers");
}

/* Of a guest that was there before us nobody told whether its agent's port is open. */
static void on_channels(json_t *channels, void *data) {
        struct guest *guest = data;
        json_t *channel;
        size_t i;

        json_array_foreach(channels, i, channel) {
                const char *label = json_string_value(json_object_get(channel, "label"));

                if (text_equal(label, AGENT_CHANNEL) && guest->agent == AGENT_UNKNOWN)
                        set_agent(guest, json_is_true(json_object_get(channel, "frontend-open")));
                else if (label && text_starts_with(label, ARGUMENTS_SHARE))
                        look_at_share(guest, label + strlen(ARGUMENTS_SHARE), channel);
        }
}

static void on_ready(void *data) {
        struct guest *guest = data;

        guest->ready = true;
        monitor_query(guest->monitor, "query-chardev", on_channels);
        if (!guest->booted) {
                set_phase(guest, PHASE_BOOTING, "");
                source_arm(guest->boot, GUEST_BOOT);
        }
}

static void on_responsive(bool responsive, void *data) {
        struct guest *guest = data;

        if (responsive)
                log_info("QEMU answers again");
        else
                log_warning("QEMU does not answer");
        guest->handlers->on_event(responsive ? "responsive" : "unresponsive", NULL, guest->data);
}

static void on_shutdown(struct guest *guest, json_t *details) {
        const char *reason = json_string_value(json_object_get(details, "reason"));

        if (reason && !guest->shutdown_reason)
                guest->shutdown_reason = strdup(trust_word(reason));
        emit(guest, "shutdown", details);
}

static void on_reset(struct guest *guest, json_t *details) {
        guest->resets++;
        guest->booted = false;
        /* What the guest met before it says nothing about the end of the one that begins here. */
        guest->panicked = guest->watchdog = false;
        source_arm(guest->boot, GUEST_BOOT);
        emit(guest, "reset", details);
        monitor_ask(guest->monitor);
}

static void on_panic(struct guest *guest, json_t *details) {
        guest->panicked = true;
        emit(guest, "panic", details);
}

/* After any other action than these two the guest goes on, or waits for somebody. */
static void on_watchdog(struct guest *guest, json_t *details) {
        const char *action = json_string_value(json_object_get(details, "action"));

        guest->watchdog = text_equal(action, "shutdown") || text_equal(action, "poweroff");
        emit(guest, "watchdog", details);
        monitor_ask(guest->monitor);
}

static void on_io_error(struct guest *guest, json_t *details) {
        if (text_equal(json_string_value(json_object_get(details, "action")), "stop"))
                guest->no_space = json_is_true(json_object_get(details, "nospace"));
        emit(guest, "io-error", details);
        monitor_ask(guest->monitor);
}

static void on_power(struct guest *guest, json_t *details) {
        emit(guest, "powerdown", details);
}

static void on_state_change(struct guest *guest, json_t *details) {
        monitor_ask(guest->monitor);
}

/* A configuration's own arguments may have ports too. */
static void on_port(struct guest *guest, json_t *details) {
        bool open = json_is_true(json_object_get(details, "open"));

        if (!text_equal(json_string_value(json_object_get(details, "id")), AGENT_CHANNEL))
                return;
        emit(guest, "agent", details);
        set_agent(guest, open);
}

static void on_event(const char *event, json_t *details, void *data) {
        static const struct {
                const char *name;
                void (*fn)(struct guest *guest, json_t *details);
        } events[] = {
                { "SHUTDOWN", on_shutdown },       { "RESET", on_reset },
                { "GUEST_PANICKED", on_panic },    { "WATCHDOG", on_watchdog },
                { "BLOCK_IO_ERROR", on_io_error }, { "POWERDOWN", on_power },
                { "STOP", on_state_change },       { "RESUME", on_state_change },
                { "SUSPEND", on_state_change },    { "WAKEUP", on_state_change },
                { "VSERPORT_CHANGE", on_port },
        };

        for (size_t i = 0; i < ARRAY_SIZE(events); i++)
                if (text_equal(event, events[i].name)) {
                        events[i].fn(data, details);
                        return;
                }
}

static const struct monitor_handlers monitor_handlers = {
        .on_ready = on_ready,
        .on_status = on_status,
        .on_event = on_event,
        .on_responsive = on_responsive,
};

/* ---- Its life ---- */

int guest_new(struct guest **ret, struct loop *loop, const char *directory, const char *disk,
              enum guest_origin origin, const struct guest_handlers *handlers, void *data) {
        struct guest *guest = calloc(1, sizeof(*guest));
        int r;

        if (!guest)
                return -ENOMEM;
        guest->handlers = handlers;
        guest->data = data;
        guest->booted = origin == GUEST_ADOPTED_BOOTED;
        guest->agent = origin == GUEST_NEW ? AGENT_ABSENT : AGENT_UNKNOWN;
        guest->shares_lost = json_array();
        r = guest->shares_lost ? loop_add_timer(loop, &guest->boot, on_boot_patience, guest) : -ENOMEM;
        if (r >= 0)
                r = space_new(&guest->space, loop, disk, on_space, guest);
        if (r >= 0)
                r = monitor_new(&guest->monitor, loop, directory, QEMU_QMP_SOCKET, &monitor_handlers, guest);
        if (r < 0) {
                guest_free(guest);
                return r;
        }
        *ret = guest;
        return 0;
}

struct guest *guest_free(struct guest *guest) {
        if (!guest)
                return NULL;
        monitor_free(guest->monitor);
        space_free(guest->space);
        source_free(guest->boot);
        free(guest->shutdown_reason);
        json_decref(guest->shares_lost);
        free(guest);
        return NULL;
}

bool guest_was_ready(const struct guest *guest) {
        return guest->ready;
}

bool guest_has_booted(const struct guest *guest) {
        return guest->booted;
}

bool guest_may_have_agent(const struct guest *guest) {
        return guest->agent != AGENT_ABSENT && !monitor_unresponsive_since(guest->monitor);
}

uint64_t guest_unresponsive_since(const struct guest *guest) {
        return monitor_unresponsive_since(guest->monitor);
}

void guest_describe(const struct guest *guest, json_t *object) {
        json_object_set_new(object, "resets", json_integer((json_int_t)guest->resets));
        if (json_array_size(guest->shares_lost) > 0)
                json_object_set(object, "shares_lost", guest->shares_lost);
        json_object_set_new(object, "agent",
                            guest->agent == AGENT_UNKNOWN ? json_null()
                                                          : json_boolean(guest->agent == AGENT_PRESENT));
}

int guest_cont(struct guest *guest, struct error *error) {
        if (monitor_unresponsive_since(guest->monitor))
                return error_set(error, -ETIMEDOUT, "QEMU does not answer");
        if (guest->stuck)
                return error_set(error, -EBUSY, "what paused the VM does not end so");
        space_stop_waiting(guest->space);
        int r = monitor_execute(guest->monitor, "cont");
        return r < 0 ? error_errno(error, r, "QEMU cannot be told") : 0;
}

void guest_wake(struct guest *guest) {
        if (guest->paused && !monitor_unresponsive_since(guest->monitor))
                monitor_execute(guest->monitor, "cont");
}

void guest_press_power(struct guest *guest) {
        if (!guest->shutdown_reason && !monitor_unresponsive_since(guest->monitor))
                monitor_execute(guest->monitor, "system_powerdown");
}

bool guest_quit(struct guest *guest) {
        return !monitor_unresponsive_since(guest->monitor) && monitor_execute(guest->monitor, "quit") == 0;
}

void guest_drain(struct guest *guest) {
        monitor_drain(guest->monitor);
}

void guest_testify(const struct guest *guest, struct end_evidence *evidence) {
        evidence->shutdown_reason = guest->shutdown_reason;
        evidence->panicked = guest->panicked;
        evidence->watchdog = guest->watchdog;
}
