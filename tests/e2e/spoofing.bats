#!/usr/bin/env bats
# Forged frames go nowhere, in user mode and in system mode: a guest that forges, and one that listens, both on `shared`
# (eth0) and on a network whose file switches the guard off (eth1).

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        local mode guest
        need world_possible
        guest_build
        world_create
        world_accept
        for mode in system user; do
                berth_define "$mode" open '{"anti_spoofing": false}'
                guest_on "$mode" 'shared open' evil
                guest_on "$mode" 'shared open' victim
                for network in shared open; do
                        eventually 30 berth_facts "$mode" "$network" .gateway
                done
        done
        for guest in {user,system}-{evil,victim}; do
                guest_wait_ready "$guest"
                guest_configure "$guest" eth0
                guest_configure "$guest" eth1
        done
}

teardown() {
        guests_teardown
}
teardown_file() {
        guests_teardown_file
}

# port MODE NETWORK NAME FILTER
port() {
        berth_facts "$1" "$2" ".interfaces[] | select(.name == \"$3\") | $4"
}

all=ff:ff:ff:ff:ff:ff
foreign=02:de:ad:00:00:01
mark=bebebebebebe # in each frame, with its number behind

# arp ETHERNET_SOURCE OPERATION SENDER_MAC SENDER_ADDRESS NUMBER: padded with the mark to an ordinary length.
arp() {
        local frame
        frame=000108000604000$2$(packet_mac_ "$3")$(packet_ip4_ "$4")000000000000$(packet_ip4_ "$4")
        frame=$(packet_frame "$all" "$1" 0806 "$frame")
        echo "$frame$mark$5$(printf '%022d' 0)"
}

# udp4 ETHERNET_SOURCE SOURCE PORT PORT NUMBER; vlan4 and udp6, the same; icmp6 SOURCE_MAC SOURCE MESSAGE NUMBER.
udp4() {
        packet_frame "$all" "$1" 0800 "$(packet_udp4 "$2" 255.255.255.255 "$3" "$4" "$mark$5")"
        echo
}
vlan4() {
        packet_frame "$all" "$1" 8100 "00050800$(packet_udp4 "$2" 255.255.255.255 "$3" "$4" "$mark$5")"
        echo
}
udp6() {
        packet_frame "$all" "$1" 86dd "$(packet_udp6 "$2" ff02::1 "$3" "$4" "$mark$5")"
        echo
}
icmp6() {
        packet_frame "$all" "$1" 86dd "$(packet_icmp6 "$2" ff02::1 "$3$mark$4")"
        echo
}

# What a guest must not send (00 to 0f) and what it may (f0 to f3), one frame a line.
frames() {
        local mac=$1 own4=$2 own6=$3 gateway4=$4 gateway6=$5 victim_mac=$6 victim4=$7 victim6=$8 free4=$9 own_link
        own_link=$(packet_eui64 "$mac")
        udp4 "$foreign" "$own4" 1000 1000 00          # another's MAC
        arp "$mac" 2 "$mac" "$gateway4" 01            # I have the gateway's address
        arp "$mac" 2 "$mac" "$victim4" 02             # I have the other's
        arp "$mac" 1 "$mac" "$free4" 03               # I have one that was given to nobody
        arp "$mac" 2 "$victim_mac" "$own4" 04         # another has mine
        udp4 "$mac" "$gateway4" 1000 1000 05          # from the gateway
        udp4 "$mac" "$victim4" 1000 1000 06           # from the other
        udp4 "$mac" 198.51.100.1 1000 1000 07         # from elsewhere
        udp6 "$mac" "$gateway6" 1000 1000 08          # the same over IPv6
        udp6 "$mac" "$victim6" 1000 1000 09
        udp6 "$mac" 2001:db8:51::1 1000 1000 0a
        icmp6 "$mac" "$own_link" 8600000040000708000000000000000001c0ffeec0ff 0b  # a router advertisement
        # A neighbour advertisement: I have the gateway's address.
        icmp6 "$mac" "$own_link" "8800000060000000$(packet_ip6 "$gateway6")0201${mac//:/}" 0c
        udp4 "$mac" "$own4" 67 68 0d                  # a DHCP server
        udp6 "$mac" "$own_link" 547 546 0e            # a DHCPv6 server
        vlan4 "$mac" "$victim4" 1000 1000 0f          # with a VLAN's tag in front
        arp "$mac" 1 "$mac" "$own4" f0
        udp4 "$mac" "$own4" 1000 1000 f1
        udp6 "$mac" "$own6" 1000 1000 f2
        udp6 "$mac" "$own_link" 1000 1000 f3
}

# heard MODE NETWORK DEVICE: the numbers of the frames that reach the other guest.
heard() {
        local subnet list
        subnet=$(berth_facts "$1" "$2" '.subnet | rtrimstr(".0")')
        list=$(frames "$(port "$1" "$2" evil .mac)" "$(port "$1" "$2" evil .address)" \
                "$(guest_run "$1-evil" "address6 $3 | grep ff:fe")" \
                "$(berth_facts "$1" "$2" .gateway)" "$(berth_facts "$1" "$2" .ipv6_gateway)" \
                "$(port "$1" "$2" victim .mac)" "$(port "$1" "$2" victim .address)" \
                "$(guest_run "$1-victim" "address6 $3 | grep ff:fe")" "$subnet.200")
        # The listener ends with as many frames as are due, the last that is sent among them.
        guest_run "$1-victim" "frame_listen $3 $3 $mark 60 $4"
        guest_run "$1-evil" "for frame in $(xargs <<<"$list"); do frame_send $3 \$frame; done" >&2
        guest_run -t 70 "$1-victim" "frame_heard $3" | sed -n "s/^frame: .*$mark\(..\).*/\1/p" | sort | xargs
}

@test "user mode: no forged frame reaches another guest" { guarded user; }
@test "system mode: no forged frame reaches another guest" { guarded system; }
guarded() {
        local heard
        heard=$(heard "$1" shared eth0 4)
        echo "heard: $heard"
        [ "$heard" = "f0 f1 f2 f3" ]
        # Nor does the gateway believe any.
        guest_run "$1-victim" "pingcount $(berth_facts "$1" shared .gateway) 2"
        berth_as "$1" berth net enter shared -- ip neigh show dev br0 | lacks "$foreign"
        berth_as "$1" berth net enter shared -- ip neigh show "$(port "$1" shared victim .address)" dev br0 |
                grep -F "$(port "$1" shared victim .mac)"
}

@test "user mode: without anti_spoofing, for those who nest, all frames pass" { unguarded user; }
@test "system mode: without anti_spoofing, for those who nest, all frames pass" { unguarded system; }
unguarded() {
        local heard
        [ "$(berth_facts "$1" open '.anti_spoofing | not')" = true ]
        heard=$(heard "$1" open eth1 20)
        echo "heard: $heard"
        [ "$heard" = "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f f0 f1 f2 f3" ]
}

@test "user mode: a guest that takes another's address or MAC is on its own" { takes user; }
@test "system mode: a guest that takes another's address or MAC is on its own" { takes system; }
takes() {
        local gateway own mac victim
        gateway=$(berth_facts "$1" shared .gateway)
        own=$(port "$1" shared evil .address) mac=$(port "$1" shared evil .mac)
        victim=$(port "$1" shared victim .address)
        guest_run "$1-victim" 'serve 80 victim'
        guest_run "$1-evil" "fetch $victim 80"

        # Asking DHCP for it gives one's own.
        [ "$(guest_run "$1-evil" "DHCP_REQUEST=$victim dhcp eth0")" = "$own" ]
        [ "$(guest_run "$1-evil" "DHCP_CLIENT_ID=00c0ffee dhcp eth0")" = "$own" ]

        guest_run "$1-evil" "ip -4 addr flush dev eth0; ip addr add $victim/24 dev eth0"
        run guest_run "$1-evil" "fetch $gateway 80 1; pingcount $gateway 2 1"
        [[ $output == *0 ]]
        berth_as "$1" berth net enter shared -- "$probe" fetch "$victim" 80 | grep -x victim

        guest_run "$1-evil" "ip -4 addr flush dev eth0; ip addr add $own/24 dev eth0; ip link set eth0 down
                ip link set eth0 address $foreign && ip link set eth0 up"
        run guest_run "$1-evil" "pingcount $gateway 2 1"
        [[ $output == *0 ]]
        guest_run "$1-evil" "ip link set eth0 down; ip link set eth0 address $mac && ip link set eth0 up"
        guest_run -t 30 "$1-evil" "within 20 pingcount $gateway 1 2"
        # The counters of what was dropped are there to be seen.
        berth_as "$1" berth net enter shared -- nft list table bridge berth | grep -E 'counter packets [1-9].* drop'
}
