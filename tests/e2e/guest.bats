#!/usr/bin/env bats
# The test guest and the harness themselves: two guests on a hand-made bridge in a world, without any of
# Berth.

bats_require_minimum_version 1.5.0
load harness/all

setup_file() {
        need world_possible
        guest_build
        world_create
        outside_dns

        in_host sh -ec '
                ip link add br0 type bridge
                ip addr add 192.168.77.1/24 dev br0
                ip addr add fd77::1/64 dev br0 nodad
                for tap in tap1 tap2; do
                        ip tuntap add "$tap" mode tap vnet_hdr
                        ip link set "$tap" master br0 up
                done
                ip link set br0 up
                echo 1 >/proc/sys/net/ipv4/ip_forward
                nft "table ip nat { chain post { type nat hook postrouting priority srcnat;
                        ip saddr 192.168.77.0/24 oifname uplink masquerade; }; }"'
        spawn --ready started dhcp in_host dnsmasq --keep-in-foreground --log-facility=- \
                --conf-file=/dev/null --pid-file= --interface=br0 --bind-interfaces --no-hosts \
                --dhcp-authoritative --domain=test.internal --log-dhcp \
                --dhcp-range=192.168.77.10,192.168.77.99,1h --dhcp-range=fd77::,ra-only --enable-ra \
                --dhcp-host=52:54:00:00:00:01,192.168.77.11,one \
                --dhcp-host=52:54:00:00:00:02,192.168.77.12,two \
                --dhcp-leasefile=/run/leases --host-record=host.test.internal,192.168.77.1,fd77::1
        world_accept

        start=$(now_ms)
        export GUEST_PREFIX=
        guest_on_tap one 1
        guest_on_tap two 2
        guest_wait_ready one
        guest_wait_ready two
        echo "# two guests at once ready after $(($(now_ms) - start)) ms; one: $(guest_wait_ready one)" >&3
        guest_run one 'dhcp eth0'
        guest_run two 'dhcp eth0'
}

# guest_on_tap NAME NUMBER
guest_on_tap() {
        GUEST_PREFIX=(in_host)
        guest_start "$1" -netdev "tap,id=n,ifname=tap$2,script=no,downscript=no,vhost=off" \
                -device "virtio-net-pci,netdev=n,mac=52:54:00:00:00:0$2" -device virtio-rng-pci
}

teardown() {
        [[ -n ${BATS_TEST_COMPLETED:-} ]] || guests_dump
}

teardown_file() {
        guests_stop
        spawn_end dhcp
        spawn_end outside-dns
        rm -f "/proc/$WORLD_HOST/root/run/leases"
        # Both ended above although they are in what was accepted.
        world_destroy --force
}

@test "a guest runs commands and hands back output and status exactly" {
        run guest_run one 'echo first; printf "no newline"; exit 7'
        [ "$status" -eq 7 ]
        [ "$output" = $'first\nno newline' ]

        [ "$(guest_run one 'printf "a\n\n\nb\n\n"; echo .')" = $'a\n\n\nb\n\n.' ]
        [ "$(guest_run one 'true' | wc -c)" -eq 0 ]

        # Longer than a terminal's line, with everything that a terminal or a shell might take amiss.
        long=$(printf '%0200d' 0)
        long="$long\$'\"\\ <&; ${long//0/x} äöü ${long//0/%} $long$long$long$long$long"
        long=$long$long$long$long
        [ "${#long}" -gt 4096 ]
        [ "$(guest_run one "printf %s ${long@Q}")" = "$long" ]
        [ "$(guest_run one 'seq 1 3000' | md5sum)" = "$(seq 1 3000 | md5sum)" ]
}

@test "a command that hangs is ended, and the console goes on" {
        run guest_run -t 1 one 'echo begun; sleep 1000'
        [ "$status" -eq 124 ]
        [[ $output == *begun* ]]
        [ "$(guest_run one 'echo alive; pidof sleep || echo none')" = $'alive\nnone' ]
}

@test "what a command starts in the background lives on" {
        guest_run one 'serve 1234 kept'
        [ "$(guest_run one 'fetch localhost 1234')" = kept ]
        [ "$(guest_run one 'fetch ::1 1234')" = kept ]
}

@test "addresses by DHCP, a resolver, and the host name by variable" {
        [ "$(guest_run one 'address4 eth0; hostname')" = $'192.168.77.11\none' ]
        run guest_run one 'cat /etc/resolv.conf'
        [ "${lines[0]}" = "search test.internal" ]
        [ "${lines[1]}" = "nameserver 192.168.77.1" ]
        [ "$(guest_run two 'ip route | grep default')" = "default via 192.168.77.1 dev eth0 " ]
        run ! grep "client provides name" <(spawn_output dhcp)
        guest_run two 'DHCP_HOSTNAME=deux dhcp eth0'
        spawn_output dhcp | grep 'client provides name: deux'
}

@test "an address by router advertisement" {
        [ "$(guest_run one 'ra eth0')" = fd77::5054:ff:fe00:1 ]
        [ "$(guest_run two 'ra eth0')" = fd77::5054:ff:fe00:2 ]
        guest_run one 'pingcount fd77::5054:ff:fe00:2 3'
}

@test "names, by the search domain and in both families" {
        [ "$(guest_run one 'resolve two')" = 192.168.77.12 ]
        [ "$(guest_run two 'resolve -4 one.test.internal')" = 192.168.77.11 ]
        [ "$(guest_run one 'resolve host | sort')" = $'192.168.77.1\nfd77::1' ]
        [ "$(guest_run one 'resolve -6 host')" = fd77::1 ]
        run guest_run one 'resolve nobody'
        [ "$status" -eq 1 ]
        [ "$(guest_run one 'resolve -4 internet.test')" = "$INTERNET4" ]
        [ "$(guest_run one 'resolve -6 internet.test')" = "$INTERNET6" ]
}

@test "ping and TCP both ways; a refused connection fails at once, a silent host by the deadline" {
        guest_run one 'pingcount two 5'
        guest_run two 'pingcount one 5'
        guest_run two 'serve 80 "two sees {peer}"'
        [ "$(guest_run one 'fetch two 80')" = "two sees 192.168.77.11" ]
        guest_run one 'serve 80 one'
        [ "$(guest_run two 'fetch one 80')" = one ]
        run guest_run one 'fetch two 81'
        [ "$status" -eq 1 ]
        [[ $output == *refused* ]]
        run guest_run one 'fetch 192.168.77.200 80 1'
        [ "$status" -eq 1 ]
        run guest_run one 'pingcount 192.168.77.200 2 1'
        [ "$status" -eq 1 ]
        [ "$output" = 0 ]
}

@test "the outside is reached by NAT alone" {
        spawn --ready listening internet in_outside "$probe" serve 80 "internet sees {peer}"
        [ "$(guest_run one 'fetch internet.test 80')" = "internet sees $HOST4" ]
        [ "$(in_host "$probe" fetch "$INTERNET6" 80)" = "internet sees $HOST6" ]

        # Without the rule there must be no way back.
        rule=$(in_host nft -a list chain ip nat post | sed -n 's/.*masquerade # handle //p')
        in_host nft delete rule ip nat post handle "$rule"
        run guest_run one "fetch $INTERNET4 80 1"
        in_host nft add rule ip nat post ip saddr 192.168.77.0/24 oifname uplink masquerade
        spawn_end internet
        [ "$status" -eq 1 ]
}

@test "a stream is checked to its last byte, and notices a path that pauses or ends" {
        guest_run two 'stream_serve 9000'
        guest_run one 'stream_start s two 9000'
        eventually 10 guest_run one 'output s | grep -E "[0-9]{7,} bytes acknowledged"'
        run guest_run -t 90 one 'stream_end s'
        [ "$status" -eq 0 ]
        [[ $output == *"stream: ok, "* ]]
        bytes=$(sed -n 's/^stream: ok, \([0-9]*\) bytes.*/\1/p' <<<"$output")
        [ "$bytes" -ge 1000000 ]
        guest_run two 'output stream-serve.9000' | grep "complete, $bytes bytes"

        # A pause: the port is down for as long as it takes for the stream to notice it.
        guest_run one 'stream_start s two 9000 100'
        in_host ip link set tap2 down
        eventually 20 guest_run one 'output s | grep -E "pause ([2-9]|1[0-9])[0-9]{3} ms"'
        in_host ip link set tap2 up
        guest_run -t 90 one 'stream_end s' | grep -E 'stream: ok.*pause [0-9]{4,} ms'

        # An end: the server dies.
        guest_run one 'stream_start s two 9000 100'
        guest_run two 'killall -9 probe'
        run guest_run one 'within 10 grep "stream: after" /tmp/jobs/s; stream_end s 2>&1'
        [ "$status" -eq 1 ]
}

@test "the stream's server notices a wrong byte" {
        spawn --ready listening check in_host "$probe" stream-serve 9001
        # The right first word, and a second one that is wrong in its last byte.
        in_host sh -c 'printf "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2" | socat -t 1 - TCP:127.0.0.1:9001' || true
        eventually 5 eval 'spawn_output check | grep "wrong within 16 bytes at 0"'
        spawn_end check
}

@test "frames are sent as given and heard by content" {
        guest_run two 'frame_listen spoof eth0 02dead000001 60 1'
        guest_run two 'frame_listen other eth0 02dead000002 1'
        guest_run one '
                frame=$(arp_frame 2 02:de:ad:00:00:01 192.168.77.1 52:54:00:00:00:02 192.168.77.12)
                frame_send eth0 "$frame"'
        run guest_run -t 70 two 'frame_heard spoof'
        [ "$status" -eq 0 ]
        frame=ffffffffffff02dead00000108060001080006040002 # Ethernet, ARP, a reply
        [[ $output == *"frame: ${frame}02dead000001c0a84d01525400000002c0a84d0c"* ]]
        run guest_run two 'frame_heard other'
        [ "$status" -eq 1 ]
        [[ $output == *"frame: 0 matched of"* ]]
}

@test "orders run at boot, and a guest without a shell" {
        GUEST_PREFIX=(in_host)
        GUEST_ORDERS='echo "I am $(hostname)"; false' GUEST_CMDLINE=shell=0 guest_start three
        [ "$(guest_wait_log three 'I am .*')" = "I am three" ]
        guest_wait_log three 'berth-guest: orders done, status 1'
        guest_stop three
        run guest_run three true
        [ "$status" -eq 125 ]
}

@test "the power button ends a guest, unless it is deaf" {
        GUEST_PREFIX=(in_host)
        guest_start three
        GUEST_CMDLINE=deaf=1 guest_start four
        guest_wait_ready three
        guest_wait_ready four
        # The button is pressed once: whoever listens for it has to be there.
        guest_run three 'within 10 eval "ls -l /proc/\$(pidof acpid)/fd | grep -q /dev/input/"'
        guest_monitor four system_powerdown
        guest_monitor three system_powerdown
        eventually 10 guest_gone three
        guest_wait_log three 'power button'
        guest_running four
        [ "$(guest_run four 'echo still here')" = "still here" ]
        run ! guest_log_has four 'power button'
        guest_stop four
}

@test "a guest's pid is that of its world; killed, it is gone" {
        GUEST_PREFIX=(in_host)
        guest_start three
        guest_wait_ready three
        [[ $(in_host cat "/proc/$(guest_pid three)/comm") == qemu-system-* ]]
        in_host kill -9 "$(guest_pid three)"
        eventually 5 guest_gone three
}

@test "an unprivileged user's guest, with a tap of the world's own" {
        [ "$(as_user 1234 id -u)" = 1234 ]
        [ "$(as_user 1234 id -G)" = 1234 ]
        [ "$(as_user 1234 sh -c 'echo $XDG_RUNTIME_DIR')" = "$WORLD/user1234/run" ]
        [ "$(as_user 1234 stat -c '%a %u' "$WORLD/user1234/run")" = "700 1234" ]
        run as_user 1234 cat /proc/1/environ
        [ "$status" -ne 0 ]

        GUEST_PREFIX=(as_user 1234 unshare -r -n)
        guest_start three -netdev tap,id=n,script=no,downscript=no -device virtio-net-pci,netdev=n
        guest_wait_ready three
        [ "$(guest_run three 'ls -1 /sys/class/net')" = $'eth0\nlo' ]
        [ "$(in_host stat -c %u "/proc/$(guest_pid three)")" = 1234 ]
        guest_stop three
}

@test "requests over a socket, several on one connection" {
        # The socket is there before it takes connections, and before it has its mode.
        spawn --ready 'listening on' echo in_host socat -d -d "UNIX-LISTEN:$WORLD/echo,fork,mode=0666" \
                SYSTEM:'while read -r l; do echo "got $l"; done'
        [ "$(ask "$WORLD/echo" '{"a":1}' '{"b":2}')" = $'got {"a":1}\ngot {"b":2}' ]
        [ "$(ask -u 1234 "$WORLD/echo" '{}')" = 'got {}' ]
        run ask "$WORLD/nobody" '{}'
        [ "$status" -eq 1 ]
        spawn_end echo
}

@test "a guest that cannot start says why, at once" {
        GUEST_PREFIX=(in_host)
        guest_start five -device nonsense
        run guest_wait_ready five
        [ "$status" -eq 1 ]
        [[ $output == *"'nonsense' is not a valid device model name"* ]]
        guest_stop five
}

@test "each command in a guest costs little" {
        start=$(now_ms)
        for i in 1 2 3 4 5 6 7 8 9 10; do
                guest_run one true
        done
        echo "# a command in a guest: $((($(now_ms) - start) / 10)) ms" >&3
}

# Worlds. These tests make further ones; the file's own is back in the next test, for each is a process of its
# own.

@test "a world of its own: clean in the end, and the machine's own is untouched" {
        before=$(cat /etc/resolv.conf; stat -c '%n %i %a' /etc /run /dev/net/*)
        world_create
        directory=$WORLD host=$WORLD_HOST outside=$WORLD_OUTSIDE
        [ "$(in_host pwd)" = "$PWD" ]
        [ "$(in_host ip -o link | wc -l)" -eq 2 ]
        in_host ping -q -c 1 -W 15 "$INTERNET4"
        in_host ping -q -c 1 -W 15 "$INTERNET6"
        in_outside ping -q -c 1 -W 15 "$HOST4"
        run in_outside ping -q -c 1 -W 1 192.168.1.1
        [ "$status" -ne 0 ]
        run in_host sh -c 'exit 9'
        [ "$status" -eq 9 ]
        # The resolver's file is replaced as resolvers do it, and a node for taps is there for everyone.
        in_host sh -ec 'echo nameserver 192.0.2.1 >/etc/new && mv /etc/new /etc/resolv.conf'
        [ "$(in_host cat /etc/resolv.conf)" = "nameserver 192.0.2.1" ]
        as_user 1234 unshare -r -n ip tuntap add t0 mode tap
        run in_host find /run /var/lib/berth /etc/berth -mindepth 1
        [ -z "$output" ]
        world_destroy
        [ -z "${WORLD:-}" ]
        [ ! -e "$directory" ]
        [ ! -e "/proc/$host" ]
        [ ! -e "/proc/$outside" ]
        [ "$(cat /etc/resolv.conf; stat -c '%n %i %a' /etc /run /dev/net/*)" = "$before" ]
        run ! ip link show uplink
        run ! grep -F "$directory" /proc/self/mountinfo
}

@test "a world without /dev/net/tun" {
        world_create --no-tun
        run in_host ls /dev/net/tun
        [ "$status" -ne 0 ]
        world_destroy
}

@test "world_destroy names what is left, and removes it all the same" {
        leave() {
                world_create
                directory=$WORLD host=$WORLD_HOST
                "$@"
                WORLD_GRACE=0 run world_destroy
                echo "left: $*; said: $output"
                # `run` is a subshell: the variables are still set here, but what they name is gone.
                [ "$status" -eq 1 ]
                [ ! -e "$directory" ]
                eventually 1 pid_ended_ "$host"
                unset WORLD WORLD_HOST WORLD_OUTSIDE
        }
        # Looked at once, so not before it is what it is to be.
        leave_running() {
                "${@:2}"
                eventually 5 in_host pgrep -xf "$1" >/dev/null
        }
        leave leave_running 'sleep 1000' spawn left in_host sleep 1000
        [[ $output == *"process "*"0 sleep 1000"* ]]
        leave leave_running 'sleep 1001' spawn left as_user 1234 sleep 1001
        [[ $output == *"process "*"1234 sleep 1001"* ]]
        leave leave_running 'sleep 1002' in_host sh -c 'sleep 1002 >/dev/null 2>&1 </dev/null & exec true'
        [[ $output == *"process "*"0 sleep 1002"* ]]
        leave leave_running 'sleep 1003' spawn left in_outside sleep 1003
        [[ $output == *"process "*"0 sleep 1003"* ]]
        leave in_host ip link add left type veth peer name tfel
        [[ $output == *"interface left"* && $output == *"interface tfel"* ]]
        leave in_host nft add table ip left
        [[ $output == *"nftables table ip left"* ]]
        leave in_host ip route add 192.168.64.0/24 via "$OUTSIDE4"
        [[ $output == *"route 192.168.64.0/24 via"* ]]
        leave in_host ip route del default
        [[ $output == *"missing: route default via"* ]]
        leave in_host ip rule add from 192.0.2.1 lookup 77
        [[ $output == *"rule "*"from 192.0.2.1 lookup 77"* ]]
        leave in_host ip netns add left
        [[ $output == *"mount /run/netns/left"* && $output == *"file /run/netns/left"* ]]
        leave in_host mkdir -p /run/berth/networks/shared
        [[ $output == *"file /run/berth/networks/shared"* ]]
        leave as_user 1234 sh -c 'mkdir $XDG_RUNTIME_DIR/berth && touch $XDG_RUNTIME_DIR/berth/broker.sock'
        [[ $output == *"/user1234/run/berth/broker.sock"* ]]
}

@test "assert_nothing_left looks at what is Berth's, and takes what was accepted" {
        world_create
        assert_nothing_left
        in_host sh -ec 'mkdir -p /run/berth/networks; touch /run/berth/broker.lock'
        spawn other in_host sleep 1000
        assert_nothing_left

        cp "$(command -v sleep)" "$WORLD/berth-network"
        spawn daemon in_host "$WORLD/berth-network" 1000
        eventually 5 in_host pgrep -xf "$WORLD/berth-network 1000"
        run assert_nothing_left
        [ "$status" -eq 1 ]
        [[ $output == *"berth-network 1000"* && $output != *"0 sleep 1000"* ]]
        spawn_end daemon
        assert_nothing_left 1

        in_host ip link add left type bridge
        in_host nft add table inet docker
        run assert_nothing_left
        [ "$status" -eq 1 ]
        [[ $output == *"interface left"* && $output == *"nftables table inet docker"* ]]
        world_accept
        assert_nothing_left
        in_host ip link del left
        run assert_nothing_left
        [ "$status" -eq 1 ]
        [[ $output == *"missing: interface left"* ]]
        world_destroy --force
}

@test "worlds stand side by side" {
        world_create
        first=$WORLD:$WORLD_HOST:$WORLD_OUTSIDE
        spawn --ready up nap in_host sh -c 'echo up; exec sleep 1000'
        pid=$(spawn_pid nap)
        world_create
        spawn nap in_host sleep 1000
        eventually 5 in_host pkill -x sleep
        eventually 5 spawn_ended nap
        world_destroy
        pid_running_ "$pid"
        IFS=: read -r WORLD WORLD_HOST WORLD_OUTSIDE <<<"$first"
        spawn_end nap
        world_destroy
}

@test "a world ends with the process that made it" {
        spawn --ready 'made /' maker setpriv --pdeathsig KILL bash -c '
                source "$1/all.bash"
                world_create && spawn --ready up nap as_user 1234 sh -c "echo up; exec sleep 1000"
                echo "made $WORLD $(spawn_pid nap) $WORLD_HOST $WORLD_OUTSIDE"
                exec sleep 1000' bash "$BATS_TEST_DIRNAME/harness"
        read -r _ directory pids < <(spawn_output maker | grep made)
        spawn_end maker KILL
        for pid in $pids; do
                eventually 5 pid_ended_ "$pid"
        done
        rm -r --one-file-system "$directory"
}

@test "spawned commands end by signal, with their output at hand" {
        spawn --ready begun polite in_host \
                sh -c 'trap "echo bye; exit" TERM; echo begun; while :; do sleep 0.1; done'
        spawn_end polite
        [ "$(spawn_output polite)" = $'begun\nbye' ]
        spawn --ready begun rude as_user 1234 sh -c 'trap "" TERM; echo begun; while :; do sleep 0.1; done'
        pid=$(spawn_pid rude)
        run spawn_end rude
        [ "$status" -eq 1 ]
        pid_ended_ "$pid"
        run spawn --ready never broken in_host sh -c 'echo reason; exit 3'
        [ "$status" -eq 1 ]
        [[ $output == *reason* ]]
}

@test "what a spawned command prints is not taken for that of the next one of its name" {
        mkfifo "$BATS_TEST_TMPDIR/go"
        spawn --ready up twice sh -c 'echo up; read -r _ <"$1"; echo bye' sh "$BATS_TEST_TMPDIR/go"
        first=$(spawn_pid twice)
        spawn --ready new twice sh -c 'echo new; exec sleep 1000'
        echo go >"$BATS_TEST_TMPDIR/go"
        eventually 5 pid_ended_ "$first"
        [ "$(spawn_output twice)" = new ]
        spawn_end twice
}

@test "a process that has got the pid of a spawned one is neither taken for it nor ended" {
        spawn gone true
        eventually 5 spawn_ended gone
        spawn other sleep 1000
        sed -i "s/^[0-9]*/$(spawn_pid other)/" "$(spawn_directory_)/gone.pid"
        spawn_ended gone
        spawn_end gone
        spawn_running other
        spawn_end other
}

@test "waiting has a deadline" {
        run eventually 1 sh -c 'echo not yet; false'
        [ "$status" -eq 1 ]
        [[ $output == "not yet"*"not true within $PATIENCE s: sh -c"* ]]
        [ "$(eventually 1 echo done)" = done ]
        never 1 false
        run never 1 true
        [ "$status" -eq 1 ]
}
