#!/usr/bin/env bats
# VMs with disks, and many of them: a full disk, what QEMU may reach, and what is left in the end.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        vms_setup_file
}
teardown() {
        vms_teardown
}
teardown_file() {
        vms_teardown_file
}

@test "a disk of the host that is full: the VM pauses and says why, and goes on by itself when there is room" {
        in_host sh -ec 'mkdir -p /var/lib/berth/vms && mount -t tmpfs -o size=48m small /var/lib/berth/vms'
        vm_up system full --no-network --disk-size 1G
        in_host sh -c 'df -m /var/lib/berth/vms >&2; head -c 28M /dev/zero >/var/lib/berth/vms/ballast'
        guest_run system-full '(dd if=/dev/urandom of=/dev/vda bs=1M count=30 oflag=direct && echo "all written" >/dev/console) \
                >/dev/null 2>&1 &'
        eventually 30 vm_fact system full '.phase == "io-error" and .state == "running"'
        vm_fact system full .message
        [[ $(vm_fact system full .message) == *full* ]]
        eventually 5 eval 'vm system ls | grep io-error'
        in_host rm /var/lib/berth/vms/ballast
        vm_wait_log system full 'all written' 30
        vm_fact system full '.phase != "io-error" and .state == "running"'
        vm system kill full
        vm system rm full
        eventually 5 in_host umount /var/lib/berth/vms
}

@test "a disk that fails: the VM waits, says what to do, and goes on when it is told to" {
        local configuration=$BATS_TEST_TMPDIR/config.json
        GUEST_ORDERS='dd if=/dev/zero of=/dev/vda bs=4096 count=1 oflag=direct && echo "all written" >/dev/console' \
                vm_create system bad --no-network --no-confine
        truncate -s 1M "$WORLD/bad.raw"
        jq --arg file "$WORLD/bad.raw" '.extra_arguments = ["-device", "virtio-blk-pci,drive=bad,werror=stop", "-blockdev",
                ({ "driver": "raw", "node-name": "bad", "file": { "driver": "blkdebug",
                   "image": { "driver": "file", "filename": $file },
                   "inject-error": [{ "event": "pwritev", "errno": 5, "once": true }] } } | tostring)]' \
                "$(vm_place system bad)/config.json" >"$configuration"
        cp "$configuration" "$(vm_place system bad)/config.json"
        vm system start bad
        eventually 60 vm_fact system bad '.phase == "io-error"'
        eventually 5 eval 'vm system ls | grep "berth vm cont"'
        [ "$(vm system cont bad)" = "bad goes on." ]
        vm_wait_log system bad 'all written' 20
        run vm system cont bad
        [ "$status" -eq 1 ]
        [[ $output == *"is not paused"* ]]
}

# reaches_ DIRECTORY NAME: whether the VM's QEMU opens that file for a disk of its own that is added while it runs, as one
# that its guest has taken over could: its answer to that, by the id, whatever else is said there.
reaches_() {
        local commands=$BATS_TEST_TMPDIR/commands id=reach$RANDOM
        printf '{"execute":"qmp_capabilities"}\n{"execute":"blockdev-add","id":"%s","arguments":{"driver":"file","node-name":"%s","filename":"%s"}}\n' \
                "$id" "$id" "$2" >"$commands"
        spawn qmp in_host socat "OPEN:$commands,rdonly,ignoreeof!!STDOUT" "UNIX-CONNECT:$1/qmp.sock"
        eventually 10 answer_ qmp "$id"
        spawn_end qmp
}
answer_() {
        spawn_output "$1" | grep -F "\"id\": \"$2\""
}

confined() {
        local mode=$1 directory
        directory=$(vm_directory "$mode" cell)
        in_host sh -c 'echo secret >/run/secret; chmod 666 /run/secret'
        vm_create "$mode" cell --no-network --disk-size 1G
        vm "$mode" start cell
        [[ $(vm_fact "$mode" cell .confinement) == *Landlock* ]] || skip "the kernel has no Landlock"
        # QEMU serves one client at a time: its vmhost has to go first.
        vm_kill_host "$mode" cell
        run reaches_ "$directory" /run/secret
        [[ $output == *"Permission denied"* ]]
        run reaches_ "$directory" "$directory/config.json"
        [[ $output == *"Permission denied"* ]]
        run reaches_ "$directory" /etc/passwd
        [[ $output == *"Permission denied"* ]]
        vm "$mode" start cell
        vm "$mode" kill cell

        # The same asked of one that is not confined, or the above would show nothing.
        vm_create "$mode" open --no-network --no-confine
        vm "$mode" start open
        vm_kill_host "$mode" open
        run reaches_ "$(vm_directory "$mode" open)" /run/secret
        [[ $output == '{"return": {}, '* ]]
        in_host rm /run/secret
}

@test "user: a confined QEMU reads no file but its own" {
        confined user
}
@test "system: a confined QEMU reads no file but its own" {
        confined system
}

@test "twenty VMs start and stop side by side, and leave nothing behind" {
        for i in $(seq 20); do
                GUEST_MEMORY=64 vm_create user "many$i"
        done
        for i in $(seq 20); do
                spawn "many$i" berth_as user berth vm start "many$i"
        done
        for i in $(seq 20); do
                eventually 60 spawn_ended "many$i"
        done
        vm_list user | jq -e '[.[] | select(.state == "running")] | length == 20 and ([.[].addresses[0], .[].ssh_port] |
                unique | length == 40)'
        for i in $(seq 20); do
                spawn "many$i" berth_as user berth vm kill "many$i"
        done
        for i in $(seq 20); do
                eventually 60 spawn_ended "many$i"
        done
        vm_list user | jq -e 'all(.state == "stopped")'
        eventually 10 berth_facts user shared '.interfaces == [] and .clients == []'
        eventually 5 eval '! in_host pgrep -a "qemu|vmhost"'
        run in_host sh -c 'ls "$1"/many*/vmhost.sock "$1"/many*/vmhost.pid 2>/dev/null' sh "$(vm_directory user '')"
        [ -z "$output" ]
}

@test "six real guests stop by the power button at once" {
        for i in 1 2 3 4 5 6; do
                GUEST_MEMORY=96 vm_create system "six$i"
                vm system start "six$i"
        done
        for i in 1 2 3 4 5 6; do
                vm_wait_ready system "six$i"
        done
        for i in 1 2 3 4 5 6; do
                vm system stop --no-wait "six$i"
        done
        for i in 1 2 3 4 5 6; do
                [ "$(vm_end system "six$i" '.by + " " + .stage')" = "host acpi" ]
        done
        eventually 10 berth_facts system shared '.interfaces == [] and .clients == []'
}
