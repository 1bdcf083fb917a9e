#!/bin/busybox sh
# What udhcpc calls at each event: the lease becomes the interface's configuration.
case $1 in
deconfig)
        ip -4 addr flush dev "$interface"
        ;;
bound | renew)
        # A renewal that changes nothing must not take the address away for a moment.
        if ! ip -4 -o addr show dev "$interface" | grep -qF " $ip/$mask "; then
                ip -4 addr flush dev "$interface"
                ip -4 addr add "$ip/$mask" dev "$interface"
        fi
        [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
        for gateway in $router; do
                ip -4 route replace default via "$gateway" dev "$interface"
                break
        done
        {
                echo search $search $domain
                for server in $dns; do
                        echo "nameserver $server"
                done
                echo "options timeout:5 attempts:3"
        } >/tmp/resolv.conf.new
        # A network without a resolver leaves that of another one alone.
        [ -z "$dns" ] || mv /tmp/resolv.conf.new /etc/resolv.conf
        set >"/tmp/lease.$interface"
        ;;
esac
exit 0
