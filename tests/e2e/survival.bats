#!/usr/bin/env bats
# What survives what: two guests in each mode, with a checked TCP stream and a ping between them, while the programs
# that introduced them to each other are killed.
#
# The tests of a mode go on where the one before left off: the guests live through all of them, up to the last.

bats_require_minimum_version 1.5.0
load harness/all

IDLE=10 # seconds until a network without users is removed: enough for a busy machine to come in time

setup_file() {
        need world_possible
        guest_build
        world_create
        outside_dns
        spawn --ready listening internet in_outside "$probe" serve 80 "internet sees {peer}"
        world_accept

        # What the clients start where no broker runs.
        export BERTH_BROKER=$WORLD/berthd
        printf '#!/bin/sh\nexec "%s" --idle-timeout %s "$@"\n' "$BERTH_BUILD/src/broker/berthd" "$IDLE" >"$BERTH_BROKER"
        chmod 0755 "$BERTH_BROKER"

        # The system's first: a user's network keeps away from its route, and would move when it is made anew.
        local mode name
        guest_on system shared a
        guest_on system shared b
        eventually 20 berth_facts system shared .pid >/dev/null
        guest_on user shared a
        guest_on user shared b
        for mode in user system; do
                for name in a b; do
                        guest_wait_ready "$mode-$name"
                        guest_configure "$mode-$name"
                done
                guest_run "$mode-b" 'stream_serve 9000'
        done
}

teardown() {
        [[ -n ${BATS_TEST_COMPLETED:-} ]] || { guests_dump; berth_dump; }
}

teardown_file() {
        guests_stop
        spawn_end internet
        spawn_end outside-dns
        # The last test of each mode has found the world clean; this is for the brokers of tests that failed.
        world_destroy --force
}

# --- What is seen from the host ---

# What must not change: facts, leases and interfaces, in an order of their own.
kept() {
        berth_facts "$1" shared '[.subnet, .gateway, .ipv6_prefix, ([.clients[] | {lease, uid, pid, program}] | sort),
                ([.interfaces[] | {port, name, mac, address, lease, mtu, queues}] | sort)]'
}
is_kept() {
        [[ $(kept "$1") == "$2" ]]
}
inside() {
        berth_as "$1" berth net enter shared -- "${@:2}"
}
namespace() {
        inside "$1" readlink /proc/self/ns/net
}
network_pid() {
        berth_facts "$1" shared .pid
}
# service_pid MODE dnsmasq|uplink: of the program that is up; fails while it is not.
service_pid() {
        local filter=".services.$2"
        [[ $2 != uplink ]] || filter=.uplink
        berth_facts "$1" shared "$filter | select(.state == \"up\") | .pid | select(. > 0)"
}
# other_pid OLD COMMAND...: it prints a pid, and another one than before.
other_pid() {
        local pid
        pid=$("${@:2}") && [[ $pid != "$1" ]] && echo "$pid"
}
# ended PID: in the world.
ended() {
        in_host sh -c '! kill -0 "$1" 2>/dev/null' sh "$1"
}
kill_in_world() {
        in_host kill "-$1" "${@:2}"
}

# --- What is seen by the guests ---

# traffic_start MODE; traffic_goes_on MODE: now, both ways; traffic_check MODE: not a byte and not a packet was lost.
traffic_start() {
        guest_run "$1-a" 'stream_start stream b 9000 200; in_background ping "seq=1 " ping -4 -i 0.05 b'
}
traffic_goes_on() {
        local before
        before=$(guest_run "$1-a" 'output ping | grep -c seq=')
        eventually 20 guest_run "$1-a" "test \$(output ping | grep -c seq=) -gt $((before + 10))"
}
traffic_check() {
        local output
        output=$(guest_run -t 90 "$1-a" 'stream_end stream')
        echo "$output" | tail -n 1
        [[ $output == *"stream: ok, "* ]]
        # Counted in the guest, as hundreds of lines over a serial console are slow.
        guest_run "$1-a" 'end ping INT; output ping | awk -F seq= "
                /seq=/ { split(\$2, a, \" \"); seen[a[1]] = 1; if (a[1] > last) last = a[1]; n++ }
                END { for (i = 0; i <= last; i++) if (!(i in seen)) lost = lost \" \" i
                      print \"ping: \" n \" answered, lost:\" (lost ? lost : \" none\"); exit lost || n < 10 }"'
}

# All that a network's process and its programs serve, seen from a guest whose address must be the same again. Not while
# there is traffic: a DHCP client that begins takes the address away for a moment.
served() {
        local address
        address=$(berth_facts "$1" shared '.interfaces[] | select(.name == "a") | .address')
        [ "$(guest_run -t 60 "$1-a" 'dhcp eth0')" = "$address" ]
        resolves_ "$1"
        eventually 20 guest_run "$1-a" "fetch $INTERNET4 80 2"
}
resolves_() {
        local address
        address=$(berth_facts "$1" shared '.interfaces[] | select(.name == "b") | .address')
        [ "$(guest_run "$1-a" 'resolve -4 b.berth.internal')" = "$address" ]
        [ "$(guest_run "$1-a" 'resolve -4 internet.test')" = "$INTERNET4" ]
        guest_run "$1-a" "fetch $INTERNET6 80"
}

# --- The broker ---

broker_is_killed() {
        local mode=$1 before broker network signal=${2:-KILL}
        before=$(kept "$mode")
        broker=$(berth_broker_pid "$mode")
        network=$(network_pid "$mode")
        client_start keeper "$mode"
        client_tell keeper acquire shared
        client_tell keeper start shared name=kept
        before=$(kept "$mode")
        traffic_start "$mode"

        kill_in_world "$signal" "$broker"
        eventually 5 ended "$broker"
        traffic_goes_on "$mode"
        # The network's process has nobody to ask, and can start an interface all the same.
        client_tell keeper start shared name=orphan

        # A new client starts a broker, finds the network, and reaches who was there.
        guest_on "$mode" shared c
        guest_wait_ready "$mode-c"
        [ "$(berth_broker_pid "$mode")" != "$broker" ]
        [ "$(network_pid "$mode")" = "$network" ]
        guest_configure "$mode-c"
        guest_run "$mode-c" 'pingcount a 5'
        guest_run "$mode-a" 'pingcount c 5'
        client_end keeper
        guest_stop "$mode-c"
        traffic_check "$mode"

        # What was there before, less the client that has ended meanwhile.
        local expected
        expected=$(jq -c '(.[4][] | select(.name == "kept") | .lease) as $gone |
                .[3] |= map(select(.lease != $gone)) | .[4] |= map(select(.lease != $gone))' <<<"$before")
        eventually 10 same_json_ "$mode" "$expected"
}
same_json_() {
        [[ $(kept "$1" | jq -cS .) == "$(jq -cS . <<<"$2")" ]]
}

@test "user: kill -9 of the broker loses no packet, and the next broker finds everything again" {
        broker_is_killed user
}
@test "system: kill -9 of the broker loses no packet, and the next broker finds everything again" {
        broker_is_killed system
}

@test "user: a restart of the broker is the same" {
        broker_is_killed user TERM
}
@test "system: a restart of the broker is the same" {
        broker_is_killed system TERM
}

# --- A network's process ---

network_is_killed() {
        local mode=$1 before old place
        client_start old "$mode"
        client_tell old acquire shared
        client_tell old start shared name=early
        before=$(kept "$mode")
        place=$(namespace "$mode")
        old=$(network_pid "$mode")
        traffic_start "$mode"

        kill_in_world KILL "$old"
        eventually 10 other_pid "$old" network_pid "$mode"
        eventually 10 is_kept "$mode" "$before"
        [ "$(namespace "$mode")" = "$place" ]
        traffic_goes_on "$mode"
        traffic_check "$mode"
        served "$mode"

        # A handle of before reaches the new process.
        client_tell old start shared name=late
        berth_facts "$mode" shared '.interfaces[] | select(.name == "late")'
        client_end old
        eventually 10 no_interface_ "$mode" late
        eventually 10 no_interface_ "$mode" early
}
no_interface_() {
        berth_facts "$1" shared ".interfaces | all(.name != \"$2\")"
}

@test "user: kill -9 of a network's process: its guests go on, and another takes over its namespace and its leases" {
        network_is_killed user
}
@test "system: kill -9 of a network's process: its guests go on, and another takes over its namespace and its leases" {
        network_is_killed system
}

# --- The programs that it leans on ---

service_is_killed() {
        local mode=$1 service=$2 old before
        before=$(kept "$mode")
        old=$(service_pid "$mode" "$service")
        traffic_start "$mode"
        kill_in_world KILL "$old"
        eventually 5 other_pid "$old" service_pid "$mode" "$service"
        traffic_goes_on "$mode"
        traffic_check "$mode"
        served "$mode"
        is_kept "$mode" "$before"
}

@test "user: kill -9 of dnsmasq: it is back, with the same addresses" {
        service_is_killed user dnsmasq
}
@test "system: kill -9 of dnsmasq: it is back, with the same addresses" {
        service_is_killed system dnsmasq
}
@test "user: kill -9 of pasta: it is back, with the same addresses" {
        service_is_killed user uplink
}

# --- The clients ---

clients_are_killed() {
        local mode=$1 before links pid
        before=$(kept "$mode")
        links=$(inside "$mode" ip -br link | wc -l)
        guest_on "$mode" shared c
        guest_wait_ready "$mode-c"
        client_start doomed "$mode"
        client_tell doomed acquire shared
        client_tell doomed start shared name=d1
        client_tell doomed start shared name=d2
        [ "$(inside "$mode" ip -br link | wc -l)" -eq $((links + 3)) ]
        berth_facts "$mode" shared '.interfaces[] | select(.name == "c")'

        pid=$(guest_pid "$mode-c")
        kill_in_world KILL "$pid"
        eventually 5 no_interface_ "$mode" c
        eventually 5 berth_facts "$mode" shared ".clients | all(.pid != $pid)"
        eventually 5 has_links_ "$mode" $((links + 2))

        spawn_signal client-doomed KILL
        eventually 5 is_kept "$mode" "$before"
        eventually 5 has_links_ "$mode" "$links"
        client_end doomed
        guest_stop "$mode-c"
}

has_links_() {
        [[ $(inside "$1" ip -br link | wc -l) == "$2" ]]
}

@test "user: kill -9 of QEMU and of a client: leases and ports are gone at once" {
        clients_are_killed user
}
@test "system: kill -9 of QEMU and of a client: leases and ports are gone at once" {
        clients_are_killed system
}

# --- Both ---

# The guests' taps stay connected to each other, on a network that nobody serves and nobody can join any more.
both_are_killed() {
        local mode=$1 before broker network old place
        before=$(berth_facts "$mode" shared '[.subnet, .ipv6_prefix, ([.interfaces[] | {name, mac, address}] | sort)]')
        broker=$(berth_broker_pid "$mode")
        network=$(network_pid "$mode")
        place=$(namespace "$mode")
        traffic_start "$mode"
        # In this order: else the broker might bring the network back in its last moment, and that one be found again.
        kill_in_world KILL "$broker" "$network"
        eventually 5 ended "$network"
        traffic_goes_on "$mode"
        traffic_check "$mode"

        client_start next "$mode"
        client_tell next acquire shared
        [ "$(namespace "$mode")" != "$place" ]
        berth_facts "$mode" shared '.interfaces == []'
        # Of the first one's nothing but its namespace, which the guests hold: one dnsmasq, one uplink in the host.
        eventually 5 one_of_each_ "$mode"

        # Guests that come back get what they had, and the outside.
        guest_stop "$mode-a"
        guest_stop "$mode-b"
        guest_on "$mode" shared a
        guest_on "$mode" shared b
        guest_wait_ready "$mode-a"
        guest_wait_ready "$mode-b"
        client_end next
        eventually 5 eval '[[ $(berth_facts '"$mode"' shared ".clients | length") == 2 ]]'
        diff <(echo "$before") <(berth_facts "$mode" shared '[.subnet, .ipv6_prefix, ([.interfaces[] | {name, mac, address}] | sort)]')
        guest_configure "$mode-a"
        guest_configure "$mode-b"
        served "$mode"
}
one_of_each_() {
        [[ $(in_host ps -e -o args= | grep -c "[d]nsmasq .*conf-file=$(berth_runtime "$1")/networks/shared/") == 1 ]] || return 1
        if [[ $1 == user ]]; then
                [[ $(in_host ps -U "$BERTH_UID" -o args= | grep -c '[p]asta') == 1 ]]
        else
                [[ $(in_host ip -br link | grep -c '^berth') == 1 ]]
        fi
}

@test "user: kill -9 of the broker and the network: the next acquire makes a clean one, with the same addresses" {
        both_are_killed user
}
@test "system: kill -9 of the broker and the network: the next acquire makes a clean one, with the same addresses" {
        both_are_killed system
}

# --- The end ---

# After a last kill, so that it is a network of before that is removed, by leases of before.
last_release() {
        local mode=$1 broker network
        broker=$(berth_broker_pid "$mode")
        network=$(network_pid "$mode")
        kill_in_world KILL "$broker"
        eventually 5 ended "$broker"
        client_start last "$mode"
        [ "$(network_pid "$mode")" = "$network" ]
        broker=$(berth_broker_pid "$mode")

        guest_stop "$mode-a"
        guest_stop "$mode-b"
        eventually 5 berth_facts "$mode" shared ".removal_ms | . != null and . <= $((IDLE * 1000))"
        # An acquire in time cancels the removal, whose time then passes with the network held.
        client_tell last acquire shared
        run ! berth_facts "$mode" shared .removal_ms
        never $((IDLE + 1)) ended "$network"
        client_tell last release shared
        eventually $((IDLE + 10)) ended "$network"
        eventually 5 eval "berth_as $mode berth net ls --json | jq -e '.networks == []'"

        # A broker with a client stays; without one it ends.
        never $((IDLE + 1)) ended "$broker"
        client_end last
        eventually $((IDLE + 10)) ended "$broker"
}

@test "user: the last release removes a network of before, unless an acquire comes in time; then the broker ends" {
        last_release user
}
@test "system: the last release removes a network of before, unless an acquire comes in time; then the broker ends" {
        last_release system
        assert_nothing_left 5
}
