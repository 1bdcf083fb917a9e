/*
 * A client of libberth that does what it is told, a command a line:
 *
 *   acquire NETWORK                 a further handle on it, which `start` uses from then on
 *   start NETWORK [KEY=VALUE...]    an interface; name, id, mac, address, queues, isolated=1
 *   stop NETWORK PORT               over the network's newest handle
 *   close NETWORK                   closes its newest handle
 *   release NETWORK, remove NETWORK
 *   disconnect, connect             from and to the broker; handles stay
 *   many N COMMAND...               the same command until it fails, N times at most
 *
 * It answers each with one line, which begins with the command's number, from 1: `NUMBER ok FACTS`, or
 * `NUMBER error CODE MESSAGE` with the code of berth-protocol(7), 0 when it was not the other side that refused.
 * Behind `many` there is also `after N`: how many times it went well.
 */
#include <berth/berth.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDLES_MAX 16384
#define INTERFACES_MAX 1024
#define WORDS_MAX 16

struct client {
        struct berth *berth;
        struct berth_network *networks[HANDLES_MAX];
        size_t n_networks;
        struct berth_interface *interfaces[INTERFACES_MAX];
        size_t n_interfaces;
        char facts[256]; /* of the last command that went well */
        char reason[640]; /* of the last that did not */
        int code;
};

static int fail(struct client *client, int r, int code, const char *reason) {
        snprintf(client->reason, sizeof(client->reason), "%s", *reason ? reason : strerror(-r));
        client->code = code;
        return r;
}

static int broker_result(struct client *client, int r) {
        return r < 0 ? fail(client, r, berth_error_code(client->berth), berth_error(client->berth)) : 0;
}

static int network_result(struct client *client, const struct berth_network *network, int r) {
        return r < 0 ? fail(client, r, berth_network_error_code(network), berth_network_error(network)) : 0;
}

static struct berth_network **find(struct client *client, const char *name) {
        for (size_t i = client->n_networks; i-- > 0;)
                if (strcmp(berth_network_get_facts(client->networks[i])->name, name) == 0)
                        return &client->networks[i];
        fail(client, -ENOENT, 0, "this client has no handle on it");
        return NULL;
}

static int do_acquire(struct client *client, char **words) {
        struct berth_network *network;

        if (client->n_networks == HANDLES_MAX)
                return fail(client, -EMFILE, 0, "this client has no room for more handles");
        int r = broker_result(client, berth_acquire(client->berth, words[1], &network));
        if (r < 0)
                return r;
        client->networks[client->n_networks++] = network;

        const struct berth_network_facts *facts = berth_network_get_facts(network);
        snprintf(client->facts, sizeof(client->facts), "lease=%llu mode=%s gateway=%s",
                 (unsigned long long)facts->lease, facts->mode, facts->gateway);
        return 0;
}

static int do_start(struct client *client, char **words) {
        struct berth_interface_options options = { .size = sizeof(options) };
        struct berth_network **network = find(client, words[1]);
        struct berth_interface *interface;

        if (!network)
                return -ENOENT;
        if (client->n_interfaces == INTERFACES_MAX)
                return fail(client, -EMFILE, 0, "this client has no room for more interfaces");
        for (char **word = words + 2; *word; word++) {
                char *value = strchr(*word, '=');

                if (!value)
                        return fail(client, -EINVAL, 0, "an option is KEY=VALUE");
                *value++ = 0;
                if (strcmp(*word, "name") == 0)
                        options.name = value;
                else if (strcmp(*word, "id") == 0)
                        options.id = value;
                else if (strcmp(*word, "mac") == 0)
                        options.mac = value;
                else if (strcmp(*word, "address") == 0)
                        options.address = value;
                else if (strcmp(*word, "queues") == 0)
                        options.queues = (uint32_t)atoi(value);
                else if (strcmp(*word, "isolated") == 0)
                        options.isolated = true;
                else
                        return fail(client, -EINVAL, 0, "no such option");
        }
        int r = network_result(client, *network, berth_network_start(*network, &options, &interface));
        if (r < 0)
                return r;
        client->interfaces[client->n_interfaces++] = interface;

        const struct berth_interface_facts *facts = berth_interface_get_facts(interface);
        snprintf(client->facts, sizeof(client->facts), "port=%s mac=%s address=%s", facts->port, facts->mac,
                 facts->address);
        return 0;
}

static int do_stop(struct client *client, char **words) {
        struct berth_network **network = find(client, words[1]);

        if (!network)
                return -ENOENT;
        for (size_t i = 0; words[2] && i < client->n_interfaces; i++) {
                if (strcmp(berth_interface_get_facts(client->interfaces[i])->port, words[2]) != 0)
                        continue;
                return network_result(client, *network, berth_network_stop(*network, client->interfaces[i]));
        }
        return fail(client, -ENOENT, 0, "this client has no such port");
}

static int do_close(struct client *client, char **words) {
        struct berth_network **network = find(client, words[1]);

        if (!network)
                return -ENOENT;
        berth_network_free(*network);
        memmove(network, network + 1, (size_t)(client->networks + client->n_networks - (network + 1)) *
                                              sizeof(*network));
        client->n_networks--;
        return 0;
}

static int do_release(struct client *client, char **words) {
        return broker_result(client, berth_release(client->berth, words[1]));
}

static int do_remove(struct client *client, char **words) {
        return broker_result(client, berth_remove(client->berth, words[1]));
}

static int do_connect(struct client *client, char **words) {
        return broker_result(client, berth_connect(client->berth, NULL, 0));
}

static int do_disconnect(struct client *client, char **words) {
        berth_free(client->berth);
        return berth_new(&client->berth);
}

static int perform(struct client *client, char **words, size_t n) {
        static const struct {
                const char *name;
                size_t min_words;
                int (*fn)(struct client *client, char **words);
        } commands[] = {
                { "acquire", 2, do_acquire }, { "start", 2, do_start },     { "stop", 3, do_stop },
                { "close", 2, do_close },     { "release", 2, do_release }, { "remove", 2, do_remove },
                { "connect", 1, do_connect }, { "disconnect", 1, do_disconnect },
        };

        snprintf(client->facts, sizeof(client->facts), "done");
        for (size_t i = 0; n > 0 && i < sizeof(commands) / sizeof(commands[0]); i++)
                if (strcmp(words[0], commands[i].name) == 0 && n >= commands[i].min_words)
                        return commands[i].fn(client, words);
        return fail(client, -EINVAL, 0, "no such command");
}

static void answer(struct client *client, unsigned number, char *line) {
        char *words[WORDS_MAX + 1], **first = words;
        unsigned long wanted = 1, done = 0;
        size_t n = 0;
        int r = 0;

        for (char *word = strtok(line, " \n"); word && n < WORDS_MAX; word = strtok(NULL, " \n"))
                words[n++] = word;
        words[n] = NULL;

        char after[40] = "";
        if (n > 2 && strcmp(words[0], "many") == 0) {
                wanted = strtoul(words[1], NULL, 10);
                first += 2;
                n -= 2;
        }
        while (done < wanted && (r = perform(client, first, n)) == 0)
                done++;
        if (first != words)
                snprintf(after, sizeof(after), "after %lu ", done);
        if (r < 0)
                printf("%u error %d %s%s\n", number, client->code, after, client->reason);
        else
                printf("%u ok %s%s\n", number, after, client->facts);
}

int main(void) {
        static struct client client; /* too big for the stack */
        char *line = NULL;
        size_t size = 0;

        setvbuf(stdout, NULL, _IOLBF, 0);
        if (berth_new(&client.berth) < 0 || berth_connect(client.berth, NULL, 0) < 0) {
                fprintf(stderr, "%s\n", client.berth ? berth_error(client.berth) : "out of memory");
                return 1;
        }
        printf("connected\n");
        for (unsigned number = 1; getline(&line, &size, stdin) > 0; number++)
                answer(&client, number, line);

        free(line);
        while (client.n_interfaces > 0)
                berth_interface_free(client.interfaces[--client.n_interfaces]);
        while (client.n_networks > 0)
                berth_network_free(client.networks[--client.n_networks]);
        berth_free(client.berth);
        return 0;
}
