/*
 * Clients that live for a moment: berth-churn SECONDS CLIENTS NETWORK...
 *
 * Keeps CLIENTS processes going. Each connects, acquires a random one of the networks, starts up to three
 * interfaces, some with a name that others use too, releases now and then, and begins anew, until a random time of
 * at most LIFE_MAX is up, when a signal ends it in the midst of whatever it does. No failure is one here: the
 * broker may refuse, and may be killed by the test meanwhile.
 */
#include <berth/berth.h>

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIFE_MAX 400000 /* microseconds */
#define NAMES 20

static unsigned below(unsigned bound) {
        return (unsigned)random() % bound;
}

static void start_some(struct berth_network *network) {
        for (unsigned n = below(4); n > 0; n--) {
                struct berth_interface_options options = { .size = sizeof(options), .queues = 1 + below(2) };
                struct berth_interface *interface = NULL;
                char name[16];

                if (below(2)) {
                        snprintf(name, sizeof(name), "vm%u", below(NAMES));
                        options.name = name;
                }
                if (berth_network_start(network, &options, &interface) < 0)
                        continue;
                if (below(4) == 0)
                        berth_network_stop(network, interface);
                if (below(2))
                        berth_interface_free(interface); /* else it is held until the end */
        }
}

_Noreturn static void live(unsigned seed, char **networks, unsigned n_networks) {
        unsigned life;

        srandom(seed);
        life = 1 + below(LIFE_MAX);
        setitimer(ITIMER_REAL, &(struct itimerval){ .it_value.tv_usec = life }, NULL);
        for (;;) {
                struct berth *berth = NULL;
                struct berth_network *network = NULL;
                const char *name = networks[below(n_networks)];

                if (berth_new(&berth) < 0)
                        abort();
                if (berth_connect(berth, NULL, 0) == 0 && berth_acquire(berth, name, &network) == 0) {
                        start_some(network);
                        if (below(3) == 0)
                                berth_release(berth, name);
                        berth_network_free(network);
                }
                if (below(4) == 0)
                        pause(); /* some die at rest */
                berth_free(berth);
        }
}

static uint64_t now_ms(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
        unsigned lives = 0, crashes = 0, running = 0;

        if (argc < 4) {
                fprintf(stderr, "Usage: berth-churn SECONDS CLIENTS NETWORK...\n");
                return 2;
        }
        uint64_t end = now_ms() + strtoull(argv[1], NULL, 10) * 1000;
        unsigned clients = (unsigned)atoi(argv[2]);

        /* Whoever started this one may ignore the signal that is to end them. */
        signal(SIGALRM, SIG_DFL);

        for (;;) {
                int status;

                while (running < clients && now_ms() < end) {
                        pid_t pid = fork();

                        if (pid == 0)
                                live(lives, argv + 3, (unsigned)argc - 3);
                        if (pid < 0)
                                break;
                        running++;
                        lives++;
                }
                if (running == 0)
                        break;
                if (wait(&status) < 0)
                        continue;
                running--;
                /* Any other end than that of the timer is the library's fault. */
                if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM)
                        crashes++;
        }
        printf("churn: %u lives, %u crashes\n", lives, crashes);
        return crashes > 0;
}
