/* A channel: requests over a wire, their replies in order, and the events these become. */
#pragma once

#include <berth/berth.h>
#include <jansson.h>

#include "base/error.h"
#include "base/list.h"
#include "wire/wire.h"

/*
 * Both kinds of connection, to the broker and to a network, are a channel: replies come in the order of the
 * requests (berth-protocol(7)), so a list of those that wait for theirs is all the state there is.
 *
 * A request is either a call, which somebody waits for in channel_call, or it was begun, and becomes an
 * event. One whose caller gave up waiting is abandoned: its reply is dropped, and with it what the reply
 * carries.
 */
struct channel {
        struct wire *wire; /* NULL without a connection */
        struct list waiting; /* struct request, in the order in which they were sent */
        struct list events; /* struct request, ended, in the order in which they did */
        struct request *popped; /* holds what channel_pop lent last */
        uint64_t last_id;
        int timeout_ms; /* of calls; -1: for ever */
        enum berth_event_type lost_event; /* what tells of the end of the connection */
        struct error lost; /* why it ended, until the event is popped */
        struct error error; /* the last failure */
        int code; /* enum berth_error_code of the last failure, or 0 */
};

/*
 * Makes an event's object of the reply to a request that was begun. What it wants of the message it takes
 * from it; the rest is dropped. 0, or a negative errno with its text in error.
 */
typedef int (*channel_finish_fn)(struct wire_message *reply, struct berth_event *event, struct error *error);

void channel_init(struct channel *channel, enum berth_event_type lost_event);
void channel_deinit(struct channel *channel);

/* Takes a connected socket (on failure too). The channel has none yet. */
int channel_open(struct channel *channel, int consume_fd);

/* Forgets the last failure: at the start of each function that may set one. */
void channel_clear_error(struct channel *channel);
/* Notes a failure that the other side has no part in; returns code. */
int channel_fail(struct channel *channel, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* The reply, at success; its caller releases it. body is consumed; NULL stands for one that could not be
 * made. */
int channel_call(struct channel *channel, json_t *consume_body, struct wire_message *ret);
/* The same with a file descriptor, which is borrowed. */
int channel_call_fd(struct channel *channel, json_t *consume_body, int fd, struct wire_message *ret);
int channel_begin(struct channel *channel, json_t *consume_body, channel_finish_fn finish, uint64_t *ret_id);

int channel_get_fd(const struct channel *channel);
int channel_get_events(const struct channel *channel);
int channel_dispatch(struct channel *channel);
const struct berth_event *channel_pop(struct channel *channel);
int channel_set_inheritable(struct channel *channel, bool inheritable);
