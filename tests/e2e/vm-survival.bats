#!/usr/bin/env bats
# What a VM survives: its vmhost killed, the broker killed, both; and what is told of a VM that is frozen or gone.

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

state() {
        vm_list "$1" | jq -r --arg name "$2" '.[] | select(.name == $name) | .phase // .state'
}
is_in() {
        [[ $(state "$1" "$2") == "$3" ]]
}

# --- A stream from the host through a forward, checked to its last byte ---

stream_start() {
        spawn --ready connected stream in_host "$probe" stream 127.0.0.1 18000 0 200
}
stream_goes_on() {
        local before
        before=$(spawn_output stream | grep -c acknowledged || true)
        eventually 20 stream_is_beyond_ $((before + 2))
}
stream_is_beyond_() {
        [[ $(spawn_output stream | grep -c acknowledged) -gt $1 ]]
}
stream_check() {
        spawn_signal stream TERM
        eventually 70 spawn_ended stream
        spawn_output stream | grep '^stream: ok'
}

# answers MODE: TCP and UDP, each by a connection of its own, through the forwards of 18001 and 18053.
answers() {
        [ "$(in_host "$probe" fetch 127.0.0.1 18001 10)" = hello ]
        eventually 10 udp_answers_
}
udp_answers_() {
        [[ $(in_host sh -c 'echo ping | socat -t 1 - UDP:127.0.0.1:18053') == pong ]]
}

# broker_comes_back MODE PID...: the broker of that pid is killed, with others; the next one, started by a client, knows the
# network of before and who uses it.
broker_comes_back() {
        local pid
        vm_signal KILL "${@:2}"
        for pid in "${@:2}"; do
                eventually 5 vm_ended "$pid"
        done
        stream_goes_on
        answers
        client_start back "$1"
        # A network that does not answer within two seconds is known later.
        eventually 10 berth_facts "$1" shared '.interfaces[] | select(.name == "web")'
        client_end back
}

adopted() {
        local mode=$1 qemu host before leases
        vm_up "$mode" web --forward 18000:9000 --forward 18001:80 --forward udp:18053:53
        guest_run -t 60 "$mode-web" 'dhcp eth0 && stream_serve 9000 && serve 80 hello && answer 53 pong'
        answers
        stream_start
        qemu=$(vm_qemu "$mode" web)
        host=$(vm_host "$mode" web)
        before=$(vm_fact "$mode" web '[.ssh_port, .networks, .forwards, .addresses]')
        leases=$(berth_facts "$mode" shared '[.clients[] | {lease, uid}], [.interfaces[] | {port, name, mac, address}]')

        # --- its vmhost
        vm_signal KILL "$host"
        eventually 5 vm_ended "$host"
        stream_goes_on
        is_in "$mode" web orphaned
        answers
        # The socket and the pid file of before are in the way of nobody.
        in_host ls "$(vm_directory "$mode" web)/vmhost.sock"
        run vm "$mode" start web
        [ "$status" -eq 0 ]
        [ "$(vm_qemu "$mode" web)" = "$qemu" ]
        [ "$(vm_host "$mode" web)" != "$host" ]
        [ "$(vm_fact "$mode" web '[.ssh_port, .networks, .forwards, .addresses]')" = "$before" ]
        [ "$(berth_facts "$mode" shared '[.clients[] | {lease, uid}], [.interfaces[] | {port, name, mac, address}]')" = "$leases" ]
        # Its console, with what was printed before.
        [ "$(guest_run "$mode-web" hostname)" = web ]
        spawn --ready 'berth-guest: ready' viewer in_host socat -u "UNIX-CONNECT:$(vm_directory "$mode" web)/console.sock" -
        spawn_end viewer
        answers
        stream_goes_on

        # --- the broker, and then the one after it with vmhost
        broker_comes_back "$mode" "$(berth_broker_pid "$mode")"
        host=$(vm_host "$mode" web)
        vm_fact "$mode" web .vmhost_pid | grep -x "$host"
        broker_comes_back "$mode" "$(berth_broker_pid "$mode")" "$host"
        vm "$mode" start web
        [ "$(vm_qemu "$mode" web)" = "$qemu" ]
        [ "$(vm_fact "$mode" web '[.ssh_port, .networks, .forwards, .addresses]')" = "$before" ]
        stream_goes_on
        answers
        stream_check

        vm "$mode" stop web
        [ "$(vm_end "$mode" web '.by + " " + .stage')" = "host acpi" ]
        eventually 10 berth_facts "$mode" shared '.interfaces == [] and .clients == []'
}

@test "user: vmhost and the broker are killed, and a stream through a forward does not notice" {
        adopted user
}
@test "system: vmhost and the broker are killed, and a stream through a forward does not notice" {
        adopted system
}

# --- Frozen ---

@test "a QEMU that is stopped is told as unresponsive, holds up nobody, and can be ended" {
        vm_create user frozen --no-network
        vm_create user other --no-network
        vm user start frozen
        vm user start other
        qemu=$(vm_qemu user frozen)
        vm_signal STOP "$qemu"
        eventually 20 vm_fact user frozen '.unresponsive_since_ms >= 0 and .state == "running"'
        vm_list user | jq -e 'map(.state) == ["running", "running"]'
        vm_ask user frozen status | jq -e '.ok and .state == "running"'

        # It may come back.
        vm_signal CONT "$qemu"
        eventually 10 vm_fact user frozen 'has("unresponsive_since_ms") | not'
        vm_signal STOP "$qemu"

        # A vmhost that is killed meanwhile is replaced all the same, though each leaves connections in QEMU's queues.
        for _ in 1 2 3; do
                host=$(vm_host user frozen)
                vm_signal KILL "$host"
                eventually 5 vm_ended "$host"
                is_in user frozen orphaned
                vm user start frozen
                [ "$(vm_qemu user frozen)" = "$qemu" ]
        done

        vm user stop --timeout 2 frozen
        [ "$(vm_end user frozen '.by + " " + .stage')" = "host sigkill" ]
        eventually 5 vm_ended "$qemu"
        vm_fact user other '.state == "running"'
}

@test "a virtiofsd that is killed: its share is told as lost, also by the vmhost that adopts, and the VM goes on" {
        mkdir -p "$WORLD/folder"
        vm_up system web --no-network --share "$WORLD/folder,tag=fast,type=virtiofs"
        vm_fact system web 'has("shares_lost") | not'
        spawn --ready phase events berth_as system berth vm events web

        in_host pkill -KILL -f "[s]ource=$WORLD/folder" # and nothing that has this command in its words
        eventually 20 vm_fact system web '.shares_lost == ["fast"]'
        eventually 5 eval "spawn_output events | grep 'share-lost fast'"
        [[ $(vm system show web) == *"share lost    fast: "* ]]

        vm_kill_host system web
        vm system start web
        eventually 20 vm_fact system web '.shares_lost == ["fast"]'
        guest_run system-web true
        spawn_end events
}

@test "a vmhost that is stopped: the list says silent, in time, and who waits for it is told" {
        vm_create user silent --no-network
        vm_create user other --no-network
        vm user start silent
        vm user start other
        host=$(vm_host user silent)
        spawn --ready silent events berth_as user berth vm events
        spawn waiting berth_as user berth vm wait silent
        vm_signal STOP "$host"
        eventually 10 eval "vm user ls --json | jq -e 'map({(.name): .state}) | add | .silent == \"silent\" and .other == \"running\"'"
        eventually 20 eval "spawn_output events | grep 'the vmhost of silent does not answer (pid $host, since '"
        eventually 20 eval "spawn_output waiting | grep 'the vmhost of silent does not answer (pid $host'"
        spawn_running events
        vm_signal CONT "$host"
        vm_list user | jq -e 'all(.state == "running")'
        vm user kill other
        eventually 5 eval "spawn_output events | grep 'other  *end'"
}

# --- What is left of what was killed ---

@test "vmhost and QEMU killed: the next start finds nothing in its way, and says that the end is unknown" {
        vm_up system gone
        host=$(vm_host system gone) qemu=$(vm_qemu system gone)
        vm_signal KILL "$host" "$qemu"
        eventually 5 vm_ended "$host"
        eventually 5 vm_ended "$qemu"
        eventually 10 berth_facts system shared '.interfaces == []'
        [ "$(state system gone)" = failed ]
        run vm system wait --json gone
        [ "$status" -eq 1 ]
        jq -e '.by == "unknown" and (.console_tail | any(contains("berth-guest: ready")))' <<<"$output"
        vm system start gone
        [ "$(vm_qemu system gone)" != "$qemu" ]
        vm_fact system gone '.state == "running" and .last_end.by == "unknown"'
}

# not_adopted FILTER: state.json, changed by jq's filter, names no QEMU of ours: nothing is adopted or harmed.
not_adopted() {
        local directory host qemu
        directory=$(vm_directory user reused)
        vm user start reused
        host=$(vm_host user reused) qemu=$(vm_qemu user reused)
        vm_signal KILL "$host" "$qemu"
        eventually 5 vm_ended "$host"
        eventually 5 vm_ended "$qemu"
        in_host sh -ec 'jq "$2" "$1/state.json" >"$1/new" && chown --reference "$1/state.json" "$1/new" &&
                mv "$1/new" "$1/state.json"; [ -z "$3" ] || printf %s "$3" >"$1/vmhost.pid"' \
                sh "$directory" "$1" "${2:-}"
        vm user start reused
        vm_fact user reused '.state == "running" and .last_end.by == "unknown"'
        [ "$(in_host pgrep -c -f 'guest=reused')" -eq 1 ]
        vm user kill reused
}

@test "a pid that is another process by now is neither adopted nor harmed" {
        vm_create user reused --no-network
        spawn --ready up bystander as_user "$BERTH_UID" sh -c 'echo up; exec sleep 1000'
        pid=$(eventually 5 in_host pgrep -x sleep -u "$BERTH_UID") # once the shell has become it
        started=$(in_host awk '{ print $22 }' "/proc/$pid/stat")
        not_adopted ".run.pid = $pid" "$pid"
        not_adopted ".run.pid = $pid | .run.start_time = $started | .run.boot_id = \"00000000-0000-0000-0000-000000000000\""
        not_adopted '.run.pid = 4000000'
        spawn_running bystander
        spawn_end bystander
}
