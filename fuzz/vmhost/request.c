/* The control socket's requests: found by the scanner, parsed, and answered in JSON that another parser
 * reads. */
#include "target.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "vmhost/request.h"
#include "vmhost/response.h"
#include "vmhost/scanner.h"
#include "base/utf8.h"

/* The end of the first value, or 0 where there is none. */
static size_t scan(const char *data, size_t size) {
        struct scanner scanner = SCANNER_INIT;

        for (size_t i = 0; i < size; i++)
                switch (scanner_feed(&scanner, (unsigned char)data[i])) {
                case SCANNER_MORE:
                        break;
                case SCANNER_END:
                        return i + 1;
                case SCANNER_ENDED:
                        return i;
                default:
                        EXPECT(scanner_error(&scanner)[0]);
                        return 0;
                }
        return scanner_finish(&scanner) == SCANNER_ENDED ? size : 0;
}

static bool is_utf8(const char *s, size_t size) {
        for (size_t i = 0, n; i < size; i += n) {
                n = utf8_sequence(s + i, size - i);
                if (n == 0)
                        return false;
        }
        return true;
}

/* What is echoed comes out as it went in. */
static void check_echo(const char *text, size_t size) {
        _cleanup_(response_deinit) struct response response = RESPONSE_INIT;

        response_begin(&response, false);
        response_add_string(&response, "error", text, size);
        EXPECT(response_end(&response) == 0);
        EXPECT(memchr(response.data, '\n', response.size) == response.data + response.size - 1);
        json_t *object = json_loadb(response.data, response.size, JSON_ALLOW_NUL, NULL);
        json_t *echo = json_object_get(object, "error");
        EXPECT(json_is_string(echo));
        EXPECT(!is_utf8(text, size) ||
               (json_string_length(echo) == size && memcmp(json_string_value(echo), text, size) == 0));
        json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(request_deinit) struct request request = REQUEST_INIT;
        _cleanup_free_ char *reason = NULL;
        const char *text = (const char *)data;
        /* A copy of its own, so that a read behind its end is one behind an allocation. */
        size_t n = scan(text, size);
        _cleanup_free_ char *value = n ? malloc(n) : NULL;

        if (!value) {
                check_echo(text, size);
                return 0;
        }
        memcpy(value, text, n);
        int r = request_parse(value, n, &request, &reason);
        EXPECT(r == 0 || (r == -EINVAL && reason));
        if (r == 0) {
                EXPECT(is_utf8(request.method, request.method_size));
                check_echo(request.method, request.method_size);
        }
        return 0;
}
