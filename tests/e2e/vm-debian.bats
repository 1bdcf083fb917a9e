#!/usr/bin/env bats
# A whole Debian in a VM: what `berth vm create`, `start` and `ssh` are for.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        # A Debian boots for minutes where the machine is busy; what one test may take otherwise is soon used up.
        export BATS_TEST_TIMEOUT=900
        need world_possible
        # Minutes, the first time; it stays where the guest's files are.
        need "$harness_directory/../../guest/debian-image" "$GUEST_IMAGES/debian"
        world_create
        outside_dns
        world_accept
}

teardown() {
        vms_teardown
}

teardown_file() {
        vms_teardown_file
}

# by_agent MODE NAME COMMAND...: sets status, output and stderr, as run does.
by_agent() {
        run --separate-stderr vm "$1" exec --agent "$2" -- "${@:3}"
}
no_virtiofsd() {
        ! in_host pgrep virtiofsd
}
ended() {
        vm_end "$1" "$2" '[.by, .stage, .exit_code, .signal, .panicked] | map(tostring) | join(" ")'
}

@test "Debian lets in by the key of its making, has its address, and shuts down by its agent" {
        local key image=$GUEST_IMAGES/debian several i
        key=$(user_directory "$BERTH_UID")/id_ed25519
        berth_as user ssh-keygen -q -t ed25519 -N '' -f "$key"
        vm user create deb --image "$image/debian.raw" --image-format raw --kernel "$image/vmlinuz" --initrd "$image/initrd.img" \
                --command-line 'root=/dev/vda1 rw console=ttyS0 quiet no_timer_check cloud-init=disabled' --memory 512M --cpus 2 \
                --ssh-key "$key.pub" --ssh-user root
        vm user start --wait ssh --timeout 600 deb

        [ "$(vm user exec deb -- id -un)" = root ]
        [ "$(vm user exec deb -- printf '%s|' 'two words' '$HOME' "it's")" = "two words|\$HOME|it's|" ]
        run vm user exec deb -- sh -c 'exit 7'
        [ "$status" -eq 7 ]
        [[ " $(vm user ssh deb 'hostname -I') " == *" $(vm_fact user deb '.addresses[0]' | tr -d '"') "* ]]
        vm user exec deb -- sh -c 'echo kept >/root/kept && sync'
        vm user logs deb | grep 'login:'

        # By the guest agent: the same words, the streams apart, statuses and signals, input, and much output.
        by_agent user deb printf '%s|' 'two words' '$HOME' "it's"
        [ "$status $output $stderr" = "0 two words|\$HOME|it's| " ]
        by_agent user deb sh -c 'echo out; echo err >&2; exit 7'
        [ "$status $output $stderr" = "7 out err" ]
        by_agent user deb sh -c 'kill -TERM $$'
        [ "$status" -eq 143 ]
        [ "$(printf 'one\0two' | vm user exec --agent --input deb -- od -An -c | tr -s ' ')" = ' o n e \0 t w o' ]
        [ "$(vm user exec --agent deb -- head -c 3000000 /dev/zero | wc -c)" = 3000000 ]
        several=$(for i in 1 2 3 4 5 6; do vm user exec --agent deb -- echo "$i" & done; wait)
        [ "$(sort <<<"$several" | xargs)" = '1 2 3 4 5 6' ]
        by_agent user deb nowhere
        [ "$status" -eq 125 ]
        [[ $stderr == *"the guest agent does not run nowhere: "* ]]

        # One that is stopped, ends or is not there costs what was set, and is told.
        vm user exec deb -- sh -c 'kill -STOP $(pidof qemu-ga)'
        run --separate-stderr vm user exec --agent --timeout 3 deb -- true
        [ "$status" -eq 125 ]
        [[ $stderr == *"no guest agent answered in deb within 3 s"*qemu-guest-agent* ]]
        vm user exec deb -- sh -c 'kill -CONT $(pidof qemu-ga)'
        by_agent user deb sh -c 'systemctl restart qemu-guest-agent; sleep 60'
        [ "$status" -eq 125 ]
        [[ $stderr == *"the guest agent lost the command"* ]]
        by_agent user deb cat /root/kept
        [ "$output" = kept ]

        # The vmhost that started it knows the agent, from what QEMU tells of its port.
        eventually 20 vm_fact user deb .agent
        vm user stop --timeout 240 deb
        [ "$(ended user deb)" = "host agent 0 0 false" ]
        vm_end user deb '.console_tail[]' | grep -a 'Power down'
        # The image is as it was; what was written is on the VM's own disk.
        vm user show --json deb | jq -e '.configuration.image | endswith("debian.raw")'
}

@test "an image with a boot loader and cloud-init needs no hand, mounts folders, and shuts down by the power button" {
        local home=$WORLD/folders key=$WORLD/folders/id_ed25519
        mkdir -p "$home/work" "$home/given"
        ssh-keygen -q -t ed25519 -N '' -f "$key"
        echo hello >"$home/given/file"
        vm system create web --image "$GUEST_IMAGES/debian/debian.raw" --image-format raw --network shared --ssh-key "$key.pub" \
                --ssh-user tester --cpus 2 --share "$home/work" --share "$home/given,read-only" --share "$home/work,tag=fast,type=virtiofs"
        vm system start --wait ssh --timeout 600 web

        [ "$(vm system ssh web id -un)" = tester ]
        [ "$(vm system exec web -- hostname)" = web ]
        vm system exec --agent web -- cloud-init status --wait
        [ "$(vm system exec --agent web -- cloud-id)" = nocloud ]

        vm system exec --agent web -- sh -ec '
                mkdir -p /mnt/work /mnt/given /mnt/fast
                mount -t 9p -o trans=virtio,version=9p2000.L work /mnt/work
                mount -t 9p -o trans=virtio,version=9p2000.L given /mnt/given
                mount -t virtiofs fast /mnt/fast
                echo one >/mnt/work/by-9p && echo two >/mnt/fast/by-virtiofs && sync'
        [ "$(cat "$home/work/by-9p" "$home/work/by-virtiofs" | xargs)" = "one two" ]
        [ "$(vm system exec --agent web -- cat /mnt/given/file /mnt/fast/by-9p | xargs)" = "hello one" ]
        by_agent system web sh -c 'echo no >/mnt/given/file'
        [ "$status" -ne 0 ]
        [[ $stderr == *"Read-only file system"* ]]

        # They outlive the supervisor, and end with the VM; and the agent runs commands whoever supervises, or nobody.
        vm_kill_host system web
        [ "$(vm system exec --agent web -- cat /mnt/work/by-9p)" = one ]
        vm system start web
        echo three >"$home/work/later"
        [ "$(vm system exec --agent web -- cat /mnt/work/later /mnt/fast/later | xargs)" = "three three" ]
        eventually 20 vm_fact system web .agent
        # Without the agent it is the button; the order to end it may end before it is answered.
        by_agent system web systemctl --no-block stop qemu-guest-agent
        eventually 20 vm_fact system web '.agent == false'
        vm system stop --timeout 240 web
        [ "$(ended system web)" = "host acpi null null false" ]
        eventually 5 no_virtiofsd
}

@test "a folder by virtiofs is refused to an ordinary user whose virtiofsd takes root" {
        local program
        program=$(in_host sh -c 'command -v virtiofsd || ls /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd 2>/dev/null' | head -n 1)
        # The one in Rust runs for anybody.
        grep -q libglib "$program" || return 0
        vm user create web --image "$GUEST_IMAGES/debian/debian.raw" --image-format raw --share /tmp,type=virtiofs
        run vm user start web
        [ "$status" -eq 1 ]
        [[ $output == *"runs for root only"* ]]
}
