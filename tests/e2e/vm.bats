#!/usr/bin/env bats
# The life of a VM by `berth vm`: how it begins, how it ends, and what is told of its end.

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

# ended MODE NAME: the record of its end in short: who, stage, exit code, signal, whether the guest panicked.
ended() {
        vm_end "$1" "$2" '[.by, .stage, .exit_code, .signal, .panicked] | map(tostring) | join(" ")'
}
state() {
        vm_list "$1" | jq -r --arg name "$2" '.[] | select(.name == $name) | .phase // .state'
}
is_in() {
        [[ $(state "$1" "$2") == "$3" ]]
}

# --- From its making to its removal ---

life() {
        local mode=$1 directory begun
        directory=$(vm_directory "$mode" web)
        vm_create "$mode" web
        [ "$(vm "$mode" ls --names)" = web ]
        is_in "$mode" web stopped
        in_host jq -e '.kernel and .initrd and .memory_mib == 160' "$directory/config.json"
        run vm_create "$mode" web
        [ "$status" -ne 0 ]

        # What it is at each step, and how long that took.
        begun=$(now_ms)
        run --separate-stderr vm "$mode" start --json web
        [ "$status" -eq 0 ]
        jq -e --argjson took $(($(now_ms) - begun)) '.name == "web" and .was_running == false and
                (.steps_ms | .network <= .qemu and .qemu <= $took)' <<<"$output"
        vm_wait_ready "$mode" web

        vm_list "$mode" | jq -e '.[0] | .state == "running" and .pid > 0 and .ssh_port > 0 and .uptime_ms > 0'
        eventually 5 eval "vm $mode ls | grep 'web.*booting.*192.168.'"
        vm_fact "$mode" web '.networks[0].network == "shared" and (.confinement | contains("seccomp")) and
                .wanted == "running" and .last_end == null'
        [ "$(in_host stat -c %a "$directory/vmhost.sock" "$directory/console.sock" "$directory/vmhost.pid" | xargs)" = \
                "600 600 644" ]
        [ "$(in_host stat -c %s "$directory/vmhost.pid")" = "$(vm_host "$mode" web | tr -d '\n' | wc -c)" ]
        [[ $(in_host cat "/proc/$(vm_host "$mode" web)/comm") == vmhost ]]
        vm_fact "$mode" web ".vmhost_pid == $(vm_host "$mode" web)"

        # Its name is that of the DNS, its address the one that is told.
        [ "$(guest_run -t 60 "$mode-web" 'dhcp eth0')" = "$(vm_fact "$mode" web '.addresses[0]' | tr -d '"')" ]
        [ "$(guest_run "$mode-web" 'resolve -4 web.berth.internal')" = "$(guest_run "$mode-web" 'address4 eth0')" ]

        run vm "$mode" rm web
        [ "$status" -ne 0 ]
        run vm "$mode" stop web
        [ "$status" -eq 0 ]
        [[ $output == *acpi* ]]
        [ "$(ended "$mode" web)" = "host acpi 0 0 false" ]
        vm_end "$mode" web '.console_tail | join("\n")' | grep 'berth-guest: power button'
        vm_end "$mode" web '.uptime_ms > 1000 and .at > 1600000000000' | grep true
        is_in "$mode" web stopped
        run in_host ls "$directory/vmhost.sock" "$directory/vmhost.pid"
        [ "$status" -ne 0 ]
        vm "$mode" logs web | grep 'berth-guest: ready'

        vm "$mode" rm web
        [ -z "$(vm "$mode" ls --names)" ]
        run in_host ls "$directory"
        [ "$status" -ne 0 ]
}

@test "user: made, started, shown, stopped by the power button, removed" {
        life user
}
@test "system: made, started, shown, stopped by the power button, removed" {
        life system
}

@test "started twice: the command is content, a second vmhost is refused, and the first is not disturbed" {
        vm_create user twice --no-network
        vm user start twice
        host=$(vm_host user twice) qemu=$(vm_qemu user twice)
        run vm user start twice
        [ "$status" -eq 0 ]
        [[ $output == *"running already"* ]]
        run berth_as user "$BERTH_BUILD/src/vmhost/vmhost" --name twice --backend qemu
        [ "$status" -eq 3 ]
        [ "$(vm_host user twice)" = "$host" ]
        [ "$(vm_qemu user twice)" = "$qemu" ]

        # Several at the same moment: one of them does it.
        vm user kill twice
        for i in 1 2 3 4 5 6; do
                spawn "start-$i" berth_as user "$BERTH_BUILD/src/vmhost/vmhost" --name twice --backend qemu
        done
        for i in 1 2 3 4 5 6; do
                eventually 20 spawn_ended "start-$i"
        done
        eventually 5 eval "in_host pgrep -c -f 'vmhost --name twice' | grep -x 1" # with no child on its way
        [ "$(in_host pgrep -c -f 'guest=twice')" -eq 1 ]
        vm_fact user twice '.state == "running"'
}

@test "what is wrong with a configuration is told with file, line and reason, and nothing starts" {
        vm_create user wrong --no-network
        directory=$(vm_directory user wrong)
        in_host sh -c 'printf "{\n \"memory_mib\": 160,\n \"colour\": \"red\",\n \"kernel\": \"/x\"\n}\n" >"$1/config.json"' sh "$directory"
        run vm user start wrong
        [ "$status" -eq 1 ]
        [[ $output == *"config.json:3"*colour* ]]
        in_host sh -c 'printf "{ \"kernel\": \"/nowhere\" }\n" >"$1/config.json"' sh "$directory"
        run vm user start wrong
        [ "$status" -eq 1 ]
        [[ $output == *"/nowhere"* ]]
        is_in user wrong stopped || is_in user wrong failed
        run in_host ls "$directory/vmhost.sock" "$directory/vmhost.pid"
        [ "$status" -ne 0 ]
}

# --- How it ends ---

@test "a VM without networks needs no runtime directory, and one with networks is told to set it" {
        vm_create user apart --no-network
        apart start apart
        apart ls --json | jq -e '.[] | select(.name == "apart") | .state == "running"'
        apart kill apart
        vm_create user joined
        run apart start joined
        echo "$output"
        [ "$status" -eq 1 ]
        [[ $output == *"no runtime directory: "*"set XDG_RUNTIME_DIR"* ]]
}
apart() {
        berth_as user env -u XDG_RUNTIME_DIR berth vm "$@"
}

@test "a stop during boot: the power button is pressed until the guest hears it" {
        # It hears when it is told to, which is after the second press, however long that takes to be seen.
        GUEST_CMDLINE=deaf=1 vm_create system boot --no-network
        vm system start boot
        vm system stop --no-wait --timeout 120 boot
        eventually 10 vm_fact system boot '.stop | .stage == "acpi" and .presses > 1 and .left_ms < .budget_ms'
        is_in system boot stopping
        vm_wait_ready system boot
        guest_last system-boot 'for m in $(cat /lib/modules/button); do insmod "/lib/modules/$m.ko"; done
                acpid -f -l /tmp/acpid.log'
        [ "$(vm_end system boot '.by + " " + .stage')" = "host acpi" ]
        vm system logs boot | grep 'power button'
}

@test "a guest that is deaf is ended within the budget, and sooner when that is asked for" {
        GUEST_CMDLINE=deaf=1 vm_up user deaf --no-network
        vm user stop --timeout 3 deaf
        ended_by_force

        # A stop that would outlast this test, a shorter one that would as well, and force over it.
        vm user start deaf
        vm_wait_ready user deaf
        vm user stop --no-wait --timeout 1000 deaf
        eventually 5 vm_fact user deaf '.stop.budget_ms == 1000000'
        vm user stop --no-wait --timeout 500 deaf
        vm_fact user deaf '.stop.budget_ms < 1000000'
        vm user kill deaf
        ended_by_force
        is_in user deaf stopped

        # Again, now that there is nothing left to end.
        run vm user stop deaf
        [ "$status" -eq 0 ]
        run vm user kill deaf
        [ "$status" -eq 0 ]
}

# QEMU is told to quit, and has half a second for that before it gets a signal, which it may need on a busy machine.
ended_by_force() {
        [[ $(vm_end user deaf '.by + " " + .stage') =~ ^"host "(quit|sigterm|sigkill)$ ]]
}

@test "SIGTERM to vmhost stops its VM; a terminal that hangs up does nothing" {
        vm_up user term --no-network
        host=$(vm_host user term)
        vm_signal HUP "$host"
        vm_fact user term '.state == "running"'
        vm_signal TERM "$host"
        eventually 20 vm_ended "$host"
        [ "$(ended user term)" = "host acpi 0 0 false" ]
}

@test "a guest that shuts itself down" {
        vm_up user self --no-network
        guest_last user-self 'echo "the last word" >/dev/console; poweroff -f'
        run vm user wait self
        [ "$status" -eq 0 ]
        [ "$(ended user self)" = "guest none 0 0 false" ]
        vm_end user self '.console_tail[]' | grep 'the last word'
        is_in user self stopped
}

@test "a panic of the guest's kernel" {
        vm_up user panic --no-network
        guest_last user-panic 'echo c >/proc/sysrq-trigger'
        run vm user wait panic
        [ "$status" -ne 0 ]
        [ "$(vm_end user panic '.panicked')" = true ]
        vm_end user panic '.console_tail[]' | grep 'Kernel panic'
        is_in user panic failed
}

@test "QEMU killed" {
        vm_up user killed --no-network
        vm_signal KILL "$(vm_qemu user killed)"
        run vm user wait killed
        [ "$status" -eq 137 ]
        [ "$(ended user killed)" = "crash none null 9 false" ]
        is_in user killed failed
}

# --- The console ---

@test "several viewers see the same console from its first line on, and any of them types" {
        local console viewer
        vm_up user web --no-network
        console=UNIX-CONNECT:$(vm_directory user web)/console.sock
        for viewer in one two; do
                spawn --ready 'berth-guest: ready' "viewer-$viewer" as_user "$BERTH_UID" socat -u "$console" -
        done
        # This is a third.
        guest_run user-web 'echo "seen by all" >/dev/console; hostname' | grep -x web
        for viewer in one two; do
                eventually 5 viewer_has_ "$viewer" 'seen by all'
        done
        # One that leaves is nobody's concern.
        spawn_end viewer-one
        guest_run user-web 'echo "seen by one" >/dev/console; hostname' | grep -x web
        eventually 5 viewer_has_ two 'seen by one'
        spawn_end viewer-two
}
viewer_has_() {
        spawn_output "viewer-$1" | grep -a "$2"
}

# --- Restart ---

@test "restart on failure: again after a crash, not after an end that was wanted, never after a stop" {
        vm_up user again --no-network --restart on-failure
        qemu=$(vm_qemu user again)
        vm_signal KILL "$qemu"
        eventually 10 vm_fact user again ".pid > 0 and .pid != $qemu and .restart.count == 1 and .last_end.signal == 9"
        # The console is that of a new run.
        vm_wait_ready user again
        vm user stop again
        [ "$(ended user again)" = "host acpi 0 0 false" ]
        never 2 eval '! is_in user again stopped'

        # A stop while it waits to be started again is a stop as well.
        vm user start again
        eventually 20 killed_and_restarting_
        vm user stop again
        never 2 eval '! { is_in user again stopped || is_in user again failed; }'

        vm user start again
        vm_wait_ready user again
        guest_last user-again 'poweroff -f'
        run vm user wait again
        [ "$status" -eq 0 ]
}

# It waits a second the first time, and twice as long each time: who comes too late kills what was started.
killed_and_restarting_() {
        local facts
        facts=$(vm_list user | jq -c '.[0]')
        jq -e '.state == "restarting"' <<<"$facts" && return
        vm_signal KILL "$(jq '.pid // empty' <<<"$facts")"
        return 1
}

@test "restart always: also where the guest shut itself down" {
        vm_up user always --no-network --restart always
        qemu=$(vm_qemu user always)
        guest_last user-always 'poweroff -f'
        eventually 10 vm_fact user always ".pid > 0 and .pid != $qemu and .last_end.by == \"guest\""
        vm user kill always
        never 2 eval '! is_in user always stopped'
}

@test "run: what a guest prints, its end as the exit status, and nothing left" {
        run vm user run --no-network --memory 160M --kernel "$GUEST_IMAGES/vmlinuz" --initrd "$GUEST_IMAGES/initramfs.gz" \
                --command-line "$(GUEST_ORDERS='echo done here; poweroff -f' guest_words run)" job
        [ "$status" -eq 0 ]
        [[ $output == *"done here"* ]]
        [ -z "$(vm user ls --names)" ]
}

@test "run: a signal while it starts, and a reader who has had enough, leave nothing behind" {
        words=(--no-network --memory 160M --kernel "$GUEST_IMAGES/vmlinuz" --initrd "$GUEST_IMAGES/initramfs.gz"
                --command-line "$(guest_words run)")
        spawn early vm user run "${words[@]}" early
        eventually 20 in_host test -e "$(vm_directory user early)/config.json"
        spawn_signal early TERM
        eventually 30 spawn_ended early
        [ -z "$(vm user ls --names)" ]
        run in_host pgrep -f guest=early
        [ "$status" -eq 1 ]

        statuses=$(vm user run "${words[@]}" enough 2>/dev/null | grep -q 'berth-guest: ready'; echo "${PIPESTATUS[*]}")
        [ "$statuses" = "141 0" ]
        [ -z "$(vm user ls --names)" ]
        run in_host pgrep -f guest=enough
        [ "$status" -eq 1 ]
}
