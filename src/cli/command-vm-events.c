/* berth vm events: what happens to VMs, as it happens. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"
#include "cli/vm-pulse.h"
#include "cli/vm-request.h"
#include "cli/vm-view.h"

/* The events of one VM. */
struct stream {
        const char *name; /* borrowed */
        char *directory;
        struct vm_channel *channel; /* NULL once it has ended */
        struct vm_pulse pulse;
        bool heard; /* the first event, where it stands, comes at once */
};

struct streams {
        struct stream *streams;
        struct pollfd *pollfds; /* of each */
        size_t n, n_open;
        size_t n_failed;
        const char *config; /* borrowed */
        bool json;
};

static void streams_deinit(struct streams *streams) {
        for (size_t i = 0; i < streams->n; i++) {
                vm_channel_free(streams->streams[i].channel);
                vm_pulse_end(&streams->streams[i].pulse);
                free(streams->streams[i].directory);
        }
        free(streams->streams);
        free(streams->pollfds);
}

/* "2024-05-01 13:05:09 web phase running: message" */
static void print_text(const char *name, const json_t *event) {
        static const char *const shown[] = { "phase", "step", "stage", "tag", "reason", "message" };
        const json_t *end = json_object_get(event, "end");
        char line[VM_VIEW_LINE_SIZE], time[VIEW_TEXT_SIZE];
        const char *separator = " ";

        snprintf(line, sizeof(line), "%s", view_string(event, "event"));
        printf("%s  %-12s %s", vm_view_time(view_integer(event, "at"), time), name, view_clean(line));
        for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
                char value[VM_VIEW_LINE_SIZE * 2];

                snprintf(value, sizeof(value), "%s", view_string(event, shown[i]));
                if (!value[0])
                        continue;
                printf("%s%s", separator, view_clean(value));
                separator = ": ";
        }
        if (json_is_object(end))
                printf("%s%s", separator, vm_view_end(end, line));
        putchar('\n');
}

static int print_event(const struct streams *streams, const char *name, json_t *event) {
        _cleanup_free_ char *text = NULL;

        if (streams->json) {
                if (json_object_set_new(event, "name", json_string(name)) < 0)
                        return -ENOMEM;
                text = json_dumps(event, JSON_COMPACT);
                if (!text)
                        return -ENOMEM;
                puts(text);
        } else {
                print_text(name, event);
        }
        return fflush(stdout) == 0 ? 0 : -errno;
}

static void close_stream(struct streams *streams, struct stream *stream) {
        stream->channel = vm_channel_free(stream->channel);
        vm_pulse_end(&stream->pulse);
        streams->n_open--;
}

/* Prints what one has. 0 or -errno of our own. */
static int drain(struct streams *streams, struct stream *stream) {
        for (;;) {
                json_auto_t *event = NULL;
                int r = vm_channel_next(stream->channel, &event);

                if (r == 0)
                        return 0;
                if (r == -EREMOTEIO || r == -EPROTO) {
                        streams->n_failed++;
                        fflush(stdout);
                        fprintf(stderr, "berth: %s: %s\n", stream->name,
                                r == -EPROTO ? "what answers is no vmhost"
                                             : vm_channel_refusal(stream->channel));
                }
                if (r < 0) {
                        close_stream(streams, stream);
                        return 0;
                }
                stream->heard = true;
                r = print_event(streams, stream->name, event);
                if (r < 0)
                        return r;
        }
}

static void give_up(struct streams *streams, struct stream *stream) {
        vm_tell_silent(stream->name, stream->directory, stream->heard ? stream->pulse.since_ms : 0);
        close_stream(streams, stream);
        streams->n_failed++;
}

/* Those that had the time to say where they stand and did not, and those that answer nothing any more. */
static void give_up_silent(struct streams *streams, uint64_t deadline) {
        for (size_t i = 0; i < streams->n; i++) {
                struct stream *stream = &streams->streams[i];

                if (!stream->channel)
                        continue;
                if (stream->heard ? vm_pulse_look(&stream->pulse) : vm_clock_left_ms(deadline) == 0)
                        give_up(streams, stream);
        }
}

/* When the next is to be looked at, whether or not one says something. */
static uint64_t next_look(const struct streams *streams, uint64_t deadline) {
        uint64_t next = UINT64_MAX;

        for (size_t i = 0; i < streams->n; i++) {
                const struct stream *stream = &streams->streams[i];
                uint64_t due = stream->heard ? stream->pulse.next : deadline;

                if (stream->channel && due < next)
                        next = due;
        }
        return next;
}

static int follow(struct streams *streams) {
        uint64_t deadline = vm_clock_in_ms(VM_REQUEST_TIMEOUT_MS);
        int r;

        while (streams->n_open > 0) {
                for (size_t i = 0; i < streams->n; i++) {
                        const struct vm_channel *channel = streams->streams[i].channel;

                        streams->pollfds[i] = (struct pollfd){ .fd = channel ? vm_channel_fd(channel) : -1,
                                                               .events = POLLIN };
                }
                if (poll(streams->pollfds, streams->n, vm_clock_left_ms(next_look(streams, deadline))) < 0 &&
                    errno != EINTR)
                        return -errno;
                for (size_t i = 0; i < streams->n; i++) {
                        r = streams->streams[i].channel ? drain(streams, &streams->streams[i]) : 0;

                        if (r < 0)
                                return r;
                }
                give_up_silent(streams, deadline);
        }
        return 0;
}

static int make_room(struct streams *streams, size_t n) {
        streams->streams = calloc(n + 1, sizeof(*streams->streams));
        streams->pollfds = calloc(n + 1, sizeof(*streams->pollfds));
        return streams->streams && streams->pollfds ? 0 : -ENOMEM;
}

static int open_stream(struct streams *streams, const char *name) {
        _cleanup_free_ char *directory = text_format("%s/vms/%s", streams->config, name);
        struct stream *stream = &streams->streams[streams->n];
        int r;

        if (!directory)
                return -ENOMEM;
        r = vm_channel_watch(&stream->channel, directory, "events");
        if (r < 0)
                return r;
        stream->name = name;
        stream->directory = steal_ptr(directory);
        vm_pulse_begin(&stream->pulse, stream->directory);
        streams->n++;
        streams->n_open++;
        return 0;
}

/* Of one VM, which must run. */
static int follow_one(struct session *session, struct streams *streams, const char *name) {
        _cleanup_(vm_deinit) struct vm vm = { 0 };
        int r;

        r = vm_find(session, name, &vm);
        if (r < 0)
                return r;
        streams->config = vm.config;
        r = make_room(streams, 1);
        if (r == 0)
                r = open_stream(streams, vm.name);
        if (r < 0)
                return vm_request_failed(session, &vm, r);
        r = follow(streams);
        if (r < 0)
                return error_errno(&session->error, r, "cannot follow the events");
        return streams->n_failed > 0 ? STATUS_FAILED : STATUS_OK;
}

/* One of many that cannot be followed, unless it does not run. 0 or -ENOMEM. */
static int tell_failure(struct streams *streams, const char *name, int code) {
        _cleanup_free_ char *directory = text_format("%s/vms/%s", streams->config, name);

        if (!directory || code == -ENOMEM)
                return -ENOMEM;
        if (code == -ENOENT || code == -ECONNREFUSED)
                return 0;
        if (code == -EAGAIN)
                vm_tell_silent(name, directory, 0);
        else
                fprintf(stderr, "berth: the events of %s cannot be followed: %s\n", name, strerror(-code));
        streams->n_failed++;
        return 0;
}

/* Of all that run now. */
static int follow_all(struct session *session, struct streams *streams) {
        _cleanup_(vm_names_freep) char **names = NULL;
        _cleanup_free_ char *config = NULL;
        size_t n = 0;
        int r;

        r = vm_config_directory(session, &config);
        if (r == 0)
                r = vm_names(config, &names, &n, &session->error);
        if (r < 0)
                return r;
        streams->config = config;
        r = make_room(streams, n);
        for (size_t i = 0; r == 0 && i < n; i++) {
                r = open_stream(streams, names[i]);
                if (r < 0)
                        r = tell_failure(streams, names[i], r);
        }
        if (r < 0)
                return error_set(&session->error, r, "out of memory");
        if (streams->n == 0 && streams->n_failed == 0)
                return error_set(&session->error, -ENOENT,
                                 "no VM is running\n`berth vm start NAME` starts one");
        r = follow(streams);
        if (r < 0)
                return error_errno(&session->error, r, "cannot follow the events");
        return streams->n_failed > 0 ? STATUS_FAILED : STATUS_OK;
}

static int run_vm_events(struct session *session, const struct arguments *arguments) {
        _cleanup_(streams_deinit) struct streams streams = {
                .json = arguments_has(arguments, "json"),
        };

        return arguments->n_operands > 0 ? follow_one(session, &streams, arguments->operands[0])
                                         : follow_all(session, &streams);
}

static const struct option_spec options[] = {
        { "json", NULL, "A JSON object per line, for programs." },
};

const struct command command_vm_events = {
        .name = "vm events",
        .operands = "[NAME]",
        .max_operands = 1,
        .summary = "Tell what happens to VMs",
        .help = "Tells what happens to a VM, or to all that run now, beginning with the phase that each\n"
                "is in, until the last of them has ended.",
        .options = options,
        .n_options = ARRAY_SIZE(options),
        .failure = STATUS_FAILED,
        .run = run_vm_events,
};
