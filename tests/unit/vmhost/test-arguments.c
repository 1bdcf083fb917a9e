/* vmhost/arguments: what QEMU is told, by what is configured and what the machine has. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "vmhost/arguments.h"

static const struct host host = { .qemu = (char *)"/bin/qemu", .qboot = true };

/* The words, with a blank between two; to be freed. */
static char *compose(const struct configuration *c, const struct arguments_context *context) {
        char **words = NULL, *line = NULL;
        size_t size;
        FILE *stream = open_memstream(&line, &size);

        assert_int_equal(arguments_compose(&words, c, context), 0);
        for (char **word = words; *word; word++)
                fprintf(stream, "%s%s", word == words ? "" : " ", *word);
        fclose(stream);
        arguments_free(words);
        return line;
}

static struct arguments_context context_of(void) {
        return (struct arguments_context){ .name = "web",
                                           .directory = "/vms/web",
                                           .host = &host,
                                           .confined = true,
                                           .qmp = 10,
                                           .console = 11,
                                           .agent = 12 };
}

static void test_kernel(void **state) {
        struct configuration c = { .memory_mib = 256,
                                   .cpus = 2,
                                   .kernel = (char *)"/vmlinuz",
                                   .command_line = (char *)"console=ttyS0" };
        struct arguments_context context = context_of();
        _cleanup_free_ char *line = compose(&c, &context);

        assert_string_equal(
                line,
                "/bin/qemu -name guest=web,debug-threads=on -no-user-config -nodefaults -display none "
                "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny "
                "-machine q35,memory-backend=memory -accel tcg -cpu max -smp 2 -m 256M "
                "-object memory-backend-memfd,id=memory,size=256M,share=on -rtc base=utc -device pvpanic "
                "-device virtio-rng-pci -bios qboot.rom -kernel /vmlinuz -append console=ttyS0 "
                "-chardev socket,id=qmp,fd=10,server=on,wait=off -mon chardev=qmp,mode=control "
                "-chardev "
                "socket,id=console,fd=11,server=on,wait=off,logfile=/vms/web/console.log,logappend=on "
                "-serial chardev:console -chardev socket,id=agent,fd=12,server=on,wait=off "
                "-device virtio-serial-pci "
                "-device virtserialport,id=agent,chardev=agent,name=org.qemu.guest_agent.0");
}

/* Each case: what is there, what must be on the line, and what must not. */
struct part {
        struct configuration c;
        struct arguments_context context;
        const char *with, *without;
};

static void expect_parts(const struct part *cases, size_t n) {
        for (size_t i = 0; i < n; i++) {
                struct arguments_context context = cases[i].context;

                context.name = "web";
                context.directory = "/vms/a,b";
                _cleanup_free_ char *line = compose(&cases[i].c, &context);
                if (!strstr(line, cases[i].with) || strstr(line, cases[i].without))
                        fail_msg("case %zu: %s", i, line);
        }
}

static const struct host bare = { .qemu = (char *)"/bin/qemu" },
                         uring = { .qemu = (char *)"/q", .io_uring = true };

static const struct configuration kernel = { .kernel = (char *)"/k" }, disk = { .disk = (char *)"/d,1" };

static void test_boot(void **state) {
        const struct part cases[] = {
                { kernel, { .host = &bare }, "-kernel /k", "-bios" },
                { kernel, { .host = &host }, "-bios qboot.rom", "-sandbox" },
                { disk, { .host = &host }, "bootindex=1,werror=stop,rerror=stop", "-bios" },
                { { .kernel = (char *)"/k", .firmware = (char *)"/fw" },
                  { .host = &host },
                  "-bios /fw",
                  "qboot" },
                { { .kernel = (char *)"/k", .initrd = (char *)"/i", .command_line = (char *)"a b" },
                  { .host = &host },
                  "-initrd /i -append a b",
                  "console=ttyS0" },
        };

        expect_parts(cases, ARRAY_SIZE(cases));
}

static void test_disks(void **state) {
        const struct part cases[] = {
                { disk, { .host = &host }, "\"aio\":\"threads\"", "io_uring" },
                { disk, { .host = &uring }, "\"aio\":\"io_uring\"", "\"threads\"" },
                { disk,
                  { .host = &host },
                  "-blockdev {\"driver\":\"qcow2\",\"node-name\":\"disk\",\"discard\":\"unmap\",\"file\":"
                  "{\"driver\":\"file\",\"filename\":\"/d,1\",",
                  "host_device" },
                { { .disk = (char *)"/dev/vg/d", .disk_format = DISK_RAW },
                  { .host = &host, .disk_is_device = true },
                  "{\"driver\":\"host_device\",\"filename\":\"/dev/vg/d\"",
                  "qcow2" },
                { disk,
                  { .host = &host, .seed = true },
                  "{\"driver\":\"raw\",\"node-name\":\"seed\",\"read-only\":true,\"file\":{\"driver\":"
                  "\"file\","
                  "\"filename\":\"/vms/a,b/seed.img\",\"read-only\":true}} -device virtio-blk-pci,drive=seed",
                  "fw_cfg" },
        };

        expect_parts(cases, ARRAY_SIZE(cases));
}

static struct session_interface interfaces[] = {
        { .network = "shared", .mac = "52:54:00:00:00:01", .mtu = 1500, .queues = 1, .taps = { 20 } },
        { .network = "host", .mac = "52:54:00:00:00:02", .mtu = 9000, .queues = 3, .taps = { 21, 22, 23 } },
        { .network = "more", .mac = "52:54:00:00:00:03", .mtu = 1500, .queues = 1, .taps = { 24 } },
};
static const struct session_interface *const all[] = { &interfaces[0], &interfaces[1], &interfaces[2] };
static const int vhosts[] = { 30, 31, 32, 33, 34 };

static void test_interfaces(void **state) {
        const struct part cases[] = {
                { kernel,
                  { .host = &host, .interfaces = all, .n_interfaces = 3 },
                  "-netdev tap,id=net0,fd=20 -device "
                  "virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01,host_mtu=1500,"
                  "romfile= -netdev tap,id=net1,fds=21:22:23 -device virtio-net-pci,netdev=net1,"
                  "mac=52:54:00:00:00:02,host_mtu=9000,mq=on,vectors=8,romfile=",
                  "vhost" },
                { kernel,
                  { .host = &host, .interfaces = all, .n_interfaces = 3, .vhosts = vhosts },
                  "fd=20,vhost=on,vhostfd=30 ",
                  "vhostfds=30" },
                { kernel,
                  { .host = &host, .interfaces = all, .n_interfaces = 3, .vhosts = vhosts },
                  "fds=21:22:23,vhost=on,vhostfds=31:32:33",
                  "vhostfd=31" },
                { kernel,
                  { .host = &host, .interfaces = all, .n_interfaces = 3, .vhosts = vhosts },
                  "fd=24,vhost=on,vhostfd=34 ",
                  "vhostfd=32" },
                { { .kernel = (char *)"/k", .machine = MACHINE_MICROVM },
                  { .host = &host, .kvm = true, .interfaces = all, .n_interfaces = 3 },
                  "virtio-net-device,netdev=net1,mac=52:54:00:00:00:02,host_mtu=9000,mq=on",
                  "pci" },
        };

        expect_parts(cases, ARRAY_SIZE(cases));
}

static void test_shares(void **state) {
        struct configuration_share shares[] = {
                { .path = (char *)"/a,b", .tag = (char *)"ab", .read_only = true },
                { .path = (char *)"/c", .tag = (char *)"c", .type = SHARE_VIRTIOFS },
        };
        static const int share_fds[] = { -1, 40 };
        const struct part cases[] = {
                { { .kernel = (char *)"/k", .shares = shares, .n_shares = 2 },
                  { .host = &host, .shares = share_fds },
                  "-fsdev local,id=share0,path=/a,,b,security_model=none,multidevs=remap,readonly=on "
                  "-device virtio-9p-pci,fsdev=share0,mount_tag=ab "
                  "-chardev socket,id=share-c,fd=40 -device vhost-user-fs-pci,chardev=share-c,tag=c",
                  "path=/c" },
        };

        expect_parts(cases, ARRAY_SIZE(cases));
}

static void test_credentials(void **state) {
        char *key[] = { (char *)"ssh-rsa A,B" };
        const struct part cases[] = {
                { { .kernel = (char *)"/k", .hostname = (char *)"web", .ssh_keys = key, .n_ssh_keys = 1 },
                  { .host = &host },
                  "-smbios type=11,value=io.systemd.credential.binary:system.hostname=d2Vi "
                  "-smbios "
                  "type=11,value=io.systemd.credential.binary:ssh.authorized_keys.root=c3NoLXJzYSBBLEIK",
                  "fw_cfg" },
                { { .kernel = (char *)"/k", .hostname = (char *)"abcd" },
                  { .host = &host },
                  "hostname=YWJjZA==",
                  "keys" },
                { { .kernel = (char *)"/k", .hostname = (char *)"abcde" },
                  { .host = &host },
                  "hostname=YWJjZGU=",
                  "keys" },
                { { .kernel = (char *)"/k", .machine = MACHINE_MICROVM, .ssh_keys = key, .n_ssh_keys = 1 },
                  { .host = &host },
                  "-fw_cfg name=opt/io.systemd.credentials/ssh.authorized_keys.root,string=ssh-rsa A,,B\n",
                  "smbios" },
        };

        expect_parts(cases, ARRAY_SIZE(cases));
}

static void test_machine(void **state) {
        char *extra[] = { (char *)"-S", (char *)"-d" };
        const struct part cases[] = {
                { kernel, { .host = &host, .kvm = true }, "-accel kvm -cpu host", "tcg" },
                { kernel, { .host = &host }, "logfile=/vms/a,,b/console.log,logappend=on", "seed" },
                { { .kernel = (char *)"/k", .machine = MACHINE_MICROVM },
                  { .host = &host },
                  "microvm,acpi=off",
                  "pvpanic" },
                { { .kernel = (char *)"/k", .machine = MACHINE_MICROVM },
                  { .host = &host, .kvm = true },
                  "microvm,acpi=on",
                  "acpi=off" },
                { { .kernel = (char *)"/k", .extra_arguments = extra, .n_extra_arguments = 2 },
                  { .host = &host },
                  "org.qemu.guest_agent.0 -S -d",
                  "blk" },
        };

        expect_parts(cases, ARRAY_SIZE(cases));
}

HARNESS_MAIN(cmocka_unit_test(test_kernel), cmocka_unit_test(test_boot), cmocka_unit_test(test_disks),
             cmocka_unit_test(test_interfaces), cmocka_unit_test(test_shares),
             cmocka_unit_test(test_credentials), cmocka_unit_test(test_machine))
