# From nothing to a network: the broker runs, the network does not exist. Beside it libvirt's net-start.

measure_birth() {
        local mode directory=$WORLD/birth rounds=$((ROUNDS * 3))
        mkdir "$directory"
        for mode in system user; do
                broker_start "$mode"
                as_mode "$mode" "$programs/bench/birth" "$(broker_socket "$mode")" shared "$rounds" >"$directory/$mode"
                broker_stop "$mode"
                cut -d ' ' -f 1 "$directory/$mode" |
                        figure "birth.$mode.up" "from nothing to the first interface, $mode mode" ms "<=80"
                cut -d ' ' -f 2 "$directory/$mode" |
                        figure "birth.$mode.dhcp" "from nothing to DHCP's offer, $mode mode" ms "<=300"
        done
        birth_libvirt_ "$rounds"
}

# virsh says itself how long a command took, so that its own start and its connection do not count. A libvirt network
# has no interface yet by then, and its dnsmasq is not waited for.
birth_libvirt_() {
        local rounds=$1 label="libvirt's net-start of a NAT network, without an interface" round
        if ! command -v virsh >/dev/null || ! command -v libvirtd >/dev/null; then
                left_out birth.libvirt "$label" "libvirt is not installed"
                return
        fi
        in_host mkdir -p /run/libvirt
        spawn libvirtd in_host libvirtd
        if ! eventually 15 in_host virsh -q -c network:///system net-list >"$directory/libvirt.log" 2>&1; then
                left_out birth.libvirt "$label" "libvirtd does not run here: $(tail -n 1 "$directory/libvirt.log")"
                spawn_end libvirtd
                return
        fi
        cat >"$directory/network.xml" <<'XML'
<network>
  <name>bench</name>
  <bridge name='virbrbench'/>
  <forward mode='nat'/>
  <ip address='192.168.250.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.250.2' end='192.168.250.254'/></dhcp>
  </ip>
</network>
XML
        {
                echo "net-define $directory/network.xml"
                for ((round = 0; round < rounds; round++)); do
                        printf '%s\n' "net-start bench" "net-destroy bench"
                done
        } | in_host virsh -t -c network:///system >"$directory/libvirt" 2>&1
        spawn_end libvirtd
        # It keeps its chains and files for the next time.
        in_host sh -c 'nft flush ruleset; rm -rf /run/libvirt'
        if ! sed -n '/started$/,/^(Time/ s/^(Time: \([0-9.]*\) ms)$/\1/p' "$directory/libvirt" | grep . >"$directory/times"; then
                left_out birth.libvirt "$label" "$(grep -m 1 error: "$directory/libvirt")"
                return
        fi
        figure birth.libvirt "$label" ms "" <"$directory/times"
}
