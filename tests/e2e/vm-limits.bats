#!/usr/bin/env bats
# What a VM may use of the host: limits that systemd puts on its QEMU, by a scope of its own.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        need world_possible
        guest_build
        world_create
        systemd_start
        world_accept
}

teardown() {
        vms_teardown
}

teardown_file() {
        berth_end user
        berth_end system
        assert_nothing_left 10
        systemd_stop
        world_destroy --force
}

# limit CONTROLLER PID FILE...: what the kernel holds the process to, from the first of these files that is there, which
# are those of version 2 and of version 1.
limit() {
        # shellcheck disable=SC2016 # for the shell in the world
        in_host sh -c '
                path=$(sed -nE "s/^[0-9]+:(.*,)?$1(,.*)?:(.*)/\3/p" "/proc/$2/cgroup")
                directory=/sys/fs/cgroup/$1$path
                [ -n "$path" ] || directory=/sys/fs/cgroup$(sed -n "s/^0:://p" "/proc/$2/cgroup")
                cat "$directory/$3" 2>/dev/null || cat "$directory/$4"' sh "$@"
}
scopes() {
        in_host systemctl list-units --no-legend --plain 'berth-vm-*.scope'
}
no_scopes() {
        [[ -z $(scopes) ]]
}

@test "limits hold QEMU in a scope of its own, from one vmhost to the next" {
        local scope qemu quota
        vm_up system web --memory-limit 1G --cpu-limit 150
        qemu=$(vm_qemu system web)
        scope=$(vm_fact system web .scope)
        [ "$scope" = "berth-vm-web-$qemu.scope" ]
        [[ $(vm system show web) == *"limited by"*"$scope"* ]]
        [[ $(scopes) == "$scope loaded active running"* ]]

        [ "$(limit memory "$qemu" memory.max memory.limit_in_bytes)" = $((1 << 30)) ]
        read -r quota _ < <(limit cpu "$qemu" cpu.max cpu.cfs_quota_us)
        [ "$quota" = 150000 ]

        vm_kill_host system web
        vm system start web
        [ "$(vm_fact system web '.scope, .pid' | xargs)" = "$scope $qemu" ]

        # Its own end is the scope's.
        vm system stop web
        eventually 10 no_scopes
        vm system start web
        vm_fact system web '.scope | startswith("berth-vm-web-")'
}

@test "a QEMU that uses more than its limit is ended by the kernel, and the record says so" {
        vm_create system big --memory-limit 160M
        # It may be gone before it is seen to run, or before its memory is full. What is said to a guest that has yet to boot
        # may be lost.
        run vm system start big
        eventually 60 eval 'guest_log_has system-big "berth-guest: ready" || vm_list system | jq -e ".[0].state != \"running\""'
        guest_run -t 60 system-big 'cat /dev/zero >/full' || true
        [ "$(vm_end system big .by)" = oom ]
        [[ $(vm system show big) == *"for want of memory"* ]]
        eventually 10 no_scopes
}

@test "where limits cannot be applied the VM does not start, and is told why" {
        vm_create user web --cpu-limit 50
        run vm user start web
        [ "$status" -ne 0 ]
        [[ $output == *"QEMU cannot be limited: systemd cannot be asked: "*dbus-user-session* ]]
        [ "$(vm_list user | jq -r '.[0].state')" != running ]
        no_scopes
}

@test "a user's own systemd limits as well, where it is given the controllers, and else it is told that it may not" {
        local qemu
        systemd_user_start "$BERTH_UID"
        vm_create user web --no-network --memory-limit 1G
        run vm user start web
        # To a user no controller of version 1 is delegated.
        if grep -qE '^[0-9]+:(.*,)?memory(,.*)?:' /proc/self/cgroup; then
                [ "$status" -eq 1 ]
                [[ $output == *"made berth-vm-web-"*"but applied no limit of \"memory\""*Delegate=* ]]
        else
                [ "$status" -eq 0 ]
                qemu=$(vm_qemu user web)
                [ "$(vm_fact user web .scope)" = "berth-vm-web-$qemu.scope" ]
                [ "$(limit memory "$qemu" memory.max memory.limit_in_bytes)" = $((1 << 30)) ]
        fi
        vm_rm user web
        systemd_user_stop "$BERTH_UID"
}
