/* base/process */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"

/* A child that waits to be killed. */
static pid_t spawn(void) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;)
                        pause();
        }
        return pid;
}

static void test_pidfd(void **state) {
        pid_t pid = spawn();
        _cleanup_fd_ int fd = process_open(pid);
        int status;

        assert_true(fd >= 0);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(process_signal(fd, 0), 0);
        assert_int_equal(process_signal(fd, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(process_signal(fd, SIGKILL), -ESRCH);
        assert_int_equal(process_open(pid), -ESRCH);
}

static void test_start_time(void **state) {
        uint64_t own, again, child;
        pid_t pid;

        /* A name made to mislead a parser of /proc/PID/stat. */
        prctl(PR_SET_NAME, "a) R 1 (b");
        assert_int_equal(process_start_time(getpid(), &own), 0);
        prctl(PR_SET_NAME, "plain");
        assert_int_equal(process_start_time(getpid(), &again), 0);
        assert_true(own == again && own > 0);

        pid = spawn();
        assert_int_equal(process_start_time(pid, &child), 0);
        assert_true(child >= own);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(process_start_time(pid, &child), -ESRCH);
}

static void test_boot_id(void **state) {
        char a[37], b[37];

        assert_int_equal(process_boot_id(a), 0);
        assert_int_equal(process_boot_id(b), 0);
        assert_true(text_is_uuid(a));
        assert_string_equal(a, b);
}

static void test_program(void **state) {
        pid_t pid = spawn();
        char name[64], tiny[5];

        process_program(getpid(), name, sizeof(name));
        assert_string_equal(name, "test-process");
        process_program(getpid(), tiny, sizeof(tiny));
        assert_string_equal(tiny, "test");
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        process_program(pid, name, sizeof(name));
        assert_string_equal(name, "?");
}

static void test_find_program(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *program = text_format("%s/tool", directory),
                            *plain = text_format("%s/data", directory);
        _cleanup_free_ char *path = text_format(":relative:/nonexistent:%s", directory);
        char *saved = strdup(getenv("PATH")), *found;

        assert_int_equal(file_write(program, "#!/bin/sh\n", 10, 0755, false, NULL), 0);
        assert_int_equal(file_write(plain, "x", 1, 0644, false, NULL), 0);

        found = process_find_program("tool", directory);
        assert_string_equal(found, program);
        free(found);
        assert_null(process_find_program("data", directory));
        assert_null(process_find_program("sh", directory));

        setenv("PATH", path, 1);
        found = process_find_program("tool", NULL);
        assert_string_equal(found, program);
        free(found);
        assert_null(process_find_program("data", NULL));
        assert_null(process_find_program("no-such-program-here", NULL));
        found = process_find_program("ldconfig", NULL); /* in /sbin everywhere, and not in this PATH */
        assert_non_null(found);
        free(found);

        /* The working directory is not searched. */
        assert_int_equal(chdir(directory), 0);
        setenv("PATH", ":.:", 1);
        assert_null(process_find_program("tool", NULL));
        found = process_find_program("./tool", NULL);
        assert_string_equal(found, "./tool");
        free(found);
        assert_int_equal(chdir("/"), 0);

        setenv("PATH", saved, 1);
        free(saved);
        harness_remove_directory(directory);
}

static void test_own_directory(void **state) {
        _cleanup_free_ char *directory = process_own_directory();
        _cleanup_free_ char *self = NULL;

        assert_non_null(directory);
        self = process_find_program("test-process", directory);
        assert_non_null(self);
}

HARNESS_MAIN(cmocka_unit_test(test_pidfd), cmocka_unit_test(test_start_time), cmocka_unit_test(test_boot_id),
             cmocka_unit_test(test_program), cmocka_unit_test(test_find_program),
             cmocka_unit_test(test_own_directory))
