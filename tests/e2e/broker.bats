#!/usr/bin/env bats
# The broker's protocol with real networks: the cases of acquire, and each error code by its cause. No guests: clients
# are lines on a socket, or berth-client.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        need world_possible
        world_create
        system=/run/berth/broker.sock
        user=$(user_directory "$BERTH_UID")/run/berth/broker.sock
        export system user
}

teardown() {
        local mode
        if [[ -z ${BATS_TEST_COMPLETED:-} ]]; then
                berth_dump
                tail -n 20 "$WORLD"/spawned/*.log >&2 2>/dev/null || true
        fi
        clients_end_
        [[ ! -e $WORLD/spawned/crowd.pid ]] || spawn_end crowd KILL
        for mode in user system; do
                berth_end "$mode"
        done
        # Each test leaves nothing.
        [[ -z ${BATS_TEST_COMPLETED:-} ]] || assert_nothing_left 5
}

teardown_file() {
        world_destroy
}

clients_end_() {
        local fifo
        for fifo in "$WORLD"/client-*.number; do
                [[ ! -e $fifo ]] || client_end "$(basename "$fifo" .number | sed s/^client-//)"
        done
}

# acquire MODE NETWORK [UID]: the reply to it on a connection of its own.
acquire() {
        local as=()
        [[ $1 != user ]] || as=(-u "$BERTH_UID")
        [[ $# -lt 3 ]] || as=(-u "$3")
        ask "${as[@]}" "${!1}" "{\"command\":\"acquire\",\"network_name\":\"$2\"}"
}

# refused CODE PATTERN COMMAND...: its reply is an error of that code with a message like that, and nothing else.
refused() {
        local code=$1 pattern=$2 reply
        shift 2
        reply=$("$@") || return 1
        echo "$reply"
        jq -e --argjson code "$code" --arg pattern "$pattern" \
                '.error == $code and (.message | test($pattern)) and (keys == ["error", "message"])' <<<"$reply" >/dev/null
}

start_both() {
        berth_broker user "$@"
        berth_broker system "$@"
}

# networks MODE: their names.
networks() {
        berth_as "$1" berth net ls --json | jq -r '[.networks[] | select(.pid) | .name] | sort | join(" ")'
}
leases_are() {
        [[ $(berth_facts "$1" "$2" '.clients | length') == "$3" ]]
}

# --- The nine cases of acquire ---

@test "acquire: shared, host, a name that does not exist, and both" {
        start_both
        for mode in user system; do
                client_start one "$mode"
                [[ $(client_tell one acquire shared) =~ ^lease=[1-9][0-9]*\ mode=shared\ gateway=192\.168\. ]]
                client_end one
                client_start two "$mode"
                [[ $(client_tell two acquire host) == *" mode=host gateway=192.168."* ]]
                run client_tell two acquire nonesuch
                [ "$status" -eq 1 ]
                [[ $output == '5 no network is called "nonesuch"'* ]]
                client_tell two acquire shared
                [ "$(networks "$mode")" = "host shared" ]
                leases_are "$mode" host 1
                client_end two
        done
}

@test "acquire: the same one several times is one lease with several handles" {
        start_both
        for mode in user system; do
                client_start one "$mode"
                first=$(client_tell one acquire shared)
                [[ $(client_tell one many 20 acquire shared) == "after 20 $first" ]]
                leases_are "$mode" shared 1
                # Each handle is the lease: all but one may be closed.
                client_tell one many 20 close shared
                leases_are "$mode" shared 1
                client_tell one start shared
                client_tell one close shared
                eventually 5 leases_are "$mode" shared 0
                berth_facts "$mode" shared '.interfaces == []'
                client_end one
        done
}

@test "acquire: one after another within the delay is the same network, from several clients at once too" {
        start_both --idle-timeout 60
        for mode in user system; do
                client_start one "$mode"
                client_tell one acquire shared
                pid=$(berth_facts "$mode" shared .pid)
                client_end one
                eventually 5 leases_are "$mode" shared 0
                [ "$(berth_facts "$mode" shared '.idle_ms >= 0 and .removal_ms > 0')" = true ]

                # All at once, before anybody has an answer.
                for i in 1 2 3 4 5; do
                        client_start "c$i" "$mode"
                done
                asking=()
                for i in 1 2 3 4 5; do
                        client_tell "c$i" acquire shared >"$BATS_TEST_TMPDIR/$i" 3>&- &
                        asking+=("$!")
                done
                wait "${asking[@]}" # by their pids: bats may have a timer running as a child of this shell
                cat "$BATS_TEST_TMPDIR"/[1-5]
                [ "$(grep -h -o 'lease=[0-9]*' "$BATS_TEST_TMPDIR"/[1-5] | sort -u | wc -l)" -eq 5 ]
                [ "$(grep -h -o 'gateway=.*' "$BATS_TEST_TMPDIR"/[1-5] | sort -u | wc -l)" -eq 1 ]
                leases_are "$mode" shared 5
                [ "$(berth_facts "$mode" shared .pid)" = "$pid" ]
                clients_end_
        done
}

@test "acquire: different networks at once have different subnets, which stay theirs" {
        start_both
        for mode in user system; do
                for name in red green blue; do
                        berth_define "$mode" "$name" '{"mode":"host"}'
                done
                subnets=
                for round in 1 2; do
                        for name in blue shared green host red; do
                                [[ $round == 1 ]] || berth_as "$mode" berth net remove "$name"
                        done
                        for name in red green blue shared host; do
                                client_start "$name" "$mode"
                        done
                        asking=()
                        for name in red green blue shared host; do
                                client_tell "$name" acquire "$name" >"$BATS_TEST_TMPDIR/$name" 3>&- &
                                asking+=("$!")
                        done
                        wait "${asking[@]}"
                        [ "$(networks "$mode")" = "blue green host red shared" ]
                        found=$(berth_as "$mode" berth net ls --json | jq -c '[.networks[] | [.name, .subnet, .ipv6_prefix]] | sort')
                        [ "$(jq -r '.[][1]' <<<"$found" | sort -u | wc -l)" -eq 5 ]
                        [ "$(jq -r '.[][2]' <<<"$found" | sort -u | wc -l)" -eq 5 ]
                        [[ -z $subnets || $subnets == "$found" ]]
                        subnets=$found
                        clients_end_
                        for name in red green blue shared host; do
                                eventually 5 leases_are "$mode" "$name" 0
                        done
                done
                for name in red green blue; do
                        berth_undefine "$mode" "$name"
                done
        done
}

@test "acquire: more often than a client may is error 3, and costs it nothing that it has" {
        # Cheap networks: no services to start.
        berth_broker system
        for i in $(seq 1 33); do
                berth_define system "n$i" '{"mode":"host","dhcp":false,"dns":false,"router_advertisement":false}'
        done
        client_start one system
        for i in $(seq 1 32); do
                client_tell one acquire "n$i" >/dev/null
        done
        run client_tell one acquire n33
        [ "$status" -eq 1 ]
        [[ $output == "3 uid 0 has 32 live networks, which is the limit for one user" ]]
        client_tell one acquire n32
        client_tell one start n7

        # A network that is gone makes room.
        client_tell one release n9
        client_tell one remove n9
        client_tell one acquire n33
        client_end one
        for i in $(seq 1 33); do
                berth_undefine system "n$i"
        done
}

@test "release and remove: what is held, what is not, and what is not live" {
        start_both
        for mode in user system; do
                client_start one "$mode"
                client_start two "$mode"
                run client_tell one release shared
                [[ $status == 1 && $output == "5 "* ]]
                run client_tell one remove shared
                [[ $status == 1 && $output == "5 "* ]]
                client_tell one acquire shared
                client_tell one start shared
                run client_tell two remove shared
                [[ $status == 1 && $output == "8 "*"has leases"* ]]
                run client_tell two release shared
                [[ $status == 1 && $output == "5 "* ]]
                client_tell one release shared
                leases_are "$mode" shared 0
                # The handle ended with the lease.
                run client_tell one start shared
                [[ $status == 1 ]]
                client_tell two remove shared
                [ "$(networks "$mode")" = "" ]
                clients_end_
        done
}

@test "removal: after a delay of the network's own, unless an acquire comes in time" {
        start_both
        for mode in user system; do
                berth_define "$mode" brief '{"mode":"host","idle_timeout_sec":10}'
                berth_define "$mode" fleeting '{"mode":"host","idle_timeout_sec":0}'
                client_start one "$mode"
                client_tell one acquire brief
                pid=$(berth_facts "$mode" brief .pid)
                client_tell one release brief
                berth_facts "$mode" brief '.removal_ms <= 10000 and .clients == []'
                client_tell one acquire brief
                never 11 process_ended "$pid"
                client_tell one start brief
                client_tell one release brief
                eventually 15 process_ended "$pid"
                eventually 5 eval '[[ -z $(networks '"$mode"') ]]'

                client_tell one acquire fleeting
                pid=$(berth_facts "$mode" fleeting .pid)
                client_tell one release fleeting
                eventually 5 process_ended "$pid"
                [ -z "$(in_host ls "$(berth_runtime "$mode")/networks")" ]
                client_end one
                berth_undefine "$mode" brief
                berth_undefine "$mode" fleeting
        done
}
process_ended() {
        in_host sh -c '! kill -0 "$1" 2>/dev/null' sh "$1"
}

# --- Error 3: policy ---

@test "error 3: a user's broker serves that user alone" {
        berth_broker user
        # The directory keeps others out; root, who passes, is not the user either.
        run ask -u 1001 "$user" '{"command":"list"}'
        [ "$status" -ne 0 ]
        refused 3 'may not use the broker of uid 1000' ask "$user" '{"command":"list"}'
        [ "$(ask -u 1000 "$user" '{"command":"list"}' | jq -r .broker.mode)" = user ]
}

@test "error 3: in system mode the group berth, or a network's allow, says who may" {
        berth_broker system
        berth_define system forone '{"mode":"host","allow":{"users":["user1001"]}}'
        berth_define system forgroup '{"mode":"host","allow":{"groups":["netdevs"]}}'
        berth_define system forall '{"mode":"host","allow":{"users":["*"]}}'
        as_user 1001 true
        as_user 1002 true
        in_host sh -c 'echo "netdevs:x:1002:" >>/etc/group'

        refused 3 'group "berth", which does not exist' acquire system shared 1001
        in_host sh -c 'echo "berth:x:1001:" >>/etc/group'
        acquire system shared 1001 | jq -e .network
        refused 3 'it is not in the group "berth"' acquire system shared 1002

        acquire system forone 1001 | jq -e .network
        refused 3 '"allow" in /etc/berth/networks.d/forone.json' acquire system forone 1002
        acquire system forgroup 1002 | jq -e .network
        refused 3 '"allow" in ' acquire system forgroup 1001
        acquire system forall 1001 | jq -e .network
        acquire system forall 1002 | jq -e .network
        acquire system forone | jq -e .network

        # What one may not acquire one may not remove, enter or look at either.
        refused 3 '"allow" in ' ask -u 1002 "$system" '{"command":"remove","network_name":"forone"}'
        refused 3 '"allow" in ' ask -u 1002 "$system" '{"command":"enter","network_name":"forone"}'
        refused 3 '"allow" in ' ask -u 1002 "$system" '{"command":"list","network_name":"forone"}'
        ask -u 1002 "$system" '{"command":"list"}' | jq -e '[.networks[].name] | index("forone") == null'

        for name in forone forgroup forall; do
                berth_undefine system "$name"
        done
}

@test "error 3: limits of connections, handles and interfaces are each user's own" {
        local crowded=()
        berth_broker system
        berth_define system open '{"mode":"host","dhcp":false,"dns":false,"router_advertisement":false,"allow":{"users":["*"]}}'
        client_start one system
        client_tell one acquire open

        CLIENT_SECONDS=180 run client_tell one many 300 start open
        echo "$output"
        [[ $status == 1 && $output == "3 after 253 "* ]]
        # Some more, with long names, are more than a line lists: the network leaves them out, and says so.
        for i in {10..41}; do
                ((i % 16 == 10)) && crowded+=("$BERTH_BUILD/src/cli/berth" run --system)
                crowded+=(--network "open,name=$(printf '%060d' "$i")")
                ((i % 16 == 9)) && crowded+=(--)
        done
        # Asked again where the network did not answer the broker in time.
        as_user 1001 "${crowded[@]}" sh -ec '
                for json in --json ""; do
                        until shown=$("$1" --system net show $json open) && [ "${shown#*within a second}" = "$shown" ]; do :; done
                        printf "%s\n" "$shown"
                done' sh "$BERTH_BUILD/src/cli/berth" >"$WORLD/shown"
        jq -sRe 'split("\n}\n") | (.[0] + "}" | fromjson) | .left_out == ["interfaces"] and .forwards == [] and
                (.clients | length) == 3 and (has("interfaces") | not) and
                .message == "interfaces and forwards are more than a line lists"' "$WORLD/shown"
        grep -x 'Interfaces are left out: interfaces and forwards are more than a line lists' "$WORLD/shown"
        as_user 1001 "$BERTH_BUILD/src/cli/berth" run --system --network open -- true
        # They all go with their lease, and make room.
        client_tell one close open
        eventually 20 leases_are system open 0
        client_tell one acquire open
        client_tell one start open

        # Nearly a thousand more than are let in; another user has all of theirs.
        spawn --ready staying crowd as_user 1001 "$BERTH_BUILD/tests/e2e/berth-rude" crowd "$system" 700
        spawn_output crowd | grep '512 served, then {"error":3'
        acquire system open 1002 | jq -e .network
        for i in 1 2 3 4 5; do
                run as_user 1001 "$BERTH_BUILD/src/cli/berth" run --system --network open -- true
                echo "$output"
                [[ $status -ne 0 && $output == *"uid 1001 has 512 connections to the broker, which is the limit"* ]]
        done
        spawn_end crowd KILL
        eventually 5 eval 'acquire system open 1001 | jq -e .network'
        berth_undefine system open
}

# --- Errors 4 and 5: the request ---

@test "errors 4 and 5: what is no request, and what does not exist" {
        start_both
        for mode in user system; do
                as=()
                [[ $mode == system ]] || as=(-u "$BERTH_UID")
                while IFS='|' read -r code pattern line; do
                        refused "$code" "$pattern" ask "${as[@]}" "${!mode}" "$line"
                done <<'LINES'
4||nonsense
4||{"command":"acquire"
4||["acquire"]
4||42
4||{}
4|"command"|{"network_name":"shared"}
4|"command"|{"command":7,"network_name":"shared"}
4|unknown command "frobnicate"|{"command":"frobnicate"}
4|network_name|{"command":"acquire"}
4|network_name|{"command":"acquire","network_name":null}
4|network_name|{"command":"acquire","network_name":["shared"]}
4|colour|{"command":"acquire","network_name":"shared","colour":"red"}
4|network_name|{"command":"release"}
4|network_name|{"command":"remove"}
4|network_name|{"command":"enter"}
5|nonesuch|{"command":"acquire","network_name":"nonesuch"}
5||{"command":"acquire","network_name":""}
5||{"command":"acquire","network_name":"../../etc/passwd"}
5||{"command":"acquire","network_name":"a/b"}
5||{"command":"release","network_name":"shared"}
5||{"command":"remove","network_name":"shared"}
5||{"command":"enter","network_name":"shared"}
5||{"command":"list","network_name":"nonesuch"}
LINES
                # The same connection goes on, and replies come in the order of the requests.
                [ "$(ask "${as[@]}" "${!mode}" nonsense '{"command":"list"}' '{"command":"what"}' '{"command":"list"}' |
                        jq -r 'if .broker then "list" else .error end' | paste -sd ' ')" = "4 list 4 list" ]
                [ "$(networks "$mode")" = "" ]
        done
}

# --- Error 6: the network cannot be made ---

# in_private_broker MODE SCRIPT [OPTIONS...]: a broker in mounts of its own, which the script changes, as root, before it
# becomes the broker with `exec "$@"`.
in_private_broker() {
        local mode=$1 script=$2 command=("$BERTH_BUILD/src/broker/berthd" --foreground --ready-fd 1) home
        shift 2
        if [[ $mode == user ]]; then
                home=$(user_directory "$BERTH_UID")
                command=(setpriv --reuid "$BERTH_UID" --regid "$BERTH_UID" --clear-groups --inh-caps=-all
                        env "HOME=$home" "XDG_RUNTIME_DIR=$home/run" "XDG_DATA_HOME=$home/data"
                        "XDG_CONFIG_HOME=$home/config" "${command[@]}")
        fi
        spawn --ready '^ready' "broker-$mode" in_host unshare -m --propagation private sh -ec "$script" sh "${command[@]}" "$@"
}

# hide PATH: script that puts /dev/null in its place. mount(8) keeps records below /run, where nothing may be left.
hide() {
        echo "mount --bind /dev/null '$(readlink -f "$(command -v "$1")")'; rm -rf /run/mount; exec \"\$@\""
}

broker_end() {
        spawn_end "broker-$1"
}

@test "error 6: no /dev/net/tun, or one that may not be opened" {
        as_user "$BERTH_UID" true
        for mode in user system; do
                in_private_broker "$mode" 'mount -t tmpfs none /dev/net; rm -rf /run/mount; exec "$@"'
                refused 6 'there is no /dev/net/tun: .*modprobe tun' acquire "$mode" shared
                [ "$(networks "$mode")" = "" ]
                broker_end "$mode"
        done
        in_host chmod 0600 /dev/net/tun
        berth_broker user
        refused 6 'may not open /dev/net/tun: .*chmod' acquire user shared
        # Once the reason is gone, so is the refusal: no restart.
        in_host chmod 0666 /dev/net/tun
        acquire user shared | jq -e .network
}

@test "error 6: a program is missing" {
        as_user "$BERTH_UID" true
        for mode in user system; do
                in_private_broker "$mode" "$(hide dnsmasq)"
                refused 6 'dnsmasq is not installed \(the package is dnsmasq-base\)' acquire "$mode" shared
                broker_end "$mode"
        done
        in_private_broker user "$(hide pasta)"
        refused 6 'pasta is not installed \(the package is passt\)' acquire user shared
        broker_end user
}

@test "error 6: user namespaces are forbidden" {
        as_user "$BERTH_UID" true
        # The limit is that of a user namespace around the broker, so that it touches nobody else.
        in_host sh -c 'echo root:0:65536 | tee -a /etc/subuid >>/etc/subgid'
        in_private_broker user 'exec unshare -U --map-users=0,0,65536 --map-groups=0,0,65536 --setuid 0 --setgid 0 \
                sh -ec "echo 0 >/proc/sys/user/max_user_namespaces; exec \"\$@\"" sh "$@"'
        refused 6 'max_user_namespaces' acquire user shared
        broker_end user
}

@test "error 6: no subnet is free, or the one that is wanted is in use" {
        start_both
        for mode in user system; do
                as=
                berth_define "$mode" wanted '{"mode":"host","subnet":"10.77.0.1","mask":"255.255.255.0"}'
                in_host ip route add 192.168.0.0/16 via "$OUTSIDE4"
                in_host ip route add 10.77.0.128/25 via "$OUTSIDE4"
                refused 6 'no free subnet: all of 192.168' acquire "$mode" shared
                refused 6 '"subnet": 10.77.0.0/24 collides with the host.s route 10.77.0.128/25 on uplink' acquire "$mode" wanted
                in_host ip route del 192.168.0.0/16
                in_host ip route del 10.77.0.128/25
                acquire "$mode" shared | jq -e .network
                acquire "$mode" wanted | jq -e '.network.gateway == "10.77.0.1"'

                # Another network's is as good as a route.
                berth_define "$mode" rival '{"mode":"host","subnet":"10.77.0.129","mask":"255.255.255.128"}'
                refused 6 'collides with 10.77.0.0/24, used by network "wanted"' acquire "$mode" rival
                berth_undefine "$mode" rival
                berth_undefine "$mode" wanted
        done
}

@test "error 6: a file with an error is reported with file, line and reason, and harms no other network" {
        start_both
        for mode in user system; do
                directory=$(berth_definitions "$mode")
                berth_define "$mode" broken $'{\n  "mode": "shared",\n  "mtu": "large"\n}'
                berth_define "$mode" garbled $'{\n  "mode": "shared"\n  "mtu": 1500\n}'
                refused 6 "$directory/broken.json:3: \"mtu\" must be an integer" acquire "$mode" broken
                refused 6 "$directory/garbled.json:3: " acquire "$mode" garbled
                acquire "$mode" shared | jq -e .network
                berth_as "$mode" berth net ls --all --json |
                        jq -e '.definitions[] | select(.name == "broken") | .error | test("broken.json:3: ")'
                # Read when it is needed: mended, it works at once.
                berth_define "$mode" broken '{"mode":"host","mtu":1400}'
                acquire "$mode" broken | jq -e '.network.mtu == 1400'
                berth_undefine "$mode" broken
                berth_undefine "$mode" garbled
        done
}

# --- Error 7 ---

@test "error 7: the broker has no file descriptor left; it goes on when it has" {
        berth_broker system
        client_start one system
        client_tell one acquire shared
        # The broker's alone: the network's process has the limit that it was started with, and takes all handles.
        in_host prlimit --pid "$(berth_broker_pid system)" --nofile=48:
        run client_tell one many 100 acquire shared
        echo "$output"
        [[ $status == 1 && $output == "7 after "* ]]
        leases_are system shared 1
        client_tell one release shared
        client_tell one acquire shared
        client_end one
}

@test "a network's process has no file descriptor left: it goes on, and who comes then sees the handle end" {
        berth_broker system
        client_start one system
        client_start two system
        client_tell one acquire shared
        pid=$(berth_facts system shared .pid)
        in_host prlimit --pid "$pid" --nofile=4:
        client_tell two acquire shared
        run client_tell two start shared
        echo "$output"
        [ "$status" -ne 0 ]
        eventually 5 leases_are system shared 1
        in_host prlimit --pid "$pid" --nofile=1024:
        client_tell one start shared
        client_tell two acquire shared
        client_tell two start shared
        [ "$(berth_facts system shared .pid)" = "$pid" ]
        leases_are system shared 2
        client_end two
        client_end one
}
