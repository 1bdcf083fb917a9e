#!/usr/bin/env bats
# What a network gives its guests, in user mode and in system mode: two guests on `shared`, started by two commands.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        local mode
        need world_possible
        guest_build
        world_create
        outside_dns
        servers_start
        world_accept

        # A user's network takes no subnet that the host has a route for: the system's come first, and nothing moves.
        berth_as system berth run --network shared --network host -- true
        for mode in system user; do
                guest_on "$mode" shared web
                guest_on "$mode" shared db
                eventually 20 berth_facts "$mode" shared .gateway
        done
        for mode in user system; do
                guest_wait_ready "$mode-web"
                guest_wait_ready "$mode-db"
                guest_configure "$mode-web"
                guest_configure "$mode-db"
        done
}

teardown() {
        guests_teardown
}
teardown_file() {
        guests_teardown_file
}

# port MODE NAME FILTER: jq's filter on an interface, as the network describes it.
port() {
        berth_facts "$1" shared ".interfaces[] | select(.name == \"$2\") | $3"
}

# In the guest: which of its addresses was made of the MAC, which DHCPv6 does not do.
slaac() {
        guest_run "$1" 'address6 eth0 | grep ff:fe'
}

@test "user mode: addresses, routes, resolver and MTU by DHCP and by router advertisement" { addresses user; }
@test "system mode: addresses, routes, resolver and MTU by DHCP and by router advertisement" { addresses system; }
addresses() {
        local name gateway prefix
        gateway=$(berth_facts "$1" shared .gateway)
        prefix=$(berth_facts "$1" shared '.ipv6_prefix | rtrimstr("::")')
        [[ $gateway == 192.168.*.1 && $prefix == fd* ]]
        for name in web db; do
                [ "$(guest_run "$1-$name" 'address4 eth0')" = "$(port "$1" "$name" .address)" ]
                [ "$(guest_run "$1-$name" 'mac eth0')" = "$(port "$1" "$name" .mac)" ]
                [ "$(guest_run "$1-$name" 'ip -4 route show default')" = "default via $gateway dev eth0 " ]
                [[ $(guest_run "$1-$name" 'ip -6 route show default') == "default via fe80::"*" dev eth0 "* ]]
                [[ $(slaac "$1-$name") == "$prefix:"* ]]
                [ "$(guest_run "$1-$name" 'sed -n "s/nameserver //p" /etc/resolv.conf')" = "$gateway" ]
                guest_run "$1-$name" 'grep -w search /etc/resolv.conf' | grep -w berth.internal
        done
        [ "$(port "$1" web .address)" != "$(port "$1" db .address)" ]
        # Behind `mtu=`: QEMU tells its guest (host_mtu) what the port has.
        [ "$(guest_run "$1-web" 'cat /sys/class/net/eth0/mtu')" = 1500 ]
        [ "$(port "$1" web '"\(.mtu) \(.max_packet_size)"')" = "1500 1514" ]
}

# A solicitation with a DUID of the link-layer kind (RFC 8415, sections 16.2, 11.4 and 21.4): the guest has no client.
@test "user mode: DHCPv6 offers the address that the network announced" { dhcpv6 user; }
@test "system mode: DHCPv6 offers the address that the network announced" { dhcpv6 system; }
dhcpv6() {
        local mac solicit
        mac=$(port "$1" web .mac)
        solicit="01abcdef 0001000a 00030001${mac//:/} 0003000c 000000010000000000000000"
        solicit=$(packet_udp6 "$(packet_eui64 "$mac")" ff02::1:2 546 547 "$solicit")
        solicit=$(packet_frame 33:33:00:01:00:02 "$mac" 86dd "$solicit")
        # The address stands in the option for it: number 5, 24 bytes (section 21.6).
        guest_run -t 70 "$1-web" "frame_listen offer eth0 00050018$(packet_ip6 "$(port "$1" web .ipv6_address)") 60 1
                frame_send eth0 $solicit
                frame_heard offer"
}

@test "user mode: guests reach each other by ping and TCP, both ways, IPv4 and IPv6" { peers user; }
@test "system mode: guests reach each other by ping and TCP, both ways, IPv4 and IPv6" { peers system; }
peers() {
        local web4 db4 web6 db6
        web4=$(port "$1" web .address) db4=$(port "$1" db .address)
        web6=$(slaac "$1-web") db6=$(slaac "$1-db")
        guest_run "$1-web" 'serve 80 "web sees {peer}"'
        guest_run "$1-db" 'serve 80 "db sees {peer}"'
        guest_run "$1-web" "pingcount $db4 3 && pingcount $db6 3"
        guest_run "$1-db" "pingcount $web4 3 && pingcount $web6 3"
        [ "$(guest_run "$1-web" "fetch $db4 80; fetch $db6 80")" = "db sees $web4"$'\n'"db sees $web6" ]
        [ "$(guest_run "$1-db" "fetch $web4 80; fetch $web6 80")" = "web sees $db4"$'\n'"web sees $db6" ]
        run guest_run "$1-db" "fetch $web4 81"
        [[ $output == *refused* ]]
}

@test "user mode: names of guests and of the host, forward and reverse" { names user; }
@test "system mode: names of guests and of the host, forward and reverse" { names system; }
names() {
        local gateway gateway6 db6
        gateway=$(berth_facts "$1" shared .gateway) gateway6=$(berth_facts "$1" shared .ipv6_gateway)
        db6=$(slaac "$1-db")
        for name in db db.berth.internal DB; do
                [ "$(guest_run "$1-web" "resolve -4 $name")" = "$(port "$1" db .address)" ]
        done
        # The one made of router advertisements is known once dnsmasq has seen it answer a ping, which takes seconds.
        eventually 60 guest_run "$1-web" "resolve -6 db | grep -x $db6"
        [ "$(guest_run "$1-db" 'resolve -4 web')" = "$(port "$1" web .address)" ]
        for name in host host.berth.internal; do
                [ "$(guest_run "$1-web" "resolve -4 $name; resolve -6 $name")" = "$gateway"$'\n'"$gateway6" ]
        done
        guest_run "$1-web" "nslookup $(port "$1" db .address)" | grep -w 'name = db.berth.internal'
        guest_run "$1-web" "nslookup $db6" | grep -w 'name = db.berth.internal'
        guest_run "$1-web" "nslookup $gateway && nslookup $gateway6" | grep -wc 'name = host.berth.internal' | grep -x 2
        guest_run "$1-web" 'nslookup nobody.berth.internal' | grep NXDOMAIN
}

@test "user mode: the gateway's addresses are the host" { host user; }
@test "system mode: the gateway's addresses are the host" { host system; }
host() {
        local gateway gateway6
        gateway=$(berth_facts "$1" shared .gateway) gateway6=$(berth_facts "$1" shared .ipv6_gateway)
        guest_run "$1-web" "pingcount $gateway 2 && pingcount $gateway6 2"
        for name in "$gateway" "$gateway6" host; do
                guest_run "$1-web" "fetch $name 8000" | grep '^host sees '
        done
        # An ordinary user's guests come from the host itself; the system's keep their addresses.
        if [[ $1 == system ]]; then
                [ "$(guest_run "$1-web" "fetch $gateway 8000")" = "host sees $(port "$1" web .address)" ]
                [ "$(guest_run "$1-web" "fetch $gateway6 8000")" = "host sees $(slaac "$1-web")" ]
        fi
        # A refusal comes through as one, but not through pasta, whose resets of 2023 a client does not believe.
        run guest_run "$1-web" "fetch $gateway 8009 $([[ $1 == system ]] || echo 1)"
        [ "$status" -ne 0 ]
        [[ $1 == user || $output == *refused* ]]
}

@test "user mode: the outside, by address and by name, through NAT" { outside user; }
@test "system mode: the outside, by address and by name, through NAT" { outside system; }
outside() {
        [ "$(guest_run "$1-db" "fetch $INTERNET4 8001")" = "outside sees $HOST4" ]
        [ "$(guest_run "$1-db" "fetch $INTERNET6 8001")" = "outside sees $HOST6" ]
        [ "$(guest_run "$1-db" 'resolve internet.test | sort')" = "$(printf '%s\n' "$INTERNET4" "$INTERNET6" | sort)" ]
        guest_run "$1-db" 'fetch internet.test 8001' | grep '^outside sees '
        run guest_run "$1-db" "fetch $INTERNET4 8009 $([[ $1 == system ]] || echo 1)"
        [ "$status" -ne 0 ]
        [[ $1 == user || $output == *refused* ]]
}

@test "system mode: the host reaches its guests, and nobody outside does" {
        web4=$(port system web .address) web6=$(slaac system-web)
        guest_run system-web 'serve 82 "web sees {peer}"'
        in_host "$probe" fetch "$web4" 82 | grep '^web sees '
        in_host "$probe" fetch "$web6" 82 | grep '^web sees '
        in_outside ip route add "$web4/32" via "$HOST4"
        in_outside ip -6 route add "$web6/128" via "$HOST6"
        run in_outside "$probe" fetch "$web4" 82 1
        [ "$status" -ne 0 ]
        run in_outside "$probe" fetch "$web6" 82 1
        [ "$status" -ne 0 ]
        in_outside ip route del "$web4/32"
        in_outside ip -6 route del "$web6/128"
}

@test "user mode: a large stream arrives byte by byte, in packets beyond the MTU" { stream user; }
@test "system mode: a large stream arrives byte by byte, in packets beyond the MTU" { stream system; }
stream() {
        local before after
        before=$(port "$1" web '"\(.rx_bytes) \(.rx_packets)"')
        guest_run "$1-web" 'stream_serve 9000'
        guest_run "$1-db" 'stream_start s web 9000 && within 20 eval "output s | grep acknowledged"'
        guest_run -t 90 "$1-db" 'stream_end s'
        after=$(port "$1" web '"\(.rx_bytes) \(.rx_packets)"')
        echo "received by web, bytes and packets: before $before, after $after"
        # Without segmentation offloads a packet has no more than 1514 bytes; with them a slow stream's are of two segments.
        (((${after% *} - ${before% *}) / (${after#* } - ${before#* }) > 1514))
}

@test "user mode: a command inside the network, with its names and its addresses" { enter user; }
@test "system mode: a command inside the network, with its names and its addresses" { enter system; }
enter() {
        guest_run "$1-web" 'serve 83 "web sees {peer}"'
        [ "$(berth_as "$1" berth net enter shared -- "$probe" fetch "$(port "$1" web .address)" 83)" = \
                "web sees $(berth_facts "$1" shared .gateway)" ]
        berth_as "$1" berth net enter shared -- "$probe" fetch web 83 | grep '^web sees '
        [ "$(berth_as "$1" berth net enter shared -- "$probe" resolve -4 db)" = "$(port "$1" db .address)" ]
        [ "$(berth_as "$1" berth net enter shared -- "$probe" fetch internet.test 8001)" != "" ]
        # The host's own resolver file is as it was, and the command's status is handed on.
        [ "$(in_host cat /etc/resolv.conf)" = "nameserver $OUTSIDE4" ]
        run berth_as "$1" berth net enter shared -- sh -c 'exit 7'
        [ "$status" -eq 7 ]
        # Who is in there has no more rights on files than before.
        if [[ $1 == user ]]; then
                run berth_as user berth net enter shared -- cat /etc/shadow
                [ "$status" -ne 0 ]
        fi
}

@test "user mode: several queues, and two networks in one guest" { queues user; }
@test "system mode: several queues, and two networks in one guest" { queues system; }
queues() {
        guest_on_ready "$1" 'shared,queues=2 host' multi -smp 2
        guest_configure "$1-multi" eth0
        [ "$(guest_run "$1-multi" 'cd /sys/class/net; ls -d eth[01]/queues/rx-* | xargs')" = \
                "eth0/queues/rx-0 eth0/queues/rx-1 eth1/queues/rx-0" ]
        [ "$(port "$1" multi .queues)" = 2 ]
        guest_run "$1-multi" 'pingcount web 3'
        guest_run "$1-db" 'pingcount multi 3'
        guest_run "$1-web" 'stream_serve 9002'
        guest_run -t 60 "$1-multi" 'stream_start a web 9002 && stream_start b web 9002
                within 20 eval "output a | grep acknowledged" && within 20 eval "output b | grep acknowledged"'
        guest_run -t 90 "$1-multi" 'stream_end a && stream_end b'
        # The second network has addresses of its own, and takes nothing from the first: no route, no resolver.
        guest_run "$1-multi" 'dhcp eth1'
        [ "$(guest_run "$1-multi" 'address4 eth1')" = "$(berth_facts "$1" host '.interfaces[0].address')" ]
        [ "$(guest_run "$1-multi" 'ip -4 route show default')" = \
                "default via $(berth_facts "$1" shared .gateway) dev eth0 " ]
        guest_run "$1-multi" "pingcount $(berth_facts "$1" host .gateway) 2 && fetch $INTERNET4 8001"
        guest_stop "$1-multi"
        # With the VM its interfaces are gone.
        eventually 5 eval "berth_facts $1 host '.interfaces | length' | grep -x 0"
        eventually 5 eval "berth_facts $1 shared '[.interfaces[].name] | sort | join(\" \")' | grep -x 'db web'"
}

@test "user mode: the same name gets the same MAC and address when all was removed and is made again" {
        identity user
}
@test "system mode: the same name gets the same MAC and address when all was removed and is made again" {
        identity system
}
identity() {
        local before after name facts='{gateway, ipv6_prefix,
                ports: [.interfaces[] | {name, mac, address, ipv6_address}] | sort_by(.name)}'
        before=$(berth_facts "$1" shared "$facts")
        guest_stop "$1-web"
        guest_stop "$1-db"
        berth_end "$1"
        [ -z "$(berth_broker_pid "$1")" ]
        # In the other order, with another one before both.
        for name in first web db; do
                spawn --ready '^192' "$name" berth_as "$1" berth run --network "shared,name=$name" -- \
                        sh -c 'echo "$BERTH_NET0_ADDRESS" && exec sleep 1000'
        done
        spawn_output first | lacks "^$(jq -r '[.ports[].address] | join("$|^")' <<<"$before")$"
        spawn_end first
        eventually 5 eval "berth_facts $1 shared '.interfaces | length' | grep -x 2"
        after=$(berth_facts "$1" shared "$facts")
        [ "$after" = "$before" ]
        spawn_end web
        eventually 5 eval "berth_facts $1 shared '.interfaces | length' | grep -x 1"
        guest_on_ready "$1" shared web
        guest_configure "$1-web"
        [ "$(guest_run "$1-web" 'address4 eth0')" = \
                "$(jq -r '.ports[] | select(.name == "web").address' <<<"$before")" ]
        guest_run "$1-web" 'resolve -4 db' | grep -xF "$(port "$1" db .address)"
        spawn_end db
}
