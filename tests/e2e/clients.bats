#!/usr/bin/env bats
# Clients that are hostile, that die, and that come all at once; and how a broker is started and found.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        need world_possible
        world_create
}

teardown() {
        local mode name
        if [[ -z ${BATS_TEST_COMPLETED:-} ]]; then
                berth_dump
                tail -n 20 "$WORLD"/spawned/*.log >&2 2>/dev/null || true
        fi
        for name in "$WORLD"/spawned/*.pid; do
                [[ $name == *broker-* ]] || spawn_end "$(basename "$name" .pid)" KILL
        done
        rm -f "$WORLD"/client-*
        for mode in user system; do
                berth_end "$mode"
        done
        [[ -z ${BATS_TEST_COMPLETED:-} ]] || assert_nothing_left 10
}

teardown_file() {
        world_destroy
}

# broker_socket MODE
broker_socket() {
        echo "$(berth_runtime "$1")/broker.sock"
}
# rude MODE KIND [NUMBER]: as the user of that mode.
rude() {
        berth_as "$1" "$BERTH_BUILD/tests/e2e/berth-rude" "$2" "$(broker_socket "$1")" "${@:3}"
}
# open_files PID: how many.
open_files() {
        in_host sh -c 'ls "/proc/$1/fd" | wc -l' sh "$1"
}
open_files_are() {
        [[ $(open_files "$1") == "$2" ]]
}
# broker_has_heard_ CLIENT: of the end of every client before, as it answers what this one asks after that.
broker_has_heard_() {
        run client_tell "$1" release nonesuch
        [[ $output == "5 "* ]]
}
# programs NAME: how many processes in the world run it.
programs() {
        in_host ps -e -o args= | grep -cE "^[^ ]*/$1( |\$)"
}
ended() {
        in_host sh -c '! kill -0 "$1" 2>/dev/null' sh "$1"
}
no_clients() {
        [[ $(berth_as "$1" berth net ls --json | jq '[.networks[].clients | length] | add // 0') == 0 ]]
}

# --- Clients that break the rules ---

@test "half a line, silence, a megabyte without a newline, 300 fds, noise, and nobody who reads: others are served" {
        for mode in user system; do
                berth_broker "$mode"
                client_start good "$mode"
                client_tell good acquire shared
                broker=$(berth_broker_pid "$mode")
                broker_has_heard_ good
                files=$(open_files "$broker")

                for i in 1 2 3; do
                        spawn --ready staying "half$i" rude "$mode" half
                        spawn --ready staying "silent$i" rude "$mode" silent
                done
                spawn --ready 'stuck|closed' deaf rude "$mode" deaf
                spawn_output deaf
                client_tell good start shared
                client_tell good acquire shared

                [[ $(rude "$mode" endless 1048576) == '{"error":4,"message":'*$'\n'closed ]]
                [[ $(rude "$mode" fds 3) == '{"error":4,"message":"no'*$'\n''{"broker":'* ]]
                run rude "$mode" fds 300
                echo "$output"
                [ "$(grep -c '^{"error":4,' <<<"$output")" -eq 2 ]
                [[ ${lines[2]} == '{"broker":'* ]]
                for seed in 1001 2002 3003; do
                        [ "$(rude "$mode" noise "$seed")" = 'answered after noise' ]
                done
                client_tell good start shared

                for i in 1 2 3; do
                        spawn_end "half$i"
                        spawn_end "silent$i"
                done
                spawn_end deaf
                # One more than before: the second handle of the good one.
                eventually 5 open_files_are "$broker" $((files + 1))
                [ "$(berth_broker_pid "$mode")" = "$broker" ]
                client_end good
        done
}

@test "a handle is no way around the rules either" {
        berth_broker system
        client_start good system
        client_tell good acquire shared
        pid=$(berth_facts system shared .pid)
        for options in name=under_score name=-x mac=01:00:5e:00:00:01 mac=nonsense id=UPPER address=10.0.0.1 address=192.168.64.1 queues=9; do
                run client_tell good start shared "$options"
                echo "$options: $output"
                [[ $status == 1 && $output =~ ^[346]" " ]]
        done
        berth_facts system shared '.interfaces == []'
        client_tell good start shared name=web
        run client_tell good start shared name=web
        [[ $status == 1 ]]
        [ "$(berth_facts system shared .pid)" = "$pid" ]
}

# --- Clients that die ---

@test "50 clients that acquire, start interfaces and die at random leave nothing" {
        for mode in user system; do
                berth_define "$mode" plain '{"mode":"host"}'
                berth_broker "$mode"
                # One stays, so that the same processes are looked at before and after.
                client_start good "$mode"
                client_tell good acquire shared
                client_tell good acquire plain
                client_tell good start shared name=good
                broker=$(berth_broker_pid "$mode")
                network=$(berth_facts "$mode" shared .pid)
                broker_has_heard_ good
                broker_files=$(open_files "$broker")
                network_files=$(open_files "$network")

                spawn --ready '^churn: ' churn berth_as "$mode" "$BERTH_BUILD/tests/e2e/berth-churn" 8 50 shared plain
                spawn_output churn | tee /dev/stderr | grep ', 0 crashes'
                spawn_output churn | awk '{ exit $2 < 100 }'

                eventually 20 eval "berth_facts $mode shared '(.clients | length) == 1 and (.interfaces | length) == 1'"
                eventually 20 eval "berth_facts $mode plain '(.clients | length) == 1 and .interfaces == []'"
                eventually 5 open_files_are "$broker" "$broker_files"
                eventually 5 open_files_are "$network" "$network_files"
                [ "$(berth_broker_pid "$mode")" = "$broker" ]
                [ "$(berth_facts "$mode" shared .pid)" = "$network" ]
                berth_as "$mode" berth net enter shared -- ip -br link
                [ "$(berth_as "$mode" berth net enter shared -- ip -br link | grep -cvE '^(lo|uplink|berth|br)')" -eq 1 ]
                client_tell good start shared
                client_end good
                berth_undefine "$mode" plain
        done
}

@test "the same while the broker and the network are killed again and again" {
        for mode in user system; do
                spawn churn berth_as "$mode" "$BERTH_BUILD/tests/e2e/berth-churn" 10 20 shared host
                for round in 1 2 3 4; do
                        eventually 10 eval "berth_facts $mode shared '.pid > 0'"
                        pid=$(berth_facts "$mode" shared .pid 2>/dev/null || true)
                        broker=$(berth_broker_pid "$mode")
                        case $round in
                        1 | 3) in_host kill -9 "$broker" ;;
                        2) in_host kill -9 $pid ;;
                        4) in_host kill -9 $pid "$broker" ;;
                        esac 2>/dev/null || true
                done
                eventually 30 spawn_ended churn
                spawn_output churn | tee /dev/stderr | grep ', 0 crashes'

                # All is well afterwards, with one of each.
                client_start after "$mode"
                client_tell after acquire shared
                client_tell after acquire host
                client_tell after start shared
                eventually 20 eval "berth_facts $mode shared '(.clients | length) == 1 and (.interfaces | length) == 1'"
                client_end after
                berth_end "$mode"
                assert_nothing_left 10
        done
}

# --- All at once ---

@test "20 commands started at the same instant where no broker is: one broker, one network, and all succeed" {
        for mode in user system; do
                # They wait for a file, so that they begin together.
                berth_as "$mode" sh -c '
                        cd "$1" && mkfifo go && exec 9<>go
                        for i in $(seq 20); do
                                { read -r _ <go; exec berth run --network "shared,name=r$i" -- sh -c "echo \$BERTH_NET0_ADDRESS >a$i; read -r _ <stay"; } >"o$i" 2>&1 9>&- &
                        done
                        mkfifo stay && exec 8<>stay
                        for i in $(seq 20); do echo go; done >&9
                        within=1200
                        until [ "$(cat a* 2>/dev/null | wc -l)" = 20 ]; do
                                within=$((within - 1)); [ $within -gt 0 ] || break
                                sleep 0.05
                        done
                        # Asked again where the network did not answer the broker in time.
                        until berth net show shared --json >show && ! grep "within a second" show; do :; done
                        for i in $(seq 20); do echo stay; done >&8
                        wait' sh "$(race_directory "$mode")"
                cat "$(race_directory "$mode")"/o* >&2
                [ "$(cat "$(race_directory "$mode")"/a* | sort -u | wc -l)" -eq 20 ]
                jq -e '(.clients | length) == 20 and (.interfaces | length) == 20' "$(race_directory "$mode")/show"
                # The broker, the network's process and its outpost, once brokers that came too late have gone, and what the
                # last commands left is tidied up by children.
                eventually 10 eval '[ "$(programs berthd)" -eq 1 ]'
                eventually 10 eval '[ "$(programs berth-network)" -eq 2 ]'
                rm -rf "$(race_directory "$mode")"
                berth_end "$mode"
        done
}
race_directory() {
        local directory=$WORLD/race-$1
        [[ -d $directory ]] || { mkdir "$directory" && chmod 0777 "$directory"; }
        echo "$directory"
}

# stopped_while_made MODE WHOM: kills the broker or the network's process at moments spread over the making of a network.
killed_while_made() {
        local mode=$1 whom=$2 delay broker asking
        for delay in 0.000 0.010 0.020 0.040 0.060 0.090; do
                client_start maker "$mode"
                broker=$(berth_broker_pid "$mode")
                client_tell maker acquire shared >"$BATS_TEST_TMPDIR/maker" 2>&1 3>&- &
                asking=$!
                # The moment is what is varied here; whether it hits is left to chance.
                in_host sh -c 'sleep "$1"; if [ "$3" = broker ]; then kill -9 "$2"
                        else kill -9 $(ps -e -o pid=,args= | awk "/[b]erth-network --name/ { print \$1 }"); fi' \
                        sh "$delay" "$broker" "$whom" 2>/dev/null || true
                # The client may well be told that it failed.
                wait "$asking" || true
                cat "$BATS_TEST_TMPDIR/maker"
                client_end maker

                client_start next "$mode"
                client_tell next acquire shared
                client_tell next start shared name=next
                eventually 10 eval "berth_facts $mode shared '.state == \"running\" and (.interfaces | length) == 1'"
                eventually 10 eval '[ "$(in_host ps -e -o args= | grep -c "[d]nsmasq --keep")" -eq 1 ]'
                client_end next
                berth_end "$mode"
                assert_nothing_left 10
        done
}

@test "user: the broker is killed in the middle of making a network" {
        killed_while_made user broker
}
@test "system: the broker is killed in the middle of making a network" {
        killed_while_made system broker
}
@test "user: a network's processes are killed while it is made" {
        killed_while_made user network
}
@test "system: a network's processes are killed while it is made" {
        killed_while_made system network
}

@test "a network's process that hangs does not hang the broker" {
        for mode in user system; do
                berth_broker "$mode"
                client_start good "$mode"
                client_tell good acquire shared
                client_tell good acquire host
                pid=$(berth_facts "$mode" shared .pid)
                in_host kill -STOP "$pid"
                list=$(eventually 10 hung_list_ "$mode")
                jq -e '.networks[] | select(.name == "shared") | (.message | test("within a second")) and (has("interfaces") | not)' <<<"$list"
                berth_as "$mode" berth net ls
                client_tell good start host
                in_host kill -CONT "$pid"
                eventually 5 berth_facts "$mode" shared '.interfaces == []'
                client_end good
        done
}

# Of the other network all is told, where the machine gave it a second to answer.
hung_list_() {
        local list
        list=$(berth_as "$1" berth net ls --json) && printf '%s\n' "$list" &&
                jq -e '.networks[] | select(.name == "host") | .interfaces == []' <<<"$list" >/dev/null
}

# --- How a broker starts, and whom it serves ---

@test "socket activation and readiness: the first client finds the broker by the manager's socket" {
        notify=$WORLD/notify
        spawn notified in_host socat -u "UNIX-RECV:$notify" STDOUT
        eventually 5 test -S "$notify"
        in_host mkdir -p /run/berth
        spawn --ready 'Listening on' activator in_host systemd-socket-activate -l /run/berth/broker.sock \
                -E "NOTIFY_SOCKET=$notify" -E "PATH=$PATH" "$BERTH_BUILD/src/broker/berthd" --system --idle-timeout 1
        [ "$(programs berthd)" -eq 0 ] || [ "$(in_host pgrep -c berthd)" -eq 0 ]
        # It stays until the broker has been looked at, which would end a second behind it.
        client_start one system
        client_tell one acquire shared
        eventually 5 eval 'spawn_output notified | grep READY=1'
        broker=$(berth_broker_pid system)
        [ -n "$broker" ]
        client_end one
        # The process of the manager became the broker, and ends when it is idle; the socket is not its own to remove.
        eventually 15 ended "$broker"
        in_host test -S /run/berth/broker.sock
        eventually 5 eval 'spawn_output notified | grep STOPPING=1'
        in_host rm /run/berth/broker.sock
        spawn_end notified
}

@test "two users' brokers side by side, and the system's, do not see each other" {
        as_user 1001 true
        as_user 1000 env "BERTH_BROKER=$BERTH_BUILD/src/broker/berthd" "$BERTH_BUILD/src/cli/berth" run --network shared,name=vm -- true
        as_user 1001 env "BERTH_BROKER=$BERTH_BUILD/src/broker/berthd" "$BERTH_BUILD/src/cli/berth" run --network shared,name=vm -- true
        berth_as system berth run --network host,name=vm -- true
        eventually 10 eval '[ "$(programs berthd)" -eq 3 ]' # and no child of one
        [ "$(as_user 1000 "$BERTH_BUILD/src/cli/berth" net ls --json | jq -r '[.networks[] | select(.pid).name] | join(" ")')" = shared ]
        [ "$(as_user 1001 "$BERTH_BUILD/src/cli/berth" net ls --json | jq -r '[.networks[] | select(.pid).name] | join(" ")')" = shared ]
        [ "$(berth_as system berth net ls --json | jq -r '[.networks[] | select(.pid).name] | join(" ")')" = host ]
        one=$(as_user 1000 "$BERTH_BUILD/src/cli/berth" net show shared --json | jq .pid)
        two=$(as_user 1001 "$BERTH_BUILD/src/cli/berth" net show shared --json | jq .pid)
        [ "$one" != "$two" ]
        run as_user 1001 env "BERTH_SOCKET=$(broker_socket user)" "$BERTH_BUILD/src/cli/berth" net ls
        [ "$status" -ne 0 ]

        BERTH_UID=1001 berth_end user
        eventually 10 eval '[ "$(programs berthd)" -eq 2 ]'
        [ "$(berth_facts user shared .pid)" = "$one" ]
}
