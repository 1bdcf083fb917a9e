# Functions for orders and console lines. Each returns 0 on success; times are in seconds.

# within SECONDS COMMAND...: until it succeeds, for PATIENCE times as long (tests/e2e/harness/wait.bash says why).
PATIENCE=3
within() {
        local deadline=$(($(uptime_ms) + $1 * PATIENCE * 1000))
        shift
        until "$@"; do
                [ "$(uptime_ms)" -lt "$deadline" ] || return 1
                usleep 50000
        done
}

# The digit before the hundredths keeps "08" from being read as octal.
uptime_ms() {
        local up
        read -r up _ </proc/uptime
        echo "$((${up%.*} * 1000 + 1${up#*.} * 10 - 1000))"
}

up() { ip link set "$1" up; }

mac() { cat "/sys/class/net/$1/address"; }

# address4 DEV, address6 DEV: the global addresses, without their lengths, one a line.
address4() { ip -4 -o addr show dev "$1" scope global | awk '{ sub("/.*", "", $4); print $4 }'; }
address6() {
        ip -6 -o addr show dev "$1" scope global | awk '!/tentative|dadfailed/ { sub("/.*", "", $4); print $4 }'
}

# dhcp [-b] DEV: a lease, address, route, MTU and /etc/resolv.conf. With -b the client stays and renews.
# DHCP_HOSTNAME is the name that it sends (by default none), DHCP_CLIENT_ID a client id in hexadecimal in
# place of the MAC's, DHCP_REQUEST the address that it asks for.
dhcp() {
        local stay=-q
        [ "$1" = -b ] && stay= && shift
        up "$1" || return
        if ! udhcpc -n $stay -i "$1" -s /lib/dhcp.sh -p "/tmp/udhcpc.$1.pid" -t 20 -T 1 -O search -O mtu \
                ${DHCP_HOSTNAME:+-x "hostname:$DHCP_HOSTNAME"} ${DHCP_REQUEST:+-r "$DHCP_REQUEST"} \
                ${DHCP_CLIENT_ID:+-C -x "0x3d:$DHCP_CLIENT_ID"} >"/tmp/udhcpc.$1.log" 2>&1; then
                cat "/tmp/udhcpc.$1.log"
                return 1
        fi
        address4 "$1"
}

# ra DEV [SECONDS]: waits for a global address and a default route by router advertisement; prints the
# address.
ra() {
        up "$1" && within "${2:-15}" ra_complete "$1" && address6 "$1"
}
ra_complete() {
        [ -n "$(address6 "$1")" ] && ip -6 route show default dev "$1" | grep -q .
}

# in_background NAME READY COMMAND...: starts it with its output in /tmp/jobs/NAME, returns once READY (a
# pattern) is in it.
in_background() {
        local name=$1 ready=$2
        shift 2
        : >"/tmp/jobs/$name"
        "$@" >"/tmp/jobs/$name" 2>&1 </dev/null &
        echo "$!" >"/tmp/jobs/$name.pid"
        within 10 grep -q "$ready" "/tmp/jobs/$name" || { cat "/tmp/jobs/$name" && return 1; }
}
# output NAME; end NAME [SIGNAL]: what it printed so far; ends it.
output() { cat "/tmp/jobs/$1"; }
end() { kill "-${2:-TERM}" "$(cat "/tmp/jobs/$1.pid")"; }

# serve PORT TEXT: answers each TCP connection, IPv4 and IPv6, with TEXT; "{peer}" in it is the client's
# address.
serve() { in_background "serve.$1" listening probe serve "$1" "$2"; }
# answer PORT TEXT: answers each datagram.
answer() { in_background "answer.$1" listening probe answer "$1" "$2"; }
# fetch HOST PORT [SECONDS]: prints what a server says.
fetch() { probe fetch "$@"; }
# resolve [-4|-6] NAME: its addresses.
resolve() { probe resolve "$@"; }

# pingcount HOST COUNT [SECONDS]: prints how many replies came, each within SECONDS (30); succeeds when all did. One ping at
# a time, for after the last of several it waits no longer than twice the time that the ones before took, or a second.
pingcount() {
        local sent=0 received=0
        while [ "$sent" -lt "$2" ]; do
                sent=$((sent + 1))
                ping -q -c 1 -W "${3:-30}" "$1" >/dev/null && received=$((received + 1))
        done
        echo "$received"
        [ "$received" = "$2" ]
}

# A checked TCP stream that runs until it is ended: stream_serve PORT on one side; on the other
# stream_start NAME HOST PORT [KIB_PER_SECOND], `output NAME` for its progress, and stream_end NAME, which
# succeeds when every byte arrived.
stream_serve() { in_background "stream-serve.$1" listening probe stream-serve "$1"; }
stream_start() { in_background "$1" connected probe stream "$2" "$3" 0 ${4:-}; }
stream_end() {
        end "$1" && within 70 grep -qv -e acknowledged -e connected "/tmp/jobs/$1"
        output "$1"
        grep -q '^stream: ok' "/tmp/jobs/$1"
}

# frame_send DEV HEX [COUNT]: raw frames. frame_listen NAME DEV HEX SECONDS [COUNT] listens in the background
# for frames that contain HEX, and frame_heard NAME waits for its end, prints the frames, and succeeds when
# there were any.
frame_send() { probe frame-send "$@"; }
frame_listen() {
        local name=$1
        shift
        in_background "$name" listening probe frame-listen "$@"
}
frame_heard() {
        within 3600 grep -q 'matched of' "/tmp/jobs/$1"
        output "$1"
        ! grep -q '^frame: 0 matched' "/tmp/jobs/$1"
}

# hex_mac MAC, hex_ip4 ADDRESS: for building frames.
hex_mac() { echo "$1" | tr -d :; }
hex_ip4() { printf '%02x%02x%02x%02x' $(echo "$1" | tr . ' '); }

# arp_frame OPERATION MAC ADDRESS TARGET_MAC TARGET_ADDRESS [ETHERNET_SOURCE]: a broadcast ARP frame in
# hexadecimal, as MAC at ADDRESS would send it (1 request, 2 reply).
arp_frame() {
        printf 'ffffffffffff%s0806000108000604000%s' "$(hex_mac "${6:-$2}")" "$1"
        printf '%s%s%s%s' "$(hex_mac "$2")" "$(hex_ip4 "$3")" "$(hex_mac "$4")" "$(hex_ip4 "$5")"
}
