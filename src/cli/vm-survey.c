/* Survey: what all VMs say of themselves, within a deadline that none of them can move. */
#include "cli/vm-survey.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/view.h"
#include "cli/vm-channel.h"
#include "cli/vm-clock.h"
#include "cli/vm-directory.h"
#include "cli/vm-state.h"
#include "loop/loop.h"

/* One VM while it is asked. */
struct question {
        const char *name; /* borrowed */
        char *directory;
        struct vm_channel *channel; /* NULL once the answer is known */
        json_t *answer; /* NULL: silent */
        bool unhosted;
        int failure; /* why it could not be asked, or 0 */
};

struct survey {
        struct question *questions;
        struct pollfd *pollfds; /* those that are open, in the order of the questions */
        size_t n, n_open;
};

static void survey_deinit(struct survey *survey) {
        for (size_t i = 0; i < survey->n; i++) {
                free(survey->questions[i].directory);
                vm_channel_free(survey->questions[i].channel);
                json_decref(survey->questions[i].answer);
        }
        free(survey->questions);
        free(survey->pollfds);
}

static int ask_all(struct survey *survey, const char *config, char **names) {
        json_auto_t *request = json_pack("{s:s}", "method", "info");

        if (!request)
                return -ENOMEM;
        for (size_t i = 0; i < survey->n; i++) {
                struct question *question = &survey->questions[i];
                int r;

                question->name = names[i];
                question->directory = text_format("%s/vms/%s", config, names[i]);
                if (!question->directory)
                        return -ENOMEM;
                r = vm_channel_open(&question->channel, question->directory, request);
                if (r == -ENOMEM)
                        return r;
                question->failure = r;
                question->unhosted = r == -ENOENT || r == -ECONNREFUSED;
                survey->n_open += r == 0;
        }
        return 0;
}

/* Takes the answers that are there; true if one was. */
static bool collect(struct survey *survey) {
        size_t before = survey->n_open;

        for (size_t i = 0; i < survey->n; i++) {
                struct question *question = &survey->questions[i];
                int r;

                if (!question->channel)
                        continue;
                r = vm_channel_next(question->channel, &question->answer);
                if (r == 0)
                        continue;
                /* One that closed without a word has ended just now. */
                question->unhosted = r == -EPIPE;
                question->failure = r < 0 ? r : 0;
                question->channel = vm_channel_free(question->channel);
                survey->n_open--;
        }
        return survey->n_open < before;
}

static void wait_for_answers(struct survey *survey) {
        uint64_t start = loop_now(), hard = start + SURVEY_HARD_MS * 1000,
                 soft = start + SURVEY_SOFT_MS * 1000;

        for (;;) {
                uint64_t slowest = 0;
                size_t n = 0;
                int left;

                if (collect(survey))
                        slowest = start + (loop_now() - start) * SURVEY_FACTOR;
                soft = slowest > soft ? slowest : soft;
                left = vm_clock_left_ms(survey->n_open * 2 <= survey->n && soft < hard ? soft : hard);
                if (survey->n_open == 0 || left == 0)
                        return;
                for (size_t i = 0; i < survey->n; i++)
                        if (survey->questions[i].channel)
                                survey->pollfds[n++] = (struct pollfd){
                                        .fd = vm_channel_fd(survey->questions[i].channel),
                                        .events = POLLIN,
                                };
                if (poll(survey->pollfds, n, left) < 0 && errno != EINTR)
                        return;
        }
}

json_t *vm_survey_unhosted(const char *directory, const char *name) {
        json_auto_t *state = NULL;
        struct error error = ERROR_INIT;
        json_t *found = json_pack("{s:s}", "name", name), *end;
        const char *word = "stopped";

        if (!found)
                return NULL;
        if (vm_state_load(directory, &state, &error) < 0)
                json_object_set_new(found, "message", json_string(error.text));
        if (vm_state_runs(state)) {
                word = "orphaned";
                json_object_set(found, "pid", json_object_get(json_object_get(state, "run"), "pid"));
        } else if (text_equal(view_string(state, "phase"), "failed")) {
                word = "failed";
        }
        end = json_object_get(state, "last_end");
        if (json_is_object(end))
                json_object_set(found, "last_end", end);
        json_object_set_new(found, "state", json_string(word));
        return found;
}

/* What is said of a VM whose vmhost answered, or not. */
static json_t *describe(const struct question *question) {
        json_t *found = json_pack("{s:s}", "name", question->name);
        const char *error = view_string(question->answer, "error"),
                   *phase = view_string(question->answer, "phase");

        if (!found)
                return NULL;
        if (!question->answer) {
                json_object_set_new(found, "state", json_string("silent"));
                if (question->failure < 0 && question->failure != -EAGAIN)
                        json_object_set_new(found, "message", json_string(strerror(-question->failure)));
                return found;
        }
        json_object_update(found, question->answer);
        json_object_del(found, "ok");
        json_object_set_new(found, "name", json_string(question->name));
        /* While there is no VM, `info` is refused with a text, and tells all the same. */
        if (!view_string(found, "state")[0]) {
                bool again = text_equal(phase, "stopped") || text_equal(phase, "failed");

                json_object_set_new(found, "state", json_string(again ? "restarting" : "starting"));
                if (again || !view_string(found, "message")[0])
                        json_object_set_new(found, "message", json_string(error));
                json_object_del(found, "error");
        }
        return found;
}

int vm_survey(const char *config, char **names, size_t n_names, json_t **ret) {
        _cleanup_(survey_deinit) struct survey survey = {
                .questions = calloc(n_names + 1, sizeof(*survey.questions)),
                .pollfds = calloc(n_names + 1, sizeof(*survey.pollfds)),
                .n = n_names,
        };
        json_auto_t *list = json_array();
        int r;

        if (!survey.questions || !survey.pollfds || !list) {
                survey.n = 0;
                return -ENOMEM;
        }
        r = ask_all(&survey, config, names);
        if (r < 0)
                return r;
        wait_for_answers(&survey);
        for (size_t i = 0; i < n_names; i++) {
                const struct question *question = &survey.questions[i];
                json_t *found = question->unhosted ? vm_survey_unhosted(question->directory, question->name)
                                                   : describe(question);

                if (!found || json_array_append_new(list, found) < 0)
                        return -ENOMEM;
        }
        *ret = steal_ptr(list);
        return 0;
}
