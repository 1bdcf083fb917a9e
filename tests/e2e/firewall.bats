#!/usr/bin/env bats
# Other firewalls on the host: Docker's FORWARD with policy drop, as iptables-nft keeps it, bridge-nf-call-iptables, and
# reloads that flush all rules. Between VMs and to a user's networks it is no matter; the system's keep their NAT.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        local mode
        need world_possible
        guest_build
        world_create
        outside_dns
        servers_start
        in_host sh -c 'echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables' 2>/dev/null || true
        world_accept
        for mode in system user; do
                berth_define "$mode" late '{}'
                guest_on "$mode" shared one
                guest_on "$mode" shared two
                eventually 30 berth_facts "$mode" shared .gateway
        done
        for guest in {system,user}-{one,two}; do
                guest_wait_ready "$guest"
                guest_configure "$guest"
        done
}

teardown() {
        [[ -n ${BATS_TEST_COMPLETED:-} ]] && return
        guests_dump
        berth_dump
        in_host nft list ruleset >&2
}

teardown_file() {
        local status=0
        guests_stop || status=1
        berth_end user || status=1
        berth_end system || status=1
        in_host nft 'delete table ip filter; delete table ip6 filter'
        world_destroy || status=1
        return "$status"
}

# docker: its rules come, or come anew, as its daemon sets them when it starts.
docker() {
        in_host nft '
                table ip filter; table ip6 filter; delete table ip filter; delete table ip6 filter
                table ip filter {
                        chain DOCKER-USER { counter return; }
                        chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER; }
                }
                table ip6 filter {
                        chain DOCKER-USER { counter return; }
                        chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER; }
                }'
}

# all_reached MODE [GUEST]: the outside through NAT and the host, IPv4 and IPv6.
all_reached() {
        local guest=$1-${2:-one} network=${3:-shared}
        guest_run "$guest" "
                [ \"\$(fetch $INTERNET4 8001 5)\" = 'outside sees $HOST4' ] &&
                [ \"\$(fetch $INTERNET6 8001 5)\" = 'outside sees $HOST6' ] &&
                fetch $(berth_facts "$1" "$network" .gateway) 8000 5 &&
                fetch $(berth_facts "$1" "$network" .ipv6_gateway) 8000 5"
}

# Pings from one guest to the other while something happens, IPv4 and IPv6: none of them may be lost.
pings_begin() {
        guest_run "$1-one" "
                ping -i 0.1 $(guest_run "$1-two" 'address4 eth0') >/tmp/ping4 & echo \$! >/tmp/ping4.pid
                ping -i 0.1 $(guest_run "$1-two" 'address6 eth0') >/tmp/ping6 & echo \$! >/tmp/ping6.pid"
}
pings_end() {
        # Until what was sent from now on is answered as well. Then those behind the last answer are on their way.
        guest_run "$1-one" '
                answered() { grep -c seq= "$1"; }
                more() { [ "$(answered "$1")" -ge "$2" ]; }
                four=$(($(answered /tmp/ping4) + 10)) six=$(($(answered /tmp/ping6) + 10))
                within 10 more /tmp/ping4 "$four" && within 10 more /tmp/ping6 "$six" || exit 1
                kill -INT $(cat /tmp/ping4.pid /tmp/ping6.pid)
                for f in /tmp/ping4 /tmp/ping6; do
                        within 5 grep received $f
                        awk -F seq= "/seq=/ { split(\$2, a, \" \"); seen[a[1]] = 1; if (a[1] + 0 > last) last = a[1] + 0 }
                                END { for (i = 0; i <= last; i++) if (!(i in seen)) { print \"lost: \" i; lost = 1 }; exit lost }" $f || exit 1
                done'
}

@test "Docker's rules come while networks run: guests hear of it neither among themselves nor outwards" {
        for mode in system user; do
                all_reached "$mode"
                pings_begin "$mode"
        done
        docker
        for mode in system user; do
                eventually 20 all_reached "$mode"
                pings_end "$mode"
        done
        # The drop is in force for others: a packet that is not Berth's is not forwarded.
        in_host nft list chain ip filter FORWARD | grep 'policy drop'
}

@test "a network that comes after Docker's rules works at once" {
        docker
        for mode in system user; do
                guest_on "$mode" late new
        done
        for mode in system user; do
                guest_wait_ready "$mode-new"
                guest_configure "$mode-new"
                all_reached "$mode" new late
        done
}

@test "what a removed network had among Docker's rules is gone with it" {
        device=$(berth_facts system late .uplink.device)
        in_host nft list ruleset | grep -w "$device"
        guest_stop system-new
        guest_stop user-new
        eventually 10 berth_as system berth net remove late
        run ! in_host sh -c "nft list ruleset | grep -E '$device|berth_${device#berth}'"
        in_host nft list chain ip filter DOCKER-USER | grep -w "$(berth_facts system shared .uplink.device)"
}

@test "all rules of the host are flushed: those of the networks come back" {
        for mode in system user; do
                pings_begin "$mode"
        done
        in_host nft flush ruleset
        for mode in system user; do
                eventually 20 all_reached "$mode"
        done
        # As a firewall's reload does it: flushed, and its own set again.
        in_host nft flush ruleset
        docker
        for mode in system user; do
                eventually 20 all_reached "$mode"
                pings_end "$mode"
        done
        # They stand once, however often they were set.
        device=$(berth_facts system shared .uplink.device)
        [ "$(in_host nft list chain ip filter DOCKER-USER | grep -c "iifname \"$device\"")" = 1 ]
        [ "$(in_host nft list chain ip6 filter DOCKER-USER | grep -c "iifname \"$device\"")" = 1 ]
}

@test "a network's own namespace does not send bridged frames through iptables" {
        for mode in system user; do
                for file in bridge-nf-call-iptables bridge-nf-call-ip6tables bridge-nf-call-arptables; do
                        berth_as "$mode" berth net enter shared -- cat "/proc/sys/net/bridge/$file" | grep -x 0
                done
        done
}
