#include "vmhost/controller.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "loop/loop.h"

void controller_init(struct controller *controller, const struct controller_ops *ops,
                     const struct controller_listener *listener, void *data) {
        *controller =
                (struct controller){ .ops = ops, .listener = listener, .data = data, .phase = PHASE_STOPPED };
}

void controller_set(struct controller *controller, enum phase phase, const char *format, ...) {
        char message[sizeof(controller->message)];
        va_list ap;

        if (phase != controller->phase && !phase_may_follow(controller->phase, phase))
                return;
        va_start(ap, format);
        vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        text_make_utf8(message); /* which may have been cut within a character */
        if (phase == controller->phase && strcmp(message, controller->message) == 0)
                return;
        if (phase != controller->phase)
                controller->since = loop_now();
        if (controller->phase == PHASE_STOPPED || controller->phase == PHASE_FAILED)
                controller->begun = loop_now();
        controller->phase = phase;
        memcpy(controller->message, message, sizeof(message));
        controller->listener->on_phase(controller->data);
}

void controller_resume(struct controller *controller, enum phase phase, uint64_t begun) {
        controller->phase = phase;
        controller->since = loop_now();
        controller->begun = begun;
        controller->message[0] = '\0';
}

void controller_end(struct controller *controller, struct end *consume_end) {
        struct end end = *consume_end;
        struct timespec now;

        *consume_end = END_INIT;
        clock_gettime(CLOCK_REALTIME, &now);
        end.at_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
        end.uptime_ms = controller_uptime_ms(controller);
        controller_set(controller, end_is_clean(&end) ? PHASE_STOPPED : PHASE_FAILED, "%s",
                       end.reason ? end.reason : "");
        controller->begun = 0;
        controller->unresponsive_since = 0;
        controller->listener->on_ended(&end, controller->data);
}

void controller_emit(struct controller *controller, const char *event, json_t *consume_details) {
        controller->listener->on_event(event, consume_details, controller->data);
}

uint64_t controller_uptime_ms(const struct controller *controller) {
        return controller->begun ? (loop_now() - controller->begun) / 1000 : 0;
}

struct controller *controller_free(struct controller *controller) {
        return controller ? controller->ops->free(controller) : NULL;
}
