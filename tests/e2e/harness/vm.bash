# VMs of `berth vm`, with the test guest in them (tests/guest). MODE is that of berth.bash.
#
# The console of the VM NAME is also that of a guest MODE-NAME (guest.bash), so `guest_run MODE-NAME ...` works.

# vms_setup_file, vms_teardown, vms_teardown_file: what bats calls in a file of tests of VMs, each of which starts with none
# and leaves none.
vms_setup_file() {
        need world_possible
        guest_build
        world_create
        outside_dns
        world_accept
}
vms_teardown() {
        [[ -n ${BATS_TEST_COMPLETED:-} ]] || { vms_dump; berth_dump; }
        vms_rm
}
vms_teardown_file() {
        [[ -n ${WORLD:-} ]] || return 0
        berth_end user
        berth_end system
        assert_nothing_left 10
        spawn_end outside-dns
        world_destroy --force
}

# vm MODE COMMAND...: berth vm, in that mode.
vm() {
        local mode=$1
        shift
        berth_as "$mode" berth vm "$@"
}

# vm_list MODE: what `ls --json` prints once all of its vmhosts have answered. It waits 350 ms for them, and 40 ms for the rest
# when half of them have; of one that has not it says that it is silent.
vm_list() {
        eventually 10 vm_list_ "$1"
}
vm_list_() {
        local list
        list=$(vm "$1" ls --json) && printf '%s\n' "$list" && jq -e 'all(.state != "silent")' <<<"$list" >/dev/null
}

# vm_directory MODE NAME: as processes of the world see it. vm_place MODE NAME: the same, seen from anywhere.
vm_directory() {
        case $1 in
        user) echo "$(user_directory "$BERTH_UID")/data/berth/vms/$2" ;;
        system) echo "/var/lib/berth/vms/$2" ;;
        esac
}
vm_place() {
        echo "/proc/$WORLD_HOST/root$(vm_directory "$@")"
}

# vm_create MODE NAME [OPTIONS...]: one that boots the test guest's kernel and files. Heeds GUEST_CMDLINE, GUEST_ORDERS and
# GUEST_MEMORY.
vm_create() {
        local mode=$1 name=$2 directory
        shift 2
        directory=$(guest_directory "$mode-$name")
        mkdir -p "$directory"
        ln -sfn "$(vm_place "$mode" "$name")/console.sock" "$directory/console"
        ln -sfn "$(vm_place "$mode" "$name")/console.log" "$directory/log"
        vm "$mode" create --kernel "$GUEST_IMAGES/vmlinuz" --initrd "$GUEST_IMAGES/initramfs.gz" \
                --command-line "$(guest_words "$name")" --memory "${GUEST_MEMORY:-160}M" "$@" "$name" >/dev/null
}

# vm_up MODE NAME [OPTIONS...]: creates it, starts it, and waits until its console takes commands.
vm_up() {
        vm_create "$@" && vm "$1" start "$2" >/dev/null && vm_wait_ready "$1" "$2"
}
vm_wait_ready() {
        vm_wait_log "$1" "$2" 'berth-guest: ready' 60 >/dev/null
}
# vm_wait_log MODE NAME PATTERN [SECONDS]: until the console has printed it in this run; prints the line.
vm_wait_log() {
        eventually "${4:-20}" guest_log_has "$1-$2" "$3" || { vm_dump "$1" "$2" && return 1; }
}

# vm_ask MODE NAME METHOD: what its vmhost answers to that method on the control socket.
vm_ask() {
        ask "$(vm_directory "$1" "$2")/vmhost.sock" "{\"method\":\"$3\"}"
}

# vm_fact MODE NAME FILTER: what jq's filter makes of `show --json`; fails where it is false, null or nothing.
vm_fact() {
        vm "$1" show --json "$2" | jq -ner "input | ($3)"
}

# vm_qemu, vm_host MODE NAME: pids, in the world's numbering.
vm_qemu() {
        vm_fact "$1" "$2" .pid
}
vm_host() {
        cat "$(vm_place "$1" "$2")/vmhost.pid"
}

# vm_signal SIGNAL PID...: in the world's numbering. vm_ended PID: that it has gone. vm_kill_host MODE NAME: its vmhost, and
# waits for its end.
vm_signal() {
        in_host kill "-$1" "${@:2}"
}
vm_kill_host() {
        local host
        host=$(vm_host "$1" "$2")
        vm_signal KILL "$host" && eventually 5 vm_ended "$host"
}
vm_ended() {
        in_host sh -c '! kill -0 "$1" 2>/dev/null' sh "$1"
}

# vm_end MODE NAME FILTER: what jq makes of the record of its last end, once there is one that is over.
vm_end() {
        vm "$1" wait --json "$2" | jq -r "$3"
}

# vm_rm MODE NAME: whatever state it is in. vms_rm: all of both modes.
vm_rm() {
        vm "$1" rm --force "$2" >/dev/null && rm -rf "$(guest_directory "$1-$2")"
}
vms_rm() {
        local mode name status=0
        for mode in user system; do
                for name in $(vm "$mode" ls --names); do
                        vm_rm "$mode" "$name" || status=1
                done
        done
        return "$status"
}

# vm_dump MODE NAME: what it said, on standard error. vms_dump: all of them; for teardown, when the test failed.
vm_dump() {
        local file place
        place=$(vm_place "$1" "$2")
        for file in vmhost.log qemu.log console.log state.json; do
                echo "--- $1, VM $2, $file:"
                tail -n 30 "$place/$file" 2>&1 | tr -d '\r\0'
        done >&2
}
vms_dump() {
        local mode name
        for mode in user system; do
                for name in $(vm "$mode" ls --names 2>/dev/null); do
                        vm_dump "$mode" "$name"
                done
        done
}
