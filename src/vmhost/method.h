/* Method: what a control request does, and the answer to it. */
#pragma once

#include "vmhost/request.h"
#include "vmhost/response.h"
#include "vmhost/supervisor.h"

/* What becomes of the connection behind the response. */
enum method_result {
        METHOD_CLOSE, /* one exchange, then closed */
        METHOD_FOLLOW, /* the response is the first line of a stream of events */
        METHOD_WAIT, /* no response yet: method_answer_wait gives it when the VM has ended for good */
};

/* Never fails: a request that names no method has an answer too. */
enum method_result method_run(struct supervisor *supervisor, const struct request *request,
                              struct response *response);
/* {"ok":false,"error":TEXT}, the one answer to all that is no request. */
void method_refuse(struct response *response, const char *text, size_t size);
void method_answer_wait(const struct supervisor *supervisor, struct response *response);
/* A line for those who follow events. */
void method_write_event(const json_t *event, struct response *response);
