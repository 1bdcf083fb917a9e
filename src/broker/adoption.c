#include "broker/adoption.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "broker/definitions.h"
#include "broker/network.h"

#define PATIENCE 2000000 /* microseconds that clients wait for a network that does not answer */

struct adoptee {
        struct list link; /* in adoption->adoptees */
        struct network_waiter waiter;
        struct adoption *adoption;
};

struct adoption {
        struct list adoptees;
        struct source *timer;
        adoption_fn fn;
        void *data;
};

static void adoptee_free(struct adoptee *adoptee) {
        list_unlink(&adoptee->waiter.link);
        list_unlink(&adoptee->link);
        free(adoptee);
}

static void finish(struct adoption *adoption) {
        adoption_fn fn = steal_ptr(adoption->fn);

        source_disarm(adoption->timer);
        if (fn)
                fn(adoption->data);
}

static void on_event(struct network_waiter *waiter, enum network_event event, int code, const char *message) {
        struct adoptee *adoptee = container_of(waiter, struct adoptee, waiter);
        struct adoption *adoption = adoptee->adoption;

        adoptee_free(adoptee);
        if (list_empty(&adoption->adoptees))
                finish(adoption);
}

static int on_patience(struct source *source, void *data) {
        struct adoption *adoption = data;

        log_warning("not every network has answered; going on without");
        list_for_each(struct adoptee, adoptee, &adoption->adoptees, link)
                adoptee_free(adoptee);
        finish(adoption);
        return 0;
}

static void remove_stale(const char *directory, const char *name) {
        _cleanup_free_ char *path = text_format("%s/%s", directory, name);
        struct error error = ERROR_INIT;

        log_info("network %s has no process any more: removing what it left", name);
        if (path && file_remove_tree(path, &error) < 0)
                log_warning("%s", error_text(&error, 0));
}

static int adopt(struct adoption *adoption, struct broker *broker, const char *directory, const char *name) {
        struct definition *definition = NULL;
        struct adoptee *adoptee = calloc(1, sizeof(*adoptee));
        struct network *network;
        struct error error = ERROR_INIT;

        if (!adoptee)
                return -ENOMEM;
        adoptee->adoption = adoption;
        adoptee->waiter.fn = on_event;
        list_init(&adoptee->waiter.link);
        list_append(&adoption->adoptees, &adoptee->link);

        int r = definitions_find(broker->settings.definitions, name, &definition, &error);
        if (r == 0)
                r = policy_complete(&broker->settings.policy, definition);
        if (r < 0)
                log_warning("network %s is live and its definition cannot be read: %s", name,
                            error_text(&error, r));

        r = network_adopt(broker, name, definition, &network, &error);
        if (r == 0) {
                network_wait(network, &adoptee->waiter);
                return 0;
        }
        adoptee_free(adoptee);
        /* A connection refused means no listener, as the last copy of its socket is closed; the others that
         * no file is there, or that the process ended while we looked. */
        if (r == -ECONNREFUSED || r == -ENOENT || r == -ESRCH)
                remove_stale(directory, name);
        else
                log_error("network %s cannot be taken over: %s", name, error_text(&error, r));
        return r == -ENOMEM ? r : 0;
}

int adoption_start(struct broker *broker, adoption_fn fn, void *data, struct adoption **ret) {
        _cleanup_free_ char *directory = text_format("%s/networks", broker->settings.runtime);
        struct adoption *adoption = calloc(1, sizeof(*adoption));
        struct dirent **entries = NULL;
        int r = 0, n;

        if (adoption) {
                adoption->fn = fn;
                adoption->data = data;
                list_init(&adoption->adoptees);
        }
        if (!directory || !adoption ||
            loop_add_timer(broker->loop, &adoption->timer, on_patience, adoption) < 0) {
                adoption_free(adoption);
                return -ENOMEM;
        }
        n = scandir(directory, &entries, NULL, alphasort);
        for (int i = 0; i < n; i++) {
                if (r == 0 && text_is_name(entries[i]->d_name))
                        r = adopt(adoption, broker, directory, entries[i]->d_name);
                free(entries[i]);
        }
        free(entries);
        if (r < 0) {
                adoption_free(adoption);
                return r;
        }
        *ret = adoption;
        if (list_empty(&adoption->adoptees))
                finish(adoption);
        else
                source_arm(adoption->timer, PATIENCE);
        return 0;
}

struct adoption *adoption_free(struct adoption *adoption) {
        if (!adoption)
                return NULL;
        list_for_each(struct adoptee, adoptee, &adoption->adoptees, link)
                adoptee_free(adoptee);
        source_free(adoption->timer);
        free(adoption);
        return NULL;
}
