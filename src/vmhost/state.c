#include "vmhost/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#define STATE_MAX (1024 * 1024) /* bytes */

static json_t *object_or_null(const json_t *object, const char *key) {
        json_t *value = json_object_get(object, key);

        return json_is_object(value) ? json_incref(value) : NULL;
}

/* Takes what is there and of the right type: the file is ours, and an older one may lack something. */
static void take(struct state *state, const json_t *object) {
        const char *phase = json_string_value(json_object_get(object, "phase"));
        json_t *restarts = json_object_get(object, "restarts");

        if (phase)
                phase_parse(phase, &state->phase);
        state->wanted_running = text_equal(json_string_value(json_object_get(object, "wanted")), "running");
        if (json_is_integer(restarts) && json_integer_value(restarts) > 0)
                state->restarts = (uint64_t)json_integer_value(restarts);
        json_int_t ssh_port = json_integer_value(json_object_get(object, "ssh_port"));
        if (ssh_port > 0 && ssh_port <= UINT16_MAX)
                state->ssh_port = (uint16_t)ssh_port;
        state->run = object_or_null(object, "run");
        state->last_end = object_or_null(object, "last_end");
}

/* Takes what the file says; one that is no JSON is moved aside, for the next save would be the end of it. */
static int parse(struct state *state, const char *text, size_t size, struct error *error) {
        json_error_t json_error;
        json_auto_t *object = json_loadb(text, size, 0, &json_error);

        if (json_is_object(object)) {
                take(state, object);
                return 0;
        }
        error_set(error, -EINVAL, "%s:%d: %s", state->path, object ? 1 : json_error.line,
                  object ? "no object" : json_error.text);
        _cleanup_free_ char *aside = text_format("%s" STATE_BAD, state->path);
        if (!aside)
                return -ENOMEM;
        return rename(state->path, aside) < 0
                       ? error_errno(error, -errno, "cannot keep %s, which is no JSON", state->path)
                       : 0;
}

int state_load(struct state *ret, const char *directory, const char *name, const char *backend,
               struct error *error) {
        struct state state = { .phase = PHASE_STOPPED };
        _cleanup_free_ char *text = NULL;
        size_t size;

        state.path = text_format("%s/" STATE_FILE, directory);
        state.name = strdup(name);
        state.backend = strdup(backend);
        if (!state.path || !state.name || !state.backend) {
                state_deinit(&state);
                return -ENOMEM;
        }
        int r = file_read(state.path, STATE_MAX, &text, &size, error);
        if (r == 0) {
                r = parse(&state, text, size, error);
        } else if (r == -ENOENT) {
                r = 0;
                if (error)
                        *error = ERROR_INIT;
        }
        if (r < 0) {
                state_deinit(&state);
                return r;
        }
        *ret = state;
        return 0;
}

void state_deinit(struct state *state) {
        free(state->path);
        free(state->name);
        free(state->backend);
        json_decref(state->run);
        json_decref(state->last_end);
        *state = (struct state){};
}

int state_save(const struct state *state, bool durable, struct error *error) {
        json_t *object = json_pack("{s:s, s:s, s:s, s:O?, s:s, s:I, s:I, s:O?}", "name", state->name,
                                   "backend", state->backend, "phase", phase_name(state->phase), "run",
                                   state->run, "wanted", state->wanted_running ? "running" : "stopped",
                                   "restarts", (json_int_t)state->restarts, "ssh_port",
                                   (json_int_t)state->ssh_port, "last_end", state->last_end);
        _cleanup_free_ char *text = json_dumps(object, JSON_INDENT(2));

        json_decref(object);
        if (!text)
                return error_set(error, -ENOMEM, "cannot write %s: out of memory", state->path);
        return durable ? file_write(state->path, text, strlen(text), 0600, true, error)
                       : file_write_ordered(state->path, text, strlen(text), 0600, error);
}
