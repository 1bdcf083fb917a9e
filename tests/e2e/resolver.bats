#!/usr/bin/env bats
# The host's resolver and its way out, followed as they change while networks run, in user mode and in system mode.

bats_require_minimum_version 1.5.0
load harness/all

# where.test is 192.0.2.1 by the first server, .2 by the second, .53 by the host's stub.
setup_file() {
        local mode guest
        need world_possible
        guest_build
        world_create
        name_server first in_outside "$OUTSIDE4" 192.0.2.1
        name_server second in_outside "$INTERNET4" 192.0.2.2 "--txt-record=large.test$(printf ",%0200d" 1 2 3 4 5 6 7 8)"
        name_server second6 in_outside "$INTERNET6" 192.0.2.6
        name_server stub in_host 127.0.0.53 192.0.2.53
        servers_start
        world_accept
        for mode in system user; do
                guest_on "$mode" shared one
                eventually 30 berth_facts "$mode" shared .gateway
        done
        for mode in system user; do
                guest_wait_ready "$mode-one"
                guest_configure "$mode-one"
        done
}

# name_server NAME WHERE ADDRESS ANSWER [ARGUMENTS...]
name_server() {
        spawn --ready started "$1" "$2" dnsmasq --keep-in-foreground --log-facility=- --conf-file=/dev/null --pid-file= \
                --no-resolv --no-hosts --bind-interfaces "--listen-address=$3" "--address=/where.test/$4" "${@:5}"
}

setup() {
        resolver_is "nameserver $OUTSIDE4"
}

teardown() {
        guests_teardown
}
teardown_file() {
        guests_teardown_file
}

# resolver_is LINES: the host's file, replaced as resolvers do it.
resolver_is() {
        in_host sh -ec 'printf "%s\n" "$1" >/etc/resolv.conf.new && mv -T /etc/resolv.conf.new /etc/resolv.conf' sh "$1"
}

# where_is ADDRESS: what guests are told, at once.
where_is() {
        local mode
        for mode in user system; do
                [ "$(guest_run "$mode-one" 'resolve -4 where.test')" = "$1" ] || return
        done
}

@test "another file in place of resolv.conf: the next query goes to the new server" {
        where_is 192.0.2.1
        resolver_is "nameserver $INTERNET4"
        where_is 192.0.2.2
        resolver_is "nameserver $OUTSIDE4"
        where_is 192.0.2.1
}

@test "resolv.conf written in place: the next query goes to the new server" {
        in_host sh -c "echo 'nameserver $INTERNET4' >/etc/resolv.conf"
        where_is 192.0.2.2
        in_host sh -c "printf '# here\nsearch example\nnameserver\t$OUTSIDE4 # the first\noptions edns0\n' >/etc/resolv.conf"
        where_is 192.0.2.1
}

@test "a resolver on 127.0.0.53 alone, behind a symbolic link, as systemd-resolved has it" {
        in_host sh -ec 'mkdir -p /run/resolve && echo "nameserver 127.0.0.53" >/run/resolve/stub
                echo "nameserver 198.51.100.1" >/run/resolve/direct
                ln -s /run/resolve/stub /etc/resolv.conf.new && mv -T /etc/resolv.conf.new /etc/resolv.conf'
        where_is 192.0.2.53
        # The link leads elsewhere, the file behind it stays.
        in_host sh -ec 'ln -s /run/resolve/direct /etc/resolv.conf.new && mv -T /etc/resolv.conf.new /etc/resolv.conf'
        where_is 192.0.2.2
        in_host rm -r /run/resolve
}

@test "a server by its IPv6 address" {
        resolver_is "nameserver $INTERNET6"
        where_is 192.0.2.6
}

@test "a server that does not answer is passed over" {
        resolver_is "nameserver 203.0.113.77
nameserver $INTERNET4"
        eventually 40 where_is 192.0.2.2
}

@test "no server at all is an answer too, and one that comes is heard of" {
        in_host rm /etc/resolv.conf
        for mode in user system; do
                run guest_run "$mode-one" 'timeout 15 nslookup where.test'
                [[ $output != *192.0.2* ]]
                [ "$(guest_run "$mode-one" 'resolve -4 one')" = "$(guest_run "$mode-one" 'address4 eth0')" ]
        done
        resolver_is "nameserver $OUTSIDE4"
        eventually 20 where_is 192.0.2.1
}

# ask_large GUEST-MODE TRANSPORT: a query for the text of large.test as the wire has it (RFC 1035, section 4.1), sent
# from inside the network; prints the answer in hexadecimal. Fails when it has not come, or not all of it, within 2 s.
ask_large() {
        local answer query=000101000001000000000000056c6172676504746573740000100001
        [[ $2 != TCP ]] || query=$(printf %04x $((${#query} / 2)))$query
        answer=$(xxd -r -p <<<"$query" | berth_as "$1" berth net enter shared -- \
                socat -t 2 - "$2:$(berth_facts "$1" shared .gateway):53" | xxd -p | tr -d '\n')
        echo "$answer"
        [[ -n $answer ]] && [[ $2 != TCP || ${#answer} == $((0x${answer:0:4} * 2 + 4)) ]]
}

@test "an answer too large for UDP is cut short there, and whole over TCP" {
        resolver_is "nameserver $INTERNET4"
        for mode in user system; do
                answer=$(eventually 10 ask_large "$mode" UDP)
                # The TC bit: the second of the third byte.
                [ $((0x${answer:4:2} & 2)) -eq 2 ]
                ((${#answer} / 2 <= 512))
                answer=$(eventually 10 ask_large "$mode" TCP)
                [ $((0x${answer:8:2} & 2)) -eq 0 ]
                for i in 1 2 3 4 5 6 7 8; do
                        [[ $answer == *"$(printf '%0200d' "$i" | xxd -p | tr -d '\n')"* ]]
                done
        done
}

@test "a guest's queries over TCP reach the outside's server" {
        query=00010100000100000000000005776865726504746573740000010001
        query=$(printf %04x $((${#query} / 2)))$query
        for mode in user system; do
                guest_run "$mode-one" "echo $query | xxd -r -p |
                        nc $(berth_facts "$mode" shared .gateway) 53 | xxd -p | tr -d '\n'" | grep 0004c0000201
        done
}

@test "user mode: a host without a default route gets an uplink when the route comes, and the other family's too" {
        in_host ip -4 route del default
        in_host ip -6 route del default
        berth_define user late '{}'
        guest_on_ready user late new
        guest_configure user-new
        berth_as user berth net show late | grep -E '^uplink +pasta, down: .*no default route'
        guest_run user-new "pingcount $(berth_facts user late .gateway) 2 && resolve host"
        run guest_run user-new "fetch $INTERNET4 8001 1"
        [ "$status" -ne 0 ]
        # Inside, all is as ever.
        [ "$(berth_as user berth net enter late -- "$probe" resolve -4 new)" = "$(guest_run user-new 'address4 eth0')" ]

        in_host ip route add default via "$OUTSIDE4"
        eventually 30 guest_run user-new "fetch $INTERNET4 8001 1"
        guest_run user-new "fetch $(berth_facts user late .gateway) 8000"
        in_host ip -6 route add default via "$OUTSIDE6"
        eventually 30 guest_run user-new "fetch $INTERNET6 8001 1 && fetch $INTERNET4 8001 1"
        guest_run user-new "fetch $(berth_facts user late .ipv6_gateway) 8000"
        berth_as user berth net show late | grep -E '^uplink +pasta, up'
        # What was up before the routes went is still, or again.
        eventually 30 guest_run user-one "fetch $INTERNET4 8001 1 && fetch $INTERNET6 8001 1"
        eventually 30 guest_run system-one "fetch $INTERNET4 8001 1 && fetch $INTERNET6 8001 1"
}
