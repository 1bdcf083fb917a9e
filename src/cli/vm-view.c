/* VM views: what is known of a VM, as people read it. */
#include "cli/vm-view.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

char *vm_view_duration(int64_t milliseconds, char buffer[static VIEW_TEXT_SIZE]) {
        int64_t seconds = milliseconds / 1000;

        if (milliseconds < 1000)
                snprintf(buffer, VIEW_TEXT_SIZE, "%" PRId64 " ms", milliseconds > 0 ? milliseconds : 0);
        else if (seconds < 60)
                snprintf(buffer, VIEW_TEXT_SIZE, "%" PRId64 " s", seconds);
        else if (seconds < 3600)
                snprintf(buffer, VIEW_TEXT_SIZE, "%" PRId64 " min %" PRId64 " s", seconds / 60, seconds % 60);
        else if (seconds < 86400)
                snprintf(buffer, VIEW_TEXT_SIZE, "%" PRId64 " h %" PRId64 " min", seconds / 3600,
                         seconds / 60 % 60);
        else
                snprintf(buffer, VIEW_TEXT_SIZE, "%" PRId64 " d %" PRId64 " h", seconds / 86400,
                         seconds / 3600 % 24);
        return buffer;
}

char *vm_view_time(int64_t milliseconds, char buffer[static VIEW_TEXT_SIZE]) {
        time_t seconds = (time_t)(milliseconds / 1000);
        struct tm local;

        if (!localtime_r(&seconds, &local) || strftime(buffer, VIEW_TEXT_SIZE, "%F %T", &local) == 0)
                snprintf(buffer, VIEW_TEXT_SIZE, "%" PRId64, milliseconds);
        return buffer;
}

char *vm_view_state(const json_t *vm, char buffer[static VM_VIEW_LINE_SIZE]) {
        const char *phase = view_string(vm, "phase"), *message = view_string(vm, "message");
        const char *state = view_string(vm, "state");
        const json_t *stop = json_object_get(vm, "stop");
        char duration[VIEW_TEXT_SIZE];

        /* The phase says more than the state, which has three words only. */
        if (text_equal(state, "running") && phase[0])
                state = phase;
        if (view_integer(vm, "unresponsive_since_ms") > 0)
                snprintf(buffer, VM_VIEW_LINE_SIZE, "unresponsive for %s (%s)",
                         vm_view_duration(view_integer(vm, "unresponsive_since_ms"), duration), state);
        else if (json_is_object(stop))
                snprintf(buffer, VM_VIEW_LINE_SIZE, "stopping: %s, %s left", view_string(stop, "stage"),
                         vm_view_duration(view_integer(stop, "left_ms"), duration));
        else
                snprintf(buffer, VM_VIEW_LINE_SIZE, "%s%s%s", state, message[0] ? ": " : "", message);
        return view_clean(buffer);
}

char *vm_view_end(const json_t *end, char buffer[static VM_VIEW_LINE_SIZE]) {
        const char *reason = view_string(end, "reason");
        char duration[VIEW_TEXT_SIZE];

        snprintf(buffer, VM_VIEW_LINE_SIZE, "%s (after %s)", reason[0] ? reason : view_string(end, "by"),
                 vm_view_duration(view_integer(end, "uptime_ms"), duration));
        return view_clean(buffer);
}

int vm_view_status(const json_t *end) {
        const char *by = view_string(end, "by"), *stage = view_string(end, "stage");
        bool stopped = text_equal(by, "host") && !text_equal(stage, "none");
        int64_t code = view_integer(end, "exit_code"), signal = view_integer(end, "signal");

        if (text_equal(by, "guest") || stopped)
                return 0;
        if (code > 0 && code < 126)
                return (int)code;
        return signal > 0 && signal < 65 ? 128 + (int)signal : 1;
}

char *vm_view_addresses(const json_t *vm, char buffer[static VM_VIEW_LINE_SIZE]) {
        const json_t *address;
        size_t i, used = 0;

        buffer[0] = '\0';
        json_array_foreach(json_object_get(vm, "addresses"), i, address) {
                const char *text = json_string_value(address);

                if (!text || used + strlen(text) + 3 > VM_VIEW_LINE_SIZE)
                        continue;
                used += (size_t)snprintf(buffer + used, VM_VIEW_LINE_SIZE - used, "%s%s",
                                         used > 0 ? ", " : "", text);
        }
        return buffer;
}
