/* The value of --network:
 * NAME[,mac=MAC][,name=NAME][,id=UUID][,address=ADDRESS][,mtu=N][,queues=N][,isolated]. */
#pragma once

#include <berth/berth.h>

#include "base/address.h"
#include "base/error.h"

#define NETWORK_OPTION_QUEUES_MAX 8

struct network_option {
        char *text; /* holds the strings below */
        const char *network;
        struct berth_interface_options interface; /* its strings are borrowed from here */
        char mac[MAC_TEXT_SIZE];
};

/* 0; -EINVAL with a text that names the part that is wrong; -ENOMEM. The struct must then stay in place. */
int network_option_parse(struct network_option *ret, const char *value, struct error *error);
void network_option_deinit(struct network_option *option);
