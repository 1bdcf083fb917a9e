/* What a guest says in the place of its agent: 1 is the id that it has to give back. */
#include "target.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/fd.h"
#include "base/memory.h"
#include "cli/view.h"
#include "cli/vm-agent.h"
#include "cli/vm-clock.h"

#define INPUT_MAX 65536 /* bytes: what a socket takes before anybody reads */

static void check_output(const char *text) {
        _cleanup_free_ char *data = NULL, *again = NULL, *same = NULL;
        size_t size, size_again;

        if (base64_decode(text, &data, &size) < 0)
                return;
        again = base64_encode(data, size);
        EXPECT(again && strlen(again) == strlen(text));
        EXPECT(base64_decode(again, &same, &size_again) == 0);
        EXPECT(size == size_again && memcmp(data, same, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct error error = ERROR_INIT;
        json_auto_t *answer = NULL;
        int pair[2];

        if (size > INPUT_MAX)
                return 0;
        EXPECT(fd_socketpair(pair, true) == 0);
        EXPECT(send(pair[1], data, size, MSG_NOSIGNAL) == (ssize_t)size);
        EXPECT(shutdown(pair[1], SHUT_WR) == 0);
        int r = vm_agent_talk(pair[0], 1, "guest-exec", NULL, vm_clock_in_ms(5000), &answer, &error);
        EXPECT((r == 0) == (answer != NULL));
        EXPECT(r != -ETIMEDOUT); /* the end of the input is an end */
        if (answer)
                check_output(view_string(answer, "out-data"));
        fd_close(pair[0]);
        fd_close(pair[1]);
        return 0;
}
