#!/usr/bin/env bats
# A whole Debian in a VM: what `berth vm create`, `start` and `ssh` are for.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        need world_possible
        # Minutes, the first time; it stays where the guest's files are.
        need "$harness_directory/../../guest/debian-image" "$GUEST_IMAGES/debian"
        world_create
        outside_dns
        world_accept
}

teardown() {
        [[ -n ${BATS_TEST_COMPLETED:-} ]] || { vms_dump; berth_dump; }
        vms_rm
}

teardown_file() {
        [[ -n ${WORLD:-} ]] || return 0
        berth_end user
        assert_nothing_left 10
        spawn_end outside-dns
        world_destroy --force
}

@test "Debian lets in by the key of its making, has its address, and shuts down by the power button" {
        local key image=$GUEST_IMAGES/debian
        key=$(user_directory "$BERTH_UID")/id_ed25519
        berth_as user ssh-keygen -q -t ed25519 -N '' -f "$key"
        vm user create deb --image "$image/debian.raw" --image-format raw --kernel "$image/vmlinuz" --initrd "$image/initrd.img" \
                --command-line 'root=/dev/vda rw console=ttyS0 quiet no_timer_check' --memory 512M --cpus 2 \
                --ssh-key "$key.pub" --ssh-user root
        vm user start --wait ssh --timeout 240 deb

        [ "$(vm user exec deb -- id -un)" = root ]
        [ "$(vm user exec deb -- printf '%s|' 'two words' '$HOME' "it's")" = "two words|\$HOME|it's|" ]
        run vm user exec deb -- sh -c 'exit 7'
        [ "$status" -eq 7 ]
        [[ " $(vm user ssh deb 'hostname -I') " == *" $(vm_fact user deb '.addresses[0]' | tr -d '"') "* ]]
        vm user exec deb -- sh -c 'echo kept >/root/kept && sync'
        vm user logs deb | grep 'login:'

        vm user stop --timeout 90 deb
        [ "$(vm_end user deb '[.by, .stage, .exit_code, .signal, .panicked] | map(tostring) | join(" ")')" = \
                "host acpi 0 0 false" ]
        vm_end user deb '.console_tail[]' | grep -a 'Power down'
        # The image is as it was; what was written is on the VM's own disk.
        vm user show --json deb | jq -e '.configuration.image | endswith("debian.raw")'
}
