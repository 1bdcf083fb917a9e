/* vmhost/seed and vmhost/fat, read back with mtools and fsck.vfat, which share nothing with them. */
#include "harness.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "vmhost/fat.h"
#include "vmhost/seed.h"

static void need(const char *program) {
        _cleanup_free_ char *path = process_find_program(program, NULL);

        if (!path)
                skip();
}

/* What a command prints; it must succeed. To be freed. */
__attribute__((format(printf, 2, 3))) static char *run(size_t *ret_size, const char *format, ...) {
        char command[512], *output = malloc(64 * 1024 * 1024);
        va_list args;

        va_start(args, format);
        vsnprintf(command, sizeof(command), format, args);
        va_end(args);
        FILE *pipe = popen(command, "re");
        assert_non_null(pipe);
        size_t size = fread(output, 1, 64 * 1024 * 1024 - 1, pipe);
        output[size] = '\0';
        if (pclose(pipe) != 0)
                fail_msg("%s: %s", command, output);
        if (ret_size)
                *ret_size = size;
        return output;
}

static void check(const char *path) {
        free(run(NULL, "PATH=$PATH:/usr/sbin:/sbin fsck.vfat -n -v %s 2>&1", path));
}

static void test_fat(void **state) {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/image", directory);
        size_t big_size = 700001, size;
        _cleanup_free_ char *big = malloc(big_size), *copy = NULL, *listing = NULL, *empty = NULL;
        struct fat *fat = NULL;
        struct stat status;

        need("mtype");
        for (size_t i = 0; i < big_size; i++)
                big[i] = letters[(i + i / 512) % 26];
        assert_int_equal(fat_new(&fat, "CIDATA"), 0);
        assert_int_equal(fat_add(fat, "big", big, big_size), 0);
        assert_int_equal(fat_add(fat, "an empty one", NULL, 0), 0);
        /* 13 and 26 units: names that end with an entry, without an end mark. */
        assert_int_equal(fat_add(fat, "exactly13char", "13", 2), 0);
        assert_int_equal(fat_add(fat, letters, big, 512), 0);
        assert_int_equal(fat_add(fat, "Capital.Letters", "C", 1), 0);
        assert_int_equal(fat_write(fat, path, 0600, NULL), 0);
        fat_free(fat);

        check(path);
        copy = run(&size, "mtype -i %s ::big", path);
        assert_int_equal(size, big_size);
        assert_memory_equal(copy, big, big_size);
        free(copy);
        empty = run(&size, "mtype -i %s '::an empty one'", path);
        assert_int_equal(size, 0);
        copy = run(&size, "mtype -i %s ::%s", path, letters);
        assert_int_equal(size, 512);
        assert_memory_equal(copy, big, 512);
        listing = run(NULL, "mdir -b -i %s ::", path);
        assert_string_equal(listing, "::/big\n::/an empty one\n::/exactly13char\n"
                                     "::/abcdefghijklmnopqrstuvwxyz\n::/Capital.Letters\n");
        free(copy);
        copy = run(NULL, "mlabel -s -i %s ::", path);
        assert_non_null(strstr(copy, "CIDATA"));

        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
        assert_true(status.st_blocks * 512 < 1024 * 1024);
        harness_remove_directory(directory);
}

/* More sectors than the 16-bit field holds, and more files than there may be. */
static void test_fat_limits(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/image", directory), *copy = NULL;
        size_t size = 64999 * 512;
        _cleanup_free_ char *data = calloc(1, size + 1024);
        struct fat *fat = NULL;

        need("fsck.vfat");
        memset(data + size - 100, 'x', 100);
        assert_int_equal(fat_new(&fat, "LABEL"), 0);
        assert_int_equal(fat_add(fat, "largest", data, size), 0);
        assert_int_equal(fat_add(fat, "too much", data, 513), -EFBIG);
        assert_int_equal(fat_add(fat, "enormous", data, SIZE_MAX), -EFBIG);
        assert_int_equal(fat_add(fat, "last", data, 512), 0);
        for (int i = 2; i < FAT_FILES_MAX; i++) {
                char name[FAT_NAME_MAX + 2];

                memset(name, 'a' + i, sizeof(name));
                name[FAT_NAME_MAX + 1] = '\0';
                assert_int_equal(fat_add(fat, name, NULL, 0), -ENAMETOOLONG);
                name[FAT_NAME_MAX] = '\0';
                assert_int_equal(fat_add(fat, name, NULL, 0), 0);
        }
        assert_int_equal(fat_add(fat, "one more", NULL, 0), -ENFILE);
        assert_int_equal(fat_write(fat, path, 0600, NULL), 0);
        check(path);
        copy = run(NULL, "mtype -i %s ::largest | tail -c 100", path);
        assert_int_equal(strspn(copy, "x"), 100);
        /* Where it cannot be written, what is there stays. */
        assert_true(fat_write(fat, "/nowhere/image", 0600, NULL) < 0);
        fat_free(fat);
        harness_remove_directory(directory);
}

static json_t *read_json(const char *image, const char *name, const char *prefix) {
        _cleanup_free_ char *text = run(NULL, "mtype -i %s ::%s", image, name);

        assert_true(text_starts_with(text, prefix));
        json_t *object = json_loads(text + strlen(prefix), 0, NULL);
        assert_non_null(object);
        return object;
}

static void assert_json(json_t *consume_object, const char *expected) {
        _cleanup_free_ char *text = json_dumps(consume_object, JSON_COMPACT | JSON_SORT_KEYS);

        assert_string_equal(text, expected);
        json_decref(consume_object);
}

static void test_seed(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/seed.img", directory);
        char *keys[] = { (char *)"ssh-ed25519 AAAA me", (char *)"ssh-rsa BBBB \"you\"" };
        const char *macs[] = { "52:54:00:00:00:01", "52:54:00:00:00:02" };
        struct configuration c = {
                .disk = (char *)"/d", .hostname = (char *)"web", .ssh_keys = keys, .n_ssh_keys = 2
        };

        need("mtype");
        assert_true(seed_is_wanted(&c));
        assert_int_equal(seed_write(&c, "web", macs, 2, path, NULL), 0);
        check(path);
        assert_json(read_json(path, "meta-data", ""),
                    "{\"instance-id\":\"berth-web\",\"local-hostname\":\"web\","
                    "\"public-keys\":[\"ssh-ed25519 AAAA me\",\"ssh-rsa BBBB \\\"you\\\"\"]}");
        assert_json(read_json(path, "user-data", "#cloud-config\n"),
                    "{\"hostname\":\"web\",\"ssh_pwauth\":false}");
        assert_json(
                read_json(path, "network-config", ""),
                "{\"ethernets\":{\"net0\":{\"dhcp4\":true,\"match\":{\"macaddress\":\"52:54:00:00:00:01\"},"
                "\"optional\":false},\"net1\":{\"dhcp4\":true,\"match\":{\"macaddress\":\"52:54:00:00:00:"
                "02\"},"
                "\"optional\":true}},\"version\":2}");

        /* Written anew at each start, for the VM as it is then. */
        c.ssh_user = (char *)"root";
        assert_int_equal(seed_write(&c, "web", NULL, 0, path, NULL), 0);
        assert_json(read_json(path, "user-data", "#cloud-config\n"),
                    "{\"disable_root\":false,\"hostname\":\"web\",\"ssh_pwauth\":false,\"user\":{\"name\":"
                    "\"root\"}}");
        _cleanup_free_ char *listing = run(NULL, "mdir -b -i %s ::", path);
        assert_string_equal(listing, "::/meta-data\n::/user-data\n");
        harness_remove_directory(directory);
}

static void test_user_data(void **state) {
        char *directory = harness_make_directory();
        _cleanup_free_ char *path = text_format("%s/seed.img", directory), *copy = NULL;
        _cleanup_free_ char *file = text_format("%s/data", directory);
        struct configuration c = { .kernel = (char *)"/k" };
        struct error error = ERROR_INIT;

        need("mtype");
        assert_false(seed_is_wanted(&c));
        c.user_data = (char *)"#!/bin/sh\necho hello\n";
        assert_true(seed_is_wanted(&c));
        assert_int_equal(seed_write(&c, "web", NULL, 0, path, NULL), 0);
        copy = run(NULL, "mtype -i %s ::user-data", path);
        assert_string_equal(copy, c.user_data);

        c.user_data = NULL;
        c.user_data_file = file;
        assert_true(seed_is_wanted(&c));
        assert_int_equal(seed_write(&c, "web", NULL, 0, path, &error), -ENOENT);
        assert_non_null(strstr(error.text, file));
        assert_int_equal(file_write(file, "#cloud-config\n", 14, 0600, false, NULL), 0);
        assert_int_equal(seed_write(&c, "web", NULL, 0, path, NULL), 0);
        free(copy);
        copy = run(NULL, "mtype -i %s ::user-data", path);
        assert_string_equal(copy, "#cloud-config\n");
        harness_remove_directory(directory);
}

static void test_credentials(void **state) {
        struct seed_credential credentials[SEED_CREDENTIALS_MAX];
        _cleanup_free_ char *long_key = malloc(SEED_CREDENTIAL_VALUE_MAX + 1);
        char *keys[] = { (char *)"ssh-rsa A", (char *)"ssh-rsa B", NULL };
        struct configuration c = { .ssh_keys = keys };
        size_t n = 7;

        assert_int_equal(seed_credentials(&c, credentials, &n), 0);
        assert_int_equal(n, 0);
        c.hostname = (char *)"web";
        c.n_ssh_keys = 2;
        assert_int_equal(seed_credentials(&c, credentials, &n), 0);
        assert_int_equal(n, 2);
        assert_string_equal(credentials[0].name, "system.hostname");
        assert_string_equal(credentials[0].value, "web");
        assert_string_equal(credentials[1].name, "ssh.authorized_keys.root");
        assert_string_equal(credentials[1].value, "ssh-rsa A\nssh-rsa B\n");
        free(credentials[0].value);
        free(credentials[1].value);

        memset(long_key, 'x', SEED_CREDENTIAL_VALUE_MAX);
        long_key[SEED_CREDENTIAL_VALUE_MAX] = '\0';
        keys[0] = long_key;
        assert_int_equal(seed_credentials(&c, credentials, &n), 0);
        assert_int_equal(n, 1);
        free(credentials[0].value);
}

HARNESS_MAIN(cmocka_unit_test(test_fat), cmocka_unit_test(test_fat_limits), cmocka_unit_test(test_seed),
             cmocka_unit_test(test_user_data), cmocka_unit_test(test_credentials))
