/* nftables: transactions of the kernel's packet filter, by libnftables. */
#pragma once

#include <nftables/libnftables.h>
#include <stdio.h>

#include "base/error.h"

/* Protocols by number (IANA's registry): nft takes their names from /etc/protocols, which a small machine lacks. */
#define ICMP "1"
#define IGMP "2"
#define TCP "6"
#define UDP "17"
#define ICMPV6 "58"

/* Prints a transaction in nft(8)'s language; `nft` is there to ask what stands now. */
typedef void (*nftables_print_fn)(FILE *f, struct nft_ctx *nft, const void *data);

/*
 * Runs a transaction, all of it or nothing, in the network namespace given (-1: this process's). It is a child that
 * does: libnftables keeps more than a megabyte once it has run, and this process stays small. 0 or -errno.
 */
int nftables_apply(int namespace, nftables_print_fn print, const void *data, struct error *error);
