#!/usr/bin/env bats
# The command line against real networks, without guests: what it prints for people and for programs, and what it says
# when something is wrong. In user mode, and where it differs in system mode.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        need world_possible
        world_create
        world_accept
}

teardown() {
        local name
        for name in holder a b c d e; do
                spawn_end "$name" 2>/dev/null || true
        done
        [[ -n ${BATS_TEST_COMPLETED:-} ]] || berth_dump
}

teardown_file() {
        local status=0
        berth_end user || status=1
        berth_end system || status=1
        world_destroy || status=1
        return "$status"
}

user() {
        berth_as user berth "$@"
}

# hold MODE NAME OPTION: a client with an interface, until `spawn_end NAME`.
hold() {
        spawn --ready '^holding' "$2" berth_as "$1" berth run --network "$3" -- \
                sh -c 'echo "holding $BERTH_NET0_MAC $BERTH_NET0_ADDRESS $BERTH_NET0_NAME"; exec sleep 1000'
}
held() {
        spawn_output "$1" | sed -n "s/^holding //p"
}

# refused TEXT COMMAND...: it fails, and says so in berth's own name.
refused() {
        local text=$1
        shift
        run "$@"
        echo "$output"
        [ "$status" -ne 0 ]
        [[ $output == "berth: "* && $output == *"$text"* ]]
}

@test "where nothing runs, questions are answered and nothing is started" {
        [ "$(user net ls)" = "No networks are running." ]
        user net ls --all | grep -F 'Built in are shared and host'
        user net ls --json | jq -e '.networks == [] and .broker == null'
        [ "$(user net ls --names | xargs)" = "shared host" ]
        user status | grep -E '^broker +not running: it starts when it is first needed$'
        user --system status | grep -E '^broker +not running: root has to start it$'
        user status --json |
                jq -e '.broker == null and (.checks | length > 3) and (.socket | endswith("/berth/broker.sock"))'
        refused 'not running' user net show shared
        refused 'not running' user net remove shared
        refused 'not running' user net enter shared -- true
        [ -z "$(berth_broker_pid user)" ]
        run in_host pgrep -x berthd
        [ "$status" -ne 0 ]
}

@test "without a runtime directory it is said that no broker can be reached, and what to do" {
        local berth=(user_without_runtime berth)
        "${berth[@]}" status | grep -E '^broker +not reached: no runtime directory.*set XDG_RUNTIME_DIR'
        "${berth[@]}" status --json | jq -e '.broker == null and .socket == null and (.message | test("XDG_RUNTIME_DIR"))'
        refused 'set XDG_RUNTIME_DIR' "${berth[@]}" net ls
        refused 'set XDG_RUNTIME_DIR' "${berth[@]}" net show shared
        refused 'set XDG_RUNTIME_DIR' "${berth[@]}" net remove shared
        refused 'set XDG_RUNTIME_DIR' "${berth[@]}" net enter shared -- true
        refused 'set XDG_RUNTIME_DIR' "${berth[@]}" run -- true
}
user_without_runtime() {
        berth_as user env -u XDG_RUNTIME_DIR "$@"
}

@test "user mode: ls, show and status, for people and for programs" { listings user "$BERTH_UID"; }
@test "system mode: ls, show and status, for people and for programs" { listings system 0; }
listings() {
        local berth=(berth_as "$1" berth) mac address json
        hold "$1" holder shared,name=web
        read -r mac address _ < <(held holder)
        "${berth[@]}" net ls | head -n 1 | grep -E '^NETWORK +MODE +SUBNET +IPV6 +CLIENTS +INTERFACES +STATE$'
        # The broker waits a second for what networks have to say.
        eventually 5 eval '"${berth[@]}" net ls | grep -E "^shared +shared +${address%.*}\.0/24 +fd[0-9a-f:]+/64 +1 +1 +running"'
        # No line ends in blanks, and columns stand below each other.
        "${berth[@]}" net ls | lacks ' $'
        "${berth[@]}" net ls --all | grep -E '^host +host [ -]+defined \(built in\)$'

        json=$("${berth[@]}" net ls --json)
        jq -e --arg mode "$1" '.broker.mode == $mode and (.networks | length) == 1' <<<"$json"
        json=$(berth_show "$1" shared)
        jq -e --arg mac "$mac" --arg address "$address" --argjson uid "$2" '
                .name == "shared" and .state == "running" and .uplink.state == "up" and .services.dnsmasq.pid > 0 and
                (.clients | length) == 1 and .clients[0].uid == $uid and .clients[0].connected and
                (.interfaces | length) == 1 and (.interfaces[0] | .mac == $mac and .address == $address and
                .name == "web" and .queues == 1 and .mtu == 1500 and (.isolated | not))' <<<"$json"
        "${berth[@]}" net show shared | grep -E "^gateway +${address%.*}\.1, fd"
        eventually 5 eval '"${berth[@]}" net show shared | grep -E "^port1 +web +$mac +$address +[0-9]+ +1500 +1 .* no$"'
        "${berth[@]}" net show shared |
                grep -E '^offers +DHCP, router advertisements, DNS, NAT for IPv4, NAT for IPv6, anti-spoofing$'
        "${berth[@]}" status | grep -E "^broker +running: .* $1 mode"
        eventually 5 eval '"${berth[@]}" status | grep -E "^networks +shared: running, 1 clients, 1 interfaces"'
        "${berth[@]}" status --json |
                jq -e '.networks[0].name == "shared" and (.checks | map(.name, .result) | all(type == "string"))'

        refused 'cannot remove network shared' "${berth[@]}" net remove shared
        spawn_end holder
        eventually 10 "${berth[@]}" net remove shared
        [ "$("${berth[@]}" net ls)" = "No networks are running." ]
        refused 'not running' "${berth[@]}" net show shared
}

@test "an ordinary user asks the system's broker with --system, and is told who may" {
        berth_define system open '{"allow": {"users": ['"$BERTH_UID"']}}'
        hold system holder shared
        refused 'it is not in the group "berth"' user --system run --network shared -- true
        [ "$(user --system run --network open -- sh -c 'echo "$BERTH_NET0_NETWORK"')" = open ]
        refused 'only root' user --system net enter open -- true
        [ "$(user net ls)" = "No networks are running." ]
        spawn_end holder
        berth_undefine system open
}

@test "the command gets its interfaces by placeholders and by environment, and berth is no longer there" {
        run -0 user run --network shared,name=web,queues=2 --network host,mac=52:54:00:00:00:77 -- sh -c '
                echo "$1 $BERTH_NET0_NAME $BERTH_NET0_QUEUES $BERTH_NET1_NETWORK $BERTH_NET1_MAC"
                [ "$1" = "$BERTH_NET0_FDS" ] && [ "$2" = "$BERTH_NET1_GATEWAY" ] || echo differs
                for fd in $(echo "$1" | tr : " "); do readlink "/proc/self/fd/$fd"; grep ^iff: "/proc/self/fdinfo/$fd"; done
                cat /proc/$$/comm' sh '{net0.fds}' '{net1.gateway}'
        echo "$output"
        [[ ${lines[0]} =~ ^[0-9]+:[0-9]+" web 2 host 52:54:00:00:00:77"$ ]]
        [ "$(grep -c '^/dev/net/tun$' <<<"$output")" = 2 ]
        [ "$(grep -c '^iff:.port1' <<<"$output")" = 2 ]
        [ "${lines[-1]}" = sh ]
        run user run -- sh -c 'exit 42'
        [ "$status" -eq 42 ]
        run -127 user run -- /nonexistent/command
        # What QEMU would get, without doing anything.
        run -0 user run --dry-run --network shared,queues=4 -- qemu-system-x86_64 -m 1G
        [[ $output == *"tap,id=berth0,fds={net0.fds}"*"virtio-net-pci,netdev=berth0,mac={net0.mac}"*mq=on* ]]
}

@test "user mode: identities: name, id, MAC and address, and what they refuse" { identities user; }
@test "system mode: identities: name, id, MAC and address, and what they refuse" { identities system; }
identities() {
        local berth=(berth_as "$1" berth) id=4f6f3c1e-52f7-4f0e-9d5b-0a4e5ab7a001 subnet first
        hold "$1" a "shared,id=$id,name=a"
        hold "$1" b shared,mac=52:54:00:00:00:0b
        subnet=$(berth_facts "$1" shared '.subnet | rtrimstr(".0")')
        hold "$1" c "shared,address=$subnet.200,name=c"
        [[ $(held b) == "52:54:00:00:00:0b $subnet."* ]]
        [[ $(held c) == *" $subnet.200 c" ]]
        refused "a" "${berth[@]}" run --network shared,name=a -- true
        refused "52:54:00:00:00:0b" "${berth[@]}" run --network shared,mac=52:54:00:00:00:0b -- true
        refused "$subnet.200" "${berth[@]}" run --network "shared,address=$subnet.200" -- true
        refused "$subnet.1" "${berth[@]}" run --network "shared,address=$subnet.1" -- true
        refused 10.9.8.7 "${berth[@]}" run --network shared,address=10.9.8.7 -- true

        # Refusals took nothing; and an id keeps its own under another name, after all was removed.
        [ "$(berth_facts "$1" shared '.interfaces | length')" = 3 ]
        read -r mac address _ < <(held a)
        for name in a b c; do spawn_end "$name"; done
        # No broker is left that would remember.
        berth_end "$1"
        hold "$1" d shared,name=d
        hold "$1" a "shared,id=$id,name=other"
        [ "$(held a)" = "$mac $address other" ]
        [[ $(held d) != *" $address "* ]]
        # Without a name and an id it is somebody else each time.
        hold "$1" e shared
        first=$(held e)
        spawn_end e
        hold "$1" e shared
        [ "${first%% *}" != "$(held e | cut -d ' ' -f 1)" ]
        for name in a d e; do spawn_end "$name"; done
}

@test "a wrong definition is named with its file and line, and harms no other network" {
        berth_define user broken $'{\n  "mode": "shared",\n  "dhcp": "yes"\n}'
        berth_define user fine '{"mode": "host", "description": "nothing wrong"}'
        refused 'networks.d/broken.json:3: ' user run --network broken -- true
        run user net ls --all
        [[ $output == *"broken.json:3: "* ]]
        grep -E '^fine +host [ -]+defined' <<<"$output"
        user net ls --json | jq -e '.definitions[] | select(.name == "broken").error | contains("broken.json:3: ")'
        [ "$(user run --network fine -- sh -c 'echo "$BERTH_NET0_NETWORK"')" = fine ]
        refused 'no network' user run --network nowhere -- true
        [[ $output == *'berth net ls --all'* ]]
        berth_undefine user broken
        berth_undefine user fine
}

@test "wrong use is explained" {
        refused 'did you mean' user rum -- true
        refused 'mac=nonsense' user run --network shared,mac=nonsense -- true
        refused 'did you mean name' user run --network shared,nmae=x -- true
        refused 'queues=9' user run --network shared,queues=9 -- true
        refused 'is no name of a network' user run --network 'a b' -- true
        refused 'missing' user net show
        refused 'missing' user run
        refused 'net9' user run -- echo '{net9.fd}'
        for command in run 'net ls' 'net show' 'net remove' 'net enter' status; do
                # shellcheck disable=SC2086 # two words
                run -0 user $command --help
                [[ ${lines[0]} == "Usage: berth $command"* ]]
        done
}
