/* berth vm ssh and exec, with an ssh that tells how it was called. */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "fixture.h"
#include "ssh-server.h"

static void write_ssh(const struct fixture *fixture) {
        static const char script[] = "#!/bin/sh\nfor word; do printf '<%s>\\n' \"$word\"; done\nexit 7\n";
        _cleanup_free_ char *path = text_format("%s/ssh", fixture->config), *search = NULL;

        assert_int_equal(file_write(path, script, strlen(script), 0755, false, NULL), 0);
        search = text_format("%s:%s", fixture->config, getenv("PATH"));
        setenv("PATH", search, 1);
}

static void test_ssh(void **state) {
        struct fixture *fixture = *state;
        _cleanup_free_ char *output = NULL, *answer = NULL, *identity = NULL, *expected = NULL, *list = NULL;
        int listener, server, status;
        uint16_t port;

        fixture_make_vm(fixture, "web");
        identity = fixture_path(fixture, "web", "a key");
        list = text_format("%s\n/nowhere/key\n", identity);
        fixture_write(fixture, "web", "identities", list);
        fixture_write(fixture, "web", "config.json", "{\"kernel\":\"/x\",\"ssh_user\":\"admin\"}");
        write_ssh(fixture);
        server = ssh_server_listen(&port);
        listener = fixture_listen(fixture, "web");
        answer = text_format("{\"ok\":true,\"state\":\"running\",\"ssh_port\":%u}", port);

        fixture_start(fixture, ARGUMENTS("vm", "ssh", "web", "ls", "-l"));
        fixture_reply_last(fixture_accept(listener, INFO),
                           "{\"ok\":false,\"error\":\"the VM is not up yet\"}");
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        ssh_server_refuse(server);
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        ssh_server_greet(server);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 7);
        expected = text_format(
                "<-p>\n<%u>\n<-oUserKnownHostsFile=\"%s/vms/web/known_hosts\">\n<-oHostKeyAlias=web>\n"
                "<-oStrictHostKeyChecking=accept-new>\n",
                port, fixture->config);
        assert_true(text_starts_with(output, expected));
        assert_non_null(strstr(output, "/vms/web/a key>\n"));
        assert_non_null(strstr(output, "<-l>\n<admin>\n<127.0.0.1>\n<-->\n<ls>\n<-l>\n"));
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "exec", "--user", "root", "web", "--", "printf", "%s", "it's",
                                         "a b", ""));
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        ssh_server_greet(server);
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 7);
        assert_non_null(strstr(output, "<-oBatchMode=yes>\n"));
        assert_non_null(strstr(output, "<-l>\n<root>\n<127.0.0.1>\n<-->\n<printf %s 'it'\\''s' 'a b' ''>\n"));
        free(output);

        /* What looks like an option of ssh's is not read as one. */
        fixture_start(fixture, ARGUMENTS("vm", "exec", "web", "--", "-oProxyCommand=/tmp/evil"));
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        ssh_server_greet(server);
        output = fixture_finish(fixture, &status);
        assert_non_null(strstr(output, "<127.0.0.1>\n<-->\n<-oProxyCommand=/tmp/evil>\n"));
        free(output);
        fixture_start(fixture, ARGUMENTS("vm", "ssh", "web", "--", "-oProxyCommand=/tmp/evil"));
        fixture_reply_last(fixture_accept(listener, INFO), answer);
        ssh_server_greet(server);
        output = fixture_finish(fixture, &status);
        assert_non_null(strstr(output, "<127.0.0.1>\n<-->\n<-oProxyCommand=/tmp/evil>\n"));
        free(output);

        fixture_start(fixture, ARGUMENTS("vm", "ssh", "web"));
        fixture_reply_last(fixture_accept(listener, INFO), "{\"ok\":true,\"state\":\"running\"}");
        output = fixture_finish(fixture, &status);
        assert_int_equal(status, 125);
        assert_non_null(strstr(output, "VM web has no port for ssh"));
        fd_close(listener);
        fd_close(server);
}

/* 127 would be the command's own. */
static void test_no_ssh(void **state) {
        static const char *const commands[] = { "ssh", "exec" };
        struct fixture *fixture = *state;
        _cleanup_free_ char *before = strdup(getenv("PATH"));

        fixture_make_vm(fixture, "web");
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
                _cleanup_free_ char *output = NULL;
                int status;

                setenv("PATH", fixture->config, 1);
                output = fixture_run(fixture, &status, ARGUMENTS("vm", commands[i], "web", "true"));
                setenv("PATH", before, 1);
                assert_int_equal(status, 125);
                assert_non_null(strstr(output, "ssh is not installed"));
                assert_non_null(strstr(output, "\nberth: it is in the package openssh-client"));
        }
}

HARNESS_MAIN(WITH_FIXTURE(test_ssh), WITH_FIXTURE(test_no_ssh))
