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
        spawn --ready listening host-server in_host "$probe" serve 8000 'host sees {peer}'
        spawn --ready listening outside-server in_outside "$probe" serve 8001 'outside sees {peer}'
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
        [[ -n ${BATS_TEST_COMPLETED:-} ]] || { guests_dump && berth_dump; }
}

teardown_file() {
        local status=0
        guests_stop || status=1
        berth_end user || status=1
        berth_end system || status=1
        world_destroy || status=1
        return "$status"
}

# addresses MODE NETWORK NAME: a guest's, IPv4 and IPv6.
addresses() {
        berth_facts "$1" "$2" ".interfaces[] | select(.name == \"$3\").address"
        guest_run "$1-$3" 'address6 eth0'
}

# unreachable GUEST PORT ADDRESS...: that no connection comes about, to one after another.
unreachable() {
        local guest=$1 port=$2
        shift 2
        run guest_run -t 60 "$guest" "for a in $*; do fetch \$a $port 1 && echo reached \$a; done; echo done"
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
        run guest_run "$guest" "pingcount $INTERNET4 2"
        [ "$output" = 0 ]
        run guest_run "$guest" "pingcount $INTERNET6 2"
        [ "$output" = 0 ]
        unreachable "$guest" 8000 "$(berth_facts "$1" shared .gateway)" "$(berth_facts "$1" shared .ipv6_gateway)"
        guest_run "$guest" 'ip route del default; ip -6 route del default'

        # Its own names, and none of the outside.
        [ "$(guest_run "$guest" 'resolve -4 island')" = "$(addresses "$1" host island | head -n 1)" ]
        run guest_run "$guest" 'nslookup internet.test'
        [[ $output != *"$INTERNET4"* && $output == *REFUSED* ]]
}

@test "user mode: two networks do not reach each other" { apart user system; }
@test "system mode: two networks do not reach each other" { apart system user; }
apart() {
        local mode all gateways
        guest_run "$1-one" 'serve 80 one'
        guest_run "$1-far" 'serve 80 far'
        # They do answer on their own network.
        guest_run "$1-alone" 'fetch 127.0.0.1 80 1; true'
        [ "$(berth_as "$1" berth net enter other -- "$probe" fetch "$(addresses "$1" other far | head -n 1)" 80)" = far ]

        unreachable "$1-one" 80 $(addresses "$1" other far)
        unreachable "$1-far" 80 $(addresses "$1" shared one)
        unreachable "$1-island" 80 $(addresses "$1" shared one) $(addresses "$1" other far)
        run guest_run "$1-one" "pingcount $(addresses "$1" other far | head -n 1) 2"
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
        # It answers the host, and its other programs are reached: what follows is not for want of a way.
        in_host "$probe" resolve -4 localhost >/dev/null
        berth_as "$1" socat - UDP:127.0.0.1:53 </dev/null
        for guest in one island; do
                network=shared
                [[ $guest == one ]] || network=host
                reachable "$1-$guest" 8000 "$(berth_facts "$1" "$network" .gateway)"
                servers="$(berth_facts "$1" "$network" .gateway) $(berth_facts "$1" "$network" .ipv6_gateway) $HOST4 $HOST6
                        169.254.64.1 fe80::1%eth0 $(in_host ip -o addr show scope global | awk '{ sub("/.*", "", $4); print $4 }')"
                for server in $servers; do
                        run guest_run "$1-$guest" "timeout 2 nslookup -type=a secret.test $server"
                        [[ $output != *192.0.2.66* ]]
                done
                # By TCP: all but the gateway's own refuse; a connection that comes about waits for a question.
                for server in $HOST4 $HOST6 169.254.64.1; do
                        run guest_run "$1-$guest" "fetch $server 53 1"
                        [[ $output != *"no answer"* && $output == *connect* ]]
                done
        done
}

@test "user mode: Berth listens nowhere but on its own networks, and there for DNS and DHCP" { sockets user; }
@test "system mode: Berth listens nowhere but on its own networks, and there for DNS and DHCP" { sockets system; }
sockets() {
        local listening
        # On the host: nothing, by TCP or UDP. The servers of this test are not Berth's.
        listening=$(in_host ss -Hltunp | grep -vE '"probe"|"dnsmasq"' || true)
        echo "$listening"
        ! grep -E 'berth|pasta' <<<"$listening"
        # Guests see the network's dnsmasq; the resolver behind it is on the loopback, which no guest reaches.
        [ "$(berth_as "$1" berth net enter shared -- ss -Hltun | awk '{ sub(".*:", "", $5); print $5 }' | sort -un | xargs)" = \
                "53 67 547 5300" ]
        ! berth_as "$1" berth net enter shared -- ss -Hltun | grep :5300 | grep -v 127.0.0.1:5300
        unreachable "$1-one" 5300 "$(berth_facts "$1" shared .gateway)" "$(berth_facts "$1" shared .ipv6_gateway)"
        # Nor when it sends packets for 127.0.0.1 to the gateway.
        guest_run "$1-one" "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
                ip route add table 9 127.0.0.1 via $(berth_facts "$1" shared .gateway) && ip rule add pref 0 table 9 && ip rule del table local
                ip rule add pref 1 table local"
        run guest_run "$1-one" 'timeout 3 nslookup internet.test 127.0.0.1:5300; fetch 127.0.0.1 5300 1'
        guest_run "$1-one" 'ip rule del pref 0; ip route flush table 9; echo 0 >/proc/sys/net/ipv4/conf/all/route_localnet'
        [[ $output != *"$INTERNET4"* && $output != *"no answer"* ]]
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
