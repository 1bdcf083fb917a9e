/* A session: one run of `berth`, its broker, and what went wrong. */
#include "cli/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"

void session_deinit(struct session *session) {
        session->berth = berth_free(session->berth);
}

/*
 * The broker that belongs to this program: beside it when both are installed, in the next directory in a
 * build tree. NULL when neither is there, which leaves it to the library.
 */
static char *find_broker(void) {
        _cleanup_free_ char *own = process_own_directory();
        _cleanup_free_ char *in_build = own ? text_format("%s/../broker", own) : NULL;
        char *found = own ? process_find_program("berthd", own) : NULL;

        if (!found && in_build)
                found = process_find_program("berthd", in_build);
        return found;
}

static int session_open(struct session *session, unsigned int flags) {
        _cleanup_free_ char *program = find_broker();
        int r;

        r = berth_new(&session->berth);
        if (r < 0)
                return error_set(&session->error, r, "out of memory");
        r = berth_set_broker_program(session->berth, program);
        if (r < 0)
                return error_set(&session->error, r, "%s", berth_error(session->berth));
        if (session->system)
                flags |= BERTH_CONNECT_SYSTEM;
        r = berth_connect(session->berth, NULL, flags);
        if (r < 0)
                return error_set(&session->error, r, "%s", berth_error(session->berth));
        return 0;
}

int session_connect(struct session *session) {
        return session_open(session, 0);
}

int session_connect_running(struct session *session) {
        int r = session_open(session, BERTH_CONNECT_NO_START);

        /* Without a place for its socket it is not that none runs: none can. */
        if (r == -ENOENT && !berth_get_socket(session->berth))
                return session->error.code = -ENXIO;
        if (r == -ENOENT || r == -ECONNREFUSED)
                return 0;
        return r < 0 ? r : 1;
}

const char *session_broker_start(const struct session *session) {
        const char *named = getenv("BERTH_SOCKET");

        if (named && named[0])
                return "who set BERTH_SOCKET has to start it";
        return session->system && geteuid() != 0 ? "root has to start it"
                                                 : "it starts when it is first needed";
}

int session_misused(struct session *session, const char *format, ...) {
        char text[sizeof(session->error.text)];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        session->misused = true;
        return error_set(&session->error, -EINVAL, "%s", text);
}

/* What a person can do about a refusal, by the other side's code. */
static const char *next_step(int code) {
        switch (code) {
        case BERTH_ERROR_NOT_FOUND:
                return "\n`berth net ls --all` shows the networks there are";
        case BERTH_ERROR_CREATE_FAILURE:
                return "\n`berth status` checks what a network needs of this machine";
        case BERTH_ERROR_INTERNAL:
                return "\nthe broker's log says more";
        case BERTH_ERROR_IN_USE:
                return "\n`berth net show` says who uses it";
        default:
                return "";
        }
}

static int refused(struct session *session, int code, const char *reason, int broker_code, const char *format,
                   va_list arguments) __attribute__((format(printf, 5, 0)));

static int refused(struct session *session, int code, const char *reason, int broker_code, const char *format,
                   va_list arguments) {
        char what[160];

        vsnprintf(what, sizeof(what), format, arguments);
        return error_set(&session->error, code, "%s: %s%s", what, reason, next_step(broker_code));
}

int session_broker_error(struct session *session, int code, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        refused(session, code, berth_error(session->berth), berth_error_code(session->berth), format,
                arguments);
        va_end(arguments);
        return code;
}

int session_network_error(struct session *session, const struct berth_network *network, int code,
                          const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        refused(session, code, berth_network_error(network), berth_network_error_code(network), format,
                arguments);
        va_end(arguments);
        return code;
}

int session_list(struct session *session, const char *name, json_t **ret) {
        _cleanup_free_ char *text = NULL;
        json_t *list;
        int r;

        r = berth_list(session->berth, name, &text);
        if (r < 0)
                return session_broker_error(session, r, "cannot list %s%s",
                                            name ? "network " : "the networks", name ? name : "");
        list = json_loads(text, 0, NULL);
        if (!list)
                return error_set(&session->error, -EPROTO, "the broker's list makes no sense");
        *ret = list;
        return 0;
}
