/* Control: the VM's control socket. */
#pragma once

#include <jansson.h>

#include "loop/loop.h"
#include "vmhost/supervisor.h"

/*
 * At most CONTROL_READING_MAX connections are at their exchange: one more turns out the oldest of them, for a
 * client that means it is answered within the turn in which its request comes. Those that wait or follow
 * events are counted apart.
 */
#define CONTROL_READING_MAX 64
#define CONTROL_STAYING_MAX 64

struct control;

/* Serves a listening, non-blocking socket, which is consumed, on failure too. */
int control_new(struct control **ret, struct loop *loop, int consume_listening_fd,
                struct supervisor *supervisor);
struct control *control_free(struct control *control);
/* From now on at this one, which is consumed, on failure too; who waits at the one before is let in. 0 or
 * -errno. */
int control_move(struct control *control, int consume_listening_fd);

void control_send_event(struct control *control, const json_t *event);
/* The VM has ended for good: answers all who wait for it. */
void control_finish(struct control *control);
