# Throughput and latency between two host-speed guests (pump.c), over:
#
#   plain    a hand-made bridge with two taps, and nothing else: what the kernel can do
#   system   Berth, system mode               user     Berth, user mode
#   open     Berth, system mode, without anti-spoofing
#   vde      vde_switch, a vde_plug with a tap in each guest
#   slirp    slirp4netns at both ends, through a port forward on the host's loopback
#   pasta    pasta at both ends, likewise
#
# All stand at the same time, and are measured in turns, forwards and backwards, so that what else the machine does
# falls on all alike; ratios are of neighbours in one round. A pair of guests may be some percent faster or slower than
# the next of its kind for as long as it lives, whatever is between them: ours are made anew now and then.

OURS=(plain system user open) RIVALS=(vde slirp pasta)
ROUNDS_OF_A_PAIR=3
IPERF_PORT=5201

measure_traffic() {
        local kind round order directory=$WORLD/traffic
        local -A server=() missing=()
        mkdir "$directory"
        traffic_brokers_
        for kind in "${OURS[@]}" "${RIVALS[@]}"; do
                in_host ip netns add "$kind-a"
                in_host ip netns add "$kind-b"
                in_host ip -n "$kind-a" link set lo up
                in_host ip -n "$kind-b" link set lo up
                "traffic_join_$kind" || traffic_left_out_ "$kind"
        done

        for ((round = 0; round < ROUNDS; round++)); do
                ((round == 0 || round % ROUNDS_OF_A_PAIR)) || traffic_renew_
                order=("${OURS[@]}")
                # Those whose figure is far off need fewer samples.
                ((round % 3)) || order+=("${RIVALS[@]}")
                ((round % 2)) && mapfile -t order < <(printf '%s\n' "${order[@]}" | tac)
                for kind in "${order[@]}"; do
                        [[ -n ${missing[$kind]:-} ]] || traffic_sample_ "$kind"
                done
        done
        traffic_figures_
        traffic_end_
}

traffic_brokers_() {
        in_host sh -c 'mkdir -p /etc/berth/networks.d &&
                echo "{\"mode\":\"shared\",\"anti_spoofing\":false}" >/etc/berth/networks.d/open.json'
        broker_start system
        broker_start user
}

# Its reason is the last line of what failed.
traffic_left_out_() {
        missing[$1]=$(cat "$directory/$1.failed" 2>/dev/null || spawn_output "$1-b" 2>/dev/null | tail -n 1) || true
        [[ -n ${missing[$1]} ]] || missing[$1]="it did not start"
}

# traffic_guest_ KIND END PUMP ARGUMENTS...: one end, and in ${server[KIND]} its address.
traffic_guest_() {
        local kind=$1 end=$2
        shift 2
        spawn --ready '^ready' "$kind-$end" instrument pump "/run/netns/$kind-$end" "$@" || return
        server[$kind]=$(spawn_output "$kind-$end" | sed -n 's/^ready //p')
}

# Fresh guests in fresh order for those of ours; their networks stay, but the hand-made bridge, which is all there is.
traffic_renew_() {
        local kind end
        for kind in "${OURS[@]}"; do
                for end in iperf a b; do
                        spawn_end "$kind-$end"
                done
        done
        in_host ip netns del plain
        interfaces_become system shared 0
        interfaces_become system open 0
        interfaces_become user shared 0
        for kind in $(printf '%s\n' "${OURS[@]}" | shuf); do
                "traffic_join_$kind"
        done
}

# traffic_serve_ KIND: iperf3 at end b.
traffic_serve_() {
        spawn --ready listening "$1-iperf" in_host ip netns exec "$1-b" iperf3 -s -p "$IPERF_PORT" --forceflush
}

traffic_join_plain() {
        in_host ip netns add plain
        # Without br_netfilter's detour, where it is loaded: Berth's own bridges do without it too.
        in_host ip netns exec plain sh -c 'ip link add br0 type bridge && ip link set br0 up
                for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e "$f" ] || echo 0 >"$f"; done'
        traffic_guest_ plain a bridge /run/netns/plain br0 tap1 02:00:00:00:00:01 10.9.0.1 255.255.255.0 &&
                traffic_guest_ plain b bridge /run/netns/plain br0 tap2 02:00:00:00:00:02 10.9.0.2 255.255.255.0 &&
                traffic_serve_ plain
}

traffic_join_system() {
        traffic_guest_ system a berth "$SYSTEM_SOCKET" shared end-a &&
                traffic_guest_ system b berth "$SYSTEM_SOCKET" shared end-b && traffic_serve_ system
}
traffic_join_open() {
        traffic_guest_ open a berth "$SYSTEM_SOCKET" open end-a &&
                traffic_guest_ open b berth "$SYSTEM_SOCKET" open end-b && traffic_serve_ open
}
traffic_join_user() {
        local socket
        socket=$(broker_socket user)
        traffic_guest_ user a berth "$socket" shared end-a "$USER_UID" &&
                traffic_guest_ user b berth "$socket" shared end-b "$USER_UID" && traffic_serve_ user
}

# A vde_switch without a terminal must be a daemon: at the end of its input it would end.
traffic_join_vde() {
        local end
        traffic_need_ vde vde_switch vde_plug || return
        in_host vde_switch -s /run/vde -p /run/vde.pid -d 2>"$directory/vde.failed" || return
        for end in a b; do
                spawn "vde-$end" in_host ip netns exec "vde-$end" vde_plug vde:///run/vde tap://net0
                eventually 5 in_host ip -n "vde-$end" link show net0 >/dev/null 2>"$directory/vde.failed" || return
                in_host ip -n "vde-$end" addr add "10.9.1.$((16#$end))/24" dev net0
                in_host ip -n "vde-$end" link set net0 up
        done
        server[vde]=10.9.1.$((16#b))
        traffic_serve_ vde
}

traffic_join_slirp() {
        local end
        traffic_need_ slirp slirp4netns || return
        for end in a b; do
                # With the MTU that its users give it for speed.
                spawn "slirp-$end" in_host slirp4netns --configure --mtu=65520 --netns-type=path \
                        --api-socket "/run/slirp-$end" "/run/netns/slirp-$end" net0
                eventually 5 in_host test -S "/run/slirp-$end" 2>/dev/null || return
        done
        # Its answers end without a newline.
        in_host socat -t 2 - UNIX-CONNECT:/run/slirp-b >"$directory/slirp.failed" <<<'{"execute":"add_hostfwd","arguments":
                {"proto":"tcp","host_addr":"127.0.0.1","host_port":5302,"guest_port":'"$IPERF_PORT"'}}'
        grep -q return "$directory/slirp.failed" || return
        server[slirp]="10.0.2.2 -p 5302"
        traffic_serve_ slirp
}

# Pasta brings namespaces of its own, as an ordinary user's; the client's is made for each sample. The gateway's
# address is mapped to the host's loopback.
traffic_join_pasta() {
        traffic_need_ pasta pasta || return
        spawn --ready listening pasta-b as_user "$USER_UID" pasta -q --config-net -f -u none -T none -U none \
                -t "5303:$IPERF_PORT" -- iperf3 -s -p "$IPERF_PORT" --forceflush || return
        server[pasta]="$OUTSIDE4 -p 5303"
}

traffic_need_() {
        local kind=$1 program
        shift
        for program; do
                command -v "$program" >/dev/null && continue
                echo "$program is not installed" >"$directory/$kind.failed"
                return 1
        done
}

# A throughput in Gbit/s, and for ours a median round trip in microseconds.
traffic_sample_() {
        local kind=$1 as=(in_host ip netns exec "$1-a")
        [[ $kind != pasta ]] || as=(as_user "$USER_UID" pasta -q --config-net -f -u none -T none -U none -t none --)

        # shellcheck disable=SC2086 # the port is a word of its own
        "${as[@]}" iperf3 -J -O 1 -t "$((QUICK ? 1 : 3))" -c ${server[$kind]} >"$directory/report" 2>&1 ||
                { echo "iperf3, $kind: $(tail -n 20 "$directory/report")" >&2 && return 1; }
        jq -e '.end.sum_received.bits_per_second / 1e9' "$directory/report" >>"$directory/$kind.throughput"
        [[ ${OURS[*]} == *$kind* ]] || return 0
        "${as[@]}" ping -i 0.002 -c 500 -w 5 "${server[$kind]}" | sed -n 's/.*time=\([0-9.]*\) ms/\1/p' |
                awk '{ print $1 * 1000 }' | quantile 0.5 >>"$directory/$kind.latency"
}

traffic_figures_() {
        local kind
        local -A label=([plain]="a bare bridge" [system]="Berth, system mode" [user]="Berth, user mode"
                [open]="Berth, system mode, no anti-spoofing" [vde]="vde_switch" [slirp]="slirp4netns, both ends"
                [pasta]="pasta, both ends")

        for kind in "${OURS[@]}" "${RIVALS[@]}"; do
                if [[ -n ${missing[$kind]:-} ]]; then
                        left_out "throughput.$kind" "throughput: ${label[$kind]}" "${missing[$kind]}"
                else
                        figure "throughput.$kind" "throughput: ${label[$kind]}" Gbit/s "" <"$directory/$kind.throughput"
                fi
        done
        traffic_ratio_ throughput system plain "throughput: system mode over a bare bridge" ">=0.98"
        traffic_ratio_ throughput user plain "throughput: user mode over a bare bridge" ">=0.98"
        traffic_ratio_ throughput user system "throughput: user mode over system mode" ">=0.98"
        traffic_ratio_ throughput system open "throughput: anti-spoofing on over off" ""
        for kind in "${OURS[@]}"; do
                figure "latency.$kind" "round trip: ${label[$kind]}" µs "" <"$directory/$kind.latency"
        done
        traffic_ratio_ latency system plain "round trip: system mode over a bare bridge" ""
        traffic_ratio_ latency user system "round trip: user mode over system mode" ""
}

traffic_ratio_() {
        ratios "$directory/$2.$1" "$directory/$3.$1" | figure "$1.$2-$3" "$4" ratio "$5"
}

traffic_end_() {
        local kind end
        for kind in "${OURS[@]}" "${RIVALS[@]}"; do
                [[ -z ${missing[$kind]:-} ]] || continue
                [[ $kind == pasta ]] || spawn_end "$kind-iperf"
                for end in a b; do
                        [[ $kind == pasta && $end == a ]] || spawn_end "$kind-$end"
                done
        done
        in_host pkill -F /run/vde.pid || true
        network_remove system shared
        network_remove system open
        network_remove user shared
        broker_stop system
        broker_stop user
        in_host rm -f /etc/berth/networks.d/open.json /run/slirp-a /run/slirp-b
        in_host ip -all netns delete
        # umount(8) keeps a record of its own.
        in_host sh -c 'umount /run/netns && rmdir /run/netns; rm -rf /run/mount'
}
