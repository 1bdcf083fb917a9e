#!/usr/bin/env bats
# Forwards of a VM while the processes that stand behind them are killed: a network's process, its outpost, the broker,
# both.

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

network_pid() {
        berth_facts "$1" shared .pid
}
other_network_pid() {
        local pid
        pid=$(network_pid "$1") && [[ $pid != "$2" ]]
}
forwards() {
        berth_facts "$1" shared '[.forwards[] | del(.connections)] | sort_by(.forward)'
}
same_forwards() {
        [[ $(forwards "$1") == "$2" ]]
}
listens() {
        in_host ss -Hltn "sport = :$1" | grep -q .
}
closed() {
        ! listens "$1" && ! in_host ss -Hlun "sport = :$2" | grep -q .
}

# answers SECONDS: TCP and UDP, over IPv4 and from a listener on IPv6; the TCP connections are made once only.
answers() {
        [ "$(in_host "$probe" fetch 127.0.0.1 18001 "$1")" = hello ]
        [ "$(in_host "$probe" fetch ::1 18001 "$1")" = hello ]
        eventually 10 udp_answers_
}
udp_answers_() {
        [[ $(in_host sh -c 'echo ping | socat -t 1 - UDP:127.0.0.1:18053') == pong ]]
}

# replaced MODE PID...: after those are killed a new process of the network takes over, and who connects at once, while there
# is none, is answered.
replaced() {
        local mode=$1 network
        network=$(network_pid "$mode")
        vm_signal KILL "${@:2}"
        answers 20
        eventually 10 other_network_pid "$mode" "$network"
        eventually 5 same_forwards "$mode" "$kept"
}

survive() {
        local mode=$1 kept broker outpost
        vm_up "$mode" web --forward 18001:80 --forward '[::1]:18001:80' --forward udp:18053:53
        guest_run -t 60 "$mode-web" 'dhcp eth0 && serve 80 hello && answer 53 pong'
        answers 10
        kept=$(forwards "$mode")
        [[ $(berth_as "$mode" berth net show shared) == *"tcp      ::1"*18001*web*80* ]]

        replaced "$mode" "$(network_pid "$mode")"
        outpost=$(in_host pgrep -o -P "$(network_pid "$mode")" berth-network)
        replaced "$mode" "$outpost"

        # The next broker is given the copies, and has them when the network's process is killed after that.
        broker=$(berth_broker_pid "$mode")
        vm_signal KILL "$broker"
        eventually 5 vm_ended "$broker"
        answers 10
        client_start next "$mode"
        eventually 10 same_forwards "$mode" "$kept"
        replaced "$mode" "$(network_pid "$mode")"

        # Both: the lease is over, and no port is left open that leads nowhere. A start brings it all back.
        vm_signal KILL "$(berth_broker_pid "$mode")" "$(network_pid "$mode")"
        eventually 5 closed 18001 18053
        client_end next
        vm "$mode" kill web
        vm "$mode" start web
        vm_wait_ready "$mode" web
        guest_run -t 60 "$mode-web" 'dhcp eth0 && serve 80 hello && answer 53 pong'
        answers 10

        # What a reborn process holds, and the broker's copy, ends with the VM.
        kept=$(forwards "$mode")
        replaced "$mode" "$(network_pid "$mode")"
        vm "$mode" kill web
        eventually 5 closed 18001 18053
}

@test "user: forwards survive a killed network, outpost and broker, and close with their VM" { survive user; }
@test "system: forwards survive a killed network, outpost and broker, and close with their VM" { survive system; }
