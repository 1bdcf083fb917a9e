/* Requests: asking one VM's vmhost, with texts for people when it cannot be asked. */
#pragma once

#include <jansson.h>

#include "cli/session.h"
#include "cli/vm-channel.h"
#include "cli/vm-directory.h"
#include "cli/vm-view.h"

/* How long a vmhost may take to answer what it answers at once. */
#define VM_REQUEST_TIMEOUT_MS 3000

/*
 * Asks `method`, and consumes the further members of the request (NULL: none). 0 and the reply, which is a
 * good one; -EHOSTDOWN (no vmhost), -ETIMEDOUT (it does not answer), -EAGAIN (it has no VM yet, or refuses)
 * or another -errno, with a text.
 */
int vm_request(struct session *session, const struct vm *vm, const char *method, json_t *consume_members,
               json_t **ret);

/* Why VM_PRESENCE is not what a command needs: the text for a VM that no vmhost supervises; returns
 * -EHOSTDOWN. */
int vm_not_running(struct session *session, const struct vm *vm);
/* Whether the vmhost answers at all, before its answer is waited for without end. 0 or as vm_request. */
int vm_check_answers(struct session *session, const struct vm *vm, unsigned timeout_ms);
/* That it does not, and what to do about it: as the text of an error, which is -ETIMEDOUT and returned, or
 * said on standard error. `since_ms` is by vm_clock_wall_ms, or 0 where it is not known. */
int vm_silent(struct error *error, const struct vm *vm, int64_t since_ms);
void vm_tell_silent(const char *name, const char *directory, int64_t since_ms);
/* "the vmhost of web does not answer (pid 812, since 2024-05-01 13:05:09)", with as much as is known. Returns
 * buffer. */
char *vm_describe_silence(const char *name, const char *directory, int64_t since_ms,
                          char buffer[static VM_VIEW_LINE_SIZE]);

/* The text for a failure of vm_channel_*; returns code. */
int vm_request_failed(struct session *session, const struct vm *vm, int code);
/* The same for one of vm_channel_watch (channel may be NULL). */
int vm_watch_failed(struct session *session, const struct vm *vm, const struct vm_channel *channel, int code);
