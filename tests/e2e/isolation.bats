#!/usr/bin/env bats
# What a guest must not reach, in user mode and in system mode: the outside from `host` networks, other networks, the
# host's name server, Berth itself, and, where it is isolated, the other guests.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        local mode
        need world_possible
        guest_build
        world_create
        outside_dns
        # A name server of the host's own, on all of its addresses, and a program beside it.
        spawn --ready started host-dns in_host dnsmasq --keep-in-foreground --log-facility=- --conf-file=/dev/null \
                --pid-file= --no-resolv --no-hosts --user=root --address=/secret.test/192.0.2.66
        servers_start
        world_accept

        for mode in system user; do
                berth_define "$mode" other '{"description": "another network"}'
                guest_on "$mode" shared one
                guest_on "$mode" shared,isolated alone
                guest_on "$mode" other far
                guest_on "$mode" host island
                for network in shared other host; do
                        eventually 30 berth_facts "$mode" "$network" .gateway
                done
        done
        for mode in user system; do
                for name in one alone far; do
                        guest_wait_ready "$mode-$name"
                        guest_configure "$mode-$name"
                done
                guest_wait_ready "$mode-island"
                # No default route comes with a network that leads nowhere: only addresses.
                guest_run "$mode-island" 'dhcp eth0 && within 15 eval "address6 eth0 | grep -q ."'
        done
}

teardown() {
        guests_teardown
}
teardown_file() {
        guests_teardown_file
}

# A query for internet.test as the wire has it (RFC 1035, section 4.1).
internet_query=00010100000100000000000008696e7465726e657404746573740000010001

# addresses MODE NETWORK NAME: a guest's, IPv4 and IPv6.
addresses() {
        berth_facts "$1" "$2" ".interfaces[] | select(.name == \"$3\").address"
        guest_run "$1-$3" 'address6 eth0'
}

# unreachable GUEST PORT ADDRESS...: that no connection comes about, to any of them.
unreachable() {
        local guest=$1 port=$2
        shift 2
        run guest_run -t 60 "$guest" "for a in $(xargs <<<"$*"); do
                (fetch \$a $port 1 && echo reached \$a) & done; wait; echo done"
        echo "$output"
        [ "$status" -eq 0 ]
        [[ $output == *done && $output != *reached* ]]
}

# reachable GUEST PORT ADDRESS...
reachable() {
        local guest=$1 port=$2
        shift 2
        guest_run -t 60 "$guest" "for a in $*; do fetch \$a $port || exit 1; done"
}

@test "user mode: a host network reaches the host, and nothing else" { island user; }
@test "system mode: a host network reaches the host, and nothing else" { island system; }
island() {
        local guest=$1-island gateway gateway6
        gateway=$(berth_facts "$1" host .gateway) gateway6=$(berth_facts "$1" host .ipv6_gateway)
        [ "$(berth_facts "$1" host .mode)" = host ]
        reachable "$guest" 8000 "$gateway" "$gateway6" host
        [ -z "$(guest_run "$guest" 'ip -4 route show default; ip -6 route show default')" ]

        # Also when the guest will not be told.
        guest_run "$guest" "ip route add default via $gateway && ip -6 route add default via $gateway6 dev eth0"
        unreachable "$guest" 8001 "$INTERNET4" "$INTERNET6" "$OUTSIDE4" "$OUTSIDE6"
        unreachable "$guest" 8000 "$HOST4" "$HOST6" 169.254.64.1
        run guest_run "$guest" "pingcount $INTERNET4 2 1"
        [ "$output" = 0 ]
        run guest_run "$guest" "pingcount $INTERNET6 2 1"
        [ "$output" = 0 ]
        unreachable "$guest" 8000 "$(berth_facts "$1" shared .gateway)" "$(berth_facts "$1" shared .ipv6_gateway)"
        guest_run "$guest" 'ip route del default; ip -6 route del default'

        # Its own names, and none of the outside.
        [ "$(guest_run "$guest" 'resolve -4 island')" = "$(addresses "$1" host island | head -n 1)" ]
        run guest_run "$guest" 'nslookup internet.test'
        [[ $output != *"$INTERNET4"* && $output == *REFUSED* ]]
}

@test "user mode: two networks do not reach each other" { apart user; }
@test "system mode: two networks do not reach each other" { apart system; }
apart() {
        guest_run "$1-one" 'serve 80 one'
        guest_run "$1-far" 'serve 80 far'
        # They do answer on their own network.
        far=$(addresses "$1" other far | head -n 1)
        [ "$(berth_as "$1" berth net enter other -- "$probe" fetch "$far" 80)" = far ]

        unreachable "$1-one" 80 $(addresses "$1" other far)
        unreachable "$1-far" 80 $(addresses "$1" shared one)
        unreachable "$1-island" 80 $(addresses "$1" shared one) $(addresses "$1" other far)
        run guest_run "$1-one" "pingcount $far 2 1"
        [ "$output" = 0 ]
        # Another network's gateway is not a way to the host, which has its own for this one.
        unreachable "$1-one" 8000 "$(berth_facts "$1" other .gateway)" "$(berth_facts "$1" other .ipv6_gateway)"
        unreachable "$1-far" 8000 "$(berth_facts "$1" shared .gateway)" "$(berth_facts "$1" shared .ipv6_gateway)"
        # With a route to the other network straight through the own gateway, or through the host's end of the uplink.
        guest_run "$1-one" "ip route add $(berth_facts "$1" other .subnet)/24 via $(berth_facts "$1" shared .gateway)
                ip route add 169.254.64.0/24 dev eth0"
        unreachable "$1-one" 80 $(addresses "$1" other far)
        unreachable "$1-one" 8000 169.254.64.1 169.254.64.2
        guest_run "$1-one" "ip route del $(berth_facts "$1" other .subnet)/24; ip route del 169.254.64.0/24"
}

@test "system mode: the host reaches the guests of a host network, as its gateway" {
        guest_run system-island 'serve 86 "island sees {peer}"'
        mapfile -t island < <(addresses system host island)
        [ "$(in_host "$probe" fetch "${island[0]}" 86)" = "island sees $(berth_facts system host .gateway)" ]
        [ "$(in_host "$probe" fetch "${island[1]}" 86)" = "island sees $(berth_facts system host .ipv6_gateway)" ]
        in_host ping -q -c 1 -W 15 "${island[0]}"
}

@test "a user's guests do not reach the system's networks, nor the other way round" {
        guest_run system-one 'serve 84 one'
        guest_run system-island 'serve 84 island'
        guest_run user-one 'serve 84 one'
        # The host, which is the user, does.
        in_host "$probe" fetch "$(addresses system shared one | head -n 1)" 84
        unreachable user-one 84 $(addresses system shared one) $(addresses system host island)
        unreachable user-island 84 $(addresses system shared one) $(addresses system host island)
        unreachable system-one 84 $(addresses user shared one)
}

@test "user mode: the host's name server is not the guests'" { host_dns user; }
@test "system mode: the host's name server is not the guests'" { host_dns system; }
host_dns() {
        local guest network server servers
        # It answers the host, and the host's other programs are reached: what follows is not for want of a way.
        in_host sh -c "cp /etc/resolv.conf /etc/resolv.before && echo nameserver $HOST4 >/etc/resolv.conf"
        [ "$(in_host "$probe" resolve -4 secret.test)" = 192.0.2.66 ]
        in_host mv /etc/resolv.before /etc/resolv.conf
        for guest in one island; do
                network=shared
                [[ $guest == one ]] || network=host
                reachable "$1-$guest" 8000 "$(berth_facts "$1" "$network" .gateway)"
                servers="$(berth_facts "$1" "$network" .gateway) $(berth_facts "$1" "$network" .ipv6_gateway)
                        169.254.64.1 fe80::1%eth0
                        $(in_host ip -o addr show scope global | awk '{ sub("/.*", "", $4); print $4 }')"
                run guest_run -t 60 "$1-$guest" "for s in $(xargs <<<"$servers"); do
                        timeout 3 nslookup -type=a secret.test \$s & done; wait"
                echo "$output"
                [[ $output != *192.0.2.66* ]]
                # By TCP: a connection that comes about waits for a question.
                run guest_run -t 60 "$1-$guest" "for s in $HOST4 $HOST6 169.254.64.1; do
                        (fetch \$s 53 1 2>&1 | grep -q 'no answer' && echo reached \$s) & done; wait; echo done"
                echo "$output"
                [ "$output" = done ]
        done
}

@test "user mode: Berth listens nowhere but on its own networks, and there for DNS and DHCP" { sockets user; }
@test "system mode: Berth listens nowhere but on its own networks, and there for DNS and DHCP" { sockets system; }
sockets() {
        # On the host: nothing, by TCP or UDP. The name server there is this test's.
        in_host ss -Hltunp | lacks 'berth|pasta'
        [ "$(in_host ss -Hlunp | grep -c dnsmasq)" = "$(in_host ss -Hlunp | grep -c ':53 .*dnsmasq')" ]
        # Guests see the network's dnsmasq; the resolver behind it is on the loopback, which no guest reaches.
        # A query of its own that it waits for has a port for so long.
        listening=$(eventually 10 listening_ "$1" "53 67 547 5300")
        [ "$(grep :5300 <<<"$listening" | sort -u)" = 127.0.0.1:5300 ]
        unreachable "$1-one" 5300 "$(berth_facts "$1" shared .gateway)" "$(berth_facts "$1" shared .ipv6_gateway)"
        # Nor when it sends packets for 127.0.0.1 to the gateway.
        query=$(packet_udp4 "$(addresses "$1" shared one | head -n 1)" 127.0.0.1 1053 5300 "$internet_query")
        query=$(packet_frame "$(berth_as "$1" berth net enter shared -- cat /sys/class/net/br0/address)" \
                "$(guest_run "$1-one" 'mac eth0')" 0800 "$query")
        run guest_run "$1-one" "frame_listen answer eth0 $(packet_ip4_ "$INTERNET4") 2 1
                frame_send eth0 $query 3; frame_heard answer"
        [[ $output == *'0 matched of'* ]]
}

# listening_ MODE PORTS: what listens in the network, where that is all.
listening_() {
        local listening
        listening=$(berth_as "$1" berth net enter shared -- ss -Hltun | awk '{ print $5 }')
        echo "$listening"
        [[ $(sed 's/.*://' <<<"$listening" | sort -un | xargs) == "$2" ]]
}

@test "user mode: an isolated guest reaches the gateway and the outside, and no other guest" { isolated user; }
@test "system mode: an isolated guest reaches the gateway and the outside, and no other guest" { isolated system; }
isolated() {
        local one alone
        one=$(addresses "$1" shared one) alone=$(addresses "$1" shared alone)
        [ "$(berth_facts "$1" shared '[.interfaces[] | select(.isolated).name] | join(" ")')" = alone ]
        reachable "$1-alone" 8000 "$(berth_facts "$1" shared .gateway)" "$(berth_facts "$1" shared .ipv6_gateway)"
        reachable "$1-alone" 8001 "$INTERNET4" "$INTERNET6" internet.test
        guest_run "$1-one" 'serve 85 one'
        guest_run "$1-alone" 'serve 85 alone'

        # An isolated port talks to the gateway, and to those that are not isolated it does not either.
        unreachable "$1-alone" 85 $one
        unreachable "$1-one" 85 $alone
        # By way of the gateway: with host routes, and neighbours that are not asked for.
        guest_run "$1-alone" "for a in $(xargs <<<"$one"); do
                case \$a in *:*) ip -6 route add \$a via $(berth_facts "$1" shared .ipv6_gateway) dev eth0 ;;
                *) ip route add \$a via $(berth_facts "$1" shared .gateway) ;; esac; done"
        unreachable "$1-alone" 85 $one
}
