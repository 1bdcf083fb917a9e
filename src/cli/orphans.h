/* Orphans: networks that go on although their broker has ended. */
#pragma once

/*
 * The names of the networks whose control sockets are beside the broker's socket, separated by ", ": a new
 * string, "" when there are none, NULL when memory is short. Whether their processes live is not tried: they
 * serve one broker, and a stranger's connection would take its place.
 */
char *orphans_list(const char *broker_socket);
