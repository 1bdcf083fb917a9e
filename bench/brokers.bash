# Brokers: one of the system and one of a user, in a world of the tests' harness, from copies of the programs there (a
# build directory may be out of an ordinary user's reach).

USER_UID=1000
SYSTEM_SOCKET=/run/berth/broker.sock

# programs_install BUILD: into $programs. The layout is the build's: libberth is found relative to the instruments.
programs_install() {
        local file
        programs=$WORLD/programs
        for file in src/broker/berthd src/network/berth-network bench/{acquire,ask,birth,crowd,pump,until} \
                src/{cli/berth,vmhost/vmhost}; do
                install -D "$1/$file" "$programs/$file"
        done
        install -D "$1/src/lib/libberth.so.0" "$programs/src/lib/libberth.so.0"
        chmod -R go+rX "$programs"
}

# instrument NAME ARGUMENTS...: as root in the host.
instrument() {
        local name=$1
        shift
        in_host "$programs/bench/$name" "$@"
}

broker_socket() {
        case $1 in
        system) echo "$SYSTEM_SOCKET" ;;
        user) echo "$(user_directory "$USER_UID")/run/berth/broker.sock" ;;
        esac
}

# as_mode MODE COMMAND...: as whom that mode's broker serves.
as_mode() {
        local mode=$1
        shift
        case $mode in
        system) in_host "$@" ;;
        user) as_user "$USER_UID" "$@" ;;
        esac
}

# broker_start MODE, broker_stop MODE. Fresh each time: nothing is remembered from an earlier one's networks.
broker_start() {
        local mode=$1
        [[ $mode == system ]] || as_user "$USER_UID" true
        spawn "berthd-$mode" as_mode "$mode" "$programs/src/broker/berthd" "--$mode" --foreground \
                --network-program "$programs/src/network/berth-network"
        if ! eventually 10 in_host test -S "$(broker_socket "$mode")"; then
                spawn_output "berthd-$mode" >&2
                return 1
        fi
}
broker_stop() {
        spawn_end "berthd-$1"
}

# broker_ask MODE LINE...: the replies.
broker_ask() {
        local mode=$1 as=()
        shift
        [[ $mode == system ]] || as=(-u "$USER_UID")
        ask "${as[@]}" "$(broker_socket "$mode")" "$@"
}

# network_pid MODE NETWORK: of its process, in the world's numbering.
network_pid() {
        broker_ask "$1" "{\"command\":\"list\",\"network_name\":\"$2\"}" | jq -e '.networks[0].pid'
}

# crowd_start MODE NETWORK CLIENTS INTERFACES, crowd_end: on a busy machine the kernel takes its time for many taps.
crowd_start() {
        spawn crowd as_mode "$1" "$programs/bench/crowd" "$(broker_socket "$1")" "$2" "$3" "$4"
        if ! eventually 60 spawn_ready_or_ended_ crowd ready >/dev/null || ! spawn_ready_ crowd ready; then
                { spawn_output crowd && spawn_output "berthd-$1" | tail -n 10; } >&2
                return 1
        fi
}

crowd_end() {
        spawn_signal crowd KILL
        eventually 60 spawn_ended crowd >/dev/null
}

# interfaces_become MODE NETWORK N: waits until it has no more and no fewer.
interfaces_become() {
        eventually 30 interfaces_are_ "$@" >/dev/null
}
interfaces_are_() {
        broker_ask "$1" "{\"command\":\"list\",\"network_name\":\"$2\"}" |
                jq -e --argjson n "$3" '.networks[0].interfaces | length == $n'
}

# network_remove MODE NETWORK: once its last lease has gone, which the broker may be told a moment later.
network_remove() {
        eventually 5 network_remove_ "$@" >/dev/null
}
network_remove_() {
        broker_ask "$1" "{\"command\":\"remove\",\"network_name\":\"$2\"}" | grep -E '"removed"|"error": *5[,}]'
}
